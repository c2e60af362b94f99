//! Answers to changes, kept sealed for a day so that a repeated request gets the same one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use edgeseal_core::time::Timestamp;
use edgeseal_store::IdempotencyRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ControlError;
use crate::keys::{MasterKey, Purpose};

/// How long an answer is kept, in seconds: one day.
pub const ANSWER_LIFE_SECONDS: i64 = 24 * 3_600;

/// An answer as HTTP will give it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag`, quotes included.
    pub etag: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// The body; null stands for none.
    pub body: Value,
}

/// What makes a repetition recognisable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the caller chose; at most 128 visible ASCII characters.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
}

/// What the sealed text holds besides the status.
#[derive(Serialize, Deserialize)]
struct SealedAnswer {
    etag: Option<String>,
    location: Option<String>,
    body: Value,
}

/// Makes the record that keeps `answer`.
pub(crate) fn keep(
    answer: &Answer,
    token_id: &str,
    idempotency: &IdempotencyKey,
    master: &MasterKey,
    at: Timestamp,
) -> Result<IdempotencyRecord, ControlError> {
    let Answer { status, etag, location, body } = answer.clone();
    let text = serde_json::to_vec(&SealedAnswer { etag, location, body })
        .map_err(|_| ControlError::Internal { attempt: "keeping an answer" })?;
    Ok(IdempotencyRecord {
        token_id: token_id.to_owned(),
        key: idempotency.key.clone(),
        fingerprint: idempotency.fingerprint,
        status,
        sealed_body: master.seal(Purpose::Answer, &label(token_id, &idempotency.key), &text)?,
        at,
    })
}

/// Opens a kept answer, if it belongs to this request.
pub(crate) fn recall(
    record: &IdempotencyRecord,
    idempotency: &IdempotencyKey,
    master: &MasterKey,
) -> Result<Answer, ControlError> {
    if record.fingerprint != idempotency.fingerprint {
        return Err(ControlError::IdempotencyMismatch);
    }
    let unreadable = || edgeseal_store::StoreError::Corrupt {
        attempt: "repeating an answer",
        detail: "the kept answer cannot be decrypted with this master key".to_owned(),
    };
    let text = master
        .open(Purpose::Answer, &label(&record.token_id, &record.key), &record.sealed_body)
        .ok_or_else(unreadable)?;
    let SealedAnswer { etag, location, body } = serde_json::from_slice(&text).map_err(|_| unreadable())?;
    Ok(Answer { status: record.status, etag, location, body })
}

fn label(token_id: &str, key: &str) -> String {
    format!("{token_id}/{key}")
}

/// The requests with an idempotency key that this process is working on.
#[derive(Debug, Default, Clone)]
pub(crate) struct InFlight(Arc<Mutex<BTreeSet<(String, String)>>>);

impl InFlight {
    /// Takes the key until the guard is dropped.
    pub(crate) fn enter(&self, token_id: &str, key: &str) -> Result<Underway, ControlError> {
        let entry = (token_id.to_owned(), key.to_owned());
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone()) {
            return Err(ControlError::InFlight);
        }
        Ok(Underway { all: self.clone(), entry })
    }
}

/// Gives the key back when dropped, however the request ended.
#[derive(Debug)]
pub(crate) struct Underway {
    all: InFlight,
    entry: (String, String),
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(fingerprint: u8) -> IdempotencyKey {
        IdempotencyKey { key: "once".into(), fingerprint: [fingerprint; 32] }
    }

    #[test]
    fn an_answer_is_kept_sealed_and_recalled_for_the_same_request_only() {
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let answer = Answer {
            status: 201,
            etag: Some("\"1\"".into()),
            location: None,
            body: json!({ "token": "edgeseal_secret" }),
        };
        let record = keep(&answer, "caller", &asked(1), &master, Timestamp::default()).unwrap();
        assert!(!record.sealed_body.contains("secret"));
        assert_eq!(recall(&record, &asked(1), &master).unwrap(), answer);
        assert!(matches!(recall(&record, &asked(2), &master), Err(ControlError::IdempotencyMismatch)));

        let moved = IdempotencyRecord { token_id: "other".into(), ..record };
        assert!(
            matches!(recall(&moved, &asked(1), &master), Err(ControlError::Store(_))),
            "another caller's"
        );
    }

    #[test]
    fn a_key_is_taken_until_the_request_ends() {
        let all = InFlight::default();
        let first = all.enter("caller", "once").unwrap();
        assert!(matches!(all.enter("caller", "once"), Err(ControlError::InFlight)));
        assert!(all.enter("another", "once").is_ok());
        drop(first);
        assert!(all.enter("caller", "once").is_ok());
    }
}
