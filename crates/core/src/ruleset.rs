//! The ruleset: a compiled snapshot, ready to evaluate and impossible to get wrong.
//!
//! Everything here was checked by [`Snapshot::compile`](crate::snapshot::Snapshot::compile); indices point into the
//! same ruleset, bucket keys are derived, regexes are built, JSON fragments of tokens are written.

use serde_json::Value;

use crate::allocation::OwnerTable;
use crate::audience::Condition;
use crate::bucket::{Bucket, BucketKey};
use crate::ids::{Environment, ExperimentKey, HoldoutKey, LayerKey, UnitType, VariantKey};
use crate::sealing::Status;

/// One environment's compiled configuration.
#[derive(Clone)]
pub struct Ruleset {
    pub(crate) environment: Environment,
    pub(crate) version: u64,
    /// In the order of their keys.
    pub(crate) experiments: Box<[Experiment]>,
    /// Per unit type: its experiments, as indices in ascending order.
    pub(crate) by_unit_type: Box<[(UnitType, Box<[usize]>)]>,
}

impl Ruleset {
    /// The environment that it configures.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The snapshot version, `cv`.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All experiments, in the order of their keys; [`Experiment::index`] is the place in this slice.
    pub fn experiments(&self) -> &[Experiment] {
        &self.experiments
    }

    /// The experiment with this key.
    pub fn find(&self, key: &str) -> Option<&Experiment> {
        let place = self.experiments.binary_search_by(|experiment| experiment.key.as_str().cmp(key)).ok()?;
        self.experiments.get(place)
    }

    /// The experiments that randomise this unit type, in the order of their keys.
    pub fn experiments_of(&self, unit_type: &UnitType) -> impl Iterator<Item = &Experiment> {
        let indices =
            self.by_unit_type.iter().find(|(name, _)| name == unit_type).map(|(_, indices)| indices);
        indices
            .into_iter()
            .flat_map(|indices| indices.iter())
            .filter_map(|&index| self.experiments.get(index))
    }
}

/// One compiled experiment.
#[derive(Clone)]
pub struct Experiment {
    pub(crate) index: usize,
    pub(crate) key: ExperimentKey,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
    pub(crate) unit_type: UnitType,
    /// Sorted by unit id.
    pub(crate) overrides: Box<[Override]>,
    pub(crate) holdouts: Box<[HoldoutGate]>,
    pub(crate) prerequisites: Box<[Prerequisite]>,
    pub(crate) audience: Condition,
    pub(crate) layer: Option<LayerGate>,
    pub(crate) traffic: ShareGate,
    pub(crate) sticky: bool,
    pub(crate) variant_key: BucketKey,
    pub(crate) allocation: OwnerTable,
    /// Never empty.
    pub(crate) variants: Box<[Variant]>,
}

impl Experiment {
    /// Its place in [`Ruleset::experiments`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its key.
    pub fn key(&self) -> &ExperimentKey {
        &self.key
    }

    /// The experiment version, `xv`.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it randomises.
    pub fn unit_type(&self) -> &UnitType {
        &self.unit_type
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its variants; a [`Variant::index`] is the place in this slice.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The variant with this key.
    pub fn variant(&self, key: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.key.as_str() == key)
    }
}

/// Where an experiment is in its life, with what only makes sense there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Being prepared.
    Draft,
    /// Assigning units.
    Running,
    /// Halted for now.
    Paused,
    /// Over.
    Stopped {
        /// Index of the variant served to everyone, if one is named.
        winner: Option<usize>,
    },
}

/// One compiled variant.
#[derive(Clone)]
pub struct Variant {
    pub(crate) index: usize,
    pub(crate) key: VariantKey,
    pub(crate) payload: Option<Value>,
    /// `"checkout":{"v":"treatment","xv":3,"r":"`, to be followed by the reason and then [`Self::claim_tail`].
    pub(crate) claim_head: Box<str>,
    /// `"}` or `","p":<payload>}`.
    pub(crate) claim_tail: Box<str>,
}

impl Variant {
    /// Its place among the experiment's variants.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its key.
    pub fn key(&self) -> &VariantKey {
        &self.key
    }

    /// What the application gets with it; an explicit JSON `null` is `Some(Value::Null)`.
    pub fn payload(&self) -> Option<&Value> {
        self.payload.as_ref()
    }
}

/// A unit with a fixed variant.
#[derive(Clone)]
pub(crate) struct Override {
    pub(crate) unit: Box<str>,
    pub(crate) variant: usize,
}

/// Lets through the units whose bucket is below `size`; hashes only when that can make a difference.
#[derive(Clone)]
pub(crate) struct ShareGate {
    pub(crate) key: BucketKey,
    pub(crate) size: Bucket,
}

#[derive(Clone)]
pub(crate) struct HoldoutGate {
    pub(crate) key: HoldoutKey,
    pub(crate) share: ShareGate,
}

#[derive(Clone)]
pub(crate) struct LayerGate {
    pub(crate) key: LayerKey,
    pub(crate) bucket_key: BucketKey,
    /// Sorted, disjoint.
    pub(crate) ranges: Box<[crate::allocation::BucketRange]>,
}

#[derive(Clone)]
pub(crate) struct Prerequisite {
    pub(crate) experiment: usize,
    pub(crate) variants: Box<[usize]>,
}

/// Which experiments a status document halts, resolved against one ruleset.
#[derive(Clone, Debug, Default)]
pub struct Halts {
    /// Indices of halted experiments, ascending; nearly always empty.
    halted: Box<[usize]>,
}

impl Halts {
    /// Nothing is halted.
    pub fn none() -> Self {
        Self::default()
    }

    /// What `status` halts: experiments in `off`, and those whose version is below `min`.
    pub fn new(ruleset: &Ruleset, status: &Status) -> Self {
        let halted = |experiment: &&Experiment| {
            status.off.contains(&experiment.key)
                || status.min.get(&experiment.key).is_some_and(|&min| experiment.version < min)
        };
        Self {
            halted: ruleset.experiments.iter().filter(halted).map(|experiment| experiment.index).collect(),
        }
    }

    /// Whether the experiment at this index is halted.
    pub fn contains(&self, index: usize) -> bool {
        !self.halted.is_empty() && self.halted.binary_search(&index).is_ok()
    }
}
