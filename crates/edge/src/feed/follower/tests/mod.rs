//! A follower and a control plane made of scripted answers, over real sockets.

mod polling;
mod streaming;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::super::testing::{Fed, Plane};
use super::{Follower, FollowerConfig, FollowerHandle, Timing};

/// Longest that a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A hurry that leaves room for a slow machine.
const HASTE: Timing = Timing {
    silence: Duration::from_secs(10),
    heartbeat: Duration::from_millis(50),
    shortest_reconnect: Duration::from_millis(10),
    longest_reconnect: Duration::from_millis(40),
    denied: Duration::from_millis(40),
    shortest_catch_up: Duration::from_millis(10),
    longest_catch_up: Duration::from_millis(40),
};

/// One request that came.
#[derive(Clone, Debug)]
struct Asked {
    target: String,
    head: String,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What is done with a connection.
#[derive(Clone)]
enum Reply {
    /// This, and the connection is closed.
    Whole { status: u16, kind: &'static str, body: String },
    /// A stream that says this, and then whatever [`Control::say`] is told.
    Stream(String),
    /// Nothing at all, for as long as the client waits.
    Silence,
}

#[derive(Default)]
struct Script {
    /// Replies to requests for the stream, in order; then 404.
    streams: VecDeque<Reply>,
    /// The reply to every request for the bundle.
    bundle: Option<Reply>,
    /// Tokens that are refused with 401.
    bad_tokens: Vec<String>,
    asked: Vec<Asked>,
    open: Vec<TcpStream>,
}

/// A control plane that does as it is told.
#[derive(Clone)]
struct Control {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Control {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let control = Self { addr: listener.local_addr().unwrap(), script: Arc::default() };
        let theirs = control.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let control = theirs.clone();
                std::thread::spawn(move || control.serve(stream));
            }
        });
        control
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some(asked) = read_request(&stream) else { return };
        let reply = {
            let mut script = self.script.lock().unwrap();
            script.asked.push(asked.clone());
            let bearer = asked.header("authorization").unwrap_or_default();
            if script.bad_tokens.iter().any(|token| bearer == format!("Bearer {token}")) {
                Reply::problem(401)
            } else if asked.target.starts_with("/api/v1/edge/heartbeat") {
                Reply::Whole { status: 204, kind: "text/plain", body: String::new() }
            } else if asked.target.starts_with("/api/v1/edge/bundle") {
                script.bundle.clone().unwrap_or_else(|| Reply::problem(503))
            } else {
                script.streams.pop_front().unwrap_or_else(|| Reply::problem(404))
            }
        };
        match reply {
            Reply::Whole { status, kind, body } => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _gone = stream.write_all((head + &body).as_bytes());
            }
            Reply::Stream(text) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let _gone = stream.write_all((head.to_owned() + &text).as_bytes());
                self.script.lock().unwrap().open.push(stream);
            }
            Reply::Silence => self.script.lock().unwrap().open.push(stream),
        }
    }

    /// More on every open stream.
    fn say(&self, text: &str) {
        for stream in &mut self.script.lock().unwrap().open {
            let _gone = stream.write_all(text.as_bytes());
        }
    }

    fn close_streams(&self) {
        for stream in self.script.lock().unwrap().open.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn asked(&self, what: &str) -> Vec<Asked> {
        let path = format!("/api/v1/edge/{what}");
        self.script
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|asked| asked.target.starts_with(&path))
            .cloned()
            .collect()
    }
}

impl Reply {
    fn problem(status: u16) -> Self {
        Self::Whole { status, kind: "application/problem+json", body: "{}".to_owned() }
    }

    fn json(body: &Value) -> Self {
        Self::Whole { status: 200, kind: "application/json", body: body.to_string() }
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let target = head.split(' ').nth(1)?.to_owned();
    let asked = Asked { target, head, body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { body: String::from_utf8(body).ok()?, ..asked })
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A whole first group.
fn group(plane: &Plane) -> String {
    let snapshot = format!("id: {}\n{}", plane.cv, event("snapshot", &plane.snapshot()));
    ["retry: 1\n", ": hello\n\n", &event("keys", &plane.keys_json()), &event("keyset", &plane.keyset())]
        .concat()
        + &snapshot
        + &event("status", &plane.status())
}

fn bundle(plane: &Plane) -> Value {
    json!({
        "keys": serde_json::from_str::<Value>(&plane.keys_json()).unwrap(),
        "keyset": plane.keyset(),
        "snapshot": plane.snapshot(),
        "status": plane.status(),
    })
}

/// A follower at work.
struct Following {
    handle: FollowerHandle,
    token: Arc<Mutex<String>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Following {
    fn start(fed: &Fed, control: &Control) -> Self {
        Self::with(fed, control, true, HASTE)
    }

    fn with(fed: &Fed, control: &Control, stream: bool, timing: Timing) -> Self {
        let token = Arc::new(Mutex::new("token-1\n".to_owned()));
        let source = Arc::clone(&token);
        let config = FollowerConfig {
            control: format!("http://{}", control.addr),
            allow_plain_http: false,
            stream,
            poll_interval: if stream { Duration::from_millis(50) } else { Duration::from_secs(3_600) },
        };
        let token_source = Arc::new(move || Ok(Zeroizing::new(source.lock().unwrap().clone())));
        let mut follower = Follower::new(config, Arc::clone(&fed.feed), token_source).unwrap();
        follower.timing = timing;
        let handle = follower.handle();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(follower.run(async {
                let _stopped = stopped.await;
            }));
        });
        Self { handle, token, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the follower panicked");
    }
}

#[track_caller]
fn until(what: &str, happened: impl Fn() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
