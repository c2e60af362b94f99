use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::serve;
use crate::router::{HttpSettings, api};
use crate::testing::World;

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("no end").unwrap();
    text
}

#[tokio::test]
async fn it_serves_bounds_headers_and_ends() {
    let world = World::new().await;
    let settings = HttpSettings { header_read_timeout: Duration::from_millis(200), ..HttpSettings::default() };
    let api = api(world.control.clone(), settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, api, async {
        let _dropped = stopped.await;
    }));

    let mut stream = TcpStream::connect(address).await.unwrap();
    let alive =
        exchange(&mut stream, "GET /healthz HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200 OK\r\n") && alive.ends_with("{\"status\":\"ok\"}"), "{alive}");

    let mut stream = TcpStream::connect(address).await.unwrap();
    let large = format!("GET /healthz HTTP/1.1\r\nhost: c\r\nx: {}\r\n\r\n", "y".repeat(60_000));
    let refused = exchange(&mut stream, &large).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");

    let mut slow = TcpStream::connect(address).await.unwrap();
    let cut = exchange(&mut slow, "GET /healthz HTTP/1.1\r\nho").await;
    assert!(!cut.contains("200 OK"), "{cut}");

    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it goes on").unwrap();
}
