//! The yardstick of propagation: one TCP listener that hands every `POST` to everyone who holds a `GET` open.
//!
//! `bare_stream BYTES` prints the address that it listens on. A `POST` is answered with 204 and makes every open `GET`
//! receive one event of that many bytes, its number as the event's id. Nothing is checked, stored or signed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn main() -> anyhow::Result<()> {
    let bytes: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let news = watch::channel(0_u64).0;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // A client that goes away is the end of its connection, not an error worth telling.
            tokio::spawn(serve(stream, news.clone(), bytes));
        }
    })
}

async fn serve(mut stream: TcpStream, news: watch::Sender<u64>, bytes: usize) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"POST") {
            break;
        }
        news.send_modify(|number| *number += 1);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
    stream.write_all(STREAM_HEAD).await?;
    let (mut told, filler) = (news.subscribe(), "x".repeat(bytes));
    while told.changed().await.is_ok() {
        let number = *told.borrow_and_update();
        stream.write_all(format!("event: status\nid: {number}\ndata: {filler}\n\n").as_bytes()).await?;
    }
    Ok(())
}
