//! A batch of events as a client sends it: bounded, and each event for itself.
//!
//! ```json
//! {"token": "eyJ…", "events": [{"id": "018f…", "type": "metric", "ts": 1800000000000, "metric": "checkout", "value": 19.99}]}
//! ```
//!
//! The events are cut out of the batch unread, so that a number beyond every float or a member named twice spoils
//! its own event only. Members that are not ours are ignored.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::amount::{AmountError, parse_amount};
use super::record::{DriftCause, EventId, FailureCode, LeakSource};
use super::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_DETAIL_BYTES, Rejection};
use crate::ids::{ExperimentKey, Key, MetricKey, UnitId, UnitType, VariantKey};
use crate::sealing::{KeyId, SubjectTag};

/// A batch, its shape checked and nothing believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'b> {
    /// The token that says whose events these are.
    pub token: Option<Cow<'b, str>>,
    /// The events in their order, each read or refused; of events with the same id, the first that can be read.
    pub events: Vec<Result<Event<'b>, Rejected>>,
    /// How many were left out because an earlier one of the batch has the same id.
    pub repeated: usize,
}

/// One event as the client tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'b> {
    /// Its place in the batch, counted from 0.
    pub index: usize,
    /// Its id.
    pub id: EventId,
    /// When it happened by the client's clock, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The unit, where the batch or the event names one: only a caller who may speak for every unit is believed.
    pub unit: Option<NamedUnit<'b>>,
    /// What happened.
    pub kind: EventKind,
}

/// A unit that the caller names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUnit<'b> {
    id: Cow<'b, str>,
    unit_type: UnitType,
}

impl NamedUnit<'_> {
    /// The unit's id.
    ///
    /// # Errors
    /// Never: it was checked when it was read.
    pub fn id(&self) -> Option<UnitId<'_>> {
        UnitId::parse(&self.id).ok()
    }

    /// The unit's type.
    pub fn unit_type(&self) -> &UnitType {
        &self.unit_type
    }
}

/// What an event says, as the client tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The unit saw its variant of the experiment.
    Exposure {
        /// Which experiment.
        experiment: ExperimentKey,
        /// Variant and version, where the event names them: only a caller who may speak for every unit is believed.
        named: Option<(VariantKey, u64)>,
    },
    /// Something with a value happened.
    Metric {
        /// Which metric.
        metric: MetricKey,
        /// The value in fixed point.
        amount: i128,
    },
    /// The variant changed within a session.
    Drift {
        /// In this experiment.
        experiment: ExperimentKey,
        /// What the session had shown.
        from: Option<VariantKey>,
        /// What a later token said.
        to: Option<VariantKey>,
        /// Why.
        cause: DriftCause,
    },
    /// A token of another unit came.
    Leak {
        /// Whose token it was.
        subject: SubjectTag,
        /// Which key had signed it.
        key_id: KeyId,
        /// Where it came from.
        source: LeakSource,
    },
    /// A token was refused.
    VerificationFailed {
        /// Why.
        code: FailureCode,
    },
}

/// An event that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the batch, counted from 0.
    pub index: usize,
    /// Its id, if it has a usable one.
    pub id: Option<EventId>,
    /// Why.
    pub code: Rejection,
    /// Which experiment or metric it names, cut to [`MAX_DETAIL_BYTES`] and without control characters.
    pub about: Option<String>,
}

/// Why a batch is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More bytes than [`MAX_BATCH_BYTES`]; nothing was read.
    #[error("the batch has {bytes} bytes, more than the {MAX_BATCH_BYTES} allowed; send it in parts")]
    TooLarge {
        /// How many came.
        bytes: usize,
    },
    /// Not JSON (RFC 8259) in UTF-8.
    #[error("the batch is not valid JSON: {reason}")]
    NotJson {
        /// What was found or missing, and where.
        reason: String,
    },
    /// JSON, but no batch.
    #[error(
        "a batch is an object with the list 'events', the token as text in 'token' where there is one, and each once"
    )]
    NotABatch,
    /// More events than [`MAX_BATCH_EVENTS`].
    #[error("the batch has more than the {MAX_BATCH_EVENTS} events allowed; send it in parts")]
    TooManyEvents,
}

/// Reads a batch.
///
/// # Errors
/// [`BatchError`] when the whole cannot be read. What is wrong with a single event refuses that event.
pub fn read_batch(bytes: &[u8]) -> Result<Batch<'_>, BatchError> {
    if bytes.len() > MAX_BATCH_BYTES {
        return Err(BatchError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| BatchError::NotJson {
        reason: format!("not UTF-8 from byte {} on", error.valid_up_to()),
    })?;
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| BatchError::NotJson { reason: error.to_string() })?;
    let members: BatchMembers<'_> = members_of(whole).ok_or(BatchError::NotABatch)?;
    let token = match members.token.map(RawValue::get) {
        None | Some("null") => None,
        Some(token) => Some(text_of(token).ok_or(BatchError::NotABatch)?),
    };
    let events =
        members.events.filter(|events| events.get().starts_with('[')).ok_or(BatchError::NotABatch)?;
    let events: AtMost<'_> = serde_json::from_str(events.get()).map_err(|_| BatchError::TooManyEvents)?;

    let mut batch = Batch { token, events: Vec::with_capacity(events.0.len()), repeated: 0 };
    let mut seen = BTreeSet::new();
    for (index, event) in events.0.into_iter().enumerate() {
        let event = read_event(index, event, members.unit, members.unit_type);
        if let Ok(event) = &event
            && !seen.insert(event.id)
        {
            batch.repeated = batch.repeated.saturating_add(1);
            continue;
        }
        batch.events.push(event);
    }
    Ok(batch)
}

/// A member as it stands in the text; `null` is a value like every other.
type Member<'b> = Option<&'b RawValue>;

/// The members of a batch. What appears twice is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchMembers<'b> {
    #[serde(borrow, default, deserialize_with = "member")]
    token: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    unit: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    unit_type: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    events: Member<'b>,
}

/// The members of an event, of every type. What appears twice is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventMembers<'b> {
    #[serde(borrow, default, deserialize_with = "member")]
    id: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    r#type: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    ts: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    unit: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    unit_type: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    experiment: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    variant: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    version: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    metric: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    value: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    from: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    to: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    cause: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    subject: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    key_id: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    source: Member<'b>,
    #[serde(borrow, default, deserialize_with = "member")]
    code: Member<'b>,
}

fn member<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Member<'de>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The members of an object. A list would be taken for an object whose members come in order, so it is refused here.
fn members_of<'b, M: Deserialize<'b>>(value: &'b RawValue) -> Option<M> {
    if !value.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// A list that is given up as soon as it is too long.
struct AtMost<'b>(Vec<&'b RawValue>);

impl<'de: 'b, 'b> Deserialize<'de> for AtMost<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> serde::de::Visitor<'de> for Items {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX_BATCH_EVENTS {
                        return Err(serde::de::Error::custom("too many"));
                    }
                    list.push(item);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Items).map(Self)
    }
}

fn read_event<'b>(
    index: usize,
    event: &'b RawValue,
    batch_unit: Member<'b>,
    batch_unit_type: Member<'b>,
) -> Result<Event<'b>, Rejected> {
    let Some(members) = members_of::<EventMembers<'b>>(event) else {
        return Err(Rejected { index, id: None, code: Rejection::MalformedEvent, about: None });
    };
    let id = members.id.and_then(text).and_then(|id| EventId::parse(&id));
    let read = || {
        let kind = members.r#type.and_then(text).ok_or(Rejection::MalformedEvent)?;
        let id = id.ok_or(Rejection::BadId)?;
        let at_ms = members.ts.and_then(|ts| ts.get().parse().ok());
        let kind = members.kind(&kind)?;
        let unit = read_unit(members.unit.or(batch_unit), members.unit_type.or(batch_unit_type))?;
        Ok(Event { index, id, at_ms: at_ms.ok_or(Rejection::BadTime)?, unit, kind })
    };
    read().map_err(|code| Rejected { index, id, code, about: members.about() })
}

impl EventMembers<'_> {
    fn kind(&self, kind: &str) -> Result<EventKind, Rejection> {
        let malformed = Rejection::MalformedEvent;
        let experiment = || key(self.experiment).ok_or(malformed);
        match kind {
            "exposure" => {
                let named = match (self.variant, self.version) {
                    (None, None) => None,
                    (variant, version) => {
                        let version = version.and_then(|version| version.get().parse().ok());
                        Some((key(variant).ok_or(malformed)?, version.ok_or(malformed)?))
                    }
                };
                Ok(EventKind::Exposure { experiment: experiment()?, named })
            }
            "metric" => Ok(EventKind::Metric {
                metric: key(self.metric).ok_or(malformed)?,
                amount: read_value(self.value.ok_or(malformed)?)?,
            }),
            "drift" => Ok(EventKind::Drift {
                experiment: experiment()?,
                from: key_or_null(self.from)?,
                to: key_or_null(self.to)?,
                cause: self
                    .cause
                    .and_then(text)
                    .and_then(|text| DriftCause::parse(&text))
                    .ok_or(malformed)?,
            }),
            "leak" => Ok(EventKind::Leak {
                subject: self
                    .subject
                    .and_then(text)
                    .and_then(|text| SubjectTag::parse(&text))
                    .ok_or(malformed)?,
                key_id: self.key_id.and_then(text).and_then(|text| KeyId::parse(&text)).ok_or(malformed)?,
                source: self
                    .source
                    .and_then(text)
                    .and_then(|text| LeakSource::parse(&text))
                    .ok_or(malformed)?,
            }),
            "verification_failed" => Ok(EventKind::VerificationFailed {
                code: self.code.and_then(text).and_then(|text| FailureCode::parse(&text)).ok_or(malformed)?,
            }),
            _ => Err(Rejection::UnknownType),
        }
    }

    fn about(&self) -> Option<String> {
        let name = self.experiment.or(self.metric).and_then(text)?;
        Some(shorten(&name))
    }
}

impl EventKind {
    /// Which experiment or metric it names.
    pub(super) fn about(&self) -> Option<&str> {
        match self {
            Self::Exposure { experiment, .. } | Self::Drift { experiment, .. } => Some(experiment.as_str()),
            Self::Metric { metric, .. } => Some(metric.as_str()),
            Self::Leak { .. } | Self::VerificationFailed { .. } => None,
        }
    }
}

fn read_value(value: &RawValue) -> Result<i128, Rejection> {
    if matches!(value.get(), "null" | r#""NaN""# | r#""Infinity""# | r#""-Infinity""#) {
        return Err(Rejection::NotFinite);
    }
    parse_amount(value.get()).map_err(|error| match error {
        AmountError::TooLarge => Rejection::ValueTooLarge,
        AmountError::NotANumber => Rejection::MalformedEvent,
    })
}

fn read_unit<'b>(unit: Member<'b>, unit_type: Member<'b>) -> Result<Option<NamedUnit<'b>>, Rejection> {
    let Some(unit) = unit else { return Ok(None) };
    let id = text(unit).filter(|id| UnitId::parse(id).is_ok()).ok_or(Rejection::MalformedEvent)?;
    let unit_type = match unit_type {
        None => UnitType::default(),
        Some(unit_type) => {
            text(unit_type).and_then(|text| UnitType::parse(&text).ok()).ok_or(Rejection::MalformedEvent)?
        }
    };
    Ok(Some(NamedUnit { id, unit_type }))
}

fn key<K>(member: Member<'_>) -> Option<Key<K>> {
    member.and_then(text).and_then(|text| Key::parse(&text).ok())
}

/// A key, or nothing where the member is missing or `null`.
fn key_or_null<K>(member: Member<'_>) -> Result<Option<Key<K>>, Rejection> {
    match member {
        None => Ok(None),
        Some(null) if null.get() == "null" => Ok(None),
        key_member => key(key_member).map(Some).ok_or(Rejection::MalformedEvent),
    }
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    text_of(value.get())
}

/// The text that a JSON string stands for; `None` for every other value and for lone surrogates.
fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// A stranger's text, cut to [`MAX_DETAIL_BYTES`] and without control characters.
fn shorten(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if short.len().saturating_add(character.len_utf8()) > MAX_DETAIL_BYTES {
            break;
        }
        short.push(character);
    }
    short
}
