//! Where an edge's documents come from: what is offered is verified, taken over, and kept on its own disk.
//!
//! [`Feed::offer`] is the one door. Whoever brings documents (the [`Follower`] over the network, the control plane in
//! the same process, a shared cache) offers signed tokens, and trusts nobody: the feed verifies them against the
//! pinned root key, refuses what is older, foreign or unusable, and publishes the rest to the [`Edge`]. A refusal
//! leaves what is being served as it is.
//!
//! # Without network
//!
//! [`Feed::open`] publishes what the disk still has before anything is asked of the network, however old it is. Clients
//! then see assignments as usual, signed afresh; a status document that has expired, at which SDKs know that they may
//! not hear of a halt; after its lifetime a keyset that has expired, with which SDKs verify nothing new; and
//! `/readyz` says 503, so that a load balancer prefers edges that hear from the control plane.
//!
//! # When the clock jumps
//!
//! The edge goes on serving. A clock that is behind sees documents from the future, one that is ahead sees expired
//! status documents; both are refused and come again, so the first good one after the clock is right is taken over.
//! What was taken over under a wrong clock and lies in the future gives way to anything of its version.

mod error;
mod follower;
mod held;
mod keys;
mod restore;
mod state;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::PublicKey;
use edgeseal_core::time::Timestamp;

pub use error::{FeedError, OpenError, Part};
pub use follower::{
    Follower, FollowerConfig, FollowerError, FollowerHandle, HEARTBEAT_INTERVAL, POLL_INTERVAL, TokenSource,
};
pub use keys::{EdgeKeys, EdgeKeysError, MAX_EDGE_KEYS_BYTES};
pub use state::{MemoryState, StateError, StateFile, StateStore};

use held::Held;
use writer::Writer;

use crate::{Edge, Published};

/// Characters of an edge's id, and what they are drawn from.
const ID_CHARS: usize = 16;
const ID_ALPHABET: [u8; 32] = *b"abcdefghijklmnopqrstuvwxyz234567";

/// Documents for an edge, any of them. What is missing is at hand already, or comes later.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The secrets that edges share.
    pub keys: Option<Arc<EdgeKeys>>,
    /// The keyset token.
    pub keyset: Option<String>,
    /// The snapshot token.
    pub snapshot: Option<String>,
    /// The status token.
    pub status: Option<String>,
}

/// What became of an offer that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// What the edge did.
    pub outcome: Outcome,
    /// The newest keyset asks for a signing key that is not at hand: fetch the keys. Until they come, the edge signs
    /// with the key that it has.
    pub needs_keys: bool,
}

/// What an edge did with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It serves something new.
    Published,
    /// It served this already, or keeps it for later.
    Unchanged,
    /// Parts are missing, so it serves nothing yet.
    Waiting,
}

/// The versions that an edge has; `None` where it has nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Of the keyset, `ver`.
    pub keyset: Option<u64>,
    /// Of the snapshot, `cv`.
    pub snapshot: Option<u64>,
    /// Of the status document, `ep`.
    pub status: Option<u64>,
    /// The snapshot version that the status document speaks of.
    pub newest_snapshot: Option<u64>,
}

impl Position {
    /// Whether the status document speaks of a snapshot that has not come.
    pub fn is_behind(&self) -> bool {
        self.newest_snapshot > self.snapshot
    }
}

/// What an edge serves, for the control plane's list of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    /// Version of the snapshot.
    pub cv: u64,
    /// Epoch of the status document.
    pub ep: u64,
    /// Version of the keyset.
    pub keyset_ver: u64,
    /// When the status document was signed.
    pub status_iat: Timestamp,
}

/// The one door to an edge.
pub struct Feed {
    edge: Arc<Edge>,
    environment: Environment,
    id: String,
    held: Mutex<Arc<Held>>,
    writer: Writer,
    /// The refusal that was logged last, so that one that comes every few seconds is logged once.
    last_refusal: Mutex<Option<(&'static str, Option<Part>)>>,
}

impl Feed {
    /// Opens the door and publishes what the disk still has, if that is enough to serve.
    ///
    /// Without `pinned`, the first root key that comes with edge keys is trusted, from then on for ever.
    ///
    /// # Errors
    /// [`OpenError`], when it is not clear whom to trust. Damaged documents are logged and passed over.
    pub fn open(
        edge: Arc<Edge>,
        environment: Environment,
        store: Arc<dyn StateStore>,
        pinned: Option<PublicKey>,
    ) -> Result<Self, OpenError> {
        let (mut held, saved) = restore::restore(&*store, &environment, pinned)?;
        let id = edge_id(&*store)?;
        if let Some(choice) = held.choice() {
            let published =
                Published::new(choice.publication()).and_then(|published| edge.publish(published));
            match published {
                Ok(()) => {
                    let (cv, ep) = (choice.snapshot.ruleset.version(), choice.status.status.ep);
                    tracing::info!(%environment, snapshot = cv, epoch = ep, "serving from this edge's own disk");
                    held.served = Some(choice);
                }
                Err(error) => tracing::error!(%error, "the documents on disk do not belong together"),
            }
        } else if held.keyset.is_some() {
            tracing::error!(%environment, "the documents on disk are not enough to serve; waiting for the control plane");
        }
        let failures = edge.app.metrics.feed_state_failures.clone();
        let writer = Writer::start(store, saved, failures).map_err(OpenError::System)?;
        let (held, last_refusal) = (Mutex::new(Arc::new(held)), Mutex::default());
        Ok(Self { edge, environment, id, held, writer, last_refusal })
    }

    /// Verifies an offer and takes it over, all of it or nothing. Compiling a large snapshot takes some time: call it
    /// where blocking is no harm. Writing to disk comes afterwards, on another thread.
    ///
    /// # Errors
    /// [`FeedError`], logged and counted here; the edge serves what it served before.
    pub fn offer(&self, offer: &Offer, now: Timestamp) -> Result<Taken, FeedError> {
        let result = self.take(offer, now);
        match &result {
            Ok(Taken { outcome: Outcome::Published, .. }) => *lock(&self.last_refusal) = None,
            Ok(_) => {}
            Err(error) => self.note(error),
        }
        result
    }

    /// As [`Feed::offer`], but when it is the snapshot that is refused, the rest is offered without it: a halt must not
    /// wait for a snapshot that this edge cannot read. The edge is then [behind](Position::is_behind).
    ///
    /// # Errors
    /// [`FeedError`], when nothing was taken over.
    pub fn offer_leniently(&self, mut offer: Offer, now: Timestamp) -> Result<Taken, FeedError> {
        let result = self.offer(&offer, now);
        let is_snapshot = result.as_ref().is_err_and(|error| error.part() == Some(Part::Snapshot));
        offer.snapshot = None;
        let has_more = offer.keys.is_some() || offer.keyset.is_some() || offer.status.is_some();
        if is_snapshot && has_more { self.offer(&offer, now) } else { result }
    }

    fn take(&self, offer: &Offer, now: Timestamp) -> Result<Taken, FeedError> {
        loop {
            let before = self.held();
            // Verifying and compiling hold no lock: a halt that comes another way meanwhile overtakes.
            let mut next = before.with(offer, &self.environment, now)?;
            let mut current = lock(&self.held);
            if !Arc::ptr_eq(&before, &current) {
                continue;
            }
            let needs_keys = next.needs_keys();
            let outcome = match next.choice() {
                None if next.served.is_none() => Outcome::Waiting,
                None => Outcome::Unchanged,
                Some(choice) if next.served.as_ref().is_some_and(|served| served.same(&choice)) => {
                    Outcome::Unchanged
                }
                Some(choice) => {
                    self.edge.publish(Published::new(choice.publication())?)?;
                    self.edge.app.metrics.feed_takeovers.inc();
                    next.served = Some(choice);
                    Outcome::Published
                }
            };
            let next = Arc::new(next);
            *current = Arc::clone(&next);
            self.writer.want(next);
            return Ok(Taken { outcome, needs_keys });
        }
    }

    /// Logs and counts a refusal, once.
    fn note(&self, error: &FeedError) {
        let (reason, part) = (error.reason(), error.part());
        self.edge.app.metrics.feed_refused(reason);
        if lock(&self.last_refusal).replace((reason, part)) == Some((reason, part)) {
            tracing::debug!(reason, %error, "an offer was refused again");
        } else if matches!(error, FeedError::Older { .. }) {
            // Usually no attack: two ways brought the news, and the slower one brought what was new before.
            tracing::warn!(reason, %error, "an older offer was refused");
        } else {
            tracing::error!(reason, %error, "an offer was refused; the edge serves what it served before");
        }
    }

    /// The versions at hand, to ask for what is newer.
    pub fn position(&self) -> Position {
        let held = self.held();
        Position {
            keyset: held.keyset.as_ref().map(|held| held.keyset.ver),
            snapshot: held.snapshot.as_ref().map(|held| held.ruleset.version()),
            status: held.status.as_ref().map(|held| held.status.ep),
            newest_snapshot: held.status.as_ref().map(|held| held.status.cv),
        }
    }

    /// Whether the newest keyset asks for a signing key that is not at hand.
    pub fn needs_keys(&self) -> bool {
        self.held().needs_keys()
    }

    /// What is served; `None` while there is nothing.
    pub fn serving(&self) -> Option<Serving> {
        let held = self.held();
        let served = held.served.as_ref()?;
        Some(Serving {
            cv: served.snapshot.ruleset.version(),
            ep: served.status.status.ep,
            keyset_ver: served.keyset.keyset.ver,
            status_iat: served.status.status.iat,
        })
    }

    /// The id that this edge drew on its first start.
    pub fn edge_id(&self) -> &str {
        &self.id
    }

    /// The time, by the edge's clock.
    pub fn now(&self) -> Timestamp {
        self.edge.app.clock.now()
    }

    /// The environment that it serves.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Waits until what was taken over is on disk, or could not be written.
    pub fn flush(&self) {
        self.writer.flush();
    }

    fn edge(&self) -> &Edge {
        &self.edge
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&lock(&self.held))
    }
}

/// Nothing is left half-done when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn edge_id(store: &dyn StateStore) -> Result<String, OpenError> {
    let file = StateFile::EdgeId;
    let stored = store.load(file).map_err(|error| OpenError::State { file: file.name(), error })?;
    let stored = stored.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| text.trim().to_owned());
    let is_id = |id: &String| id.len() == ID_CHARS && id.bytes().all(|byte| ID_ALPHABET.contains(&byte));
    if let Some(id) = stored.filter(is_id) {
        return Ok(id);
    }
    let mut bytes = [0; ID_CHARS];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| OpenError::System(std::io::Error::other("the system gives no random bytes")))?;
    let letter = |byte: &u8| ID_ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
    let id: String = bytes.iter().map(letter).collect();
    if let Err(error) = store.save(file, id.as_bytes()) {
        tracing::warn!(%error, "this edge's id is not kept; the control plane will see a new edge after a restart");
    }
    Ok(id)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
