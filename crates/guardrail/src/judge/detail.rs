//! What is kept with a finding, as JSON in the store: what was fixed before the start, and the numbers of the last look.

use edgeseal_stats::guardrail::Missing;
use serde::{Deserialize, Serialize};

/// Version of the JSON form.
pub const DETAIL_FORMAT: u32 = 1;

/// The numbers behind a finding. What does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// [`DETAIL_FORMAT`].
    pub format: u32,
    /// Share of the experiment's α that this metric has in this variant; fixed when it was first watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// How it is judged; fixed once enough units were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Log evidence at which it alarms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Log evidence at the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_e: Option<f64>,
    /// The control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Arm>,
    /// The treatment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub treatment: Option<Arm>,
    /// Harm beyond the margin, in the metric's unit, from means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
    /// Its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Its lower bound at the guardrail's level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// What is missing before evidence counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// Why there is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_computable: Option<String>,
    /// First exposures by variant, with those expected, for the sample ratio.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposures: Vec<Exposures>,
}

/// How a metric is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// How conversions fall on the variants.
    ConversionSplit,
    /// Difference of means.
    Means,
}

/// One arm of a comparison. Over several allocation epochs the value is that of each, weighted by the units that the
/// treatment had in it, so that values of different epochs are not mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Units.
    pub units: u64,
    /// Units with a value other than zero.
    pub nonzero: u64,
    /// Rate, mean or ratio.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
}

/// What evidence waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    /// `units`, `nonzero` or `zeros`, in the smaller arm.
    pub what: String,
    /// So far.
    pub have: u64,
    /// Needed.
    pub need: u64,
}

/// First exposures to a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exposures {
    /// The variant.
    pub variant: String,
    /// Units.
    pub units: u64,
    /// Units by the planned shares.
    pub expected: f64,
}

impl Detail {
    /// A detail of the current format.
    pub(super) fn new() -> Self {
        Self { format: DETAIL_FORMAT, ..Self::default() }
    }

    /// Reads what is kept; what is unreadable counts as nothing.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// What is kept.
    pub fn to_json(&self) -> String {
        // Numbers that are none have no JSON form; nothing here is one.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<Missing> for WaitsFor {
    fn from(missing: Missing) -> Self {
        let (what, have, need) = match missing {
            Missing::Units { have, need } => ("units", have, need),
            Missing::Nonzero { have, need } => ("nonzero", have, need),
            Missing::Zeros { have, need } => ("zeros", have, need),
        };
        Self { what: what.to_owned(), have, need }
    }
}
