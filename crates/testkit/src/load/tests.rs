use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn every_answer_is_counted() {
    let edge = serve(|_, stream| answer(stream, "200 OK", "keep-alive"));
    let report = run_until(edge, |asked| asked >= 50);
    assert!(report.requests >= 50);
    assert_eq!((report.failed(), report.by_status[&200]), (0, report.requests), "{report:?}");
}

#[test]
fn a_connection_that_the_edge_closes_after_an_answer_is_no_failure() {
    let edge = serve(|_, stream| answer(stream, "200 OK", "close"));
    let report = run_until(edge, |asked| asked >= 20);
    assert_eq!(report.failed(), 0, "{report:?}");
}

#[test]
fn an_answer_other_than_200_is_a_failure() {
    let edge = serve(|number, stream| {
        answer(stream, if number == 3 { "503 Service Unavailable" } else { "200 OK" }, "keep-alive")
    });
    let report = run_until(edge, |asked| asked >= 20);
    assert_eq!((report.failed(), report.by_status[&503]), (1, 1), "{report:?}");
}

#[test]
fn a_request_without_an_answer_is_a_failure() {
    let edge = serve(|number, stream| number != 3 && answer(stream, "200 OK", "keep-alive"));
    let report = run_until(edge, |asked| asked >= 20);
    assert_eq!((report.failed(), report.unanswered.values().sum::<u64>()), (1, 1), "{report:?}");
}

#[test]
fn half_an_answer_is_a_failure() {
    let edge = serve(|number, stream| {
        if number == 3 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            return false;
        }
        answer(stream, "200 OK", "keep-alive")
    });
    let report = run_until(edge, |asked| asked >= 20);
    assert_eq!(report.failed(), 1, "{report:?}");
}

#[test]
fn an_edge_that_is_not_there_is_a_failure() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let load = Load::start(Settings::modest(nobody));
    std::thread::sleep(Duration::from_millis(100));
    let report = load.finish();
    assert!(report.requests > 0);
    assert_eq!(report.failed(), report.requests, "{report:?}");
}

struct Edge {
    address: SocketAddr,
    asked: Arc<std::sync::atomic::AtomicU32>,
}

/// A server that hands every request, with its number, to `reply`; `false` closes the connection.
fn serve(reply: impl Fn(u32, &mut TcpStream) -> bool + Send + Sync + 'static) -> Edge {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = Edge { address: listener.local_addr().unwrap(), asked: Arc::default() };
    let asked = Arc::clone(&edge.asked);
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (reply, asked, mut stream) = (Arc::clone(&reply), Arc::clone(&asked), stream.unwrap());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
                    if !reply(asked.fetch_add(1, Ordering::SeqCst), &mut stream) {
                        break;
                    }
                }
                let _ = stream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    edge
}

fn answer(stream: &mut TcpStream, status: &str, connection: &str) -> bool {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: {connection}\r\n\r\nok");
    stream.write_all(text.as_bytes()).is_ok() && connection == "keep-alive"
}

fn run_until(edge: Edge, enough: impl Fn(u32) -> bool) -> Report {
    let load = Load::start(Settings::modest(edge.address));
    while !enough(edge.asked.load(Ordering::SeqCst)) {
        std::thread::sleep(Duration::from_millis(5));
    }
    load.finish()
}
