//! A control plane that answers what a test tells it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Listens on a free port until the test program ends.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// One answer.
pub(crate) enum Reply {
    Whole {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The connection breaks before an answer comes.
    Broken,
}

impl Fake {
    /// `answer` is given each request and how many came before it.
    pub(crate) fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered) = (Arc::new(answer), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, asked) = (answer.clone(), remembered.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &asked));
            }
        });
        Self { url, asked }
    }

    /// Answers one route; everything else is not found.
    pub(crate) fn route(method: &'static str, path: &'static str, body: Value) -> Self {
        Self::start(
            move |asked, _| {
                if asked.is(method, path) { Reply::json(200, &body) } else { Reply::not_found() }
            },
        )
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The only request.
    #[track_caller]
    pub(crate) fn asked_once(&self) -> Asked {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }
}

impl Asked {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == format!("/api/v1{path}")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        Self::Whole { status, headers: vec![("content-type", kind.to_owned())], body: body.to_string() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::Whole { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Whole { status, headers: vec![("content-type", "text/html".to_owned())], body: body.to_owned() }
    }

    pub(crate) fn not_found() -> Self {
        Self::json(404, &super::problem(404, "not_found", "there is nothing here"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Self::Whole { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

/// Requests of one connection, one after another, until the client hangs up.
fn serve(stream: &TcpStream, answer: &dyn Fn(&Asked, usize) -> Reply, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let Reply::Whole { status, headers, body } = answer(&asked, before) else { return };
        let mut head = format!("HTTP/1.1 {status} -\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if status != 204 {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let mut stream = stream;
        if stream.write_all(format!("{head}\r\n{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut asked =
        Asked { method, path: path.to_owned(), query: query.to_owned(), headers, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}
