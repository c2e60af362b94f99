//! From events to the sums that statistics need, each event counted exactly once.
//!
//! What one unit adds to one experiment is a [`Contribution`](edgeseal_store::Contribution), a pure function of the
//! unit's events and of the [`Rules`] in force. A step reads the next events, computes the contributions of the units
//! that they touch from *all* events of those units, and applies the differences to what was stored; cursor and
//! differences go into one transaction. So late, reordered and repeated events need no special case, and the cost follows
//! the new events, not the history.
//!
//! | | |
//! | --- | --- |
//! | [`rules`] | what is counted for an experiment |
//! | [`contribution`] | a unit's events → what it adds |
//! | [`deltas`] | what was added, what is to be → differences of aggregates |
//! | [`step`] | events → one transaction |
//! | [`winsor`] | where the values of large units are cut |
//! | [`kept`] | what the roll-up remembers of an experiment |
//! | [`run`] | reading, applying, again on a conflict |
//!
//! An experiment's *allocation epoch* is its version `xv`: the version of a unit's first exposure says where it counts,
//! for ever. A unit that was seen in two variants under one version is excluded: nobody knows what it shows. One that a new
//! version moved to another variant stays where it began (intention to treat): moving it, or taking it out, would
//! remove exactly those who come back from one side only, and that is bias, and a sample ratio mismatch of our own making.

mod contribution;
mod deltas;
mod kept;
mod rules;
mod run;
mod step;
mod winsor;

pub(crate) use rules::metric;
pub use run::RolledUp;
pub(crate) use run::{Progress, RollUpCounts};

/// Most events of one step.
pub(crate) const MAX_STEP_EVENTS: u32 = 5_000;
/// Most events of one unit that count; later ones are noted as `unit_too_busy`.
pub(crate) const MAX_EVENTS_PER_UNIT: u32 = 20_000;
/// Units whose events are read at the same time.
pub(crate) const UNITS_AT_ONCE: usize = 250;

#[cfg(test)]
mod tests;
