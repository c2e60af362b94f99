//! Events on their way in: judged against their token, kept on this machine's disk, delivered to the control plane.
//!
//! `routes/events.rs` → `Intake::judge` → `Spool::append` → 202; and, whenever the control plane can be reached,
//! [`drain`] → [`Drain::deliver`]. The edge keeps events first and always: whether there is a control plane makes no
//! difference to who reports them.

mod drain;
pub(crate) mod spool;
mod tokens;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use edgeseal_core::events::wire::{self, SpoolRecord};
use edgeseal_core::events::{Batch, Quarantined, Rejected, quarantined, resolve};
use edgeseal_core::sealing::VerifyError;
use edgeseal_core::time::Timestamp;

pub use drain::{Delivery, Drain, DrainError, MAX_DELIVERY_BYTES, MAX_DELIVERY_RECORDS, drain};
pub use spool::{MIN_SPOOL_BYTES, SEGMENT_BYTES, SPOOL_MAX_BYTES, Spool, SpoolError};

use crate::metrics::Metrics;
use crate::published::Live;
use spool::frame;
use tokens::Tokens;

/// Most batches whose body is being read or kept at once, over all threads; beyond it: 503.
pub(crate) const MAX_BATCHES_UNDER_WAY: usize = 512;
/// Most notes of refused events that are kept in one second; beyond it they are counted in the metrics only. Whoever
/// sends rubbish must not fill the disk with it.
const MAX_NOTES_PER_SECOND: usize = 500;

/// What an edge does with events.
pub(crate) struct Intake {
    pub(crate) spool: Spool,
    tokens: Tokens,
    under_way: AtomicUsize,
    notes: Notes,
    /// When the oldest undelivered event was received, in milliseconds since the Unix epoch; 0 while all are delivered.
    oldest_ms: AtomicI64,
}

/// A batch after every event was judged.
pub(crate) struct Judged {
    /// What to keep: events that count, and notes of those that do not.
    pub(crate) frames: Vec<u8>,
    pub(crate) accepted: usize,
    pub(crate) repeated: usize,
    pub(crate) rejected: Vec<Rejected>,
}

impl Intake {
    pub(crate) fn new(spool: Spool) -> Self {
        Self {
            spool,
            tokens: Tokens::new(),
            under_way: AtomicUsize::new(0),
            notes: Notes::default(),
            oldest_ms: AtomicI64::new(0),
        }
    }

    /// A place for one more batch; `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        if self.under_way.fetch_add(1, Ordering::AcqRel) >= MAX_BATCHES_UNDER_WAY {
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Entered(&self.under_way))
    }

    /// Judges every event of a batch.
    ///
    /// # Errors
    /// [`VerifyError`] when the batch's token is refused; then all of it is.
    pub(crate) fn judge(
        &self,
        batch: Batch<'_>,
        live: &Live,
        now: Timestamp,
        metrics: &Metrics,
    ) -> Result<Judged, VerifyError> {
        metrics.events_received.inc_by((batch.events.len() + batch.repeated) as u64);
        let token = match &batch.token {
            None => None,
            Some(token) => match self.tokens.verify(token, live, now) {
                Ok(token) => Some(token),
                Err(error) => {
                    self.note_refused_token(error.code(), now);
                    metrics.event_token_refused(error.code());
                    return Err(error);
                }
            },
        };
        let mut judged =
            Judged { frames: Vec::new(), accepted: 0, repeated: batch.repeated, rejected: Vec::new() };
        for event in batch.events {
            match event.and_then(|event| resolve(event, token.as_deref(), now)) {
                Ok(record) => {
                    judged.accepted += 1;
                    push(&SpoolRecord::Event(record), &mut judged.frames);
                }
                Err(rejected) => {
                    metrics.event_rejected(rejected.code.as_str());
                    if self.notes.allow(now) {
                        let note = quarantined(&rejected, now);
                        push(&SpoolRecord::Quarantined(note), &mut judged.frames);
                    }
                    judged.rejected.push(rejected);
                }
            }
        }
        Ok(judged)
    }

    fn note_refused_token(&self, code: &str, now: Timestamp) {
        if !self.notes.allow(now) {
            return;
        }
        let note = Quarantined {
            id: None,
            received_ms: now.unix_ms(),
            code: TOKEN_REFUSED.to_owned(),
            about: Some(code.to_owned()),
        };
        let mut frames = Vec::new();
        push(&SpoolRecord::Quarantined(note), &mut frames);
        self.spool.note(frames);
    }

    /// Age of the oldest undelivered event, in seconds.
    pub(crate) fn lag_seconds(&self, now: Timestamp) -> f64 {
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        if oldest_ms == 0 || self.spool.undelivered_bytes() == 0 {
            return 0.0;
        }
        now.unix_ms().saturating_sub(oldest_ms).max(0) as f64 / 1000.0
    }
}

/// The code of a note that a whole batch was refused because of its token; what it is about is the token's own code.
const TOKEN_REFUSED: &str = "token_refused";

fn push(record: &SpoolRecord, frames: &mut Vec<u8>) {
    let mut line = Vec::with_capacity(256);
    wire::write_line(record, &mut line);
    frame::write(line.trim_ascii_end(), frames);
}

/// One batch under way; given back when dropped.
pub(crate) struct Entered<'i>(&'i AtomicUsize);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many notes were kept in this second.
#[derive(Default)]
struct Notes {
    second: AtomicI64,
    kept: AtomicUsize,
}

impl Notes {
    /// Threads that meet at the turn of a second may keep a few more; that is no harm.
    fn allow(&self, now: Timestamp) -> bool {
        if self.second.swap(now.unix_seconds(), Ordering::Relaxed) != now.unix_seconds() {
            self.kept.store(0, Ordering::Relaxed);
        }
        self.kept.fetch_add(1, Ordering::Relaxed) < MAX_NOTES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_by_the_second() {
        let notes = Notes::default();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let kept = (0..2 * MAX_NOTES_PER_SECOND).filter(|_| notes.allow(now)).count();
        assert_eq!(kept, MAX_NOTES_PER_SECOND);
        assert!(notes.allow(now.plus_seconds(1)));
    }
}
