//! What a store keeps of events before they are counted.

use edgeseal_core::events::{EventRecord, Quarantined};
use edgeseal_core::ids::UnitType;
use edgeseal_core::sealing::SubjectTag;

/// Most events in one page; a larger wish is cut to it.
pub const MAX_EVENTS_PAGE: u32 = 10_000;

/// What an edge delivers at once: kept as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventBatch {
    /// Events that count. Those that the store has already are passed over.
    pub records: Vec<EventRecord>,
    /// Events that do not. Notes that the store has already are passed over.
    pub quarantined: Vec<Quarantined>,
}

/// What became of an [`EventBatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that were not there before.
    pub new: u64,
    /// Events that were there already, or twice in the batch.
    pub duplicates: u64,
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its place in its environment, from 1, without gaps, in the order of commits: whoever has read up to a number has
    /// missed nothing before it.
    pub number: u64,
    /// The event.
    pub record: EventRecord,
}

/// One unit of one environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitRef {
    /// What kind of unit.
    pub unit_type: UnitType,
    /// Its tag.
    pub tag: SubjectTag,
}

/// A refused event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNote {
    /// Grows with every note of the store; there may be gaps.
    pub number: u64,
    /// What is known of it.
    pub note: Quarantined,
}

/// Which refused events to read, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    /// Only those refused for this reason.
    pub code: Option<String>,
    /// Only those about this experiment or metric.
    pub about: Option<String>,
    /// Only notes before this number (to page on).
    pub before: Option<u64>,
}
