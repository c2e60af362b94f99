//! Spans reach a collector when one is named, and carry nobody's id.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::common::{self, Scratch, Serving};

#[test]
fn a_named_collector_gets_spans_without_unit_ids() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let (mut path, mut length) = (String::new(), 0);
            reader.read_line(&mut path).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            (&stream)
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            let _ = sender.send((path, body));
        }
    });

    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo", "--otlp-endpoint", &endpoint]);
    serving.token("somebody-in-particular");
    assert_eq!(serving.terminate(), 0);
    let (path, body) = received.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(path.starts_with("POST /v1/traces "), "{path}");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("edge.assign"), "{text}");
    assert!(!text.contains("somebody-in-particular"));
}

#[test]
fn without_a_collector_nothing_is_exported_and_logs_name_nobody() {
    let scratch = Scratch::new();
    let serving =
        Serving::start(&scratch.data_dir(), &["--demo", "--log-level", "debug", "--log-format", "json"]);
    let token = serving.token("somebody-in-particular");
    common::eventually("the log has lines", || serving.log().lines().count() > 1);
    let log = serving.log();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    assert!(!log.contains("somebody-in-particular") && !log.contains(&token));
}
