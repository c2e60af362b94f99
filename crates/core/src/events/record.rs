//! What happened, after it was checked against a verified token: the form that edge, control and store share.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use crate::sealing::{KeyId, SubjectTag, VerifyError};

/// One event as it is kept and counted. It names its unit by tag, never by id.
///
/// The wire form between edge and control is in [`wire`](super::wire).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Who it is: two records of one id are one event.
    pub id: EventId,
    /// When it happened by the client's clock, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// When the edge (or control plane) received it, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// The unit, from the verified token. Only a failed verification can come without one.
    pub unit: Option<SubjectTag>,
    /// The unit's type.
    pub unit_type: UnitType,
    /// What happened.
    pub what: Happening,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The unit saw its variant.
    Exposure {
        /// Of this experiment.
        experiment: ExperimentKey,
        /// Which variant, as the token says.
        variant: VariantKey,
        /// Version of the experiment, as the token says.
        xv: u64,
    },
    /// Something with a value happened to the unit.
    Metric {
        /// Which metric.
        metric: MetricKey,
        /// The value in fixed point, in units of 1 / [`AMOUNT_SCALE`](super::AMOUNT_SCALE).
        amount: i128,
    },
    /// The unit's variant changed within a session.
    Drift {
        /// In this experiment.
        experiment: ExperimentKey,
        /// What the session had shown; `None`: not in the experiment.
        from: Option<VariantKey>,
        /// What a later token said; `None`: not in the experiment.
        to: Option<VariantKey>,
        /// Why, as far as the client knows.
        cause: DriftCause,
    },
    /// The client was handed a token of another unit.
    Leak {
        /// Whose token it was.
        subject: SubjectTag,
        /// Which key had signed it.
        key_id: KeyId,
        /// Where it came from.
        source: LeakSource,
    },
    /// The client refused what it was handed.
    VerificationFailed {
        /// Why.
        code: FailureCode,
    },
}

impl Happening {
    /// The event's `type` on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exposure { .. } => "exposure",
            Self::Metric { .. } => "metric",
            Self::Drift { .. } => "drift",
            Self::Leak { .. } => "leak",
            Self::VerificationFailed { .. } => "verification_failed",
        }
    }

    /// The experiment that it is about, if it is about one.
    pub const fn experiment(&self) -> Option<&ExperimentKey> {
        match self {
            Self::Exposure { experiment, .. } | Self::Drift { experiment, .. } => Some(experiment),
            Self::Metric { .. } | Self::Leak { .. } | Self::VerificationFailed { .. } => None,
        }
    }
}

/// An event that was refused, as far as it is kept: enough to count and to find the cause, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The event's id, if it had a usable one.
    pub id: Option<EventId>,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// The code of a [`Rejection`](super::Rejection). Kept as text: a newer edge may know codes that we do not.
    pub code: String,
    /// Which experiment or metric it named, at most [`MAX_DETAIL_BYTES`](super::MAX_DETAIL_BYTES) bytes and
    /// without control characters; nothing where it named none.
    pub about: Option<String>,
}

/// Id of an event: a UUID of version 7 (RFC 9562), made by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Reads the canonical text form: 36 characters, lower case. `None` for anything else, other versions included.
    pub fn parse(text: &str) -> Option<Self> {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        if text.len() != 36 {
            return None;
        }
        let (mut bytes, mut digits) = ([0_u8; 16], 0_usize);
        for (place, character) in text.bytes().enumerate() {
            if DASHES.contains(&place) {
                if character != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match character {
                b'0'..=b'9' => character.wrapping_sub(b'0'),
                b'a'..=b'f' => character.wrapping_sub(b'a').wrapping_add(10),
                _ => return None,
            };
            let byte = bytes.get_mut(digits / 2)?;
            *byte = (*byte << 4) | digit;
            digits = digits.wrapping_add(1);
        }
        Self::from_bytes(bytes)
    }

    /// Takes the 16 bytes; `None` unless they are a UUID of version 7 in the variant of RFC 9562.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let [_, _, _, _, _, _, version, _, variant, ..] = bytes;
        if version >> 4 == 7 && variant >> 6 == 0b10 { Some(Self(bytes)) } else { None }
    }

    /// The 16 bytes, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a UUID of version 7 in lower case"))
    }
}

/// Why a unit's variant changed within a session, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftCause {
    /// The configuration moved on.
    ConfigChange,
    /// The person logged in or out.
    IdentityChange,
    /// An older token came after a newer one.
    Rollback,
    /// Nothing that the client knows of.
    Unexplained,
}

impl DriftCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::ConfigChange, Self::IdentityChange, Self::Rollback, Self::Unexplained];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigChange => "config_change",
            Self::IdentityChange => "identity_change",
            Self::Rollback => "rollback",
            Self::Unexplained => "unexplained",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// Where a token of another unit came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakSource {
    /// The page carried it.
    Embedded,
    /// The browser's storage held it.
    Storage,
    /// It was the answer to a request.
    Network,
}

impl LeakSource {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Storage, Self::Network];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Storage => "storage",
            Self::Network => "network",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// The code of a refusal that a client reports: one of [`VerifyError::CODES`], so that nobody can make up labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FailureCode(&'static str);

impl FailureCode {
    /// Reads the code.
    pub fn parse(text: &str) -> Option<Self> {
        VerifyError::CODES.into_iter().find(|code| *code == text).map(Self)
    }

    /// The code as text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for FailureCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the code of a failed verification"))
    }
}
