//! What experiments are judged by, as people write it. Edges never see any of it.

use serde::{Deserialize, Serialize};

use super::Share;
use crate::ids::MetricKey;

/// Longest window of a metric, in hours: 90 days.
pub const MAX_METRIC_WINDOW_HOURS: u32 = 90 * 24;
/// Most metrics in one definition.
pub const MAX_METRICS: usize = 1_000;
/// Most secondary metrics or guardrails (each) of one experiment.
pub const MAX_EXPERIMENT_METRICS: usize = 32;

/// A metric: which events count for a unit, and what is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MetricDefinition {
    /// Its key; events name it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: MetricKey,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is counted.
    pub kind: MetricKind,
    /// Which direction is better.
    #[serde(default)]
    pub better: Better,
    /// How long after its first exposure a unit's events count, in hours.
    #[serde(default = "week")]
    pub window_hours: u32,
    /// Upper share of units whose value is cut to the value at that quantile, in percent: 1 cuts the top percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorize: Option<Share>,
    /// The metric that it is divided by; for `ratio`, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub denominator: Option<MetricKey>,
}

/// What a metric counts for each unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MetricKind {
    /// Whether it happened at all.
    Conversion,
    /// How often it happened.
    Count,
    /// The sum of its values, such as revenue.
    Continuous,
    /// The sum of its values divided by that of another metric.
    Ratio,
}

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// What one experiment is judged by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExperimentMetrics {
    /// The one that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub primary: Option<MetricKey>,
    /// Those that are looked at as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub secondary: Vec<MetricKey>,
    /// Those that must not get worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub guardrails: Vec<MetricKey>,
}

impl ExperimentMetrics {
    /// Every metric with its place, as a JSON pointer below the experiment.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, &MetricKey)> {
        let primary = self.primary.iter().map(|key| ("/metrics/primary".to_owned(), key));
        let listed = [("secondary", &self.secondary), ("guardrails", &self.guardrails)];
        primary.chain(listed.into_iter().flat_map(|(list, keys)| {
            keys.iter().enumerate().map(move |(place, key)| (format!("/metrics/{list}/{place}"), key))
        }))
    }
}

fn week() -> u32 {
    7 * 24
}
