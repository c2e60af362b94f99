//! What a store keeps for the guardrail.

use std::fmt;

use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, VariantKey};

use crate::columns::is_storable;
use crate::error::StoreError;

/// What a guardrail watches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// A metric.
    Metric(MetricKey),
    /// Whether the variants have the shares that were planned.
    SampleRatio,
    /// How often clients are handed another unit's token.
    Leak,
    /// How often a variant changes within a session.
    Drift,
    /// How often a token does not verify.
    Verification,
    /// Whether a winner was declared: not a guardrail's finding, but kept in the same way.
    Winner,
}

impl Watched {
    /// The text that the database uses: a metric's key, or a word with a `~`, which no key has.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Metric(key) => key.as_str(),
            Self::SampleRatio => "~srm",
            Self::Leak => "~leak",
            Self::Drift => "~drift",
            Self::Verification => "~verification",
            Self::Winner => "~winner",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::SampleRatio, Self::Leak, Self::Drift, Self::Verification, Self::Winner]
            .into_iter()
            .find(|watched| watched.as_str() == text)
            .or_else(|| MetricKey::parse(text).ok().map(Self::Metric))
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a guardrail found so far. Written again, `max_log_e` never goes down, `alarmed_at_ms` stays as it was first
/// set, and of the rest the later check counts.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardrailState {
    /// In which experiment.
    pub experiment: ExperimentKey,
    /// In which allocation epoch.
    pub xv: u64,
    /// What is watched.
    pub watched: Watched,
    /// In which variant; `None` where it concerns all of them.
    pub variant: Option<VariantKey>,
    /// Greatest evidence so far, as the natural logarithm of an e-value; never NaN, −∞ while there is none.
    pub max_log_e: f64,
    /// When it alarmed, in milliseconds since the Unix epoch.
    pub alarmed_at_ms: Option<i64>,
    /// The numbers behind it, as JSON that the store does not read.
    pub detail: String,
    /// When it was last checked, in milliseconds since the Unix epoch.
    pub checked_at_ms: i64,
}

impl GuardrailState {
    /// What it is about: no two states of an environment share it.
    pub fn key(&self) -> (&ExperimentKey, u64, &Watched, Option<&VariantKey>) {
        (&self.experiment, self.xv, &self.watched, self.variant.as_ref())
    }

    /// What is kept when `newer` is written over it.
    #[must_use]
    pub fn overwritten_by(&self, newer: &Self) -> Self {
        let later = if newer.checked_at_ms >= self.checked_at_ms { newer } else { self };
        Self {
            max_log_e: self.max_log_e.max(newer.max_log_e),
            alarmed_at_ms: self.alarmed_at_ms.or(newer.alarmed_at_ms),
            ..later.clone()
        }
    }

    /// Checks what no backend could keep.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check(&self) -> Result<(), StoreError> {
        let detail = if self.max_log_e.is_nan() {
            "the evidence is not a number"
        } else if !is_storable(&self.detail) {
            "the detail has a NUL character"
        } else if i64::try_from(self.xv).is_err() {
            "the experiment version is beyond 63 bits"
        } else {
            return Ok(());
        };
        Err(StoreError::Refused { attempt: "keeping what the guardrail found", detail: detail.into() })
    }
}

/// An alert to send, written in the transaction of what it tells about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// Drawn by whoever alerts; receivers know repetitions by it. A taken one is a conflict.
    pub id: String,
    /// In which environment.
    pub environment: Environment,
    /// About which experiment, if about one.
    pub experiment: Option<ExperimentKey>,
    /// What it tells: `guardrail.paused`; a word of the control plane.
    pub kind: String,
    /// What to send, as JSON that the store does not read.
    pub body: String,
}

/// An alert and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What was written.
    pub alert: NewAlert,
    /// When it was written, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How often somebody set out to deliver it, this time included.
    pub attempts: u32,
    /// When it is due again; while it is being delivered, when the lease ends. `None`: delivered or given up.
    pub next_at_ms: Option<i64>,
    /// When it was delivered.
    pub delivered_at_ms: Option<i64>,
    /// What the last failure was.
    pub error: Option<String>,
}

/// One point of an interval over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalPoint {
    /// Of which experiment.
    pub experiment: ExperimentKey,
    /// Of which metric.
    pub metric: MetricKey,
    /// Of which variant.
    pub variant: VariantKey,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Effect and bounds, as JSON that the store does not read.
    pub body: String,
}

impl IntervalPoint {
    /// Checks what no backend could keep.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check(&self) -> Result<(), StoreError> {
        if is_storable(&self.body) {
            return Ok(());
        }
        let detail = "an interval has a NUL character".into();
        Err(StoreError::Refused { attempt: "keeping intervals", detail })
    }
}
