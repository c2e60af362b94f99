//! Records between edge and control, and in the edge's spool: one JSON object a line.
//!
//! ```text
//! {"format":1,"type":"exposure","id":"018f…","at":1800000000000,"received":1800000000042,"unit":"…","unit_type":"user",
//!  "experiment":"checkout","variant":"b","xv":3}
//! ```
//!
//! Unknown members are ignored. A line of another `format` or `type` is unreadable: the reader says so for that line
//! and goes on with the next.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record::{DriftCause, EventId, EventRecord, FailureCode, Happening, LeakSource, Quarantined};
use super::{MAX_DETAIL_BYTES, Rejection};
use crate::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use crate::sealing::{KeyId, SubjectTag};

/// The format that is written.
pub const FORMAT: u32 = 1;
/// The `type` of a refused event.
const QUARANTINED: &str = "quarantined";

/// One line: an event that counts, or a note of one that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolRecord {
    /// An event that counts.
    Event(EventRecord),
    /// One that was refused.
    Quarantined(Quarantined),
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the records is unreadable: {reason}")]
pub struct WireError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes one line, its end included.
pub fn write_line(record: &SpoolRecord, out: &mut Vec<u8>) {
    // Writing to memory cannot fail, and no member can refuse to be written.
    if serde_json::to_writer(&mut *out, record).is_ok() {
        out.push(b'\n');
    }
}

/// Writes every record on a line of its own.
pub fn write_lines<'r>(records: impl IntoIterator<Item = &'r SpoolRecord>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        write_line(record, &mut out);
    }
    out
}

/// Reads lines, each for itself; empty ones are passed over.
pub fn read_lines(bytes: &[u8]) -> impl Iterator<Item = Result<SpoolRecord, WireError>> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    lines.filter(|(text, _)| !text.is_empty()).map(|(text, line)| {
        serde_json::from_slice(text).map_err(|error| WireError { line, reason: error.to_string() })
    })
}

/// The members of a line, of every type.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    format: u32,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    received: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<SubjectTag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit_type: Option<UnitType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experiment: Option<ExperimentKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<VariantKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xv: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<MetricKey>,
    /// Decimal digits: beyond 2^53 not every reader of JSON keeps a number exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<VariantKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<VariantKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<DriftCause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectTag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<LeakSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<String>,
}

impl From<&EventRecord> for Line {
    fn from(record: &EventRecord) -> Self {
        let common = Self {
            format: FORMAT,
            kind: record.what.kind().to_owned(),
            id: Some(record.id),
            at: Some(record.at_ms),
            received: record.received_ms,
            unit: record.unit,
            unit_type: Some(record.unit_type.clone()),
            ..Self::default()
        };
        match record.what.clone() {
            Happening::Exposure { experiment, variant, xv } => {
                Self { experiment: Some(experiment), variant: Some(variant), xv: Some(xv), ..common }
            }
            Happening::Metric { metric, amount } => {
                Self { metric: Some(metric), amount: Some(amount.to_string()), ..common }
            }
            Happening::Drift { experiment, from, to, cause } => {
                Self { experiment: Some(experiment), from, to, cause: Some(cause), ..common }
            }
            Happening::Leak { subject, key_id, source } => {
                Self { subject: Some(subject), key_id: Some(key_id), source: Some(source), ..common }
            }
            Happening::VerificationFailed { code } => Self { code: Some(code.as_str().to_owned()), ..common },
        }
    }
}

impl From<&Quarantined> for Line {
    fn from(quarantined: &Quarantined) -> Self {
        Self {
            format: FORMAT,
            kind: QUARANTINED.to_owned(),
            id: quarantined.id,
            received: quarantined.received_ms,
            code: Some(quarantined.code.clone()),
            about: quarantined.about.clone(),
            ..Self::default()
        }
    }
}

/// What a line lacks, or what it has that cannot be.
struct Unreadable(&'static str);

impl Line {
    fn into_record(self) -> Result<SpoolRecord, Unreadable> {
        if self.format != FORMAT {
            return Err(Unreadable("a format that this version does not know"));
        }
        if self.kind == QUARANTINED {
            return self.into_quarantined().map(SpoolRecord::Quarantined);
        }
        self.into_event().map(SpoolRecord::Event)
    }

    fn into_quarantined(self) -> Result<Quarantined, Unreadable> {
        let code = self.code.ok_or(Unreadable("'code' is missing"))?;
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if code.is_empty() || code.len() > MAX_CODE_BYTES || !code.bytes().all(word) {
            return Err(Unreadable("'code' is no code"));
        }
        if self.about.as_ref().is_some_and(|about| about.len() > MAX_DETAIL_BYTES) {
            return Err(Unreadable("'about' is too long"));
        }
        Ok(Quarantined { id: self.id, received_ms: self.received, code, about: self.about })
    }

    fn into_event(self) -> Result<EventRecord, Unreadable> {
        let experiment = self.experiment.ok_or(Unreadable("'experiment' is missing"));
        let what = match self.kind.as_str() {
            "exposure" => Happening::Exposure {
                experiment: experiment?,
                variant: self.variant.ok_or(Unreadable("'variant' is missing"))?,
                xv: self.xv.ok_or(Unreadable("'xv' is missing"))?,
            },
            "metric" => Happening::Metric {
                metric: self.metric.ok_or(Unreadable("'metric' is missing"))?,
                amount: read_amount(&self.amount.ok_or(Unreadable("'amount' is missing"))?)?,
            },
            "drift" => Happening::Drift {
                experiment: experiment?,
                from: self.from,
                to: self.to,
                cause: self.cause.ok_or(Unreadable("'cause' is missing"))?,
            },
            "leak" => Happening::Leak {
                subject: self.subject.ok_or(Unreadable("'subject' is missing"))?,
                key_id: self.key_id.ok_or(Unreadable("'key_id' is missing"))?,
                source: self.source.ok_or(Unreadable("'source' is missing"))?,
            },
            "verification_failed" => Happening::VerificationFailed {
                code: self
                    .code
                    .as_deref()
                    .and_then(FailureCode::parse)
                    .ok_or(Unreadable("'code' is no code of a failed verification"))?,
            },
            _ => return Err(Unreadable("a type that this version does not know")),
        };
        if self.unit.is_none() && !matches!(what, Happening::VerificationFailed { .. }) {
            return Err(Unreadable("'unit' is missing"));
        }
        Ok(EventRecord {
            id: self.id.ok_or(Unreadable("'id' is missing"))?,
            at_ms: self.at.ok_or(Unreadable("'at' is missing"))?,
            received_ms: self.received,
            unit: self.unit,
            unit_type: self.unit_type.ok_or(Unreadable("'unit_type' is missing"))?,
            what,
        })
    }
}

/// Longest code of a refused event: no [`Rejection`] comes near.
const MAX_CODE_BYTES: usize = 64;
const _: () = assert!(Rejection::OutsideTokenLife.as_str().len() < MAX_CODE_BYTES);

/// The bound is checked again: whoever sends records is not believed to have checked it.
fn read_amount(text: &str) -> Result<i128, Unreadable> {
    let amount: i128 = text.parse().map_err(|_| Unreadable("'amount' is no integer"))?;
    if amount.unsigned_abs() > super::amount::MAX_AMOUNT.unsigned_abs() {
        return Err(Unreadable("'amount' is out of bounds"));
    }
    Ok(amount)
}

impl Serialize for EventRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::from(self).serialize(serializer)
    }
}

impl Serialize for Quarantined {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::from(self).serialize(serializer)
    }
}

impl Serialize for SpoolRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Event(record) => record.serialize(serializer),
            Self::Quarantined(quarantined) => quarantined.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SpoolRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer)?
            .into_record()
            .map_err(|Unreadable(why)| serde::de::Error::custom(why))
    }
}

impl<'de> Deserialize<'de> for EventRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match SpoolRecord::deserialize(deserializer)? {
            SpoolRecord::Event(record) => Ok(record),
            SpoolRecord::Quarantined(_) => {
                Err(serde::de::Error::custom("a refused event, not one that counts"))
            }
        }
    }
}
