//! What edges should have, kept fresh in memory and handed to whoever watches.
//!
//! Nothing here waits for the store: status documents are signed anew from the last known state while the database is
//! down, and nothing older ever follows something newer.

mod announce;
mod run;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{
    KeyUse, PublicKey, RotationPolicy, STATUS_LIFE_SECONDS, STATUS_RESIGN_SECONDS, Status, TokenKind, seal,
};
use edgeseal_core::time::Timestamp;
use edgeseal_store::SignedSet;
use tokio::sync::{Semaphore, watch};

use crate::environment::EnvironmentState;
use crate::ingest::Group;
use crate::keys::EdgeKeys;
use crate::rollup::Progress;

/// Most changes of one environment that wait for their turn in one process; more are refused at once.
pub(crate) const MAX_WAITING_CHANGES: usize = 128;

/// What the edges of an environment should have now.
#[derive(Debug, Clone)]
pub struct Current {
    /// The environment.
    pub environment: Environment,
    /// Its root key.
    pub root: PublicKey,
    /// The signed documents.
    pub set: SignedSet,
    /// What edges sign with; secret.
    pub keys: Arc<EdgeKeys>,
}

/// One environment in this process.
pub(crate) struct Slot {
    pub(crate) name: Environment,
    /// Held while changing: one process need not conflict with itself.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// A permit for each change that works or waits.
    pub(crate) waiting: Semaphore,
    /// Held while reading news.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// Held while counting events.
    pub(crate) rolling: tokio::sync::Mutex<Progress>,
    /// Events of clients on their way to the store.
    pub(crate) group: Group,
    /// What the store said last.
    known: Mutex<Arc<EnvironmentState>>,
    /// What is handed out; never goes back, whatever the store says.
    serving: Mutex<Serving>,
    current: watch::Sender<Arc<Current>>,
}

impl Slot {
    pub(crate) fn new(state: Arc<EnvironmentState>, policy: &RotationPolicy, now: Timestamp) -> Self {
        let serving = Serving::begin(Arc::clone(&state), policy, now);
        Self {
            name: state.name.clone(),
            changing: tokio::sync::Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING_CHANGES),
            loading: tokio::sync::Mutex::default(),
            rolling: tokio::sync::Mutex::default(),
            group: Group::default(),
            known: Mutex::new(state),
            current: watch::Sender::new(Arc::clone(&serving.current)),
            serving: Mutex::new(serving),
        }
    }

    /// The last known state.
    pub(crate) fn known(&self) -> Arc<EnvironmentState> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// Takes over a state that was read from the store, or committed. `false` when edges have something newer: then it is
    /// not handed out.
    pub(crate) fn adopt(
        &self,
        state: Arc<EnvironmentState>,
        policy: &RotationPolicy,
        now: Timestamp,
    ) -> bool {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state);
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        // A reader that was slower than a commit of our own, or a store that was restored from a backup.
        if !state.may_follow(&serving.state) {
            return false;
        }
        serving.state = state;
        self.sign_what_is_due(&mut serving, policy, now);
        true
    }

    /// Signs anew what grows old; `true` when something was.
    pub(crate) fn refresh(&self, policy: &RotationPolicy, now: Timestamp) -> bool {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        self.sign_what_is_due(&mut serving, policy, now)
    }

    fn sign_what_is_due(&self, serving: &mut Serving, policy: &RotationPolicy, now: Timestamp) -> bool {
        let Some(next) = serving.next(policy, now) else { return false };
        *serving = next;
        self.current.send_replace(Arc::clone(&serving.current));
        true
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.name)
    }
}

impl EnvironmentState {
    /// Whether nothing in it is older than in `served`.
    fn may_follow(&self, served: &Self) -> bool {
        let (new, old) = (&self.head, &served.head);
        new.sequence >= old.sequence
            && new.cv >= old.cv
            && new.ep >= old.ep
            && new.keyset_ver >= old.keyset_ver
            && self.keyring.root() == served.keyring.root()
    }
}

/// What is handed out, and what it was made of.
struct Serving {
    state: Arc<EnvironmentState>,
    current: Arc<Current>,
    /// Keys that signed: another control key asks for another status document.
    signed_by: Signed,
}

/// Of which time the signed documents are, and of which keys.
#[derive(Clone, PartialEq, Eq)]
struct Signed {
    keyset_iat: i64,
    status_iat: i64,
    control: Option<edgeseal_core::sealing::KeyId>,
}

impl Serving {
    fn begin(state: Arc<EnvironmentState>, policy: &RotationPolicy, now: Timestamp) -> Self {
        let (keyset, status) = (sign_keyset(&state, policy, now), sign_status(&state, now));
        Self::of(state, keyset, status)
    }

    /// What comes next, if anything of it is due.
    fn next(&self, policy: &RotationPolicy, now: Timestamp) -> Option<Self> {
        let (state, set) = (&self.state, &self.current.set);
        let age = |iat| now.unix_seconds().saturating_sub(iat);
        let half_life = policy.keyset_lifetime_seconds / 2;
        // An age below zero means that the clock was set back: verifiers refuse what comes from the future.
        let keyset = if set.keyset_ver == state.head.keyset_ver
            && (0..half_life).contains(&age(self.signed_by.keyset_iat))
        {
            (Arc::clone(&set.keyset), self.signed_by.keyset_iat)
        } else {
            sign_keyset(state, policy, now)
        };
        let status = if (set.ep, set.cv) == (state.head.ep, state.head.cv)
            && self.signed_by.control.as_ref() == state.keyring.active_kid(KeyUse::Control)
            && (0..STATUS_RESIGN_SECONDS).contains(&age(set.status_iat))
        {
            (Arc::clone(&set.status), set.status_iat)
        } else {
            sign_status(state, now)
        };
        let next = Self::of(Arc::clone(state), keyset, status);
        let same = next.current.set == *set && Arc::ptr_eq(&next.current.keys, &self.current.keys);
        (!same).then_some(next)
    }

    fn of(state: Arc<EnvironmentState>, keyset: (Arc<str>, i64), status: (Arc<str>, i64)) -> Self {
        let set = SignedSet {
            keyset_ver: state.head.keyset_ver,
            keyset: keyset.0,
            cv: state.head.cv,
            snapshot: Arc::clone(&state.snapshot_token),
            ep: state.head.ep,
            status_iat: status.1,
            status: status.0,
        };
        let current = Current {
            environment: state.name.clone(),
            root: *state.keyring.root(),
            set,
            keys: Arc::clone(&state.edge_keys),
        };
        let signed_by = Signed {
            keyset_iat: keyset.1,
            status_iat: status.1,
            control: state.keyring.active_kid(KeyUse::Control).cloned(),
        };
        Self { state, current: Arc::new(current), signed_by }
    }
}

fn sign_keyset(state: &EnvironmentState, policy: &RotationPolicy, now: Timestamp) -> (Arc<str>, i64) {
    let keyset = state.keyring.keyset(state.head.keyset_ver, now, policy);
    let token = seal(TokenKind::Keyset, &keyset.claims_json(), &state.secrets.root);
    (Arc::from(token), keyset.iat.unix_seconds())
}

/// What it says follows from the commit alone, so all control processes say the same under one epoch.
pub(crate) fn status_of(state: &EnvironmentState, now: Timestamp) -> Status {
    let iat = Timestamp::from_unix_seconds(now.unix_seconds());
    Status {
        iss: state.name.clone(),
        ep: state.head.ep,
        cv: state.head.cv,
        off: state.counters.halted.iter().cloned().collect(),
        min: std::collections::BTreeMap::new(),
        rev: state.counters.revoked.iter().cloned().collect(),
        iat,
        exp: iat.plus_seconds(STATUS_LIFE_SECONDS),
    }
}

fn sign_status(state: &EnvironmentState, now: Timestamp) -> (Arc<str>, i64) {
    let status = status_of(state, now);
    let token = seal(TokenKind::Status, &status.claims_json(), &state.secrets.control);
    (Arc::from(token), status.iat.unix_seconds())
}

#[cfg(test)]
mod tests;
