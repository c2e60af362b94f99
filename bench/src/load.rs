//! A load generator: keep-alive connections that ask as fast as the server answers.
//!
//! It never sleeps. Otherwise the server would pay for waking it, the more often the slower the server is: on a virtual
//! machine that costs more than a whole request of bare hyper, and the comparison would measure nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that ask at once.
const CONNECTIONS: usize = 32;

/// Writes the `n`-th request into the buffer, complete with its empty line.
pub(crate) type WriteRequest = dyn Fn(u64, &mut Vec<u8>) + Send + Sync;

/// Sends requests `first` to `first + count - 1`; every one must be answered with 200.
///
/// Returns the bytes of one answer, head and body (of the last one seen).
pub(crate) fn run(
    address: SocketAddr,
    first: u64,
    count: u64,
    write: Arc<WriteRequest>,
) -> anyhow::Result<u64> {
    let next = Arc::new(AtomicU64::new(first));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let awake = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (next, write) = (Arc::clone(&next), Arc::clone(&write));
            tasks.spawn(async move { one_connection(address, &next, first + count, &*write).await });
        }
        let mut bytes = 0;
        while let Some(result) = tasks.join_next().await {
            bytes = result??.max(bytes);
        }
        awake.abort();
        Ok(bytes)
    })
}

async fn one_connection(
    address: SocketAddr,
    next: &AtomicU64,
    end: u64,
    write: &WriteRequest,
) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut answer = vec![0_u8; 256 * 1024];
    let mut bytes = 0;
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= end {
            return Ok(bytes);
        }
        request.clear();
        write(n, &mut request);
        stream.write_all(&request).await?;
        let mut filled = 0;
        let total = loop {
            let read = stream.read(&mut answer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            if let Some(total) = answer_length(&answer[..filled])? {
                break total;
            }
        };
        while filled < total {
            let read = stream.read(&mut answer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
        }
        bytes = total as u64;
    }
}

/// Bytes of the whole answer, once its head is here.
fn answer_length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "not 200: {}", head.lines().next().unwrap_or_default());
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        })
        .context("an answer without content-length")??;
    Ok(Some(end + 4 + length))
}
