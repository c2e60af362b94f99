//! How much of a layer is taken.

use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::ids::ExperimentKey;
use edgeseal_store::Kind;
use serde::{Serialize, Serializer};

use super::EnvironmentState;

/// How much of a layer its experiments take. As JSON all shares are percentages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerCapacity {
    /// Buckets that are taken.
    #[serde(rename = "usedPercent", serialize_with = "percent")]
    pub used: u32,
    /// Buckets that are left.
    #[serde(rename = "freePercent", serialize_with = "percent")]
    pub free: u32,
    /// Who takes how much, in the order of keys. Drafts and stopped experiments keep their place.
    pub members: Vec<LayerMember>,
}

/// An experiment of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerMember {
    /// Its key.
    pub experiment: ExperimentKey,
    /// Buckets that it takes.
    #[serde(rename = "sharePercent", serialize_with = "percent")]
    pub share: u32,
}

impl EnvironmentState {
    /// How much of a layer is taken, and by whom. A layer that nobody is in is free; so is one that does not exist.
    pub fn layer_capacity(&self, layer: &str) -> LayerCapacity {
        let experiments = self.iter(Kind::Experiment).filter_map(|document| document.experiment());
        let members: Vec<LayerMember> = experiments
            .filter_map(|experiment| {
                let part = experiment.layer.as_ref().filter(|part| part.key.as_str() == layer)?;
                Some(LayerMember { experiment: experiment.key.clone(), share: part.share.buckets() })
            })
            .collect();
        let used = members.iter().map(|member| member.share).fold(0_u32, u32::saturating_add);
        LayerCapacity { used, free: BUCKETS.saturating_sub(used), members }
    }
}

/// A share in percent: exact, because four decimals of a number up to 100 fit a double.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn percent<S: Serializer>(buckets: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(f64::from(*buckets) / 10_000.0)
}
