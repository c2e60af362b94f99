//! The records that a store keeps.

use std::fmt;

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of the hash that an API token is known by (SHA-256 of its secret).
pub const TOKEN_HASH_BYTES: usize = 32;

/// An environment and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentRecord {
    /// Its name.
    pub name: Environment,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where it is.
    pub head: Head,
}

/// Where an environment is: everything about it but its documents and its snapshot.
#[derive(Clone, PartialEq)]
pub struct Head {
    /// Grows by one with every commit to the environment. Whoever writes names the sequence that it read.
    pub sequence: u64,
    /// Version of the newest snapshot, `cv`.
    pub cv: u64,
    /// Newest status epoch, `ep`.
    pub ep: u64,
    /// Newest keyset version, `ver`.
    pub keyset_ver: u64,
    /// The key ring as JSON, private halves encrypted under the master key. Only the control plane reads it.
    pub keyring: String,
    /// Counters and halts as JSON. Only the control plane reads it.
    pub state: String,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, cv, ep, keyset_ver, .. } = self;
        write!(f, "Head(sequence {sequence}, cv {cv}, ep {ep}, keyset {keyset_ver}, rest redacted)")
    }
}

/// What kind of thing a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An experiment.
    Experiment,
    /// A mutual exclusion group.
    Layer,
    /// Units kept out of experiments.
    Holdout,
    /// A saved list of values.
    Group,
    /// What experiments are judged by.
    Metric,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Experiment, Self::Layer, Self::Holdout, Self::Group, Self::Metric];

    /// The word that the database and the API use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Layer => "layer",
            Self::Holdout => "holdout",
            Self::Group => "group",
            Self::Metric => "metric",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A document in its newest revision. A deleted one stays as a tombstone, so that its revisions go on if it returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it describes.
    pub kind: Kind,
    /// Its key, unique within environment and kind.
    pub key: String,
    /// Grows by one with every change of the document, from 1.
    pub revision: u64,
    /// [`Head::sequence`] of the commit that wrote this revision.
    pub sequence: u64,
    /// What it says; `None` once deleted.
    pub body: Option<Value>,
    /// When its first revision was written.
    pub created_at: Timestamp,
    /// When this revision was written.
    pub updated_at: Timestamp,
    /// Who wrote this revision.
    pub updated_by: Actor,
}

/// One revision of a document, as history keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Which one, from 1.
    pub revision: u64,
    /// What it said; `None` where the document was deleted.
    pub body: Option<Value>,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub actor: Actor,
    /// What was done: `experiment.pause`.
    pub action: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Id of the API token, or `system` for what the process does by itself.
    pub id: String,
    /// Name of the token when it acted.
    pub name: String,
}

/// A snapshot as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Its version.
    pub cv: u64,
    /// The signed token.
    pub token: String,
    /// When it was published.
    pub at: Timestamp,
}

/// One published snapshot version, without the token.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The version.
    pub cv: u64,
    /// When it was published.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// [`Head::sequence`] of the commit that published it.
    pub sequence: u64,
}

/// An API token, without its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Public part of the token: names it in lists and in the audit log.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do; a word of the control plane.
    pub scope: String,
    /// The only environment it is good for; `None`: all of them.
    pub environment: Option<Environment>,
    /// SHA-256 of the secret part, which has at least 128 random bits.
    pub hash: [u8; TOKEN_HASH_BYTES],
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: Actor,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiToken({}, {}, rest redacted)", self.id, self.scope)
    }
}

/// What the audit log is told. The log adds number and hashes: [`AuditRecord`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who.
    pub actor: Actor,
    /// What: `experiment.pause`, `token.create`.
    pub action: String,
    /// In which environment; absent for what concerns the whole installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Kind of the thing acted on: `experiment`, `token`, `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Key or id of the thing acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The request that did it, as in logs and error answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Numbers and reasons, for people and programs; never a secret.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// One link of the audit log's hash chain. See [`crate::audit`] for how the hashes come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Place in the log, from 1, without gaps.
    pub number: u64,
    /// The [`AuditEntry`] as canonical JSON (RFC 8785): the very bytes that were hashed.
    pub entry: String,
    /// Hash of the record before; zeros before the first.
    pub previous: [u8; 32],
    /// Hash of this record.
    pub hash: [u8; 32],
}

/// Which part of the audit log to read, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// Only this environment.
    pub environment: Option<Environment>,
    /// Only this actor id.
    pub actor: Option<String>,
    /// Only this action, or with a trailing `.` all that begin so: `experiment.`.
    pub action: Option<String>,
    /// Only things of this kind.
    pub kind: Option<String>,
    /// Only the thing with this key or id.
    pub key: Option<String>,
    /// Only records before this number (to page on).
    pub before: Option<u64>,
}

/// What an edge says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Drawn when the edge first started; kept in its state directory.
    pub id: String,
    /// The environment it serves.
    pub environment: Environment,
    /// Its software version.
    pub version: String,
    /// How it hears of changes: `stream`, `redis`, `poll`, or `process` when it is part of the control plane's process.
    pub source: String,
    /// Version of the snapshot it serves.
    pub cv: u64,
    /// Epoch of the status document it serves.
    pub ep: u64,
    /// Version of the keyset it serves.
    pub keyset_ver: u64,
    /// Age of the status document it serves, in milliseconds.
    pub config_age_ms: i64,
    /// When the control plane last heard of it.
    pub seen_at_ms: i64,
}

/// The answer to a request that carried an idempotency key, kept so that a repetition gets the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Id of the API token that asked: keys of different callers never meet.
    pub token_id: String,
    /// What the caller chose.
    pub key: String,
    /// SHA-256 of method, path and body: another request under the same key is refused.
    pub fingerprint: [u8; 32],
    /// HTTP status of the answer.
    pub status: u16,
    /// The answer, encrypted under the master key: it may hold a new token's secret.
    pub sealed_body: String,
    /// When it was answered.
    pub at: Timestamp,
}

impl fmt::Debug for IdempotencyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyRecord(token {}, status {}, rest redacted)", self.token_id, self.status)
    }
}

/// A hint that something was committed; it may be lost, repeated or late, so whoever listens polls as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An environment has a new head.
    Environment {
        /// Which one.
        environment: Environment,
        /// Its [`Head::sequence`].
        sequence: u64,
    },
    /// API tokens were created or revoked.
    Tokens,
}
