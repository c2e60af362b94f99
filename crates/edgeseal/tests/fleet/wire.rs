//! The network between two parts: forwards TCP, and can be cut, go silent and be mended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a connection looks at what became of the wire.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A wire to one address.
pub(crate) struct Wire {
    url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    state: State,
    /// What went towards the far end since [`Wire::mend`], for tests that care how somebody came back.
    asked: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Open connections are reset, new ones end at once.
    Cut,
    /// Nobody hears anything and nobody is told: as if a router had died.
    Silent,
}

impl Wire {
    /// Listens on a free port and forwards to `port` of this machine, whether anybody listens there yet or not.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared { state: State::Whole, asked: Vec::new() }));
        let far = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&ours);
                std::thread::spawn(move || carry(near, far, &shared));
            }
        });
        Self { url, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everybody notices at once.
    pub(crate) fn cut(&self) {
        self.turn(State::Cut);
    }

    /// Nobody notices by themselves.
    pub(crate) fn silence(&self) {
        self.turn(State::Silent);
    }

    /// New connections get through again. Those that fell silent never speak again.
    pub(crate) fn mend(&self) {
        self.shared.lock().unwrap().asked.clear();
        self.turn(State::Whole);
    }

    /// What was asked through the wire since it was mended, in lower case.
    pub(crate) fn asked(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().unwrap().asked).to_lowercase()
    }

    fn turn(&self, state: State) {
        self.shared.lock().unwrap().state = state;
    }
}

fn carry(near: TcpStream, far: SocketAddr, shared: &Arc<Mutex<Shared>>) {
    let state = shared.lock().unwrap().state;
    match state {
        State::Cut => return,
        State::Silent => return hold(&near, shared),
        State::Whole => {}
    }
    let Ok(far) = TcpStream::connect(far) else { return };
    let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let back = Arc::clone(shared);
    let returning = std::thread::spawn(move || copy(far_too, near_too, &back, false));
    copy(near, far, shared, true);
    let _ = returning.join();
}

/// Copies until one side ends or the wire is no longer whole.
fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Mutex<Shared>, remember: bool) {
    from.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer);
        let mut wire = shared.lock().unwrap();
        match wire.state {
            State::Whole => {}
            State::Cut => break,
            State::Silent => {
                drop(wire);
                return hold(&from, shared);
            }
        }
        match read {
            Ok(0) => break,
            Ok(count) => {
                if remember {
                    wire.asked.extend_from_slice(&buffer[..count]);
                }
                drop(wire);
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Keeps a connection open and dead until its owner gives up or the wire is cut.
fn hold(stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut reading = stream;
    let mut buffer = [0; 1024];
    stream.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    while shared.lock().unwrap().state != State::Cut {
        match reading.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            _ => {}
        }
    }
}
