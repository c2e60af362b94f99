//! What an experiment's definition says about its guardrails, in the terms of the judge.

use std::collections::BTreeMap;

use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::definition::{Better, ExperimentDefinition, MetricDefinition, MetricKind, OnHarm, Share};
use edgeseal_core::ids::{ExperimentKey, MetricKey, VariantKey};
use edgeseal_stats::guardrail::Direction;

/// What is watched in one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which experiment.
    pub experiment: ExperimentKey,
    /// The variant that the others are compared with.
    pub control: VariantKey,
    /// The others.
    pub treatments: Vec<VariantKey>,
    /// Whether units keep the variant of their previous token when weights change, so that first exposures of later
    /// epochs need not have the planned shares.
    pub sticky: bool,
    /// The metrics that must not get worse.
    pub metrics: Vec<GuardrailMetric>,
    /// Chance of any false pause by these metrics, until a person resumes.
    pub alpha: f64,
    /// Units at which evidence from means is tuned to be strongest.
    pub n_star: f64,
    /// What to do about harm.
    pub on_harm: OnHarm,
}

/// A metric that must not get worse.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardrailMetric {
    /// Its key.
    pub key: MetricKey,
    /// What is counted.
    pub kind: MetricKind,
    /// Which way is worse.
    pub direction: Direction,
    /// Harm that is tolerated, relative to the control.
    pub margin: f64,
}

impl Settings {
    /// The settings of an experiment; `None` when it has no two variants to compare. Metrics that are not defined (any
    /// more) are not watched.
    pub fn of(
        experiment: &ExperimentDefinition,
        metrics: &BTreeMap<MetricKey, MetricDefinition>,
    ) -> Option<Self> {
        let analysis = experiment.analysis.clone().unwrap_or_default();
        let control = analysis.control.or_else(|| Some(experiment.variants.first()?.key.clone()))?;
        let others = experiment.variants.iter().map(|variant| &variant.key).filter(|key| **key != control);
        let treatments: Vec<VariantKey> = others.cloned().collect();
        if treatments.is_empty() {
            return None;
        }
        let guarding = experiment.metrics.iter().flat_map(|metrics| &metrics.guardrails);
        let mut watched: Vec<GuardrailMetric> = Vec::new();
        for definition in guarding.filter_map(|key| metrics.get(key)) {
            if watched.iter().any(|known| known.key == definition.key) {
                continue;
            }
            let direction = match definition.better {
                Better::Higher => Direction::LowerIsHarm,
                Better::Lower => Direction::HigherIsHarm,
            };
            let margin = analysis.margins.get(&definition.key).map_or(0.0, |share| fraction(*share));
            watched.push(GuardrailMetric {
                key: definition.key.clone(),
                kind: definition.kind,
                direction,
                margin,
            });
        }
        Some(Self {
            experiment: experiment.key.clone(),
            control,
            treatments,
            sticky: experiment.sticky,
            metrics: watched,
            alpha: fraction(analysis.guardrail_alpha),
            n_star: analysis.guardrail_units as f64,
            on_harm: analysis.on_harm,
        })
    }
}

fn fraction(share: Share) -> f64 {
    f64::from(share.buckets()) / f64::from(BUCKETS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(experiment: serde_json::Value) -> Option<Settings> {
        let metrics = [
            json!({ "key": "signup", "kind": "conversion" }),
            json!({ "key": "errors", "kind": "count", "better": "lower" }),
        ];
        let metrics = metrics.map(|it| serde_json::from_value::<MetricDefinition>(it).unwrap());
        let metrics = metrics.into_iter().map(|it| (it.key.clone(), it)).collect();
        Settings::of(&serde_json::from_value(experiment).unwrap(), &metrics)
    }

    #[test]
    fn defaults() {
        let found = settings(json!({
            "key": "e",
            "variants": [{ "key": "a" }, { "key": "b" }, { "key": "c" }],
            "metrics": { "guardrails": ["signup", "errors", "signup", "gone"] },
        }))
        .unwrap();
        assert_eq!((found.control.as_str(), found.treatments.len()), ("a", 2));
        assert_eq!((found.alpha, found.n_star, found.on_harm), (0.01, 20_000.0, OnHarm::Pause));
        let directions: Vec<_> = found.metrics.iter().map(|it| (it.key.as_str(), it.direction)).collect();
        assert_eq!(
            directions,
            [("signup", Direction::LowerIsHarm), ("errors", Direction::HigherIsHarm)],
            "once each, and none that does not exist"
        );
    }

    #[test]
    fn what_people_set() {
        let found = settings(json!({
            "key": "e",
            "variants": [{ "key": "a" }, { "key": "b" }],
            "metrics": { "guardrails": ["signup"] },
            "analysis": { "control": "b", "guardrail_alpha": 5, "margins": { "signup": 2.5 }, "on_harm": "alert",
                "guardrail_units": 1000 },
        }))
        .unwrap();
        assert_eq!((found.control.as_str(), found.treatments[0].as_str()), ("b", "a"));
        assert_eq!((found.alpha, found.metrics[0].margin, found.n_star), (0.05, 0.025, 1000.0));
        assert_eq!(found.on_harm, OnHarm::Alert);
    }

    #[test]
    fn one_variant_is_no_comparison() {
        assert_eq!(settings(json!({ "key": "e", "variants": [{ "key": "a" }] })), None);
    }
}
