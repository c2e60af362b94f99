//! Why the control plane refuses something.

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::RotationError;
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_store::{Kind, StoreError};
use serde::Serialize;

use crate::keys::{HmacRotateError, KeyringError};

/// Why a question was not answered or a change not made. After any of these nothing was changed, except perhaps after
/// [`StoreError::Unavailable`].
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such environment.
    #[error("environment '{name}' does not exist: create it, or name another")]
    NoEnvironment {
        /// What was named.
        name: Environment,
    },
    /// An environment of that name exists.
    #[error("environment '{name}' exists already")]
    EnvironmentExists {
        /// Which one.
        name: Environment,
    },
    /// There are as many environments as there may be.
    #[error("there are {limit} environments, which is the most: use one of them")]
    TooManyEnvironments {
        /// How many there may be.
        limit: usize,
    },
    /// A definition for one environment was applied to another.
    #[error("the definition is for environment '{named}', but '{addressed}' was addressed: make them agree")]
    OtherEnvironment {
        /// The environment of the request.
        addressed: Environment,
        /// The environment that the definition names.
        named: Environment,
    },
    /// There is no such document.
    #[error("{} '{key}' does not exist", .kind.as_str())]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
    },
    /// A document to create exists.
    #[error("{} '{key}' exists already: update it, or choose another key", .kind.as_str())]
    Exists {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
    },
    /// The document changed since it was read (`If-Match` names another revision).
    #[error("{} '{key}' is at revision {current} now, not {expected}: read it again and repeat the change", .kind.as_str())]
    Stale {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: String,
        /// The revision that the caller knew.
        expected: u64,
        /// The revision that it has.
        current: u64,
    },
    /// The experiment's state does not allow it.
    #[error("experiment '{key}' is {}, so it cannot be {attempt}: {remedy}", state_word(*.state))]
    WrongState {
        /// The experiment.
        key: String,
        /// Its state.
        state: ExperimentState,
        /// What was tried: `paused`.
        attempt: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The change would alter what edges serve, and the caller may not do that.
    #[error("this changes what edges serve, which takes a token of scope 'publisher'")]
    PublisherNeeded,
    /// What was given does not fit together.
    #[error("{}", invalid(.faults))]
    Invalid {
        /// What is wrong, and where; at least one.
        faults: Vec<Fault>,
    },
    /// Edges would not accept a document of this size.
    #[error("the signed {what} would have {bytes} bytes, more than the {limit} that edges accept: {remedy}")]
    TooLarge {
        /// Which document: `snapshot`.
        what: &'static str,
        /// How large it would be.
        bytes: usize,
        /// How large it may be.
        limit: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// A step of a key's life is refused.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// A step of an HMAC secret's life is refused.
    #[error(transparent)]
    HmacRotation(#[from] HmacRotateError),
    /// The key ring cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A request with the same idempotency key is being worked on.
    #[error("a request with this idempotency key is still being answered: wait for its answer")]
    InFlight,
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for another request: choose a new one")]
    IdempotencyMismatch,
    /// Too many changes at the same time.
    #[error("too many changes at the same time: try again in a moment")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of this program.
    #[error("something that cannot happen did while {attempt}: please report it")]
    Internal {
        /// What was being attempted.
        attempt: &'static str,
    },
}

/// One thing that is wrong with what was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the document, or for `apply` into the definition; empty when it lies elsewhere.
    pub pointer: String,
    /// What is wrong there, for people.
    pub detail: String,
}

fn invalid(faults: &[Fault]) -> String {
    let each = faults.iter().map(|fault| match fault.pointer.as_str() {
        "" => fault.detail.clone(),
        pointer => format!("{pointer}: {}", fault.detail),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// The word for a state, as files and the API write it.
pub(crate) fn state_word(state: ExperimentState) -> &'static str {
    match state {
        ExperimentState::Draft => "draft",
        ExperimentState::Running => "running",
        ExperimentState::Paused => "paused",
        ExperimentState::Stopped => "stopped",
    }
}
