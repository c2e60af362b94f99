//! What is counted for an experiment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use edgeseal_core::definition::{MetricDefinition, MetricKind, Share};
use edgeseal_core::ids::MetricKey;
use edgeseal_store::Kind;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::kept::Kept;
use crate::environment::{DocumentBody, EnvironmentState};

const HOUR_MS: i64 = 3_600_000;

/// What is counted for an experiment: the metrics that it names, as they are defined now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Rules {
    pub(super) metrics: BTreeMap<MetricKey, Rule>,
}

/// How a unit's events become its value of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    /// How long after the first exposure events count.
    pub(super) window_ms: i64,
    pub(super) tally: Tally,
    /// Larger totals are cut to it.
    pub(super) cap: Option<i128>,
    /// What it is divided by, in a ratio.
    pub(super) denominator: Option<Denominator>,
    /// Share of units to cut, in buckets. What is counted depends on the cap alone.
    #[serde(skip)]
    pub(super) winsorize: Option<Share>,
}

/// The lower part of a ratio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Denominator {
    pub(super) metric: MetricKey,
    pub(super) tally: Tally,
}

/// What events amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Tally {
    /// 1 if there is any.
    Any,
    /// How many there are.
    Number,
    /// Their values together.
    Sum,
}

impl Rules {
    /// The rules for an experiment; `None` when there is no such experiment (any more).
    pub(super) fn of(state: &EnvironmentState, experiment: &str, kept: Option<&Kept>) -> Option<Self> {
        let experiment = state.experiment(experiment)?;
        let Some(named) = &experiment.metrics else { return Some(Self::default()) };
        let keys = named.primary.iter().chain(&named.secondary).chain(&named.guardrails);
        let rule = |key: &MetricKey| Some((key.clone(), Rule::of(state, key, kept)?));
        Some(Self { metrics: keys.filter_map(rule).collect() })
    }

    /// Tells rules apart.
    pub(super) fn digest(&self) -> String {
        // Maps of keys and numbers always have a JSON form.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(text).iter().take(16).fold(String::new(), |mut hex, byte| {
            let _written = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The metrics whose large values are to be cut, while nobody knows yet where.
    pub(super) fn uncapped(&self) -> impl Iterator<Item = (&MetricKey, &Rule, Share)> {
        let rules = self.metrics.iter().filter(|(_, rule)| rule.cap.is_none());
        rules.filter_map(|(key, rule)| Some((key, rule, rule.winsorize?)))
    }
}

impl Rule {
    fn of(state: &EnvironmentState, key: &MetricKey, kept: Option<&Kept>) -> Option<Self> {
        let definition = metric(state, key)?;
        let denominator = match &definition.denominator {
            Some(key) => {
                let tally = Tally::of(metric(state, key)?.kind);
                Some(Denominator { metric: key.clone(), tally })
            }
            None => None,
        };
        let window_ms = i64::from(definition.window_hours).saturating_mul(HOUR_MS);
        let winsorize = definition.winsorize.filter(|share| share.buckets() > 0);
        let cap = winsorize.and_then(|share| kept?.cap(key, share, window_ms));
        Some(Self { window_ms, tally: Tally::of(definition.kind), cap, denominator, winsorize })
    }
}

impl Tally {
    const fn of(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Conversion => Self::Any,
            MetricKind::Count => Self::Number,
            MetricKind::Continuous | MetricKind::Ratio => Self::Sum,
        }
    }
}

/// A metric as it is defined now.
pub(crate) fn metric<'s>(state: &'s EnvironmentState, key: &MetricKey) -> Option<&'s MetricDefinition> {
    match state.find(Kind::Metric, key.as_str())?.body.as_ref()? {
        DocumentBody::Metric(metric) => Some(metric),
        _ => None,
    }
}
