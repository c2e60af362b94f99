//! Batches of clients and servers: each event judged for itself.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use edgeseal_core::events::{
    Batch, Event, EventKind, MAX_BATCH_EVENTS, Rejected, Rejection, quarantined, resolve, resolve_named,
};
use edgeseal_core::sealing::{RotationPolicy, VerifyError};
use edgeseal_core::time::Timestamp;
use edgeseal_store::EventBatch;
use tokio::sync::Semaphore;

use super::tokens::Tokens;
use super::{about, fault};
use crate::environment::EnvironmentState;
use crate::hub::status_of;

/// Most batches whose body is read or kept at once; beyond it: 503. Their bodies have to fit into memory together.
const MAX_BATCHES_UNDER_WAY: usize = 64;
/// Most notes of refused events that are kept in one second of what clients send; beyond it they are only told to the
/// client. Whoever sends rubbish must not fill the database with it.
const MAX_NOTES_PER_SECOND: usize = MAX_BATCH_EVENTS;

/// What the API does with events.
pub(crate) struct Intake {
    /// A permit for each batch under way.
    pub(crate) places: Semaphore,
    tokens: Tokens,
    second: AtomicI64,
    notes: AtomicUsize,
}

/// Who reports.
pub(crate) enum Reporter {
    /// Whoever holds the token of a unit, which says whose events they are.
    Unit(Box<str>),
    /// A server that may speak for every unit, about metrics.
    Server,
}

/// A batch after every event was judged.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What to keep.
    pub(crate) batch: EventBatch,
    /// What the sender is told.
    pub(crate) rejected: Vec<Rejected>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            places: Semaphore::new(MAX_BATCHES_UNDER_WAY),
            tokens: Tokens::new(),
            second: AtomicI64::new(0),
            notes: AtomicUsize::new(0),
        }
    }

    /// Judges every event of a batch.
    ///
    /// # Errors
    /// [`VerifyError`] when the token of a unit is refused; then all of the batch is.
    pub(crate) fn judge(
        &self,
        batch: Batch<'_>,
        reporter: &Reporter,
        state: &EnvironmentState,
        policy: &RotationPolicy,
        now: Timestamp,
    ) -> Result<Judged, VerifyError> {
        let token = match reporter {
            Reporter::Unit(token) => {
                let keyset = state.keyring.keyset(state.head.keyset_ver, now, policy);
                Some(self.tokens.verify(token, &state.name, &keyset, &status_of(state, now), now)?)
            }
            Reporter::Server => None,
        };
        let mut judged = Judged::default();
        for event in batch.events {
            let record = event.and_then(|event| {
                let index = event.index;
                let record = match &token {
                    Some(token) => resolve(event, Some(token), now)?,
                    None => resolve_named(metric_only(event)?, &state.name, now)?,
                };
                match fault(state, &record.what) {
                    None => Ok(record),
                    Some(code) => {
                        let about = about(&record.what).map(str::to_owned);
                        Err(Rejected { index, id: Some(record.id), code, about })
                    }
                }
            });
            match record {
                Ok(record) => judged.batch.records.push(record),
                Err(rejected) => {
                    if self.may_note(now) {
                        judged.batch.quarantined.push(quarantined(&rejected, now));
                    }
                    judged.rejected.push(rejected);
                }
            }
        }
        Ok(judged)
    }

    /// Threads that meet at the turn of a second may keep a few more; that is no harm.
    fn may_note(&self, now: Timestamp) -> bool {
        if self.second.swap(now.unix_seconds(), Ordering::Relaxed) != now.unix_seconds() {
            self.notes.store(0, Ordering::Relaxed);
        }
        self.notes.fetch_add(1, Ordering::Relaxed) < MAX_NOTES_PER_SECOND
    }
}

/// A server saw what a unit bought, not what it was shown: that only the token can say.
fn metric_only(event: Event<'_>) -> Result<Event<'_>, Rejected> {
    let about = match &event.kind {
        EventKind::Metric { .. } => return Ok(event),
        EventKind::Exposure { experiment, .. } | EventKind::Drift { experiment, .. } => {
            Some(experiment.as_str().to_owned())
        }
        EventKind::Leak { .. } | EventKind::VerificationFailed { .. } => None,
    };
    Err(Rejected { index: event.index, id: Some(event.id), code: Rejection::NeedsToken, about })
}
