//! What an experiment shows: effects with intervals, guardrails, sample ratio, health, and what follows from them.
//!
//! [`results`] is a pure function of what was counted and found; [`record`] reads it from the store, keeps the verdict
//! of the planned look, and a point of every interval for each hour. Rates of different allocation epochs are never mixed:
//! each epoch is compared for itself, and the comparisons are weighted by how sure they are.
//!
//! | | |
//! | --- | --- |
//! | [`compare`] | sums of two variants → an effect, by epoch |
//! | [`row`] | one metric in one treatment |
//! | [`ratio`] | the sample ratio |
//! | [`winner`] | what may be declared, and what is missing |
//! | [`view`] | how the API shows it |
//! | [`record`] | from the store and back |

mod compare;
mod ratio;
mod record;
mod row;
mod view;
mod winner;

use std::collections::BTreeMap;

use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::definition::{AnalysisSettings, Better, ExperimentDefinition, MetricDefinition, Share};
use edgeseal_core::ids::{MetricKey, VariantKey};
use edgeseal_core::time::Timestamp;
use edgeseal_stats::guardrail::Direction;
use edgeseal_store::{Aggregate, Allocation, GuardrailState, HealthCount, HealthKind};

use compare::Epochs;
use row::{Context, Role};
use view::{HealthView, ResultsView};
use winner::Kept;

pub(crate) use view::ResultsView as Results;

const DAY_MS: i64 = 24 * 3_600_000;

/// Everything that results depend on.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) experiment: &'a ExperimentDefinition,
    /// The metrics of the environment.
    pub(crate) metrics: &'a BTreeMap<MetricKey, MetricDefinition>,
    pub(crate) allocations: &'a [Allocation],
    pub(crate) aggregates: &'a [Aggregate],
    pub(crate) states: &'a [GuardrailState],
    pub(crate) health: &'a [HealthCount],
    pub(crate) now: Timestamp,
}

/// What an experiment shows, and what to keep of it.
pub(crate) fn results(question: &Question<'_>) -> (ResultsView, Option<GuardrailState>) {
    let Question { experiment, allocations, aggregates, states, now, .. } = *question;
    let analysis = experiment.analysis.clone().unwrap_or_default();
    let control = control(experiment, &analysis);
    let treatments: Vec<&VariantKey> =
        experiment.variants.iter().map(|it| &it.key).filter(|key| Some(*key) != control).collect();
    let epochs = Epochs::new(allocations, aggregates, experiment.sticky);
    let started_ms = allocations.iter().map(|it| it.at_ms).min();
    let days = started_ms.map_or(0, |started| now.unix_ms().saturating_sub(started).div_euclid(DAY_MS));
    let days = u32::try_from(days).unwrap_or(0);
    let (ratio_view, finding) = ratio::sample_ratio(&epochs, states);

    let context = Context { epochs: &epochs, analysis: &analysis, states, days, now };
    let mut rows = Vec::new();
    let mut compared = Vec::new();
    for (role, metric) in judged_by(question) {
        for treatment in &treatments {
            let Some(control) = control else { continue };
            let row = row::row(&context, role, metric, [control, treatment]);
            rows.push(row.view.clone());
            compared.push(row);
        }
    }
    let kept = Kept::find(states);
    let (decision, kept) = winner::decide(&context, experiment, &compared, finding, &kept);
    let view = ResultsView {
        experiment: experiment.key.to_string(),
        state: experiment.state,
        as_of: now.into(),
        started_at: started_ms.map(|started| Timestamp::from_unix_ms(started).into()),
        days,
        control: control.map(ToString::to_string),
        mode: analysis.mode,
        alpha: fraction(analysis.alpha),
        rows,
        sample_ratio: Some(ratio_view),
        health: Some(health(question)),
        decision: Some(decision),
        series: Vec::new(),
    };
    (view, kept)
}

/// The metrics of an experiment in their roles, those that are defined.
fn judged_by<'a>(question: &Question<'a>) -> Vec<(Role, &'a MetricDefinition)> {
    let Some(named) = &question.experiment.metrics else { return Vec::new() };
    let success = named.primary.iter().map(|key| (Role::Success, key));
    let guardrails = named.guardrails.iter().map(|key| (Role::Guardrail, key));
    let secondary = named.secondary.iter().map(|key| (Role::Secondary, key));
    let mut found: Vec<(Role, &MetricDefinition)> = Vec::new();
    for (role, key) in success.chain(guardrails).chain(secondary) {
        let Some(metric) = question.metrics.get(key) else { continue };
        if !found.iter().any(|(known, it)| *known == role && it.key == *key) {
            found.push((role, metric));
        }
    }
    found
}

fn control<'a>(experiment: &'a ExperimentDefinition, analysis: &AnalysisSettings) -> Option<&'a VariantKey> {
    let named = analysis.control.as_ref();
    let mut variants = experiment.variants.iter().map(|it| &it.key);
    match named {
        Some(named) => variants.find(|key| *key == named),
        None => variants.next(),
    }
}

fn fraction(share: Share) -> f64 {
    f64::from(share.buckets()) / f64::from(BUCKETS)
}

fn harm(better: Better) -> Direction {
    match better {
        Better::Higher => Direction::LowerIsHarm,
        Better::Lower => Direction::HigherIsHarm,
    }
}

fn health(question: &Question<'_>) -> HealthView {
    let mut view = HealthView::default();
    for HealthCount { key, count } in question.health {
        let ours = key.experiment.as_ref() == Some(&question.experiment.key);
        let counter = match (&key.kind, ours) {
            (HealthKind::Exposures, true) => &mut view.exposures,
            (HealthKind::Exclusions, true) => &mut view.exclusions,
            (HealthKind::Drift, true) => &mut view.drift,
            (HealthKind::Leak, _) => &mut view.leaks,
            (HealthKind::VerificationFailed(_), _) => &mut view.verification_failures,
            _ => continue,
        };
        *counter = counter.saturating_add(*count);
    }
    view
}

#[cfg(test)]
mod tests;
