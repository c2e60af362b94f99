//! The snapshot: one environment's whole configuration as it is signed and shipped to edges.
//!
//! [`Snapshot`] is the wire form, the claims of an `edgeseal-snapshot+jwt`: integers only, allocations spelt out as
//! bucket ranges, so that every edge computes the same answer whatever it knows of the past. People do not write it;
//! [`Definition::build`](crate::definition::Definition::build) makes it. [`Snapshot::compile`] turns it into a
//! [`Ruleset`](crate::ruleset::Ruleset), after which nothing can be malformed any more.

mod compile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::allocation::BucketRange;
use crate::ids::{Environment, ExperimentKey, GroupKey, HoldoutKey, LayerKey, UnitType, VariantKey};

pub use compile::{CompileError, CompileErrorKind};

/// Version of the wire form that this code reads and writes.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Most experiments in one snapshot.
pub const MAX_EXPERIMENTS: usize = 10_000;
/// Most variants of one experiment.
pub const MAX_VARIANTS: usize = 64;
/// Largest payload of a variant, in bytes of compact JSON.
pub const MAX_PAYLOAD_BYTES: usize = 4_096;
/// Most prerequisites of one experiment.
pub const MAX_PREREQUISITES: usize = 4;
/// Longest chain of prerequisites; with [`MAX_PREREQUISITES`] it bounds the work of one evaluation.
pub const MAX_PREREQUISITE_DEPTH: usize = 4;
/// Most units with a fixed variant in one experiment.
pub const MAX_OVERRIDES: usize = 1_000;
/// Most layers, holdouts or groups in one snapshot (each).
pub const MAX_COLLECTIONS: usize = 1_000;
/// Longest salt, in bytes.
pub const MAX_SALT_BYTES: usize = 256;
/// Most bytes of JSON that the assignments of one unit may take when it is in every experiment of its unit type:
/// the token must stay below what a verifier accepts.
pub const MAX_ASSIGNMENT_JSON_BYTES: usize = 180 * 1024;

/// One environment's configuration: the claims of an `edgeseal-snapshot+jwt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Version of this wire form, [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// The environment.
    pub iss: Environment,
    /// When it was made, in seconds since the Unix epoch.
    pub iat: i64,
    /// Snapshot version: grows by one with every change, never goes back.
    pub cv: u64,
    /// Experiments, in the order of their keys.
    pub experiments: Vec<ExperimentRecord>,
    /// Layers, in the order of their keys.
    pub layers: Vec<LayerRecord>,
    /// Holdouts, in the order of their keys.
    pub holdouts: Vec<HoldoutRecord>,
    /// Saved groups: key to the values in it (strings, numbers or booleans).
    pub groups: BTreeMap<GroupKey, Vec<Value>>,
}

/// One experiment of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentRecord {
    /// Its key.
    pub key: ExperimentKey,
    /// Experiment version: grows when what a unit is assigned could change.
    pub xv: u64,
    /// Where it is in its life.
    pub state: ExperimentState,
    /// What it randomises.
    pub ut: UnitType,
    /// Salt of its bucket keys.
    pub salt: String,
    /// Share of units in its traffic, in parts per million.
    pub traffic: u32,
    /// Targeting condition; absent: everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Value>,
    /// Its slot of a layer; absent: in no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerSlot>,
    /// Experiments whose outcome it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<PrerequisiteRecord>,
    /// Whether a unit keeps the variant of its previous token when weights change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky: bool,
    /// Its variants, in the order people gave them.
    pub variants: Vec<VariantRecord>,
    /// Units with a fixed variant (QA), by unit id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, VariantKey>,
    /// Variant served to everyone once stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<VariantKey>,
}

/// Where an experiment is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExperimentState {
    /// Being prepared; nobody is in it.
    #[default]
    Draft,
    /// Assigning units.
    Running,
    /// Halted for now, by a person or by the guardrail; nobody is in it.
    Paused,
    /// Over; its winner, if it names one, is served to everyone.
    Stopped,
}

/// One variant of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantRecord {
    /// Its key, unique within the experiment.
    pub key: VariantKey,
    /// The buckets it owns; together the variants own each bucket exactly once.
    pub ranges: Vec<BucketRange>,
    /// What the application gets with it: any JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_value")]
    pub payload: Option<Value>,
}

/// Keeps an explicit `null` payload apart from an absent one.
pub(crate) fn some_value<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The part of a layer that an experiment owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSlot {
    /// The layer.
    pub key: LayerKey,
    /// Buckets of the layer that belong to the experiment.
    pub ranges: Vec<BucketRange>,
}

/// A condition on another experiment's outcome for the same unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrerequisiteRecord {
    /// The other experiment.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub experiment: ExperimentKey,
    /// The variants of it that open this experiment.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub variants: Vec<VariantKey>,
}

/// A mutual exclusion group: a unit falls into at most one experiment of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecord {
    /// Its key.
    pub key: LayerKey,
    /// Salt of its bucket key.
    pub salt: String,
}

/// Units kept out of a set of experiments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutRecord {
    /// Its key.
    pub key: HoldoutKey,
    /// Salt of its bucket key.
    pub salt: String,
    /// Share of units held out, in parts per million.
    pub size: u32,
    /// The experiments it keeps units out of; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Vec<ExperimentKey>>,
}
