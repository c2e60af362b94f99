//! A steady load on an edge, to show that it answers everything while something else is being broken.
//!
//! Not a benchmark: the rate is modest and fixed, so that a lost answer means a fault and never mere overload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What to ask of whom, and how often.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the edge listens.
    pub edge: SocketAddr,
    /// Connections, all kept alive.
    pub connections: u32,
    /// Requests per second, all connections together.
    pub per_second: u32,
    /// Different units that are asked for: `u0`, `u1`, …
    pub units: u32,
}

impl Settings {
    /// A load that two busy cores carry beside everything else: 4 connections, 200 requests per second, 1 000 units.
    #[must_use]
    pub fn modest(edge: SocketAddr) -> Self {
        Self { edge, connections: 4, per_second: 200, units: 1_000 }
    }
}

/// A load that is running, in a thread of its own: a test that blocks does not slow it down.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were begun.
    pub requests: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without an answer, by what went wrong.
    pub unanswered: BTreeMap<String, u64>,
    /// The longest that a request took, from connecting if it had to.
    pub slowest: Duration,
}

impl Load {
    /// Begins.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(run(&settings, &stopped)),
                Err(error) => panic!("no runtime for the load: {error}"),
            }
        });
        Self { stop, thread }
    }

    /// Lets the requests that are under way finish, and counts.
    ///
    /// # Panics
    /// When the load itself broke.
    #[must_use]
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(report) => report,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Report {
    /// Requests that got no answer, or one other than 200.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.requests - self.by_status.get(&StatusCode::OK.as_u16()).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (trouble, count) in other.unanswered {
            *self.unanswered.entry(trouble).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }
}

async fn run(settings: &Settings, stop: &Arc<AtomicBool>) -> Report {
    let mut clients = JoinSet::new();
    for number in 0..settings.connections {
        clients.spawn(client(settings.clone(), number, Arc::clone(stop)));
    }
    let mut report = Report::default();
    while let Some(outcome) = clients.join_next().await {
        match outcome {
            Ok(part) => report.add(part),
            Err(error) => panic!("a client of the load broke: {error}"),
        }
    }
    report
}

/// One connection: asks in its turn, and connects again when the edge has closed it.
async fn client(settings: Settings, number: u32, stop: Arc<AtomicBool>) -> Report {
    let period = Duration::from_secs(1) * settings.connections / settings.per_second.max(1);
    let mut turns =
        tokio::time::interval_at((Instant::now() + period * number / settings.connections).into(), period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut report = Report::default();
    let mut connection = None;
    let mut unit = number;
    loop {
        turns.tick().await;
        if stop.load(Ordering::Relaxed) {
            return report;
        }
        report.requests += 1;
        let began = Instant::now();
        let asked = tokio::time::timeout(ANSWER_WITHIN, ask(&settings, &mut connection, unit)).await;
        report.slowest = report.slowest.max(began.elapsed());
        match asked {
            Ok(Ok(status)) => *report.by_status.entry(status.as_u16()).or_default() += 1,
            Ok(Err(trouble)) => {
                connection = None;
                *report.unanswered.entry(trouble).or_default() += 1;
            }
            Err(_) => {
                connection = None;
                *report.unanswered.entry("no answer in time".into()).or_default() += 1;
            }
        }
        unit = (unit + settings.connections) % settings.units.max(1);
    }
}

type Connection = SendRequest<Empty<Bytes>>;

async fn ask(
    settings: &Settings,
    connection: &mut Option<Connection>,
    unit: u32,
) -> Result<StatusCode, String> {
    let mut sender = match connection.take() {
        Some(sender) if !sender.is_closed() => sender,
        _ => connect(settings.edge).await?,
    };
    // The edge may have closed it without anybody having noticed yet.
    if sender.ready().await.is_err() {
        sender = connect(settings.edge).await?;
    }
    let request = Request::get(format!("/v1/assignments/u{unit}"))
        .header("host", settings.edge.to_string())
        .body(Empty::new())
        .map_err(|error| format!("asking: {error}"))?;
    let answer = sender.send_request(request).await.map_err(|error| format!("asking: {error}"))?;
    let status = answer.status();
    // Half an answer is none.
    answer.into_body().collect().await.map_err(|error| format!("reading the answer: {error}"))?;
    *connection = Some(sender);
    Ok(status)
}

async fn connect(edge: SocketAddr) -> Result<Connection, String> {
    let stream = TcpStream::connect(edge).await.map_err(|error| format!("connecting: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("connecting: {error}"))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("connecting: {error}"))?;
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests;
