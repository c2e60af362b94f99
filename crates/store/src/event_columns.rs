//! How the SQL backends write events and sums; the same in all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use edgeseal_core::events::{
    DriftCause, EventId, EventRecord, FailureCode, Happening, LeakSource, Quarantined,
};
use edgeseal_core::ids::{Key, MetricKey, UnitType, VariantKey};
use edgeseal_core::sealing::{KeyId, SubjectTag};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::event_records::{MAX_EVENTS_PAGE, UnitRef};
use crate::rollup_records::{HealthKind, UnitState, UnitValues};

// The kinds of an event, as columns have them. What a roll-up counts comes first: an index leaves out the rest.
const EXPOSURE: i16 = 1;
const METRIC: i16 = 2;
const DRIFT: i16 = 3;
const LEAK: i16 = 4;
const VERIFICATION_FAILED: i16 = 5;

/// What an event says, as columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns<'a> {
    /// Which kind.
    pub kind: i16,
    /// Experiment or metric.
    pub name: Option<&'a str>,
    /// The variant of an exposure.
    pub variant: Option<&'a str>,
    /// The experiment version of an exposure.
    pub xv: Option<i64>,
    /// The amount of a metric.
    pub amount: Option<i128>,
    /// Everything else, as JSON.
    pub detail: Option<String>,
}

/// The same as it comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct EventColumns {
    /// The event's id.
    pub id: Vec<u8>,
    /// When it happened.
    pub at_ms: i64,
    /// When it was received.
    pub received_ms: i64,
    /// What kind of unit.
    pub unit_type: String,
    /// The unit's tag.
    pub unit: Option<Vec<u8>>,
    /// Which kind.
    pub kind: i16,
    /// Experiment or metric.
    pub name: Option<String>,
    /// The variant of an exposure.
    pub variant: Option<String>,
    /// The experiment version of an exposure.
    pub xv: Option<i64>,
    /// The amount of a metric, as decimal digits.
    pub amount: Option<String>,
    /// Everything else, as JSON.
    pub detail: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct DriftDetail {
    from: Option<VariantKey>,
    to: Option<VariantKey>,
    cause: DriftCause,
}

#[derive(Serialize, Deserialize)]
struct LeakDetail {
    subject: SubjectTag,
    key_id: KeyId,
    source: LeakSource,
}

#[derive(Serialize, Deserialize)]
struct FailureDetail {
    code: FailureCode,
}

/// What an event says, as columns.
///
/// # Errors
/// [`StoreError::Refused`] for an experiment version that no column can hold.
pub fn of_event(record: &EventRecord) -> Result<Columns<'_>, StoreError> {
    let blank = Columns { kind: 0, name: None, variant: None, xv: None, amount: None, detail: None };
    Ok(match &record.what {
        Happening::Exposure { experiment, variant, xv } => Columns {
            kind: EXPOSURE,
            name: Some(experiment.as_str()),
            variant: Some(variant.as_str()),
            xv: Some(i64::try_from(*xv).map_err(|_| {
                refused(format!("event {} names the experiment version {xv}, beyond {}", record.id, i64::MAX))
            })?),
            ..blank
        },
        Happening::Metric { metric, amount } => {
            Columns { kind: METRIC, name: Some(metric.as_str()), amount: Some(*amount), ..blank }
        }
        Happening::Drift { experiment, from, to, cause } => Columns {
            kind: DRIFT,
            name: Some(experiment.as_str()),
            detail: json(&DriftDetail { from: from.clone(), to: to.clone(), cause: *cause })?,
            ..blank
        },
        Happening::Leak { subject, key_id, source } => Columns {
            kind: LEAK,
            detail: json(&LeakDetail { subject: *subject, key_id: key_id.clone(), source: *source })?,
            ..blank
        },
        Happening::VerificationFailed { code } => {
            Columns { kind: VERIFICATION_FAILED, detail: json(&FailureDetail { code: *code })?, ..blank }
        }
    })
}

fn json(detail: &impl Serialize) -> Result<Option<String>, StoreError> {
    serde_json::to_string(detail).map(Some).map_err(|error| refused(error.to_string()))
}

fn refused(detail: String) -> StoreError {
    StoreError::Refused { attempt: "keeping events", detail }
}

/// An event from its columns.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn event(attempt: &'static str, columns: EventColumns) -> Result<EventRecord, StoreError> {
    let id = id(attempt, &columns.id)?;
    let unreadable =
        |what: &str| StoreError::Corrupt { attempt, detail: format!("event {id} has an unreadable {what}") };
    let name = columns.name.as_deref().ok_or_else(|| unreadable("name"));
    let detail = columns.detail.as_deref().ok_or_else(|| unreadable("detail"));
    let what = match columns.kind {
        EXPOSURE => Happening::Exposure {
            experiment: key(attempt, name?)?,
            variant: key(attempt, &columns.variant.ok_or_else(|| unreadable("variant"))?)?,
            xv: crate::columns::counter(columns.xv.ok_or_else(|| unreadable("experiment version"))?),
        },
        METRIC => Happening::Metric {
            metric: key(attempt, name?)?,
            amount: columns
                .amount
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| unreadable("amount"))?,
        },
        DRIFT => {
            let DriftDetail { from, to, cause } =
                serde_json::from_str(detail?).map_err(|_| unreadable("detail"))?;
            Happening::Drift { experiment: key(attempt, name?)?, from, to, cause }
        }
        LEAK => {
            let LeakDetail { subject, key_id, source } =
                serde_json::from_str(detail?).map_err(|_| unreadable("detail"))?;
            Happening::Leak { subject, key_id, source }
        }
        VERIFICATION_FAILED => {
            let FailureDetail { code } = serde_json::from_str(detail?).map_err(|_| unreadable("detail"))?;
            Happening::VerificationFailed { code }
        }
        _ => return Err(unreadable("kind")),
    };
    Ok(EventRecord {
        id,
        at_ms: columns.at_ms,
        received_ms: columns.received_ms,
        unit: columns.unit.as_deref().map(|bytes| tag(attempt, bytes)).transpose()?,
        unit_type: unit_type(attempt, &columns.unit_type)?,
        what,
    })
}

/// How many events to ask for.
pub fn page(limit: u32) -> i64 {
    i64::from(limit.min(MAX_EVENTS_PAGE))
}

/// An event's id from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn id(attempt: &'static str, bytes: &[u8]) -> Result<EventId, StoreError> {
    let id = bytes.try_into().ok().and_then(EventId::from_bytes);
    id.ok_or_else(|| StoreError::Corrupt {
        attempt,
        detail: "the id of an event is no UUID of version 7".into(),
    })
}

/// A key from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn key<K>(attempt: &'static str, text: &str) -> Result<Key<K>, StoreError> {
    Key::parse(text).map_err(|error| StoreError::Corrupt { attempt, detail: format!("key '{text}' {error}") })
}

/// A unit's tag from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for another length.
pub fn tag(attempt: &'static str, bytes: &[u8]) -> Result<SubjectTag, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt {
        attempt,
        detail: format!("a unit's tag has {} bytes instead of 16", bytes.len()),
    })?;
    Ok(SubjectTag::from_bytes(bytes))
}

/// A unit type from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn unit_type(attempt: &'static str, text: &str) -> Result<UnitType, StoreError> {
    UnitType::parse(text)
        .map_err(|error| StoreError::Corrupt { attempt, detail: format!("unit type '{text}' {error}") })
}

/// A unit from columns.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn unit(attempt: &'static str, kind: &str, bytes: &[u8]) -> Result<UnitRef, StoreError> {
    Ok(UnitRef { unit_type: unit_type(attempt, kind)?, tag: tag(attempt, bytes)? })
}

/// Bytes that a note is known by, so that it is kept once however often it is delivered.
pub const NOTE_KEY_BYTES: usize = 16;

/// What each note is known by: id and code; without an id, everything about it and how many of its likes came before it
/// in the batch.
pub fn note_keys(notes: &[Quarantined]) -> Vec<[u8; NOTE_KEY_BYTES]> {
    let mut likes: HashMap<(i64, &str, Option<&str>), u64> = HashMap::new();
    notes
        .iter()
        .map(|note| {
            let mut hash = Sha256::new();
            hash.update(b"edgeseal/note/1\0");
            if let Some(id) = note.id {
                hash.update([1]);
                hash.update(id.as_bytes());
            } else {
                let before = likes.entry((note.received_ms, &note.code, note.about.as_deref())).or_default();
                hash.update([if note.about.is_some() { 2 } else { 3 }]);
                hash.update(note.received_ms.to_be_bytes());
                hash.update(before.to_be_bytes());
                let about = note.about.as_deref().unwrap_or_default();
                hash.update((about.len() as u64).to_be_bytes());
                hash.update(about.as_bytes());
                *before = before.saturating_add(1);
            }
            hash.update(note.code.as_bytes());
            let mut key = [0; NOTE_KEY_BYTES];
            for (to, from) in key.iter_mut().zip(hash.finalize()) {
                *to = from;
            }
            key
        })
        .collect()
}

/// Text of a stranger for a column: a note must not fail because of it.
pub fn note_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Exact integers as a column: a JSON array of decimal digits, without the zeros at its end.
pub fn decimals(numbers: &[i128]) -> String {
    let count = numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last.saturating_add(1));
    let mut text = String::from("[");
    for (place, number) in numbers.iter().take(count).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\"{number}\"", if place == 0 { "" } else { "," });
    }
    text.push(']');
    text
}

/// Exact integers from a column; what is missing at the end is zero.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything but decimal digits, or too many of them.
pub fn read_decimals<const N: usize>(attempt: &'static str, text: &str) -> Result<[i128; N], StoreError> {
    serde_json::from_str(text)
        .ok()
        .and_then(integers)
        .ok_or_else(|| StoreError::Corrupt { attempt, detail: "sums are no decimal digits".into() })
}

#[allow(clippy::needless_pass_by_value, reason = "what was parsed is of no further use")]
fn integers<const N: usize>(texts: Vec<Cow<'_, str>>) -> Option<[i128; N]> {
    let mut numbers = [0; N];
    if texts.len() > N {
        return None;
    }
    for (number, text) in numbers.iter_mut().zip(&texts) {
        *number = text.parse().ok()?;
    }
    Some(numbers)
}

/// A unit's values as a column: a JSON object of [`decimals`] y, x, d, dx.
pub fn values_text(values: &BTreeMap<MetricKey, UnitValues>) -> String {
    let mut text = String::from("{");
    for (place, (metric, values)) in values.iter().enumerate() {
        let UnitValues { y, x, d, dx } = *values;
        let comma = if place == 0 { "" } else { "," };
        // No key needs escaping.
        let _ = write!(text, "{comma}\"{metric}\":{}", decimals(&[y, x, d, dx]));
    }
    text.push('}');
    text
}

/// A unit's values from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything else.
pub fn values(attempt: &'static str, text: &str) -> Result<BTreeMap<MetricKey, UnitValues>, StoreError> {
    read_values(text)
        .ok_or_else(|| StoreError::Corrupt { attempt, detail: "a unit's values are unreadable".into() })
}

fn read_values(text: &str) -> Option<BTreeMap<MetricKey, UnitValues>> {
    let lists: BTreeMap<MetricKey, Vec<Cow<'_, str>>> = serde_json::from_str(text).ok()?;
    let values = |(metric, list)| {
        let [y, x, d, dx] = integers(list)?;
        Some((metric, UnitValues { y, x, d, dx }))
    };
    lists.into_iter().map(values).collect()
}

/// A unit's state from a column: whether it is excluded.
pub fn unit_state(excluded: bool) -> UnitState {
    if excluded { UnitState::Excluded } else { UnitState::Counted }
}

/// What is counted, from columns.
///
/// # Errors
/// [`StoreError::Corrupt`] for words that mean nothing.
pub fn health_kind(attempt: &'static str, kind: &str, code: &str) -> Result<HealthKind, StoreError> {
    HealthKind::parse(kind, code).ok_or_else(|| StoreError::Corrupt {
        attempt,
        detail: format!("'{kind}' with '{code}' is nothing that is counted"),
    })
}

/// The shares of an allocation as a column: a JSON array of variant and buckets.
pub fn shares_text(shares: &[(VariantKey, u32)]) -> String {
    let mut text = String::from("[");
    for (place, (variant, buckets)) in shares.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}[\"{variant}\",{buckets}]");
    }
    text.push(']');
    text
}

/// The shares of an allocation from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything else.
pub fn shares(attempt: &'static str, text: &str) -> Result<Vec<(VariantKey, u32)>, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt { attempt, detail: format!("shares are unreadable: {error}") })
}

/// A key that may be absent, as a column that is part of a primary key: no key is empty.
pub fn absent<K>(key: Option<&Key<K>>) -> &str {
    key.map_or("", Key::as_str)
}

/// A key that may be absent, from a column.
///
/// # Errors
/// [`StoreError::Corrupt`] for what cannot be one.
pub fn present<K>(attempt: &'static str, text: &str) -> Result<Option<Key<K>>, StoreError> {
    if text.is_empty() { Ok(None) } else { key(attempt, text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: &str = "testing";

    #[test]
    fn exact_integers_read_back_and_lose_only_zeros_at_the_end() {
        let numbers = [i128::MIN, 0, i128::MAX, -1, 0, 0];
        let text = decimals(&numbers);
        assert_eq!(text, format!("[\"{}\",\"0\",\"{}\",\"-1\"]", i128::MIN, i128::MAX));
        assert_eq!(read_decimals::<6>(READING, &text).unwrap(), numbers);
        assert_eq!(decimals(&[0; 4]), "[]");
        for bad in ["", "[1]", "[\"1.0\"]", "[\"\"]", "[\"1\",\"1\",\"1\"]", "[\"1e3\"]"] {
            assert!(read_decimals::<2>(READING, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_read_back() {
        let metric = |text| MetricKey::parse(text).unwrap();
        let full = UnitValues { y: i128::MAX, x: -1, d: 0, dx: i128::MIN };
        let written = BTreeMap::from([(metric("a.b"), full), (metric("c"), UnitValues::default())]);
        assert_eq!(values(READING, &values_text(&written)).unwrap(), written);
        assert_eq!(values(READING, "{}").unwrap(), BTreeMap::new());
        assert!(values(READING, "{\"a\":[1]}").is_err());
    }

    #[test]
    fn a_note_is_known_by_its_event_or_by_its_place_among_its_likes() {
        let id = EventId::parse("0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3");
        let note = |id, received_ms, code: &str, about: Option<&str>| Quarantined {
            id,
            received_ms,
            code: code.into(),
            about: about.map(Into::into),
        };
        let keys = note_keys(&[
            note(id, 1, "too_old", None),
            note(id, 2, "too_old", Some("x")),
            note(id, 1, "negative", None),
            note(None, 1, "bad_id", None),
            note(None, 1, "bad_id", None),
            note(None, 1, "bad_id", Some("")),
            note(None, 2, "bad_id", None),
        ]);
        assert_eq!(keys[0], keys[1]);
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len() - 1);
    }
}
