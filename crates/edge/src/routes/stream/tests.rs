//! Streams over real sockets: what comes when, how many, and how they end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use edgeseal_core::ids::ExperimentKey;

use crate::testing::{TestEdge, config};
use crate::{Config, Publication};

/// Longest that a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream and what came over it so far, chunk sizes included.
struct Reader {
    stream: TcpStream,
    seen: String,
}

impl Reader {
    fn open(edge: &TestEdge) -> Self {
        Self::open_with(edge, "")
    }

    fn open_with(edge: &TestEdge, headers: &str) -> Self {
        let mut stream = edge.connect();
        let request = format!("GET /v1/stream HTTP/1.1\r\nhost: edge.test\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self { stream, seen: String::new() }
    }

    /// Reads until `text` has come `times` times.
    #[track_caller]
    fn until(&mut self, text: &str, times: usize) {
        let mut buffer = [0; 4096];
        while self.seen.matches(text).count() < times {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the stream ended before {times} times '{text}': {}", self.seen);
            self.seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }
}

#[test]
fn the_newest_status_comes_at_once_and_every_new_one_after_it() {
    let edge = TestEdge::new();
    let mut reader = Reader::open(&edge);
    reader.until(&format!("retry: 1000\nid: 0\nevent: status\ndata: {}\n\n", edge.parts.status_token), 1);
    let head = reader.seen.to_ascii_lowercase();
    for line in [
        "http/1.1 200 ok\r\n",
        "content-type: text/event-stream\r\n",
        "cache-control: no-store, no-transform\r\n",
        "x-accel-buffering: no\r\n",
        "access-control-allow-origin: *\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(head.contains(line), "no '{line}' in {head}");
    }

    edge.publish_status(|status| {
        status.ep = 5;
        status.off.insert(ExperimentKey::parse("checkout").unwrap());
    });
    reader.until(&format!("id: 5\nevent: status\ndata: {}\n\n", edge.get("/v1/status").text()), 1);
    edge.advance(10);
    edge.publish_status(|status| status.ep = 5);
    reader.until(&format!("data: {}\n\n", edge.get("/v1/status").text()), 1);
    assert_eq!(reader.seen.matches("event: status").count(), 3);
    assert_eq!(reader.seen.matches("retry:").count(), 1);
    assert_eq!(edge.metric("edgeseal_http_streams"), 1.0);
}

#[test]
fn a_new_keyset_alone_is_no_news() {
    let edge = TestEdge::with(Config { stream_heartbeat: Duration::from_millis(20), ..config() });
    let mut reader = Reader::open(&edge);
    reader.until("event: status", 1);
    edge.publish(edge.parts.clone());
    reader.until("\n:\n\n", 3);
    assert_eq!(reader.seen.matches("event: status").count(), 1);
}

#[test]
fn whatever_the_last_event_id_the_newest_document_comes() {
    let edge = TestEdge::new();
    for id in ["0", "7", "99999999999999999999999999", "-1", "abc", "%00", ""] {
        let mut reader = Reader::open_with(&edge, &format!("last-event-id: {id}\r\n"));
        reader.until("id: 0\nevent: status", 1);
    }
}

#[test]
fn a_quiet_stream_outlives_every_timeout_of_requests() {
    let short = Duration::from_millis(60);
    let edge = TestEdge::with(Config {
        idle_timeout: short,
        header_read_timeout: short,
        body_read_timeout: short,
        stream_heartbeat: Duration::from_millis(30),
        ..config()
    });
    let mut reader = Reader::open(&edge);
    reader.until("\n:\n\n", 12);
}

#[test]
fn no_more_streams_than_may_be_are_open() {
    let edge = TestEdge::with(Config { max_streams: 2, ..config() });
    let mut open = [Reader::open(&edge), Reader::open(&edge)];
    for reader in &mut open {
        reader.until("event: status", 1);
    }
    let refused = edge.get("/v1/stream");
    refused.assert_problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert_eq!(edge.get("/v1/status").status, 200, "only streams are bounded by this");

    // The place of a client that left is free again without waiting for a write to fail.
    drop(open);
    let since = Instant::now();
    while edge.metric("edgeseal_http_streams") > 0.0 {
        assert!(since.elapsed() < PATIENCE, "the places were not given back");
        std::thread::sleep(Duration::from_millis(5));
    }
    Reader::open(&edge).until("event: status", 1);
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let edge = TestEdge::with(Config {
        stream_heartbeat: Duration::from_millis(50),
        stream_stall_timeout: Duration::from_millis(400),
        // The clock of a connection looks at least this often.
        header_read_timeout: Duration::from_millis(200),
        ..config()
    });
    let mut reader = Reader::open(&edge);
    reader.until("event: status", 1);
    let since = Instant::now();
    for letter in ['a', 'b'].into_iter().cycle() {
        if edge.metric("edgeseal_http_streams") == 0.0 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "still open");
        // Large, so that the buffers in between are soon full.
        let status_token = letter.to_string().repeat(1_000_000);
        edge.publish(Publication { status_token, ..edge.parts.clone() });
    }
}

#[test]
fn streams_end_at_once_when_the_edge_shuts_down() {
    let edge = TestEdge::new();
    let mut readers = [Reader::open(&edge), Reader::open(&edge)];
    for reader in &mut readers {
        reader.until("event: status", 1);
    }
    edge.shutdown();
    for reader in &mut readers {
        let mut rest = String::new();
        reader.stream.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "a proper last chunk: {rest:?}");
    }
}

#[test]
fn requests_that_open_no_stream() {
    let edge = TestEdge::new();
    let head = edge.send("HEAD", "/v1/stream", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let preflight = edge.send("OPTIONS", "/v1/stream", &[("access-control-request-method", "GET")], b"");
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("last-event-id"));
    edge.send("POST", "/v1/stream", &[], b"").assert_problem(405, "method_not_allowed");
    TestEdge::unpublished(config()).get("/v1/stream").assert_problem(503, "not_ready");
    assert_eq!(edge.metric("edgeseal_http_streams"), 0.0);
}

#[test]
fn an_http_1_0_client_gets_the_events_without_chunks() {
    let edge = TestEdge::new();
    let mut stream = edge.connect();
    stream.write_all(b"GET /v1/stream HTTP/1.0\r\n\r\n").unwrap();
    let mut reader = Reader { stream, seen: String::new() };
    reader.until("event: status", 1);
    edge.shutdown();
    let mut rest = Vec::new();
    reader.stream.read_to_end(&mut rest).unwrap();
    assert!(!reader.seen.to_ascii_lowercase().contains("transfer-encoding"));
}

#[test]
fn refusals_before_the_router_are_counted() {
    let edge = TestEdge::new();
    let long = format!("/v1/status?{}", "a".repeat(crate::MAX_URL_BYTES));
    assert_eq!(edge.get(&long).status, 414);
    assert_eq!(edge.raw("GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n").status, 400);
    assert_eq!(edge.raw("no HTTP at all\r\n\r\n").status, 400);
    let requests = |labels: &str| edge.metric(&format!("edgeseal_http_requests_total{{{labels}}}"));
    assert_eq!(requests("route=\"/v1/status\",status=\"414\""), 1.0);
    assert_eq!(requests("route=\"/v1/status\",status=\"400\""), 1.0);
    assert_eq!(requests("route=\"other\",status=\"400\""), 1.0);
}
