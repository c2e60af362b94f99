//! The ways in which a snapshot can be wrong.

use crate::allocation::AllocationError;
use crate::audience::ConditionError;
use crate::bucket::BUCKETS;
use crate::ids::NameError;
use crate::snapshot::{MAX_PREREQUISITE_DEPTH, SNAPSHOT_FORMAT};

/// Why a snapshot is refused, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// JSON pointer (RFC 6901) into the snapshot: `/experiments/3/audience/country`.
    pub path: String,
    /// What is wrong there.
    pub kind: CompileErrorKind,
}

/// The ways in which a snapshot can be wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompileErrorKind {
    /// Written in a wire form that this version does not read.
    #[error("snapshot format {0} is not {SNAPSHOT_FORMAT}; upgrade this edge")]
    Format(u32),
    /// More of something than allowed.
    #[error("{count} {what} are more than the {limit} allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Two things of one kind have the same key.
    #[error("{what} '{key}' is defined twice; keys are unique")]
    Duplicate {
        /// What is defined twice.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// Something names a thing that is not there.
    #[error("{what} '{key}' does not exist")]
    Unknown {
        /// What is looked for.
        what: &'static str,
        /// The key it is looked for by.
        key: String,
    },
    /// An experiment without variants.
    #[error("has no variants; give it at least one")]
    NoVariants,
    /// A text longer than allowed.
    #[error("has {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A share beyond 100 %.
    #[error("share of {0} parts per million is more than {BUCKETS}")]
    Share(u32),
    /// A unit id among the overrides that no request could carry.
    #[error("unit id '{unit}' {error}")]
    UnitId {
        /// The id.
        unit: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A winner on an experiment that is not stopped.
    #[error("only a stopped experiment serves a winner; set its state to 'stopped' or remove the winner")]
    WinnerNotStopped,
    /// A prerequisite that randomises something else.
    #[error("prerequisite '{key}' randomises {theirs}, not {ours}; both must have the same unit type")]
    PrerequisiteUnitType {
        /// The other experiment.
        key: String,
        /// Its unit type.
        theirs: String,
        /// This experiment's unit type.
        ours: String,
    },
    /// A prerequisite without variants, so that it can never hold.
    #[error("names no variants, so nobody could ever enter; list at least one")]
    PrerequisiteEmpty,
    /// Prerequisites that lead back to where they began, or too far.
    #[error(
        "prerequisites of '{key}' form a loop or a chain longer than {MAX_PREREQUISITE_DEPTH}; \
         remove one of them"
    )]
    PrerequisiteDepth {
        /// The experiment whose chain it is.
        key: String,
    },
    /// Two experiments own the same buckets of a layer.
    #[error("overlaps with another experiment of layer '{layer}': {error}")]
    LayerOverlap {
        /// The layer.
        layer: String,
        /// Where they meet.
        error: AllocationError,
    },
    /// Bucket ranges that do not fit together.
    #[error("{0}")]
    Allocation(#[from] AllocationError),
    /// A condition that does not compile.
    #[error("{0}")]
    Condition(#[from] ConditionError),
    /// The assignments of one unit could outgrow a token.
    #[error(
        "assignments of one {unit_type} could take {bytes} bytes, more than the {limit} a token carries; \
         stop finished experiments or shorten payloads"
    )]
    TokenTooLarge {
        /// The unit type.
        unit_type: String,
        /// Bytes in the worst case.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
}
