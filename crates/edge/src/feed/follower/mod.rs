//! Follows a control plane over the network: its stream of events, and polling where there is none.
//!
//! The follower trusts the channel for one thing only, the edge keys; everything else is verified by the [`Feed`]. It
//! keeps no versions of its own: what it asks for follows from what the feed holds, so whatever was refused or missed
//! comes again.

mod client;
mod sse;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use client::{FollowerError, TokenSource};

use super::{EdgeKeys, Feed, FeedError, Offer, Position, Taken};
use crate::pace::{Backoff, jittered};
use client::{Client, Trouble, chunk};
use sse::{Parser, Said};

/// How often an edge asks for news while it has no stream.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How often an edge tells the control plane that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How to follow.
#[derive(Clone, Debug)]
pub struct FollowerConfig {
    /// Address of the control plane: scheme, host, perhaps a port and a path.
    pub control: String,
    /// Whether keys may travel over plain HTTP to another machine.
    pub allow_plain_http: bool,
    /// Whether to hang on the control plane's stream. Without it, somebody else brings the documents through a
    /// [`FollowerHandle`], and polling is what is left when he fails.
    pub stream: bool,
    /// See [`POLL_INTERVAL`]; longer without a stream of its own.
    pub poll_interval: Duration,
}

/// How long is waited for what. Not a setting: only tests are in a hurry.
#[derive(Clone)]
struct Timing {
    /// Longest time without an event; status documents come every ten seconds.
    silence: Duration,
    heartbeat: Duration,
    shortest_reconnect: Duration,
    longest_reconnect: Duration,
    /// Pause after a refused API token.
    denied: Duration,
    /// Pauses before fetching what is missing: keys, or a snapshot that was refused.
    shortest_catch_up: Duration,
    longest_catch_up: Duration,
}

const TIMING: Timing = Timing {
    silence: Duration::from_secs(25),
    heartbeat: HEARTBEAT_INTERVAL,
    shortest_reconnect: Duration::from_millis(250),
    longest_reconnect: Duration::from_secs(10),
    denied: Duration::from_secs(30),
    shortest_catch_up: Duration::from_millis(100),
    longest_catch_up: Duration::from_secs(60),
};

/// Follows one control plane for one edge.
pub struct Follower {
    feed: Arc<Feed>,
    client: Client,
    config: FollowerConfig,
    timing: Timing,
    poked: Arc<Notify>,
    connected: Connected,
}

/// Lets others bring documents, or ask for a look.
#[derive(Clone)]
pub struct FollowerHandle {
    feed: Arc<Feed>,
    poked: Arc<Notify>,
}

impl FollowerHandle {
    /// Asks the follower to fetch what is new, now.
    pub fn poke(&self) {
        self.poked.notify_one();
    }

    /// Offers documents as [`Feed::offer_leniently`] does, off the caller's thread; what turns out to be missing is
    /// fetched.
    ///
    /// # Errors
    /// [`FeedError`], already logged.
    pub async fn offer(&self, offer: Offer) -> Result<Taken, FeedError> {
        let result = deliver(&self.feed, offer).await;
        if result.is_err() || self.feed.needs_keys() || self.feed.position().is_behind() {
            self.poke();
        }
        result
    }
}

impl Follower {
    /// A follower that does nothing until [`Follower::run`].
    ///
    /// # Errors
    /// [`FollowerError`] for an address that cannot be used.
    pub fn new(config: FollowerConfig, feed: Arc<Feed>, token: TokenSource) -> Result<Self, FollowerError> {
        let client =
            Client::new(&config.control, config.allow_plain_http, feed.environment().clone(), token)?;
        let connected = Connected::new(feed.edge().app.metrics.feed_connected.clone());
        Ok(Self { feed, client, config, timing: TIMING, poked: Arc::new(Notify::new()), connected })
    }

    /// For whoever brings documents by another way.
    pub fn handle(&self) -> FollowerHandle {
        FollowerHandle { feed: Arc::clone(&self.feed), poked: Arc::clone(&self.poked) }
    }

    /// Follows until `stop` is ready. Whatever happens on the network, this goes on and the edge serves what it has.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.follow() => {}
            () = self.tell() => {}
        }
    }

    async fn follow(&self) {
        let Timing { shortest_reconnect, longest_reconnect, denied, .. } = self.timing;
        let mut reconnect = Backoff::new(shortest_reconnect, longest_reconnect);
        let mut debt = Debt::new(&self.timing);
        let mut troubled = false;
        let mut stream_at = Instant::now();
        let mut poll_at = Instant::now();
        if self.config.stream {
            poll_at += jittered(self.config.poll_interval);
        }
        loop {
            let (trouble, was_stream) = tokio::select! {
                () = tokio::time::sleep_until(stream_at), if self.config.stream => {
                    let trouble = self.stream(&mut reconnect, &mut debt).await;
                    if self.connected.end() {
                        troubled = false;
                    }
                    (Some(trouble), true)
                }
                () = tokio::time::sleep_until(poll_at) => (self.poll(&mut debt).await.err(), false),
                () = debt.due() => (self.poll(&mut debt).await.err(), false),
                () = self.poked.notified() => (self.poll(&mut debt).await.err(), false),
            };
            let is_denied = matches!(trouble, Some(Trouble::Denied(_)));
            match &trouble {
                Some(trouble) if is_denied => tracing::error!(%trouble, "serving what this edge has"),
                Some(trouble) if !troubled => {
                    tracing::warn!(%trouble, "the control plane is not heard; serving what this edge has");
                }
                Some(trouble) => tracing::debug!(%trouble, "the control plane is still not heard"),
                None if troubled => tracing::info!("the control plane is heard again"),
                None => {}
            }
            troubled = trouble.is_some();
            let now = Instant::now();
            if is_denied {
                // The same token would be refused again.
                stream_at = now + jittered(denied);
                poll_at = stream_at + jittered(self.config.poll_interval);
                debt.put_off(denied);
            } else if was_stream {
                stream_at = now + reconnect.step();
                if poll_at <= now {
                    poll_at = now + jittered(self.config.poll_interval);
                }
            } else {
                poll_at = now + jittered(self.config.poll_interval);
            }
        }
    }

    /// Hangs on the stream until it ends, and says why it did.
    async fn stream(&self, reconnect: &mut Backoff, debt: &mut Debt) -> Trouble {
        let mut response = match self.client.stream(&self.feed.position()).await {
            Ok(response) => response,
            Err(trouble) => return trouble,
        };
        let mut parser = Parser::new();
        let (mut said, mut group) = (Vec::new(), Offer::default());
        let mut deadline = Instant::now() + self.timing.silence;
        loop {
            tokio::select! {
                bytes = chunk(&mut response) => {
                    let bytes = match bytes {
                        Ok(Some(bytes)) => bytes,
                        Ok(None) => return Trouble::Ended,
                        Err(trouble) => return trouble,
                    };
                    let read = parser.push(&bytes, &mut said);
                    for said in said.drain(..) {
                        deadline = Instant::now() + self.timing.silence;
                        match said {
                            Said::Retry(wait) => reconnect.at_least(wait),
                            Said::Event { name, mut data } => {
                                if self.gather(&mut group, &name, &mut data, debt) {
                                    self.connected.begin();
                                    reconnect.reset();
                                    let result = deliver(&self.feed, std::mem::take(&mut group)).await;
                                    debt.note(&self.feed, result.is_err(), false);
                                }
                            }
                        }
                    }
                    if let Err(error) = read {
                        return Trouble::Garbage { expected: "events", cause: error.to_string() };
                    }
                    if parser.is_mid_event() {
                        // A large snapshot on a slow line is no silence.
                        deadline = Instant::now() + self.timing.silence;
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Trouble::Silent,
                () = debt.due() => self.poll_beside(debt).await,
                () = self.poked.notified() => self.poll_beside(debt).await,
            }
        }
    }

    /// Adds an event to its group; true when that is complete.
    fn gather(&self, group: &mut Offer, name: &str, data: &mut String, debt: &mut Debt) -> bool {
        // Taken, not copied: a snapshot is large.
        let mut token = || Some(std::mem::take(data));
        match name {
            "keys" => match EdgeKeys::from_json(data.as_bytes()) {
                Ok(keys) => group.keys = Some(Arc::new(keys)),
                Err(error) => {
                    self.feed.note(&FeedError::Keys(error));
                    debt.owed = true;
                }
            },
            "keyset" => group.keyset = token(),
            "snapshot" => group.snapshot = token(),
            "status" => {
                group.status = token();
                return true;
            }
            // A newer control plane may say more.
            _ => {}
        }
        false
    }

    /// Polls while a stream is open, which says more about trouble than this could.
    async fn poll_beside(&self, debt: &mut Debt) {
        if let Err(trouble) = self.poll(debt).await {
            tracing::debug!(%trouble, "what is missing could not be fetched");
        }
    }

    /// Fetches what is new, and the keys if they are missing.
    async fn poll(&self, debt: &mut Debt) -> Result<(), Trouble> {
        let mut position = self.feed.position();
        if self.feed.needs_keys() {
            position = Position { keyset: None, ..position };
        }
        let offer = match self.client.bundle(&position).await {
            Ok(Ok(offer)) => offer,
            Ok(Err(error)) => {
                self.feed.note(&FeedError::Keys(error));
                debt.note(&self.feed, true, true);
                return Ok(());
            }
            Err(trouble) => {
                debt.note(&self.feed, true, true);
                return Err(trouble);
            }
        };
        let result = deliver(&self.feed, offer).await;
        debt.note(&self.feed, result.is_err(), true);
        Ok(())
    }

    async fn tell(&self) {
        loop {
            let source = match (self.config.stream, self.connected.now()) {
                (false, _) => "redis",
                (true, true) => "stream",
                (true, false) => "poll",
            };
            let serving = self.feed.serving().map(|serving| {
                let age_ms = self.feed.now().unix_ms().saturating_sub(serving.status_iat.unix_ms());
                (serving, age_ms)
            });
            if let Err(trouble) = self.client.heartbeat(self.feed.edge_id(), source, serving).await {
                tracing::debug!(%trouble, "the heartbeat was not heard");
            }
            tokio::time::sleep(jittered(self.timing.heartbeat)).await;
        }
    }
}

/// Offers off the network's threads: verifying and compiling take their time.
async fn deliver(feed: &Arc<Feed>, offer: Offer) -> Result<Taken, FeedError> {
    let feed = Arc::clone(feed);
    let offered = tokio::task::spawn_blocking(move || {
        let now = feed.now();
        feed.offer_leniently(offer, now)
    });
    // It only fails by a panic, which its thread has reported.
    offered.await.unwrap_or(Err(FeedError::Broken))
}

/// What is missing although the control plane said it once: fetched by polling, ever more slowly.
struct Debt {
    backoff: Backoff,
    due: Option<Instant>,
    /// Something was refused since the last poll that went through.
    owed: bool,
}

impl Debt {
    fn new(timing: &Timing) -> Self {
        let backoff = Backoff::new(timing.shortest_catch_up, timing.longest_catch_up);
        Self { backoff, due: None, owed: false }
    }

    /// Takes note of how an offer went.
    fn note(&mut self, feed: &Feed, refused: bool, was_poll: bool) {
        self.owed = refused || (self.owed && !was_poll);
        if !self.owed && !feed.needs_keys() && !feed.position().is_behind() {
            self.backoff.reset();
            self.due = None;
        } else if self.due.is_none() || was_poll {
            self.due = Some(Instant::now() + self.backoff.step());
        }
    }

    fn put_off(&mut self, wait: Duration) {
        self.due = self.due.map(|due| due.max(Instant::now() + wait));
    }

    /// Ready when it is time to fetch; never while nothing is missing.
    async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Whether the stream is open and has said something.
struct Connected {
    gauge: Gauge,
    open: AtomicBool,
}

impl Connected {
    fn new(gauge: Gauge) -> Self {
        Self { gauge, open: AtomicBool::new(false) }
    }

    fn begin(&self) {
        if !self.open.swap(true, Ordering::Relaxed) {
            self.gauge.set(1);
            tracing::info!("following the control plane's stream");
        }
    }

    /// Whether it was open.
    fn end(&self) -> bool {
        self.gauge.set(0);
        self.open.swap(false, Ordering::Relaxed)
    }

    fn now(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
