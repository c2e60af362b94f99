//! The first door: a snapshot becomes a ruleset, or is refused whole with the place and the reason.

mod error;
mod experiment;
mod prerequisites;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::experiment::ExperimentCompiler;
use super::{
    HoldoutRecord, MAX_ASSIGNMENT_JSON_BYTES, MAX_COLLECTIONS, MAX_EXPERIMENTS, MAX_SALT_BYTES,
    SNAPSHOT_FORMAT, Snapshot,
};
use crate::allocation::BucketRange;
use crate::audience::Group;
use crate::bucket::{BUCKETS, BucketKey, Purpose};
use crate::ids::{ExperimentKey, GroupKey, LayerKey, UnitType};
use crate::ruleset::{Experiment, HoldoutGate, Phase, Ruleset, ShareGate, Variant};

pub use error::{CompileError, CompileErrorKind};

type Result<T> = std::result::Result<T, CompileError>;

fn refuse<T>(path: impl Into<String>, kind: impl Into<CompileErrorKind>) -> Result<T> {
    Err(CompileError { path: path.into(), kind: kind.into() })
}

impl Snapshot {
    /// Checks everything and compiles it.
    ///
    /// # Errors
    /// The first [`CompileError`] found; nothing is compiled in part.
    pub fn compile(&self) -> Result<Ruleset> {
        if self.format != SNAPSHOT_FORMAT {
            return refuse("/format", CompileErrorKind::Format(self.format));
        }
        bounded("/experiments", "experiments", self.experiments.len(), MAX_EXPERIMENTS)?;
        bounded("/layers", "layers", self.layers.len(), MAX_COLLECTIONS)?;
        bounded("/holdouts", "holdouts", self.holdouts.len(), MAX_COLLECTIONS)?;
        bounded("/groups", "groups", self.groups.len(), MAX_COLLECTIONS)?;

        let groups = compile_groups(self)?;
        let layers = index_layers(self)?;
        let places = index_experiments(self)?;
        let holdouts = compile_holdouts(self, &places)?;

        // In the order of keys, whatever the order of the document: tokens list experiments sorted.
        let mut experiments = Vec::with_capacity(places.len());
        for (index, &place) in places.values().enumerate() {
            let Some(record) = self.experiments.get(place) else { continue };
            let path = format!("/experiments/{place}");
            experiments
                .push(ExperimentCompiler { record, path, groups: &groups, layers: &layers }.compile(index)?);
        }
        for (place, holdout) in holdouts {
            for experiment in &mut experiments {
                if covers(self.holdouts.get(place), &experiment.key) {
                    let mut gates = std::mem::take(&mut experiment.holdouts).into_vec();
                    gates.push(holdout.clone());
                    experiment.holdouts = gates.into_boxed_slice();
                }
            }
        }
        prerequisites::link(self, &places, &mut experiments)?;
        check_layer_slots(self, &places)?;
        let by_unit_type = group_by_unit_type(&experiments);
        check_token_size(&experiments, &by_unit_type)?;
        Ok(Ruleset {
            environment: self.iss.clone(),
            version: self.cv,
            experiments: experiments.into_boxed_slice(),
            by_unit_type,
        })
    }
}

fn bounded(path: &str, what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count > limit {
        return refuse(path, CompileErrorKind::TooMany { what, count, limit });
    }
    Ok(())
}

fn check_salt(path: &str, salt: &str) -> Result<()> {
    if salt.len() > MAX_SALT_BYTES {
        return refuse(
            format!("{path}/salt"),
            CompileErrorKind::TooLong { bytes: salt.len(), limit: MAX_SALT_BYTES },
        );
    }
    Ok(())
}

fn compile_groups(snapshot: &Snapshot) -> Result<BTreeMap<GroupKey, Arc<Group>>> {
    let mut groups = BTreeMap::new();
    for (key, values) in &snapshot.groups {
        let group = Group::compile(values).map_err(|error| CompileError {
            path: format!("/groups/{key}{}", error.path),
            kind: CompileErrorKind::Condition(error),
        })?;
        groups.insert(key.clone(), Arc::new(group));
    }
    Ok(groups)
}

fn index_layers(snapshot: &Snapshot) -> Result<BTreeMap<LayerKey, BucketKey>> {
    let mut layers = BTreeMap::new();
    for (place, layer) in snapshot.layers.iter().enumerate() {
        let path = format!("/layers/{place}");
        check_salt(&path, &layer.salt)?;
        let bucket_key = BucketKey::derive(Purpose::Layer, layer.key.as_str(), &layer.salt);
        if layers.insert(layer.key.clone(), bucket_key).is_some() {
            return refuse(
                format!("{path}/key"),
                CompileErrorKind::Duplicate { what: "layer", key: layer.key.to_string() },
            );
        }
    }
    Ok(layers)
}

/// Key to place in the document, in the order of keys.
fn index_experiments(snapshot: &Snapshot) -> Result<BTreeMap<&ExperimentKey, usize>> {
    let mut places = BTreeMap::new();
    for (place, record) in snapshot.experiments.iter().enumerate() {
        if places.insert(&record.key, place).is_some() {
            return refuse(
                format!("/experiments/{place}/key"),
                CompileErrorKind::Duplicate { what: "experiment", key: record.key.to_string() },
            );
        }
    }
    Ok(places)
}

fn compile_holdouts(
    snapshot: &Snapshot,
    places: &BTreeMap<&ExperimentKey, usize>,
) -> Result<Vec<(usize, HoldoutGate)>> {
    let mut seen = BTreeSet::new();
    let mut gates = Vec::new();
    for (place, holdout) in snapshot.holdouts.iter().enumerate() {
        let path = format!("/holdouts/{place}");
        check_salt(&path, &holdout.salt)?;
        if !seen.insert(&holdout.key) {
            return refuse(
                format!("{path}/key"),
                CompileErrorKind::Duplicate { what: "holdout", key: holdout.key.to_string() },
            );
        }
        if holdout.size > BUCKETS {
            return refuse(format!("{path}/size"), CompileErrorKind::Share(holdout.size));
        }
        for (index, key) in holdout.experiments.iter().flatten().enumerate() {
            if !places.contains_key(key) {
                return refuse(
                    format!("{path}/experiments/{index}"),
                    CompileErrorKind::Unknown { what: "experiment", key: key.to_string() },
                );
            }
        }
        let key = BucketKey::derive(Purpose::Holdout, holdout.key.as_str(), &holdout.salt);
        let share = ShareGate { key, size: holdout.size };
        gates.push((place, HoldoutGate { key: holdout.key.clone(), share }));
    }
    Ok(gates)
}

fn covers(holdout: Option<&HoldoutRecord>, experiment: &ExperimentKey) -> bool {
    holdout
        .is_some_and(|holdout| holdout.experiments.as_ref().is_none_or(|listed| listed.contains(experiment)))
}

fn check_layer_slots(snapshot: &Snapshot, places: &BTreeMap<&ExperimentKey, usize>) -> Result<()> {
    let mut taken: BTreeMap<&LayerKey, Vec<BucketRange>> = BTreeMap::new();
    for &place in places.values() {
        let Some(slot) = snapshot.experiments.get(place).and_then(|record| record.layer.as_ref()) else {
            continue;
        };
        let ranges = taken.entry(&slot.key).or_default();
        ranges.extend(slot.ranges.iter().copied());
        if let Err(error) = crate::allocation::disjoint(ranges) {
            let layer = slot.key.to_string();
            return refuse(
                format!("/experiments/{place}/layer"),
                CompileErrorKind::LayerOverlap { layer, error },
            );
        }
    }
    Ok(())
}

fn group_by_unit_type(experiments: &[Experiment]) -> Box<[(UnitType, Box<[usize]>)]> {
    let mut groups: BTreeMap<&UnitType, Vec<usize>> = BTreeMap::new();
    for experiment in experiments {
        groups.entry(&experiment.unit_type).or_default().push(experiment.index);
    }
    groups.into_iter().map(|(unit_type, indices)| (unit_type.clone(), indices.into())).collect()
}

fn check_token_size(experiments: &[Experiment], by_unit_type: &[(UnitType, Box<[usize]>)]) -> Result<()> {
    for (unit_type, indices) in by_unit_type {
        let bytes = indices
            .iter()
            .filter_map(|&index| experiments.get(index))
            .filter(|experiment| match experiment.phase {
                Phase::Running => true,
                Phase::Stopped { winner } => winner.is_some(),
                Phase::Draft | Phase::Paused => false,
            })
            .fold(0_usize, |sum, experiment| sum.saturating_add(largest_claim(experiment)));
        if bytes > MAX_ASSIGNMENT_JSON_BYTES {
            let kind = CompileErrorKind::TokenTooLarge {
                unit_type: unit_type.to_string(),
                bytes,
                limit: MAX_ASSIGNMENT_JSON_BYTES,
            };
            return refuse("/experiments", kind);
        }
    }
    Ok(())
}

fn largest_claim(experiment: &Experiment) -> usize {
    let longest_reason = 8;
    let claim = |variant: &Variant| variant.claim_head.len().saturating_add(variant.claim_tail.len());
    experiment.variants.iter().map(claim).max().unwrap_or(0).saturating_add(longest_reason)
}
