//! What can go wrong with a store.

use std::error::Error;

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or broke off; trying again later may work.
    #[error("the database is not available while {attempt}: {source}")]
    Unavailable {
        /// What was being attempted, for people: `reading the experiments`.
        attempt: &'static str,
        /// What the driver said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// What was read is not what was written; trying again will not help.
    #[error("the database holds something unreadable while {attempt}: {detail}; restore it from a backup")]
    Corrupt {
        /// What was being attempted.
        attempt: &'static str,
        /// What is wrong with it; never a secret.
        detail: String,
    },
    /// What was to be written cannot be kept; nothing of it was. Only a mistake of the caller leads here.
    #[error("the store refuses what was to be written while {attempt}: {detail}")]
    Refused {
        /// What was being attempted.
        attempt: &'static str,
        /// What is wrong with it; never a secret.
        detail: String,
    },
    /// The schema is not the one that this version works with.
    #[error(
        "the database schema has version {found}, and this edgeseal works with {expected}: {}",
        if .found < .expected { "run `edgeseal migrate`" } else { "use a newer edgeseal" }
    )]
    Schema {
        /// Version in the database; 0 when it is empty.
        found: i64,
        /// Version that this code needs.
        expected: i64,
    },
}

/// Why a commit was not applied. Nothing of it was, except perhaps after [`StoreError::Unavailable`]: when the
/// connection breaks while committing, nobody knows until the next read.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else committed first: read again, decide again.
    #[error("somebody else changed the environment at the same time")]
    Conflict,
    /// The idempotency key was used by a request that finished first: answer with its reply.
    #[error("a request with the same idempotency key was answered at the same time")]
    IdempotencyTaken,
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
