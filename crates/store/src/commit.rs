//! A change as one value: applied as a whole or not at all.

use std::collections::BTreeSet;

use edgeseal_core::ids::{Environment, ExperimentKey, UnitType, VariantKey};
use edgeseal_core::time::Timestamp;
use serde_json::Value;

use crate::columns::is_storable;
use crate::error::StoreError;
use crate::guardrail_records::NewAlert;
use crate::records::{Actor, ApiToken, AuditEntry, IdempotencyRecord, Kind};

/// Everything that one change writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Who changes; goes into documents and history.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// What happens to an environment; a commit touches one at most.
    pub environment: Option<EnvironmentWrite>,
    /// API tokens.
    pub tokens: Vec<TokenWrite>,
    /// What the audit log is told, in this order. The backend numbers and chains the entries under a lock.
    pub audit: Vec<AuditEntry>,
    /// The answer to keep for repetitions.
    pub idempotency: Option<IdempotencyRecord>,
    /// Alerts to send; due at once.
    pub alerts: Vec<NewAlert>,
}

/// What happens to one environment. The backend sets its sequence to `expected + 1` (1 for a new one).
#[derive(Clone)]
pub struct EnvironmentWrite {
    /// Which one.
    pub name: Environment,
    /// The sequence that the decision was made on; `None` creates the environment. Anything else in the store: conflict.
    pub expected: Option<u64>,
    /// New snapshot version, `cv`.
    pub cv: u64,
    /// New status epoch, `ep`.
    pub ep: u64,
    /// New keyset version, `ver`.
    pub keyset_ver: u64,
    /// The key ring; `None` leaves it.
    pub keyring: Option<String>,
    /// Counters and halts; `None` leaves them.
    pub state: Option<String>,
    /// Documents, each with the revision that history gets.
    pub documents: Vec<DocumentWrite>,
    /// A snapshot to publish. Under the version of the newest one it replaces its token: signed anew by another key.
    pub snapshot: Option<NewSnapshot>,
    /// How experiments are divided up from now on.
    pub allocations: Vec<AllocationWrite>,
}

impl std::fmt::Debug for EnvironmentWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentWrite")
            .field("name", &self.name)
            .field("expected", &self.expected)
            .field("cv", &self.cv)
            .field("ep", &self.ep)
            .field("documents", &self.documents.len())
            .finish_non_exhaustive()
    }
}

/// The next revision of a document. The backend sets its revision to one more than the stored one (1 for a new one);
/// the environment's sequence already rules out that somebody else wrote in between.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentWrite {
    /// What it describes.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What it says now; `None` deletes it.
    pub body: Option<Value>,
    /// What was done, for its history: `experiment.pause`.
    pub action: &'static str,
}

/// How many publications of an environment keep their token. Of older ones only the metadata stays: a token may have
/// megabytes, and an edge never goes back.
pub const KEPT_SNAPSHOTS: u32 = 16;

/// A snapshot to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Its version.
    pub cv: u64,
    /// The signed token.
    pub token: String,
}

/// How an experiment is divided up in a new allocation epoch. Written again, an epoch keeps the time of its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationWrite {
    /// Which experiment.
    pub experiment: ExperimentKey,
    /// Which epoch.
    pub xv: u64,
    /// When it begins.
    pub at: Timestamp,
    /// What is randomised.
    pub unit_type: UnitType,
    /// How many buckets each variant has.
    pub shares: Vec<(VariantKey, u32)>,
}

/// What happens to an API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenWrite {
    /// A new one. Ids are random, so one that exists already is a conflict.
    Create(ApiToken),
    /// The end of one; no effect on one that is revoked already or does not exist.
    Revoke {
        /// Its id.
        id: String,
        /// When.
        at: Timestamp,
    },
}

impl Commit {
    /// Checks what no backend could keep, so that all of them refuse the same: text with a NUL character, numbers
    /// beyond a signed 64-bit column, two revisions of one document, two allocations
    /// of one epoch, a snapshot of another version than the environment's.
    /// Documents and audit details may hold anything that JSON can say, NUL included.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check(&self) -> Result<(), StoreError> {
        let mut texts = vec![("actor id", &*self.actor.id), ("actor name", &*self.actor.name)];
        for token in &self.tokens {
            match token {
                TokenWrite::Create(token) => texts.extend([
                    ("token id", &*token.id),
                    ("token name", &*token.name),
                    ("token scope", &*token.scope),
                    ("token's creator", &*token.created_by.id),
                    ("token's creator", &*token.created_by.name),
                ]),
                TokenWrite::Revoke { id, .. } => texts.push(("token id", id)),
            }
        }
        for entry in &self.audit {
            texts.extend([("audit actor", &*entry.actor.id), ("audit action", &*entry.action)]);
            texts.extend(entry.kind.as_deref().map(|kind| ("audit kind", kind)));
            texts.extend(entry.key.as_deref().map(|key| ("audit key", key)));
        }
        if let Some(answer) = &self.idempotency {
            texts.extend([
                ("token id", &*answer.token_id),
                ("idempotency key", &*answer.key),
                ("sealed answer", &*answer.sealed_body),
            ]);
        }
        for alert in &self.alerts {
            texts.extend([("alert id", &*alert.id), ("alert kind", &*alert.kind), ("alert", &*alert.body)]);
        }
        if let Some(environment) = &self.environment {
            environment.check_numbers()?;
            environment.check_documents()?;
            texts.extend(environment.documents.iter().map(|document| ("document key", &*document.key)));
            texts.extend(environment.keyring.as_deref().map(|keyring| ("key ring", keyring)));
            texts.extend(environment.state.as_deref().map(|state| ("state", state)));
            texts.extend(environment.snapshot.as_ref().map(|snapshot| ("snapshot", &*snapshot.token)));
        }
        match texts.into_iter().find(|(_, text)| !is_storable(text)) {
            Some((what, _)) => Err(refused(format!("the {what} has a NUL character"))),
            None => Ok(()),
        }
    }
}

impl EnvironmentWrite {
    fn check_numbers(&self) -> Result<(), StoreError> {
        let numbers = [
            ("sequence", self.expected.map_or(0, |expected| expected.saturating_add(1))),
            ("cv", self.cv),
            ("ep", self.ep),
            ("keyset ver", self.keyset_ver),
        ];
        let versions = self.allocations.iter().map(|allocation| ("experiment version", allocation.xv));
        let mut numbers = numbers.into_iter().chain(versions);
        if let Some((what, number)) = numbers.find(|(_, number)| i64::try_from(*number).is_err()) {
            return Err(refused(format!("the {what} {number} is beyond {}", i64::MAX)));
        }
        match &self.snapshot {
            Some(snapshot) if snapshot.cv != self.cv => Err(refused(format!(
                "the snapshot has version {} and its environment {}",
                snapshot.cv, self.cv
            ))),
            _ => Ok(()),
        }
    }

    fn check_documents(&self) -> Result<(), StoreError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) =
            self.documents.iter().find(|document| !seen.insert((document.kind, &*document.key)))
        {
            return Err(refused(format!("{} '{}' is written twice", twice.kind.as_str(), twice.key)));
        }
        let mut seen = BTreeSet::new();
        match self.allocations.iter().find(|allocation| !seen.insert((&allocation.experiment, allocation.xv)))
        {
            Some(twice) => Err(refused(format!("two allocations of '{}' have one epoch", twice.experiment))),
            None => Ok(()),
        }
    }

    /// Checks that no version goes back from what the store holds.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check_after(&self, cv: u64, ep: u64, keyset_ver: u64) -> Result<(), StoreError> {
        let pairs = [("cv", cv, self.cv), ("ep", ep, self.ep), ("keyset ver", keyset_ver, self.keyset_ver)];
        match pairs.into_iter().find(|(_, stored, new)| new < stored) {
            Some((what, stored, new)) => {
                Err(refused(format!("the {what} of {} would go back from {stored} to {new}", self.name)))
            }
            None => Ok(()),
        }
    }
}

fn refused(detail: String) -> StoreError {
    StoreError::Refused { attempt: "committing a change", detail }
}
