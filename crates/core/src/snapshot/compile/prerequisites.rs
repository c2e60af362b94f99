//! Tying experiments to their prerequisites, and refusing loops.

use std::collections::BTreeMap;

use super::{CompileErrorKind, Result, bounded, refuse};
use crate::ids::ExperimentKey;
use crate::ruleset::{Experiment, Prerequisite};
use crate::snapshot::{MAX_PREREQUISITE_DEPTH, MAX_PREREQUISITES, Snapshot};

pub(super) fn link(
    snapshot: &Snapshot,
    places: &BTreeMap<&ExperimentKey, usize>,
    experiments: &mut [Experiment],
) -> Result<()> {
    let indices: BTreeMap<&ExperimentKey, usize> =
        places.keys().enumerate().map(|(index, key)| (*key, index)).collect();
    for (key, &place) in places {
        let (Some(record), Some(&index)) = (snapshot.experiments.get(place), indices.get(key)) else {
            continue;
        };
        let path = format!("/experiments/{place}/prerequisites");
        bounded(&path, "prerequisites", record.prerequisites.len(), MAX_PREREQUISITES)?;
        let mut linked = Vec::with_capacity(record.prerequisites.len());
        for (number, prerequisite) in record.prerequisites.iter().enumerate() {
            let path = format!("{path}/{number}");
            let target = indices.get(&prerequisite.experiment).copied();
            let Some(other) = target.and_then(|target| experiments.get(target)) else {
                let key = prerequisite.experiment.to_string();
                return refuse(
                    format!("{path}/experiment"),
                    CompileErrorKind::Unknown { what: "experiment", key },
                );
            };
            if other.unit_type != record.ut {
                let kind = CompileErrorKind::PrerequisiteUnitType {
                    key: other.key.to_string(),
                    theirs: other.unit_type.to_string(),
                    ours: record.ut.to_string(),
                };
                return refuse(format!("{path}/experiment"), kind);
            }
            if prerequisite.variants.is_empty() {
                return refuse(format!("{path}/variants"), CompileErrorKind::PrerequisiteEmpty);
            }
            let mut variants = Vec::with_capacity(prerequisite.variants.len());
            for (number, variant) in prerequisite.variants.iter().enumerate() {
                let Some(found) = other.variant(variant.as_str()) else {
                    return refuse(
                        format!("{path}/variants/{number}"),
                        CompileErrorKind::Unknown { what: "variant", key: variant.to_string() },
                    );
                };
                variants.push(found.index);
            }
            linked.push(Prerequisite { experiment: other.index, variants: variants.into() });
        }
        if let Some(experiment) = experiments.get_mut(index) {
            experiment.prerequisites = linked.into();
        }
    }
    for (key, &place) in places {
        let start = indices.get(key).copied().unwrap_or_default();
        if chain_length(experiments, start, MAX_PREREQUISITE_DEPTH) > MAX_PREREQUISITE_DEPTH {
            return refuse(
                format!("/experiments/{place}/prerequisites"),
                CompileErrorKind::PrerequisiteDepth { key: key.to_string() },
            );
        }
    }
    Ok(())
}

/// Longest chain of prerequisites from `index`, followed no further than `left` steps plus one; so loops end too.
fn chain_length(experiments: &[Experiment], index: usize, left: usize) -> usize {
    let prerequisites =
        experiments.get(index).map(|experiment| &*experiment.prerequisites).unwrap_or_default();
    let Some(next_left) = left.checked_sub(1) else { return usize::from(!prerequisites.is_empty()) };
    let longest = prerequisites
        .iter()
        .map(|prerequisite| chain_length(experiments, prerequisite.experiment, next_left).saturating_add(1))
        .max();
    longest.unwrap_or(0)
}
