//! Results from the store, and back into it what has to stay: the verdict of the planned look, and intervals over time.

use std::collections::BTreeMap;
use std::time::Duration;

use edgeseal_core::definition::MetricDefinition;
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, VariantKey};
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{GuardrailState, IntervalPoint, Kind, MAX_EVENTS_PAGE};
use tokio::time::{MissedTickBehavior, interval};

use super::view::{PointView, ResultsView, RowView};
use super::{Question, results};
use crate::control::Control;
use crate::environment::{DocumentBody, EnvironmentState};
use crate::error::ControlError;

/// How often intervals are kept, and verdicts looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
/// Most pages of points that an answer has.
const MAX_PAGES: u32 = 5;

impl Control {
    /// What an experiment shows: now, or what was kept of an earlier time.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::NoEnvironment`], [`ControlError::Store`].
    #[tracing::instrument(name = "control.results", skip_all, fields(%environment, experiment = key))]
    pub(crate) async fn results(
        &self,
        environment: &Environment,
        key: &str,
        at: Option<Timestamp>,
    ) -> Result<ResultsView, ControlError> {
        let state = self.state(environment).await?;
        state.require(Kind::Experiment, key)?;
        let missing = || ControlError::NotFound { kind: Kind::Experiment, key: key.to_owned() };
        let key = ExperimentKey::parse(key).map_err(|_| missing())?;
        let states = self.store().guardrail_states(environment).await?;
        let (mut view, kept) = self.look(environment, &state, &key, states).await?.ok_or_else(missing)?;
        if let Some(kept) = kept {
            // A verdict that was seen is a verdict that stays.
            self.store().save_guardrail_states(environment, &[kept]).await?;
        }
        let until = at.unwrap_or_else(|| self.now());
        let points = self.points(environment, &key, until).await?;
        view.series = points.iter().filter_map(|(point, row)| PointView::of(point, row)).collect();
        if let Some(at) = at {
            view.as_of = at.into();
            let newest: BTreeMap<_, _> = points
                .into_iter()
                .map(|(_, row)| ((row.metric.clone(), row.role.clone(), row.variant.clone()), row))
                .collect();
            view.rows = newest.into_values().collect();
            (view.sample_ratio, view.health, view.decision) = (None, None, None);
        }
        Ok(view)
    }

    /// Keeps a point of every interval of every running experiment, and verdicts, over and over.
    pub(crate) async fn keep_results(&self) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = BTreeMap::new();
        loop {
            ticks.tick().await;
            let Ok(environments) = self.store().environments().await else { continue };
            for environment in environments {
                let name = environment.name;
                match self.record_results(&name, seen.get(&name).copied()).await {
                    Ok(now) => drop(seen.insert(name, now)),
                    Err(error) => {
                        tracing::warn!(environment = %name, %error, "results were not kept; the next minute tries again");
                    }
                }
            }
        }
    }

    /// Keeps what running experiments show, unless nothing was counted since `seen`: the roll-up's sequence and the
    /// hour. Gives both as they are now.
    ///
    /// # Errors
    /// [`ControlError::NoEnvironment`], [`ControlError::Store`].
    #[tracing::instrument(name = "control.results.record", skip_all, fields(%environment))]
    pub(crate) async fn record_results(
        &self,
        environment: &Environment,
        seen: Option<(u64, i64)>,
    ) -> Result<(u64, i64), ControlError> {
        let hour = self.now().unix_ms().div_euclid(HOUR_MS);
        let now = (self.store().rolled_up(environment).await?.sequence, hour);
        if seen == Some(now) {
            return Ok(now);
        }
        let state = self.state(environment).await?;
        let mut by_experiment: BTreeMap<ExperimentKey, Vec<GuardrailState>> = BTreeMap::new();
        for found in self.store().guardrail_states(environment).await? {
            by_experiment.entry(found.experiment.clone()).or_default().push(found);
        }
        for document in state.iter(Kind::Experiment) {
            let Some(experiment) = document.experiment() else { continue };
            if experiment.state != ExperimentState::Running || experiment.metrics.is_none() {
                continue;
            }
            let states = by_experiment.remove(&experiment.key).unwrap_or_default();
            let Some((view, kept)) = self.look(environment, &state, &experiment.key, states).await? else {
                continue;
            };
            if let Some(kept) = kept {
                self.store().save_guardrail_states(environment, &[kept]).await?;
            }
            let at_ms = hour.saturating_mul(HOUR_MS);
            // A metric in two roles shows the same effect twice.
            let points: BTreeMap<_, _> = view
                .rows
                .iter()
                .filter_map(|row| point(&experiment.key, row, at_ms))
                .map(|point| ((point.metric.clone(), point.variant.clone()), point))
                .collect();
            if !points.is_empty() {
                let points: Vec<_> = points.into_values().collect();
                self.store().append_interval_points(environment, &points).await?;
            }
        }
        Ok(now)
    }

    /// What an experiment shows now; `None` when there is none of that key.
    async fn look(
        &self,
        environment: &Environment,
        state: &EnvironmentState,
        key: &ExperimentKey,
        states: Vec<GuardrailState>,
    ) -> Result<Option<(ResultsView, Option<GuardrailState>)>, ControlError> {
        let Some(experiment) = state.experiment(key.as_str()) else { return Ok(None) };
        let store = self.store();
        let allocations = store.allocations(environment, key).await?;
        let aggregates = store.aggregates(environment, Some(key)).await?;
        let started_ms = allocations.iter().map(|it| it.at_ms).min().unwrap_or_default();
        let health =
            store.health(environment, started_ms.div_euclid(HOUR_MS).saturating_mul(HOUR_MS)).await?;
        let states: Vec<_> = states.into_iter().filter(|it| it.experiment == *key).collect();
        Ok(Some(results(&Question {
            experiment,
            metrics: &metrics(state),
            allocations: &allocations,
            aggregates: &aggregates,
            states: &states,
            health: &health,
            now: self.now(),
        })))
    }

    /// The points that were kept until a time, with what they say.
    async fn points(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        until: Timestamp,
    ) -> Result<Vec<(IntervalPoint, RowView)>, ControlError> {
        let (mut points, mut since_ms) = (Vec::new(), i64::MIN);
        for _ in 0..MAX_PAGES {
            let page =
                self.store().interval_points(environment, experiment, since_ms, MAX_EVENTS_PAGE).await?;
            let last = page.last().map(|point| point.at_ms);
            let full = page.len() >= MAX_EVENTS_PAGE as usize;
            points.extend(page.into_iter().filter(|point| point.at_ms <= until.unix_ms()));
            match last {
                Some(last) if full && last < until.unix_ms() => since_ms = last.saturating_add(1),
                _ => break,
            }
        }
        // A point of another version is no point for this one.
        let read = |point: IntervalPoint| Some((serde_json::from_str(&point.body).ok()?, point));
        Ok(points.into_iter().filter_map(read).map(|(row, point)| (point, row)).collect())
    }
}

/// The metrics of an environment.
fn metrics(state: &EnvironmentState) -> BTreeMap<MetricKey, MetricDefinition> {
    let metric = |body: &DocumentBody| match body {
        DocumentBody::Metric(metric) => Some((metric.key.clone(), metric.clone())),
        _ => None,
    };
    state.iter(Kind::Metric).filter_map(|document| metric(document.body.as_ref()?)).collect()
}

fn point(experiment: &ExperimentKey, row: &RowView, at_ms: i64) -> Option<IntervalPoint> {
    row.effect.as_ref()?;
    Some(IntervalPoint {
        experiment: experiment.clone(),
        metric: MetricKey::parse(&row.metric).ok()?,
        variant: VariantKey::parse(&row.variant).ok()?,
        at_ms,
        body: serde_json::to_string(row).ok()?,
    })
}

impl PointView {
    fn of(point: &IntervalPoint, row: &RowView) -> Option<Self> {
        let effect = row.effect.as_ref()?;
        Some(Self {
            at: Timestamp::from_unix_ms(point.at_ms).into(),
            metric: row.metric.clone(),
            variant: row.variant.clone(),
            absolute: effect.absolute,
            relative: effect.relative,
        })
    }
}
