//! Why an edge does not take something over.

use std::fmt;

use edgeseal_core::sealing::{KeyId, VerifyError};
use edgeseal_core::snapshot::CompileError;

use super::{EdgeKeysError, StateError};
use crate::PublishError;

/// One part of what an edge needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The secrets that edges share.
    Keys,
    /// Which keys may sign.
    Keyset,
    /// What to evaluate.
    Snapshot,
    /// What is halted and revoked.
    Status,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "edge keys",
            Self::Keyset => "keyset",
            Self::Snapshot => "snapshot",
            Self::Status => "status document",
        })
    }
}

/// Why an offer was refused. The edge goes on with what it has.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The document is not what it claims to be, or not now.
    #[error("the {part} is refused: {error}")]
    Verify {
        /// Which one.
        part: Part,
        /// Why.
        error: VerifyError,
    },
    /// The secrets cannot be read.
    #[error(transparent)]
    Keys(#[from] EdgeKeysError),
    /// Nothing tells which root key to trust.
    #[error(
        "no root key is pinned yet, so nothing can be verified; offer the edge keys first, or pin the root key"
    )]
    NoRoot,
    /// Another root key than the pinned one. Whoever replaces the root deletes the edge's state.
    #[error(
        "the root key {found} is not {pinned}, which this edge has pinned; if the root was really replaced, delete \
         the edge's state directory"
    )]
    ForeignRoot {
        /// The key that was offered.
        found: KeyId,
        /// The key that is trusted.
        pinned: KeyId,
    },
    /// There is no keyset to verify it with.
    #[error("the {part} came before any keyset, so it cannot be verified; offer the keyset first")]
    NoKeyset {
        /// Which one.
        part: Part,
    },
    /// Something would go backwards.
    #[error("the {part} has version {found}, older than {current}, which was taken over before")]
    Older {
        /// Which one.
        part: Part,
        /// The version offered.
        found: u64,
        /// The version at hand.
        current: u64,
    },
    /// The same version with other content: two control planes that do not know of one another, or a forgery.
    #[error(
        "the {part} of version {version} says something else than the one of the same version that is in use"
    )]
    Conflict {
        /// Which one.
        part: Part,
        /// The version of both.
        version: u64,
    },
    /// Properly signed, but not of the form that this version reads.
    #[error(
        "the snapshot is not of the form that this version reads: {cause}; update the edge if it is older"
    )]
    Unreadable {
        /// What the reader said.
        cause: String,
    },
    /// Properly signed, but not usable.
    #[error("the snapshot is refused: {0}")]
    Compile(Box<CompileError>),
    /// The parts do not belong together.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Taking it over panicked, which its thread has reported.
    #[error("the offer could not be taken over; see the panic above")]
    Broken,
}

impl FeedError {
    /// A word for metrics: the verifier's code, or one of ours.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Verify { error, .. } => error.code(),
            Self::Keys(_) => "keys",
            Self::NoRoot => "no_root",
            Self::ForeignRoot { .. } => "foreign_root",
            Self::NoKeyset { .. } => "no_keyset",
            Self::Older { .. } => "older",
            Self::Conflict { .. } => "conflict",
            Self::Unreadable { .. } => "unreadable",
            Self::Compile(_) => "compile",
            Self::Publish(_) => "publish",
            Self::Broken => "broken",
        }
    }

    /// Which part is at fault, if it is one.
    pub const fn part(&self) -> Option<Part> {
        match self {
            Self::Verify { part, .. }
            | Self::NoKeyset { part }
            | Self::Older { part, .. }
            | Self::Conflict { part, .. } => Some(*part),
            Self::Unreadable { .. } | Self::Compile(_) => Some(Part::Snapshot),
            Self::Keys(_) | Self::ForeignRoot { .. } => Some(Part::Keys),
            Self::NoRoot => Some(Part::Keyset),
            Self::Publish(_) | Self::Broken => None,
        }
    }
}

/// Why a feed could not be opened. Everything else that is wrong with the state on disk is told and survived; whom to
/// trust is not guessed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state is out of reach.
    #[error("cannot read '{file}' of the edge's state: {error}")]
    State {
        /// Which file.
        file: &'static str,
        /// What the store said.
        error: StateError,
    },
    /// The pinned root key cannot be read.
    #[error(
        "'{file}' holds the root key that this edge trusts, but it is damaged; restore it, or delete it to trust the \
         root key that the control plane shows next"
    )]
    DamagedRoot {
        /// Which file.
        file: &'static str,
    },
    /// The state belongs to another root key than the one that was asked for.
    #[error(
        "this edge's state trusts the root key {stored}, but {pinned} was asked for; use another state directory, or \
         delete this one"
    )]
    OtherRoot {
        /// The key on disk.
        stored: KeyId,
        /// The key that was asked for.
        pinned: KeyId,
    },
    /// No randomness for the edge's id, or no thread for its writer.
    #[error("cannot open the feed: {0}")]
    System(std::io::Error),
}
