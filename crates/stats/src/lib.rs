//! Statistics of experiments, pure: sums in, values out. No I/O, no clock, no randomness.
//!
//! A value that the numbers do not determine is [`NotComputable`] with its reason, never NaN. Formulas and their
//! sources: `docs/statistics.md`; the numbers they must reproduce: `vectors/stats`.

pub mod classical;
pub mod contrast;
pub mod cuped;
pub mod error;
pub mod growthbook;
pub mod guardrail;
pub mod lift;
pub mod multiple;
pub mod non_inferiority;
pub mod power;
pub mod ratio;
pub mod sample;
pub mod sequential;
pub mod special;
pub mod srm;
pub mod sums;
pub mod winner;

pub use error::NotComputable;
