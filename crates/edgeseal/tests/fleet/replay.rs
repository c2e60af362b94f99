//! Somebody who poses as the control plane: hands edges whatever a test gives it, over the control plane's own routes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::api::{Api, Call};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A comment now and then, so that nobody takes the stream for dead.
const COMMENT_EVERY: u32 = 50;

/// Documents as edges get them, any of them.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    pub(crate) keys: Option<Value>,
    pub(crate) keyset: Option<String>,
    pub(crate) snapshot: Option<String>,
    pub(crate) status: Option<String>,
}

impl Documents {
    /// What a control plane hands out now, asked with a token of scope `edge`.
    pub(crate) fn of(reader: &Api) -> Self {
        let bundle = reader.ask(Call::get("/edge/bundle")).unwrap().expect(200);
        let text = |member: &str| bundle[member].as_str().map(str::to_owned);
        Self {
            keys: bundle.get("keys").cloned(),
            keyset: text("keyset"),
            snapshot: text("snapshot"),
            status: text("status"),
        }
    }

    fn json(&self) -> Value {
        let mut json = Map::new();
        json.extend(self.keys.clone().map(|keys| ("keys".to_owned(), keys)));
        for (name, token) in self.tokens() {
            json.extend(token.clone().map(|token| (name.to_owned(), Value::String(token))));
        }
        Value::Object(json)
    }

    fn events(&self) -> String {
        let mut events = String::new();
        if let Some(keys) = &self.keys {
            events += &format!("event: keys\ndata: {keys}\n\n");
        }
        for (name, token) in self.tokens() {
            if let Some(token) = token {
                events += &format!("event: {name}\ndata: {token}\n\n");
            }
        }
        events
    }

    /// In the order in which a stream brings them: the status document closes a group.
    fn tokens(&self) -> [(&'static str, &Option<String>); 3] {
        [("keyset", &self.keyset), ("snapshot", &self.snapshot), ("status", &self.status)]
    }
}

/// The server.
pub(crate) struct Impostor {
    url: String,
    offered: Arc<Mutex<Offered>>,
}

struct Offered {
    /// Counts offers.
    number: u64,
    documents: Documents,
    /// Whether anybody was given this one.
    was_taken: bool,
}

impl Impostor {
    pub(crate) fn offering(documents: Documents) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let offered = Arc::new(Mutex::new(Offered { number: 0, documents, was_taken: false }));
        let ours = Arc::clone(&offered);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let offered = Arc::clone(&ours);
                // Whoever hangs up may do so at any point.
                thread::spawn(move || answer(&stream, &offered));
            }
        });
        Self { url, offered }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Hands out something else from now on, to open streams at once.
    pub(crate) fn offer(&self, documents: Documents) {
        let mut offered = self.offered.lock().unwrap();
        *offered = Offered { number: offered.number + 1, documents, was_taken: false };
    }

    /// Whether what was offered last has been handed to somebody.
    pub(crate) fn was_taken(&self) -> bool {
        self.offered.lock().unwrap().was_taken
    }
}

fn answer(stream: &TcpStream, offered: &Mutex<Offered>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/api/v1/edge/stream" => {
            writer.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
            )?;
            writer.write_all(b"retry: 100\n\n")?;
            let mut told = None;
            for turn in 0_u32.. {
                let (number, events) = {
                    let offered = offered.lock().unwrap();
                    (offered.number, offered.documents.events())
                };
                if told != Some(number) {
                    writer.write_all(events.as_bytes())?;
                    told = Some(number);
                    offered.lock().unwrap().was_taken = true;
                } else if turn % COMMENT_EVERY == 0 {
                    writer.write_all(b":\n\n")?;
                }
                thread::sleep(LOOK_EVERY);
            }
            Ok(())
        }
        "/api/v1/edge/bundle" => {
            let body = offered.lock().unwrap().documents.json().to_string();
            let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
            write!(writer, "HTTP/1.1 200 OK\r\nconnection: close\r\n{head}\r\n{body}")
        }
        "/api/v1/edge/heartbeat" => writer.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
        _ => writer.write_all(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    }
}
