//! From what people wrote to the next snapshot: versions grow, units stay where they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::allocation::{AllocationError, BucketRange, apportion, rebalance};
use crate::ids::LayerKey;
use crate::snapshot::{
    CompileError, CompileErrorKind, ExperimentRecord, ExperimentState, HoldoutRecord, LayerRecord, LayerSlot,
    SNAPSHOT_FORMAT, Snapshot, VariantRecord,
};
use crate::time::Timestamp;

use super::metrics::MAX_METRIC_WINDOW_HOURS;
use super::{Definition, ExperimentDefinition, people};

/// Why a definition cannot become a snapshot, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct BuildError {
    /// JSON pointer (RFC 6901) into the definition.
    pub path: String,
    /// What is wrong there.
    pub kind: BuildErrorKind,
}

/// The ways in which a definition can be wrong beyond its shape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BuildErrorKind {
    /// All variants weigh nothing.
    #[error("all weights are zero; give at least one variant a weight")]
    NoWeight,
    /// The experiments of a layer want more than there is.
    #[error("experiments of layer '{layer}' together take {percent} of it; they may take 100% at most")]
    LayerFull {
        /// The layer.
        layer: String,
        /// What they want, for people.
        percent: String,
    },
    /// A text for people is too long.
    #[error("has {bytes} bytes; at most {limit} are allowed")]
    TextTooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A list is too long.
    #[error("lists {found}; at most {limit} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An experiment or a ratio names a metric that is not defined.
    #[error("metric '{metric}' does not exist; define it under 'metrics', or name another")]
    UnknownMetric {
        /// What was named.
        metric: String,
    },
    /// Two metrics have one key.
    #[error("metric '{metric}' is defined twice")]
    RepeatedMetric {
        /// The key.
        metric: String,
    },
    /// A window that is empty or too long.
    #[error("a window of {hours} hours is out of bounds; give 1 to {MAX_METRIC_WINDOW_HOURS}")]
    MetricWindow {
        /// What was given.
        hours: u32,
    },
    /// Only sums of values have extremes to cut.
    #[error("only a continuous metric can be winsorized")]
    WinsorizedKind,
    /// A ratio without a denominator, a denominator without a ratio, or a ratio of ratios.
    #[error("a ratio needs a denominator that is no ratio itself, and no other kind has one")]
    Denominator,
    /// A setting of the analysis that is out of its bounds.
    #[error("is out of bounds; give {allowed}")]
    AnalysisBound {
        /// What it may be.
        allowed: &'static str,
    },
    /// The analysis names a variant that the experiment does not have.
    #[error("variant '{variant}' does not exist; name one of the experiment's own")]
    UnknownControl {
        /// What was named.
        variant: String,
    },
    /// The analysis tolerates harm of a metric that guards nothing.
    #[error(
        "metric '{metric}' is no guardrail of this experiment; list it under 'metrics.guardrails', or remove it"
    )]
    NoGuardrail {
        /// What was named.
        metric: String,
    },
    /// The previous snapshot is of another environment.
    #[error("environment '{new}' is not '{old}', which this data belongs to; use another data directory")]
    OtherEnvironment {
        /// Environment of the previous snapshot.
        old: String,
        /// Environment of the definition.
        new: String,
    },
    /// Bucket ranges of the previous snapshot that do not fit together.
    #[error("{0}")]
    Allocation(#[from] AllocationError),
    /// Whatever compiling the new snapshot refuses.
    #[error("{0}")]
    Compile(#[from] CompileErrorKind),
}

impl Definition {
    /// Makes the snapshot that follows `previous`, checked: it is known to compile.
    ///
    /// Weights that changed move the fewest possible units. An experiment's version grows when what a unit is assigned
    /// could change, and when it goes on after a pause, because its analysis then begins anew; raising `traffic`,
    /// other changes of `state`, and changing `winner` or `overrides` leave it. The snapshot version grows only if
    /// anything changed: otherwise `previous` itself comes back.
    ///
    /// # Errors
    /// The first [`BuildError`] found, with its place in the definition.
    pub fn build(&self, previous: Option<&Snapshot>, now: Timestamp) -> Result<Snapshot, BuildError> {
        if let Some(previous) = previous.filter(|previous| previous.iss != self.environment) {
            let kind = BuildErrorKind::OtherEnvironment {
                old: previous.iss.to_string(),
                new: self.environment.to_string(),
            };
            return Err(BuildError { path: "/environment".into(), kind });
        }
        people::check(self)?;
        let old_records = index_previous(previous);
        let mut slots = self.layer_slots(&old_records)?;
        let mut numbered = Vec::with_capacity(self.experiments.len());
        for (place, experiment) in self.experiments.iter().enumerate() {
            let old = old_records.get(experiment.key.as_str()).copied();
            numbered.push((place, build_record(place, experiment, old, slots.remove(&place))?));
        }
        // In the order of keys, so that moving a paragraph of the file is no change.
        numbered.sort_by(|left, right| left.1.key.cmp(&right.1.key));
        let (places, experiments): (Vec<usize>, Vec<ExperimentRecord>) = numbered.into_iter().unzip();

        let mut snapshot = Snapshot {
            format: SNAPSHOT_FORMAT,
            iss: self.environment.clone(),
            iat: now.unix_seconds(),
            cv: previous.map_or(1, |previous| previous.cv.saturating_add(1)),
            experiments,
            layers: self.layer_records(),
            holdouts: self.holdout_records(),
            groups: self.groups.clone(),
        };
        let order = Order { experiments: places, ..self.order_of_collections() };
        snapshot.compile().map_err(|error| order.translate(error))?;
        if let Some(previous) = previous {
            let unchanged = Snapshot { iat: previous.iat, cv: previous.cv, ..snapshot };
            if unchanged == *previous {
                return Ok(unchanged);
            }
            snapshot = Snapshot { iat: now.unix_seconds(), cv: previous.cv.saturating_add(1), ..unchanged };
        }
        Ok(snapshot)
    }

    /// Slot of each experiment that is in a layer, by its place in the file.
    fn layer_slots(
        &self,
        old_records: &BTreeMap<&str, &ExperimentRecord>,
    ) -> Result<BTreeMap<usize, LayerSlot>, BuildError> {
        let mut members: BTreeMap<&LayerKey, Vec<(usize, &ExperimentDefinition, u32)>> = BTreeMap::new();
        for (place, experiment) in self.experiments.iter().enumerate() {
            if let Some(layer) = &experiment.layer {
                let entry = members.entry(&layer.key).or_default();
                entry.push((place, experiment, layer.share.buckets()));
            }
        }
        let mut slots = BTreeMap::new();
        for (layer, mut members) in members {
            // By key, so that the order of the file does not decide who gets which buckets.
            members.sort_by(|left, right| left.1.key.cmp(&right.1.key));
            let owners: Vec<(Vec<BucketRange>, u32)> = members
                .iter()
                .map(|(_, experiment, wants)| {
                    let old = old_records.get(experiment.key.as_str()).and_then(|old| old.layer.as_ref());
                    let has = old.filter(|old| old.key == *layer).map(|old| old.ranges.clone());
                    (has.unwrap_or_default(), *wants)
                })
                .collect();
            let ranges = rebalance(&owners).map_err(|error| {
                let path = format!("/experiments/{}/layer", members.last().map_or(0, |member| member.0));
                let kind = match error {
                    AllocationError::OverCapacity { wanted } => BuildErrorKind::LayerFull {
                        layer: layer.to_string(),
                        percent: format!("{}.{:04}%", wanted / 10_000, wanted % 10_000),
                    },
                    other => other.into(),
                };
                BuildError { path, kind }
            })?;
            for ((place, ..), ranges) in members.into_iter().zip(ranges) {
                slots.insert(place, LayerSlot { key: layer.clone(), ranges });
            }
        }
        Ok(slots)
    }

    fn layer_records(&self) -> Vec<LayerRecord> {
        let mut layers: Vec<LayerRecord> = self
            .layers
            .iter()
            .map(|layer| LayerRecord { key: layer.key.clone(), salt: layer.salt.clone() })
            .collect();
        layers.sort_by(|left, right| left.key.cmp(&right.key));
        layers
    }

    fn holdout_records(&self) -> Vec<HoldoutRecord> {
        let mut holdouts: Vec<HoldoutRecord> = self
            .holdouts
            .iter()
            .map(|holdout| HoldoutRecord {
                key: holdout.key.clone(),
                salt: holdout.salt.clone(),
                size: holdout.size.buckets(),
                experiments: holdout.experiments.clone(),
            })
            .collect();
        holdouts.sort_by(|left, right| left.key.cmp(&right.key));
        holdouts
    }

    fn order_of_collections(&self) -> Order {
        let mut layers: Vec<usize> = (0..self.layers.len()).collect();
        layers.sort_by_key(|&place| self.layers.get(place).map(|layer| &layer.key));
        let mut holdouts: Vec<usize> = (0..self.holdouts.len()).collect();
        holdouts.sort_by_key(|&place| self.holdouts.get(place).map(|holdout| &holdout.key));
        Order { experiments: Vec::new(), layers, holdouts }
    }
}

fn index_previous(previous: Option<&Snapshot>) -> BTreeMap<&str, &ExperimentRecord> {
    let records = previous.map(|previous| previous.experiments.as_slice()).unwrap_or_default();
    records.iter().map(|record| (record.key.as_str(), record)).collect()
}

fn build_record(
    place: usize,
    experiment: &ExperimentDefinition,
    old: Option<&ExperimentRecord>,
    layer: Option<LayerSlot>,
) -> Result<ExperimentRecord, BuildError> {
    let mut record = ExperimentRecord {
        key: experiment.key.clone(),
        xv: old.map_or(1, |old| old.xv),
        state: experiment.state,
        ut: experiment.unit_type.clone(),
        salt: experiment.salt.clone(),
        traffic: experiment.traffic.buckets(),
        audience: experiment.audience.clone(),
        layer,
        prerequisites: experiment.prerequisites.clone(),
        sticky: experiment.sticky,
        variants: allocate(place, experiment, old)?,
        overrides: experiment.overrides.clone(),
        winner: experiment.winner.clone(),
    };
    if old
        .is_some_and(|old| *old != record && (goes_on(old, &record) || may_assign_differently(old, &record)))
    {
        record.xv = record.xv.saturating_add(1);
    }
    Ok(record)
}

fn allocate(
    place: usize,
    experiment: &ExperimentDefinition,
    old: Option<&ExperimentRecord>,
) -> Result<Vec<VariantRecord>, BuildError> {
    let path = format!("/experiments/{place}/variants");
    let fail = |kind: BuildErrorKind| BuildError { path: path.clone(), kind };
    let weights: Vec<u32> = experiment.variants.iter().map(|variant| variant.weight).collect();
    if !weights.is_empty() && weights.iter().all(|&weight| weight == 0) {
        return Err(fail(BuildErrorKind::NoWeight));
    }
    // With a new salt every unit lands elsewhere anyway: start with unbroken ranges.
    let old_variants = match old {
        Some(old) if old.salt == experiment.salt => old.variants.as_slice(),
        _ => &[],
    };
    // A repeated key is refused by compile; here it must not inherit the same buckets twice.
    let mut taken = BTreeSet::new();
    let owners: Vec<(Vec<BucketRange>, u32)> = experiment
        .variants
        .iter()
        .zip(apportion(&weights))
        .map(|(variant, wants)| {
            let old = old_variants.iter().find(|old| old.key == variant.key);
            let has = old.filter(|_| taken.insert(&variant.key)).map(|old| old.ranges.clone());
            (has.unwrap_or_default(), wants)
        })
        .collect();
    let ranges = rebalance(&owners).map_err(|error| fail(error.into()))?;
    Ok(experiment
        .variants
        .iter()
        .zip(ranges)
        .map(|(variant, ranges)| VariantRecord {
            key: variant.key.clone(),
            ranges,
            payload: variant.payload.clone(),
        })
        .collect())
}

/// Whether the experiment goes on after a pause. What was measured before it does not count against it any more, and
/// the version is what tells the measurements apart.
fn goes_on(old: &ExperimentRecord, new: &ExperimentRecord) -> bool {
    old.state == ExperimentState::Paused && new.state == ExperimentState::Running
}

/// Whether some unit could get another assignment from `new` than from `old`. Units that merely enter, because traffic
/// was raised, do not count; nor do state, winner and QA overrides, which no analysis looks at.
fn may_assign_differently(old: &ExperimentRecord, new: &ExperimentRecord) -> bool {
    new.traffic < old.traffic
        || ExperimentRecord {
            xv: old.xv,
            traffic: old.traffic,
            state: old.state,
            winner: old.winner.clone(),
            overrides: old.overrides.clone(),
            ..new.clone()
        } != *old
}

/// Where each record of a snapshot stands in the file it was built from.
struct Order {
    experiments: Vec<usize>,
    layers: Vec<usize>,
    holdouts: Vec<usize>,
}

impl Order {
    /// The same error, at its place in the definition.
    fn translate(&self, error: CompileError) -> BuildError {
        let mut parts: Vec<String> = error.path.split('/').map(str::to_owned).collect();
        let places = match parts.get(1).map(String::as_str) {
            Some("experiments") => self.experiments.as_slice(),
            Some("layers") => self.layers.as_slice(),
            Some("holdouts") => self.holdouts.as_slice(),
            _ => &[],
        };
        if let Some(part) = parts.get_mut(2)
            && let Some(place) = part.parse::<usize>().ok().and_then(|index| places.get(index))
        {
            *part = place.to_string();
        }
        BuildError { path: parts.join("/"), kind: error.kind.into() }
    }
}

#[cfg(test)]
mod tests;
