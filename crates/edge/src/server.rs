//! Threads and sockets: one current-thread runtime per core, each with its own listening socket on the same port
//! (`SO_REUSEPORT`), so that connections never move between cores and no lock is shared on the way in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::App;
use crate::connection;

/// Connections that the kernel may hold for us before we accept them.
const ACCEPT_BACKLOG: i32 = 1024;
/// Refused connections that one thread says no to at once; further ones are closed without a word.
const MAX_REFUSALS_UNDER_WAY: usize = 64;
/// Pause after a failed accept (out of file descriptors, say), doubled up to the longest.
const FIRST_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A serving edge. Dropping it stops it without waiting.
pub struct Running {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; free the address or listen on another one")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start a serving thread: {0}; the system may be out of threads or file descriptors")]
    Thread(io::Error),
}

impl Running {
    /// The address that it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Asks it to finish the requests under way and to accept no more. Returns at once.
    pub fn shutdown(&self) {
        // Fails only when every thread has ended already.
        let _ended = self.stop.send(true);
    }

    /// Blocks until all threads have ended; call [`Running::shutdown`] first, or this waits for ever.
    pub fn join(mut self) {
        for thread in self.threads.drain(..) {
            // A panic was already reported by its thread.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Binds, then serves `router` on every thread.
pub(crate) fn start(app: &App) -> Result<Running, StartError> {
    let listen = app.config.listen;
    let refused = |source| StartError::Listen { address: listen, source };
    let threads = app.config.thread_count();
    probe(listen).map_err(refused)?;
    let first = bind(listen).map_err(refused)?;
    let local_addr = first.local_addr().map_err(refused)?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(bind(local_addr).map_err(refused)?);
    }

    let (stop, stopped) = watch::channel(false);
    let open = Arc::new(AtomicUsize::new(0));
    let mut running = Running { local_addr, stop, threads: Vec::with_capacity(threads) };
    for (number, listener) in listeners.into_iter().enumerate() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let acceptor = Acceptor { app: Arc::clone(app), open: Arc::clone(&open), stop: stopped.clone() };
        let thread = std::thread::Builder::new()
            .name(format!("edgeseal-edge-{number}"))
            .spawn(move || runtime.block_on(acceptor.run(listener)))
            .map_err(StartError::Thread)?;
        running.threads.push(thread);
    }
    tracing::info!(address = %local_addr, threads, "edge listening");
    Ok(running)
}

/// Fails if somebody else listens there. Sockets with `SO_REUSEPORT` would silently share the port with a second edge
/// of the same user, which then answers every other request.
fn probe(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

/// One thread's share of the work.
struct Acceptor {
    app: App,
    /// Connections open over all threads.
    open: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(mut self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a serving thread cannot use its socket; it ends"),
        };
        let mut connections = JoinSet::new();
        let mut refusals = JoinSet::new();
        let mut pause = FIRST_ACCEPT_PAUSE;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _peer)) => {
                        pause = FIRST_ACCEPT_PAUSE;
                        self.admit(stream, &mut connections, &mut refusals);
                    }
                    Err(error) => {
                        tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
                    }
                },
                Some(_ended) = connections.join_next() => {}
                Some(_ended) = refusals.join_next() => {}
                _changed = self.stop.changed() => break,
            }
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.app.config.shutdown_grace, drained).await.is_err() {
            tracing::warn!(
                left = connections.len(),
                "connections still open after the grace period; closing them"
            );
        }
    }

    fn admit(&self, stream: TcpStream, connections: &mut JoinSet<()>, refusals: &mut JoinSet<()>) {
        let Some(place) = Place::take(&self.open, &self.app) else {
            self.app.metrics.connections_refused.inc();
            if refusals.len() < MAX_REFUSALS_UNDER_WAY {
                refusals.spawn(connection::refuse(stream));
            }
            return;
        };
        // Answers are written whole; waiting to fill a segment would only delay them.
        let _without = stream.set_nodelay(true);
        let (app, stop) = (Arc::clone(&self.app), self.stop.clone());
        connections.spawn(async move {
            connection::serve(stream, &app, stop).await;
            drop(place);
        });
    }
}

/// One of the connections that may be open; given back when dropped.
struct Place {
    open: Arc<AtomicUsize>,
    app: App,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>, app: &App) -> Option<Self> {
        if open.fetch_add(1, Ordering::AcqRel) >= app.config.max_connections {
            open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        app.metrics.connections.inc();
        Some(Self { open: Arc::clone(open), app: Arc::clone(app) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.app.metrics.connections.dec();
    }
}
