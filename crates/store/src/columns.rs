//! How the SQL backends write what SQL has no type for; the same in all of them.

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use serde_json::Value;

use crate::error::StoreError;
use crate::records::Kind;
use crate::repositories::MAX_PAGE;

/// Whether a text column can hold the text: PostgreSQL's knows no NUL.
pub fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// A counter as a column; saturates, so only for comparing unless [`Commit::check`](crate::Commit::check) has seen it.
pub fn number(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

/// A counter from a column, which the schema keeps from being negative.
pub fn counter(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// How many records to ask for.
pub fn page(limit: u32) -> i64 {
    i64::from(limit.min(MAX_PAGE))
}

/// A point in time from a column.
pub fn time(unix_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(unix_ms)
}

/// A document's body as a column. JSON escapes control characters, so every column can hold it.
pub fn body_text(body: Option<&Value>) -> Option<String> {
    body.map(Value::to_string)
}

/// A document's body from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what is not JSON.
pub fn body(attempt: &'static str, text: Option<&str>) -> Result<Option<Value>, StoreError> {
    text.map(serde_json::from_str).transpose().map_err(|error| StoreError::Corrupt {
        attempt,
        detail: format!("a document's body is not JSON: {error}"),
    })
}

/// A kind from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for a word that is none.
pub fn kind(attempt: &'static str, word: &str) -> Result<Kind, StoreError> {
    Kind::parse(word)
        .ok_or_else(|| StoreError::Corrupt { attempt, detail: format!("'{word}' is no kind of document") })
}

/// An environment's name from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn environment(attempt: &'static str, name: &str) -> Result<Environment, StoreError> {
    Environment::parse(name)
        .map_err(|error| StoreError::Corrupt { attempt, detail: format!("environment '{name}' {error}") })
}

/// A hash from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for another length.
pub fn hash(attempt: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt {
        attempt,
        detail: format!("a hash has {} bytes instead of 32", bytes.len()),
    })
}

/// Splits an audit filter's action into the exact word and the prefix; at most one is there.
pub fn action_filter(action: Option<&str>) -> (Option<&str>, Option<&str>) {
    match action {
        Some(prefix) if prefix.ends_with('.') => (None, Some(prefix)),
        exact => (exact, None),
    }
}
