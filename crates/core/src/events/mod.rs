//! What clients report: exposures, metrics, and what went wrong on their side.
//!
//! A batch comes in as bytes and goes on as [`EventRecord`]s, each checked against the verified token that came with
//! it: the token, not the client, says which unit and which variant it was. Whatever is wrong with one event
//! refuses that event with a [`Rejection`] and leaves the rest of the batch alone.
//!
//! Read in this order: [`read_batch`] (bytes to events), [`verify_token`] (whose they are), [`resolve`] (events to records),
//! [`wire`] (records between edge and control).

mod amount;
mod batch;
mod record;
mod rejection;
mod resolve;
mod token;
pub mod wire;

pub use amount::{AMOUNT_SCALE, AmountError, MAX_VALUE, parse_amount};
pub use batch::{Batch, BatchError, Event, EventKind, NamedUnit, Rejected, read_batch};
pub use record::{DriftCause, EventId, EventRecord, FailureCode, Happening, LeakSource, Quarantined};
pub use rejection::Rejection;
pub use resolve::{quarantined, resolve, resolve_named};
pub use token::{EventToken, verify_token};

/// Largest batch, in bytes of its JSON; a larger one is refused unread.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Most events in a batch; a batch with more is refused as a whole.
pub const MAX_BATCH_EVENTS: usize = 500;
/// How long before its receipt an event may have happened, in milliseconds: 30 days. Older ones are refused.
pub const MAX_PAST_MS: i64 = 30 * 24 * 3600 * 1000;
/// How long after its receipt an event may claim to have happened, in milliseconds: 10 minutes, for clocks that
/// are ahead. Later ones are refused.
pub const MAX_FUTURE_MS: i64 = 10 * 60 * 1000;
/// How far outside the life of its token an event may have happened, in milliseconds: an hour and the clock skew.
///
/// A page that was loaded before its token came, or that went on while it could not fetch a new one, has true events
/// to tell. What is further away was not seen under this token.
pub const TOKEN_LIFE_SLACK_MS: i64 = (3600 + crate::sealing::CLOCK_SKEW_SECONDS) * 1000;
/// Longest text of a stranger that is kept with a refused event, in bytes; longer ones are cut.
pub const MAX_DETAIL_BYTES: usize = 256;

#[cfg(test)]
mod tests;
