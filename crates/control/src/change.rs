//! The one door for changes: read, decide, publish, commit; and again if somebody else was faster.

mod attempts;
mod creation;
mod repeats;
mod tokens;

use std::sync::Arc;

use edgeseal_store::{Actor, Kind, NewAlert};
use serde_json::Value;

use crate::answer::IdempotencyKey;
use crate::environment::{DocumentBody, EnvironmentState};
use crate::keys::Keyring;

pub(crate) use attempts::{Outcome, Rendering, answered};

/// How often a change is decided anew because somebody else committed first; then it is [`ControlError::Busy`].
///
/// [`ControlError::Busy`]: crate::ControlError::Busy
pub const MAX_COMMIT_ATTEMPTS: u32 = 20;

/// Who changes, and how.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// Whether the change may alter what edges serve.
    pub may_publish: bool,
    /// Id of the request, for the audit log.
    pub request: Option<String>,
    /// Only say what would happen.
    pub dry_run: bool,
    /// Makes repetitions recognisable; only the doors that end in `_answered`, and [`Control::change_tokens`], look at it.
    ///
    /// [`Control::change_tokens`]: crate::Control::change_tokens
    pub idempotency: Option<IdempotencyKey>,
}

impl Context {
    /// What the process does by itself.
    pub fn system() -> Self {
        Self {
            actor: Actor { id: "system".to_owned(), name: "system".to_owned() },
            may_publish: true,
            request: None,
            dry_run: false,
            idempotency: None,
        }
    }
}

/// What is to be done. Documents that would stay as they are get no new revision; if nothing is left, nothing is
/// committed, and notes and alerts are dropped.
#[derive(Debug, Clone)]
pub struct Decision<T> {
    /// Documents to write, each at most once. Each appears in the audit log by itself.
    pub documents: Vec<DocumentChange>,
    /// The new key ring.
    pub keyring: Option<Keyring>,
    /// What the audit log is told besides.
    pub notes: Vec<AuditNote>,
    /// Alerts to send, written in the same transaction.
    pub alerts: Vec<NewAlert>,
    /// For the caller.
    pub reply: T,
}

impl<T> Decision<T> {
    /// Everything stays as it is.
    pub fn nothing(reply: T) -> Self {
        Self { documents: Vec::new(), keyring: None, notes: Vec::new(), alerts: Vec::new(), reply }
    }

    /// One document changes.
    pub fn one(change: DocumentChange, reply: T) -> Self {
        Self { documents: vec![change], ..Self::nothing(reply) }
    }
}

/// The next revision of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentChange {
    /// What it describes.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What it says now; `None` deletes it.
    pub body: Option<DocumentBody>,
    /// What is done, for its history and the audit log: `experiment.pause`.
    pub action: &'static str,
    /// More for the audit log, such as the reason; an object or null. The revision is added.
    pub detail: Value,
}

impl DocumentChange {
    /// Writes a document.
    pub fn put(body: impl Into<DocumentBody>, action: &'static str) -> Self {
        let body = body.into();
        let (kind, key) = (body.kind(), body.key().to_owned());
        Self { kind, key, body: Some(body), action, detail: Value::Null }
    }

    /// Deletes a document.
    pub fn delete(kind: Kind, key: &str, action: &'static str) -> Self {
        Self { kind, key: key.to_owned(), body: None, action, detail: Value::Null }
    }

    /// Adds detail for the audit log.
    #[must_use]
    pub fn with_detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }
}

/// Something for the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditNote {
    /// What: `key.rotate`.
    pub action: String,
    /// Kind of the thing acted on: `key`, `token`.
    pub kind: Option<String>,
    /// Its key or id.
    pub key: Option<String>,
    /// Numbers and reasons; never a secret.
    pub detail: Value,
}

/// What a change did, or in a dry run would do.
#[derive(Debug, Clone)]
pub struct Changed<T> {
    /// From the decision.
    pub reply: T,
    /// The environment afterwards.
    pub state: Arc<EnvironmentState>,
    /// Whether a new snapshot was published.
    pub published: bool,
    /// Whether anything was committed.
    pub changed: bool,
}
