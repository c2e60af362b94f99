//! A receiver of webhooks: keeps what is posted to it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// A port on this machine that takes requests until the test ends.
#[derive(Debug)]
pub struct Inbox {
    url: String,
    letters: Receiver<Letter>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Header fields by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Inbox {
    /// Answers 204 to everything.
    ///
    /// # Panics
    /// Without a free port.
    #[must_use]
    pub fn start() -> Self {
        Self::answering(&[204])
    }

    /// Answers with one status after the other, and the last one from then on.
    ///
    /// # Panics
    /// Without a free port, or without a status.
    #[must_use]
    pub fn answering(statuses: &[u16]) -> Self {
        let listener = match TcpListener::bind("127.0.0.1:0") {
            Ok(listener) => listener,
            Err(error) => panic!("no port for an inbox: {error}"),
        };
        let Ok(address) = listener.local_addr() else { panic!("an inbox without an address") };
        let Some((&last, first)) = statuses.split_last() else { panic!("an inbox answers something") };
        let first = first.to_vec();
        let mut statuses = first.into_iter().chain(std::iter::repeat(last));
        let (sender, letters) = mpsc::channel();
        std::thread::spawn(move || {
            // Whoever hangs up early wrote no letter.
            for stream in listener.incoming().flatten() {
                let _ = take(stream, &mut statuses, &sender);
            }
        });
        Self { url: format!("http://{address}/hook"), letters }
    }

    /// Where to post to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next request that was answered; `None` when there is none within `patience`.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Letter> {
        self.letters.recv_timeout(patience).ok()
    }
}

fn take(
    stream: TcpStream,
    statuses: &mut impl Iterator<Item = u16>,
    letters: &Sender<Letter>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            // The request line.
            None => {}
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let status = statuses.next().unwrap_or(204);
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Before it is answered: whoever has the answer may look for the letter.
    let _ = letters.send(Letter { headers, body });
    reader.get_mut().write_all(answer.as_bytes())
}
