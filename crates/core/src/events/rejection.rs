//! Why a single event is not counted.

use std::fmt;

/// Why an event was refused. The codes are part of the protocol.
///
/// The edge tells its own in the answer to the batch; the control plane's (unknown metric, negative, unit too busy)
/// are found later and shown with the experiment's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Not an object, a member missing, of the wrong type, named twice, or no usable key.
    MalformedEvent,
    /// A `type` that is none of ours.
    UnknownType,
    /// `id` is no UUID of version 7 in lower case.
    BadId,
    /// `ts` is no integer of milliseconds.
    BadTime,
    /// It happened longer ago than [`MAX_PAST_MS`](super::MAX_PAST_MS).
    TooOld,
    /// It claims a time further ahead than [`MAX_FUTURE_MS`](super::MAX_FUTURE_MS).
    InTheFuture,
    /// It happened further than [`TOKEN_LIFE_SLACK_MS`](super::TOKEN_LIFE_SLACK_MS) outside its token's life.
    OutsideTokenLife,
    /// The value is `null`, which is what JavaScript writes for NaN and the infinities, or names one of them.
    NotFinite,
    /// The value lies beyond ± [`MAX_VALUE`](super::MAX_VALUE).
    ValueTooLarge,
    /// Only a token can say whose event this is, and none came.
    NeedsToken,
    /// The token says nothing of this experiment: the unit was not in it.
    UnknownExperiment,
    /// The unit has its variant by force or because it won: such exposures are never counted.
    NotCounted,
    /// No metric of the environment has this name (control).
    UnknownMetric,
    /// A negative value where the metric allows none (control).
    Negative,
    /// The unit has more events than are kept for one (control).
    UnitTooBusy,
}

impl Rejection {
    /// Every reason, in the order in which they are found.
    pub const ALL: [Self; 15] = [
        Self::MalformedEvent,
        Self::UnknownType,
        Self::BadId,
        Self::BadTime,
        Self::TooOld,
        Self::InTheFuture,
        Self::OutsideTokenLife,
        Self::NotFinite,
        Self::ValueTooLarge,
        Self::NeedsToken,
        Self::UnknownExperiment,
        Self::NotCounted,
        Self::UnknownMetric,
        Self::Negative,
        Self::UnitTooBusy,
    ];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedEvent => "malformed_event",
            Self::UnknownType => "unknown_type",
            Self::BadId => "bad_id",
            Self::BadTime => "bad_time",
            Self::TooOld => "too_old",
            Self::InTheFuture => "in_the_future",
            Self::OutsideTokenLife => "outside_token_life",
            Self::NotFinite => "not_finite",
            Self::ValueTooLarge => "value_too_large",
            Self::NeedsToken => "needs_token",
            Self::UnknownExperiment => "unknown_experiment",
            Self::NotCounted => "not_counted",
            Self::UnknownMetric => "unknown_metric",
            Self::Negative => "negative",
            Self::UnitTooBusy => "unit_too_busy",
        }
    }

    /// Reads the code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rejection| rejection.as_str() == text)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
