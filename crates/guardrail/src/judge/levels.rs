//! How the experiment's α is divided.

use std::collections::BTreeMap;

use edgeseal_core::ids::{MetricKey, VariantKey};
use edgeseal_stats::NotComputable;
use edgeseal_stats::guardrail::{AlarmLevel, DEFAULT_RESERVE, GuardrailBudget};
use edgeseal_store::Watched;

use super::detail::Detail;
use super::history::History;
use crate::settings::Settings;

/// A metric in a treatment.
pub(super) type Pair<'a> = (&'a MetricKey, &'a VariantKey);

/// What one pair has of the budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Share of the experiment's α.
    pub(super) weight: f64,
    pub(super) alarm: AlarmLevel,
}

/// The level of every pair.
///
/// Those that are watched from the start have equal shares of all but the reserve. What comes later takes half of what is
/// left of it, together: so there is always something left, and what was given is never divided again.
pub(super) fn levels<'a>(
    settings: &'a Settings,
    history: &History<'_>,
) -> BTreeMap<Pair<'a>, Result<Level, NotComputable>> {
    let mut given: BTreeMap<(Watched, Option<VariantKey>), f64> = BTreeMap::new();
    for state in history.states() {
        if let Some(weight) = Detail::parse(&state.detail).weight {
            given.insert((state.watched.clone(), state.variant.clone()), weight);
        }
    }
    let pairs = settings
        .metrics
        .iter()
        .flat_map(|metric| settings.treatments.iter().map(move |treatment| (&metric.key, treatment)));
    let known = |(metric, variant): Pair<'_>| {
        given.get(&(Watched::Metric(metric.clone()), Some(variant.clone()))).copied()
    };
    let spent: f64 = given.values().sum();
    let fresh = pairs.clone().filter(|pair| known(*pair).is_none()).count() as f64;
    let share = if given.is_empty() { 1.0 - DEFAULT_RESERVE } else { (1.0 - spent) / 2.0 } / fresh;
    let budget = GuardrailBudget::new(settings.alpha, 1);
    let level = |pair| {
        let weight = known(pair).unwrap_or(share);
        let (_, alarm) = budget?.draw(weight)?;
        Ok(Level { weight, alarm })
    };
    pairs.map(|pair| (pair, level(pair))).collect()
}
