//! A load generator: keep-alive connections that ask at a given rate, or as fast as the server answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval};

/// Connections that ask at once.
const CONNECTIONS: u32 = 32;

/// Writes the `n`-th request into the buffer, complete with its empty line.
pub(crate) type WriteRequest = dyn Fn(u64, &mut Vec<u8>) + Send + Sync;

/// How fast to ask.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection asks again as soon as it is answered. The faster server then keeps the generator busy and is
    /// spared the cost of waking it, so two servers are not loaded alike.
    Saturated,
    /// All connections together ask this often in a second, whatever the server: the same work for both.
    PerSecond(u32),
}

/// Sends requests `first` to `first + count - 1`; every one must be answered with 200.
///
/// Returns the bytes of one answer, head and body (of the last one seen).
pub(crate) fn run(
    address: SocketAddr,
    first: u64,
    count: u64,
    pace: Pace,
    write: Arc<WriteRequest>,
) -> anyhow::Result<u64> {
    let next = Arc::new(AtomicU64::new(first));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..CONNECTIONS {
            let (next, write) = (Arc::clone(&next), Arc::clone(&write));
            tasks.spawn(async move {
                one_connection(address, &next, first + count, pace.ticks(n), &*write).await
            });
        }
        let mut bytes = 0;
        while let Some(result) = tasks.join_next().await {
            bytes = result??.max(bytes);
        }
        Ok(bytes)
    })
}

impl Pace {
    /// When the `n`-th connection asks.
    fn ticks(self, n: u32) -> Option<Interval> {
        let Self::PerSecond(rate) = self else { return None };
        let period = Duration::from_secs(1) * CONNECTIONS / rate;
        Some(tokio::time::interval_at(Instant::now() + period * n / CONNECTIONS, period))
    }
}

async fn one_connection(
    address: SocketAddr,
    next: &AtomicU64,
    end: u64,
    mut ticks: Option<Interval>,
    write: &WriteRequest,
) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut answer = vec![0_u8; 256 * 1024];
    let mut bytes = 0;
    loop {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
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
