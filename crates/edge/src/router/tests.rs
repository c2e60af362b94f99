//! What holds for every route: refusals at the door, methods, CORS, limits, and slow clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::testing::{Reply, TestEdge, config};
use crate::{Config, MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES};

const OPEN: [&str; 7] = [
    "/v1/assignments/user-1",
    "/v1/assignments",
    "/v1/status",
    "/v1/keyset",
    "/.well-known/jwks.json",
    "/ofrep/v1/evaluate/flags",
    "/ofrep/v1/evaluate/flags/checkout",
];
const CLOSED: [&str; 4] = ["/v1/experiments/checkout", "/healthz", "/readyz", "/metrics"];
const READABLE: [&str; 8] = [
    "/v1/assignments/user-1",
    "/v1/status",
    "/v1/keyset",
    "/.well-known/jwks.json",
    "/v1/experiments/checkout",
    "/healthz",
    "/readyz",
    "/metrics",
];

#[test]
fn unknown_paths_are_a_problem() {
    let edge = TestEdge::new();
    for path in [
        "/",
        "/v1",
        "/v1/assignments/",
        "/v1/assignments/a/b",
        "/v1/assignments/../status",
        "/V1/status",
        "//v1/status",
        "/v1/status/",
        "/v1/status;x=1",
        "/v1/experiments/",
        "/ofrep/v1/evaluate/flags/a/b",
        "/.env",
    ] {
        edge.get(path).assert_problem(404, "not_found");
    }
}

#[test]
fn targets_that_are_no_paths_are_a_problem() {
    let edge = TestEdge::new();
    edge.send("OPTIONS", "*", &[], b"").assert_problem(404, "not_found");
    edge.send("CONNECT", "edge.test:443", &[], b"").assert_problem(404, "not_found");
    assert_eq!(
        edge.get("http://edge.test/v1/status").status,
        200,
        "absolute form is for every server (RFC 9112 3.2.2)"
    );
}

#[test]
fn other_methods_are_refused_with_the_allowed_ones() {
    let edge = TestEdge::new();
    for (method, path, allow) in [
        ("POST", "/v1/assignments/user-1", "GET,HEAD,OPTIONS"),
        ("DELETE", "/v1/assignments/user-1", "GET,HEAD,OPTIONS"),
        ("GET", "/v1/assignments", "OPTIONS,POST"),
        ("PUT", "/v1/status", "GET,HEAD,OPTIONS"),
        ("OPTIONS", "/v1/experiments/checkout", "GET,HEAD"),
        ("GET", "/ofrep/v1/evaluate/flags", "OPTIONS,POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("BREW", "/metrics", "GET,HEAD"),
    ] {
        let reply = edge.send(method, path, &[], b"");
        reply.assert_problem(405, "method_not_allowed");
        let mut allowed: Vec<_> = reply.header("allow").unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
}

#[test]
fn head_answers_like_get_without_a_body() {
    let edge = TestEdge::new();
    for path in READABLE.into_iter().filter(|path| *path != "/metrics") {
        let identity = [("x-user-id", "user-1")];
        let (get, head) = (edge.get_with(path, &identity), edge.send("HEAD", path, &identity, b""));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.lasting_headers(), get.lasting_headers(), "{path}");
    }
    assert_eq!(edge.send("HEAD", "/metrics", &[], b"").status, 200);
    assert_eq!(edge.send("HEAD", "/v1/assignments/%zz", &[], b"").status, 400);
}

#[test]
fn every_answer_has_cache_headers_and_no_cookie() {
    let edge = TestEdge::new();
    for path in OPEN.into_iter().chain(CLOSED).chain(["/nothing"]) {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            let reply = edge.send(method, path, &[("x-user-id", "user-1")], b"");
            assert!(reply.header("cache-control").is_some(), "{method} {path}: {reply:?}");
            assert_eq!(reply.header("set-cookie"), None, "{method} {path}");
            assert!(reply.status < 500, "{method} {path}: {reply:?}");
        }
    }
}

#[test]
fn scripts_of_any_origin_may_use_open_routes_only() {
    let edge = TestEdge::new();
    let origin = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
    for path in OPEN {
        let preflight = edge.send("OPTIONS", path, &origin, b"");
        assert_eq!(preflight.status, 204, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
        assert!(
            preflight.header("access-control-allow-headers").unwrap().contains("content-type, if-none-match")
        );
        assert_eq!(preflight.header("access-control-allow-credentials"), None);
    }
    for path in CLOSED {
        let reply = edge.get_with(path, &[("origin", "https://shop.example"), ("x-user-id", "user-1")]);
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
    }
    let reply = edge.get_with("/v1/assignments/user-1", &origin);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(reply.header("access-control-expose-headers").unwrap().contains("etag"));
    assert_eq!(reply.header("vary"), Some("accept-encoding"), "an origin must not split the cache");
    let refusal = edge.get("/v1/assignments/%zz");
    assert_eq!(refusal.header("access-control-allow-origin"), Some("*"), "a script must be able to read why");
}

#[test]
fn before_anything_is_published_the_edge_says_so() {
    let edge = TestEdge::unpublished(config());
    for path in ["/v1/assignments/user-1", "/v1/status", "/v1/keyset", "/.well-known/jwks.json", "/readyz"] {
        let reply = edge.get(path);
        reply.assert_problem(503, "not_ready");
        assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
    }
    edge.get_with("/v1/experiments/checkout", &[("x-user-id", "user-1")]).assert_problem(503, "not_ready");
    edge.post("/v1/assignments", &json!({ "unit": "user-1" })).assert_problem(503, "not_ready");
    let flags = edge.post("/ofrep/v1/evaluate/flags", &json!({ "context": { "targetingKey": "user-1" } }));
    flags.assert_ofrep(503, "GENERAL");
    assert_eq!(flags.header("retry-after"), Some("1"));
    assert_eq!(edge.get("/healthz").status, 200);
    assert_eq!(edge.get("/metrics").status, 200);
}

#[test]
fn ready_only_while_the_status_document_is_alive() {
    let edge = TestEdge::new();
    assert_eq!(edge.get("/readyz").status, 200);
    edge.advance(31);
    edge.get("/readyz").assert_problem(503, "not_ready");
    assert_eq!(edge.get("/v1/assignments/user-1").status, 200, "the last known answer beats none");
    edge.publish_status(|_| {});
    assert_eq!(edge.get("/readyz").status, 200);
}

#[test]
fn long_urls_are_refused() {
    let edge = TestEdge::new();
    let target = format!("/v1/assignments/user-1?attrs={}", "A".repeat(MAX_URL_BYTES));
    edge.get(&target).assert_problem(414, "url_too_long");
}

#[test]
fn large_headers_are_refused_with_a_reason() {
    let edge = TestEdge::new();
    let large = "x".repeat(MAX_HEADER_BYTES);
    edge.get_with("/v1/status", &[("x-large", &large)]).assert_problem(431, "header_too_large");
    let endless = "x".repeat(8 * MAX_HEADER_BYTES);
    edge.get_with("/v1/status", &[("x-large", &endless)]).assert_problem(431, "header_too_large");
    let target = format!("/{}", "a".repeat(4 * MAX_HEADER_BYTES));
    edge.get(&target).assert_problem(431, "header_too_large");
}

#[test]
fn many_headers_are_refused_with_a_reason() {
    let edge = TestEdge::new();
    let many = vec![("x-many", "1"); MAX_HEADERS - 2];
    assert_eq!(
        edge.get_with("/v1/status", &many).status,
        200,
        "{MAX_HEADERS} are allowed, host and connection included"
    );
    let many = vec![("x-many", "1"); MAX_HEADERS - 1];
    edge.get_with("/v1/status", &many).assert_problem(431, "header_too_large");
}

#[test]
fn what_is_not_http_is_refused_with_a_reason() {
    let edge = TestEdge::new();
    for bad in [
        "GET /v1/status\r\n\r\n",
        "GET /v1/status HTTP/9.9\r\n\r\n",
        "GE\x07T /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: x\r\nx-control: a\x01b\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        "GET /v1/ status HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-length: +2\r\n\r\n{}",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-length: 2, 2\r\n\r\n{}",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /v1/assignments HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\n\r\n",
        "GET /v1/status HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        edge.raw(bad).assert_problem(400, "malformed_request");
    }
    for bad in [
        &b"GET /v1/assignments/\xff HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        edge.raw(bad).assert_problem(400, "malformed_request");
    }
}

#[test]
fn a_body_framed_in_two_ways_ends_the_connection() {
    let edge = TestEdge::new();
    for framing in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let body = "c\r\n{\"unit\":\"u\"}\r\n0\r\n\r\n";
        let head = "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
        let reply = edge.raw(format!("{head}\r\n{framing}\r\n\r\n{body}{smuggled}"));
        assert_eq!(reply.status, 200);
        assert!(edge.verify(&reply.text(), "u").is_ok(), "one answer and no second one: {}", reply.text());
    }
}

#[test]
fn a_client_that_has_sent_everything_still_gets_its_answer() {
    let edge = TestEdge::new();
    let mut stream = edge.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(Reply::read(&mut stream).status, 200);
}

#[test]
fn a_broken_second_request_does_not_spoil_the_first() {
    let edge = TestEdge::new();
    let reply = edge.raw("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(reply.status, 200);
    assert!(reply.text().starts_with("ok\nHTTP/1.1 400 "), "{}", reply.text());
}

#[test]
fn large_bodies_are_refused() {
    let edge = TestEdge::new();
    let body = format!(r#"{{"unit":"{}"}}"#, "x".repeat(MAX_BODY_BYTES));
    let json = [("content-type", "application/json")];
    edge.send("POST", "/v1/assignments", &json, body.as_bytes()).assert_problem(413, "body_too_large");
    edge.send("POST", "/ofrep/v1/evaluate/flags", &json, body.as_bytes()).assert_ofrep(413, "GENERAL");
    let head = "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    edge.raw(format!("{head}content-length: 99999999999\r\n\r\n")).assert_problem(413, "body_too_large");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    edge.raw(chunked).assert_problem(413, "body_too_large");
}

#[test]
fn a_body_that_breaks_off_or_is_badly_framed_is_refused() {
    let edge = TestEdge::new();
    let head = "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n");
    edge.raw(chunked).assert_problem(400, "malformed_request");
}

#[test]
fn only_json_bodies_are_read() {
    let edge = TestEdge::new();
    for path in ["/v1/assignments", "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/checkout"] {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jwt"] {
            let reply = edge.send("POST", path, &[("content-type", content_type)], b"{\"unit\":\"user-1\"}");
            assert_eq!(reply.status, 415, "{path} {content_type}");
        }
        assert_eq!(edge.send("POST", path, &[], b"{}").status, 415);
    }
    edge.send("POST", "/v1/assignments", &[], b"{}").assert_problem(415, "unsupported_media_type");
}

fn hurried() -> Config {
    Config {
        header_read_timeout: Duration::from_millis(300),
        body_read_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        ..config()
    }
}

#[test]
fn a_header_that_drips_is_cut_off() {
    let edge = TestEdge::with(hurried());
    let mut stream = edge.connect();
    let dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || drip(dripping, b"GET /v1/status HTTP/1.1\r\nx-slow: "));
    Reply::read(&mut stream).assert_problem(408, "header_timeout");
    drip.join().unwrap();
}

#[test]
fn a_second_header_that_drips_is_cut_off_too() {
    let edge = TestEdge::with(hurried());
    let mut stream = edge.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 64];
    let _read = stream.read(&mut first).unwrap();
    let dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || drip(dripping, b"GET /v1/status HTTP/1.1\r\nx-slow: "));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("header_timeout"));
    drip.join().unwrap();
}

/// Sends `start` and then a byte now and again until the server hangs up.
fn drip(mut stream: TcpStream, start: &[u8]) {
    let mut sent = stream.write_all(start);
    while sent.is_ok() {
        std::thread::sleep(Duration::from_millis(20));
        sent = stream.write_all(b"x");
    }
}

#[test]
fn a_body_that_drips_is_cut_off() {
    let edge = TestEdge::with(hurried());
    let head = "POST /v1/assignments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    edge.raw(head).assert_problem(408, "body_timeout");
    let head = head.replace("/v1/assignments", "/ofrep/v1/evaluate/flags");
    edge.raw(head).assert_ofrep(408, "GENERAL");
}

#[test]
fn an_idle_connection_is_closed() {
    let edge = TestEdge::with(hurried());
    let mut stream = edge.connect();
    let mut nothing = Vec::new();
    assert_eq!(stream.read_to_end(&mut nothing).unwrap(), 0);
    assert_eq!(edge.get("/healthz").status, 200);
}

#[test]
fn one_connection_carries_many_requests() {
    let edge = TestEdge::new();
    let request = "GET /v1/assignments/user-1 HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let reply = edge.raw(format!("{}{last}", request.repeat(20)));
    assert_eq!(reply.text().matches("HTTP/1.1 200 OK").count(), 20);
}

#[test]
fn connections_beyond_the_limit_are_turned_away() {
    let edge = TestEdge::with(Config { max_connections: 2, ..config() });
    let mut held: Vec<_> = (0..2).map(|_| edge.connect()).collect();
    for stream in &mut held {
        // An answer shows that the connection was accepted, not only queued.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let _read = stream.read(&mut [0; 64]).unwrap();
    }
    let reply = edge.get("/healthz");
    reply.assert_problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    drop(held);
    // The edge notices a little later that they are gone.
    let freed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        edge.get("/healthz").status == 200
    });
    assert!(freed, "places are given back");
    assert!(edge.metric("edgeseal_http_connections_refused_total") >= 1.0);
}

#[test]
fn requests_are_counted_by_route_and_status_never_by_path() {
    let edge = TestEdge::new();
    for unit in ["user-1", "user-2", "%zz"] {
        edge.get(&format!("/v1/assignments/{unit}"));
    }
    edge.get("/nothing-here");
    let text = edge.get("/metrics").text();
    for line in [
        "edgeseal_http_requests_total{route=\"/v1/assignments/{unit}\",status=\"200\"} 2",
        "edgeseal_http_requests_total{route=\"/v1/assignments/{unit}\",status=\"400\"} 1",
        "edgeseal_http_requests_total{route=\"other\",status=\"404\"} 1",
        "edgeseal_snapshot_version 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("user-1") && !text.contains("nothing-here"));
}

#[test]
fn evaluations_are_counted_by_outcome() {
    let edge = TestEdge::new();
    edge.get("/v1/assignments/user-1");
    let text = edge.get("/metrics").text();
    for labels in [
        "experiment=\"won\",variant=\"b\",reason=\"winner\"",
        "experiment=\"resting\",variant=\"\",reason=\"paused\"",
        "experiment=\"pricing\",variant=\"\",reason=\"audience\"",
        "experiment=\"typed-boolean\",variant=\"on\",reason=\"split\"",
    ] {
        assert!(
            text.contains(&format!("edgeseal_evaluations_total{{{labels}}} 1")),
            "no {labels} in\n{text}"
        );
    }
    assert!(text.contains("edgeseal_sign_duration_seconds_count 1"));
    assert!(text.contains("edgeseal_evaluation_duration_seconds_count 1"));
}

#[test]
fn a_shutdown_finishes_and_frees_the_port() {
    let edge = crate::Edge::new(config(), crate::Clock::system()).unwrap();
    let running = edge.start().unwrap();
    let addr = running.local_addr();
    let mut idle = TcpStream::connect(addr).unwrap();
    running.shutdown();
    running.join();
    assert_eq!(idle.read(&mut [0; 8]).unwrap_or(0), 0, "open connections are closed");
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_port_in_use_is_an_error_not_a_shared_port() {
    let edge = TestEdge::new();
    let second = crate::Edge::new(Config { listen: edge.addr, ..config() }, crate::Clock::system()).unwrap();
    let error = second.start().err().unwrap().to_string();
    assert!(error.contains(&edge.addr.to_string()), "{error}");
}
