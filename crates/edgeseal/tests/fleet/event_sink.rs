//! A control plane whose intake of events belongs to the test: everything else goes to the real one.
//!
//! It is as bad as a network may be: now and then it keeps a delivery and answers with an error, or with nothing at
//! all, or refuses without keeping anything. Whatever it keeps counts as durable.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use edgeseal_core::events::wire::{SpoolRecord, read_lines};
use edgeseal_core::events::{EventId, EventRecord, Quarantined};

use crate::common::Dice;

/// A delivery is at most 4 MiB; with its header it stays below this.
const MAX_REQUEST_BYTES: usize = 6 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// What came in, deduplicated by id as the store does it.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) events: BTreeMap<EventId, EventRecord>,
    pub(crate) notes: Vec<Quarantined>,
    /// Deliveries that were kept, whatever was answered.
    pub(crate) deliveries: usize,
    /// Events that came again.
    pub(crate) again: usize,
    /// Kept and answered with an error or nothing.
    pub(crate) unacknowledged: usize,
}

/// The listening side.
pub(crate) struct EventSink {
    pub(crate) url: String,
    kept: Arc<Mutex<Kept>>,
}

impl EventSink {
    /// In front of the control plane on `control` of this machine.
    pub(crate) fn before(control: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (ours, dice) = (Arc::clone(&kept), Arc::new(Mutex::new(Dice::new())));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let (kept, dice) = (Arc::clone(&ours), Arc::clone(&dice));
                thread::spawn(move || serve(near, control, &kept, &dice));
            }
        });
        Self { url, kept }
    }

    pub(crate) fn kept<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock().unwrap())
    }
}

fn serve(mut near: TcpStream, control: u16, kept: &Mutex<Kept>, dice: &Mutex<Dice>) {
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    loop {
        let Some(end) = head(&mut near, &mut bytes) else { return };
        let text = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        if !text.starts_with("post /api/v1/edge/events?") {
            return carry(near, control, &bytes);
        }
        assert!(text.contains("environment=production") && text.contains("edge="), "{text}");
        assert!(
            text.contains("content-type: application/x-ndjson") && text.contains("authorization: bearer "),
            "{text}"
        );
        let length: usize =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
        while bytes.len() < end + length {
            // An edge that is killed while it delivers: a real server would not take half a body either.
            if !more(&mut near, &mut bytes) {
                return;
            }
        }
        let body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        let fate = dice.lock().unwrap().below(8);
        if fate == 0 {
            let refused = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
            if near.write_all(refused.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        keep(&body, kept, fate <= 2);
        let answer = match fate {
            1 => return,
            2 => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            _ => "HTTP/1.1 204 No Content\r\n\r\n",
        };
        if near.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn keep(body: &[u8], kept: &Mutex<Kept>, unacknowledged: bool) {
    let mut kept = kept.lock().unwrap();
    kept.deliveries += 1;
    kept.unacknowledged += usize::from(unacknowledged);
    for record in read_lines(body) {
        match record.unwrap() {
            SpoolRecord::Quarantined(note) => kept.notes.push(note),
            SpoolRecord::Event(event) => match kept.events.insert(event.id, event.clone()) {
                None => {}
                Some(before) => {
                    // A client that got no answer sends again; when it was received is all that may differ.
                    let same = EventRecord { received_ms: event.received_ms, ..before };
                    assert_eq!(same, event);
                    kept.again += 1;
                }
            },
        }
    }
}

/// Reads until a request's head is there; gives its length.
fn head(near: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(end + 4);
        }
        if !more(near, bytes) {
            return None;
        }
    }
}

fn more(near: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 64 * 1024];
    match near.read(&mut buffer) {
        Ok(count) if count > 0 => {
            bytes.extend_from_slice(&buffer[..count]);
            assert!(bytes.len() < MAX_REQUEST_BYTES, "a request that is too large");
            true
        }
        _ => false,
    }
}

/// The rest of this connection is the real control plane's.
fn carry(mut near: TcpStream, control: u16, begun: &[u8]) {
    let Ok(mut far) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, control))) else { return };
    if far.write_all(begun).is_err() {
        return;
    }
    near.set_read_timeout(None).unwrap();
    let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut near, &mut far);
    let _ = far.shutdown(Shutdown::Both);
    let _ = back.join();
}
