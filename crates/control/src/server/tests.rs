use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::serve;
use crate::router::{HttpSettings, api};
use crate::testing::World;

/// Sends a request and reads until the connection ends.
async fn exchange(stream: &TcpStream, request: &str) -> String {
    let work = async {
        let (mut rest, mut told) = (request.as_bytes(), Vec::new());
        while !rest.is_empty() {
            stream.writable().await.unwrap();
            match stream.try_write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        loop {
            stream.readable().await.unwrap();
            let mut buffer = [0; 4_096];
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => told.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        String::from_utf8(told).unwrap()
    };
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("no end")
}

#[tokio::test]
async fn it_serves_bounds_headers_and_ends() {
    let world = World::new().await;
    let settings =
        HttpSettings { header_read_timeout: Duration::from_millis(200), ..HttpSettings::default() };
    let api = api(world.control.clone(), settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, api, async {
        let _dropped = stopped.await;
    }));

    let stream = TcpStream::connect(address).await.unwrap();
    let alive = exchange(&stream, "GET /healthz HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200 OK\r\n") && alive.ends_with("{\"status\":\"ok\"}"), "{alive}");

    let stream = TcpStream::connect(address).await.unwrap();
    let large = format!("GET /healthz HTTP/1.1\r\nhost: c\r\nx: {}\r\n\r\n", "y".repeat(60_000));
    let refused = exchange(&stream, &large).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");

    let slow = TcpStream::connect(address).await.unwrap();
    let cut = exchange(&slow, "GET /healthz HTTP/1.1\r\nho").await;
    assert!(!cut.contains("200 OK"), "{cut}");

    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it goes on").unwrap();
}
