//! The definition: what people write in an experiments file, in their units.
//!
//! Percentages and weights instead of bucket ranges, defaults instead of spelt-out fields. [`Definition::build`] turns
//! it into the next [`Snapshot`](crate::snapshot::Snapshot), moving as few units as possible.

mod analysis;
mod build;
mod metrics;
mod people;
mod share;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Environment, ExperimentKey, GroupKey, HoldoutKey, LayerKey, UnitType, VariantKey};
use crate::snapshot::{ExperimentState, PrerequisiteRecord};

pub use analysis::{AnalysisSettings, MAX_MINIMUM_DAYS, MAX_PLANNED_UNITS, OnHarm, OnHealth, WinnerMode};
pub use build::{BuildError, BuildErrorKind};
pub use metrics::{
    Better, ExperimentMetrics, MAX_EXPERIMENT_METRICS, MAX_METRIC_WINDOW_HOURS, MAX_METRICS,
    MetricDefinition, MetricKind,
};
pub use people::{MAX_LABEL_BYTES, MAX_TAGS, MAX_TEXT_BYTES};
pub use share::{Share, ShareError};

/// An experiments file: everything that one environment runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(title = "Edgeseal experiments file"))]
pub struct Definition {
    /// Name of the environment that this file configures.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub environment: Environment,
    /// The experiments.
    #[serde(default)]
    pub experiments: Vec<ExperimentDefinition>,
    /// Mutual exclusion groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerDefinition>,
    /// Units kept out of experiments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holdouts: Vec<HoldoutDefinition>,
    /// Saved lists of values for `$inGroup` and `$notInGroup`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Vec<Value>>"))]
    pub groups: BTreeMap<GroupKey, Vec<Value>>,
    /// What experiments are judged by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricDefinition>,
}

/// One experiment as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExperimentDefinition {
    /// Its key: ASCII letters, digits, '_', '-' and '.', at most 128.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: ExperimentKey,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is expected to show, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// Who answers for it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Words to find it by, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<ExperimentMetrics>,
    /// How it is analysed, and when a guardrail pauses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSettings>,
    /// Where it is in its life.
    #[serde(default)]
    pub state: ExperimentState,
    /// What it randomises.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub unit_type: UnitType,
    /// Changes all its buckets: give a new one to reshuffle everybody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// Share of units in the experiment, in percent. Raising it moves nobody.
    #[serde(default)]
    pub traffic: Share,
    /// Whom it is for: a condition over attributes; everyone when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Value>,
    /// Its part of a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerShare>,
    /// Experiments whose outcome must be one of the listed variants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<PrerequisiteRecord>,
    /// Whether a unit that sends its previous token keeps its variant when weights change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky: bool,
    /// The variants.
    pub variants: Vec<VariantDefinition>,
    /// Units with a fixed variant, for QA: unit id to variant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub overrides: BTreeMap<String, VariantKey>,
    /// Once stopped: the variant served to everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub winner: Option<VariantKey>,
}

/// One variant as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VariantDefinition {
    /// Its key, unique within the experiment.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: VariantKey,
    /// Its weight relative to the other variants: 1 and 1 are halves, as are 50 and 50.
    #[serde(default = "one")]
    pub weight: u32,
    /// What the application gets with it: any JSON value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::snapshot::some_value"
    )]
    pub payload: Option<Value>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The part of a layer that an experiment takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LayerShare {
    /// The layer.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: LayerKey,
    /// How much of it, in percent; all experiments of a layer together take at most 100.
    pub share: Share,
}

/// A mutual exclusion group as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LayerDefinition {
    /// Its key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: LayerKey,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Changes all its buckets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
}

/// A holdout as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HoldoutDefinition {
    /// Its key.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub key: HoldoutKey,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Changes all its buckets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// Share of units held out, in percent.
    pub size: Share,
    /// The experiments it keeps them out of; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<String>>"))]
    pub experiments: Option<Vec<ExperimentKey>>,
}

fn one() -> u32 {
    1
}
