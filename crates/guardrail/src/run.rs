//! When to look, and at what: the store's totals, every few seconds, for every running experiment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::definition::{ExperimentDefinition, MetricDefinition, OnHealth};
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey};
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Aggregate, Allocation, Document, GuardrailState, Kind, Store, StoreError, Watched};
use serde_json::{Value, json};

use crate::act::{Acted, Actions, PauseOrder};
use crate::alert::{ALERT_FORMAT, AlertBody, Severity};
use crate::health::{self, HealthLimits, HealthWarning};
use crate::judge::{Alarm, Decision, Look, acted, judge};
use crate::settings::Settings;

/// How often the guardrail looks, unless configured otherwise.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

const HOUR_MS: i64 = 3_600_000;

/// Settings of the guardrail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How often to look. Looking more often costs no validity.
    pub interval: Duration,
    /// When health alerts.
    pub health: HealthLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval: DEFAULT_INTERVAL, health: HealthLimits::default() }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Experiments that were judged.
    pub judged: u64,
    /// Experiments that were paused.
    pub paused: u64,
    /// Alarms and warnings that were alerted without a pause.
    pub alerted: u64,
    /// What could not be done and is tried again in the next round.
    pub failed: u64,
}

/// The guardrail of a whole store. Several may run at the same time: each of them judges, one of them acts.
pub struct Guardrail {
    store: Arc<dyn Store>,
    actions: Arc<dyn Actions>,
    config: Config,
    known: BTreeMap<Environment, Known>,
}

/// What is known of an environment, so that a round reads only what is new.
#[derive(Default)]
struct Known {
    /// Up to which commit the documents are read.
    sequence: u64,
    experiments: BTreeMap<ExperimentKey, ExperimentDefinition>,
    metrics: BTreeMap<MetricKey, MetricDefinition>,
    /// How experiments were divided up; read again when there is reason to.
    allocations: BTreeMap<ExperimentKey, Vec<Allocation>>,
    /// Commit and roll-up that the last complete round was about.
    judged: Option<(u64, u64)>,
    /// Health warnings of the day that were told.
    told: BTreeSet<String>,
}

impl Guardrail {
    /// Watches all environments of the store.
    pub fn new(store: Arc<dyn Store>, actions: Arc<dyn Actions>, config: Config) -> Self {
        Self { store, actions, config, known: BTreeMap::new() }
    }

    /// Looks for ever.
    pub async fn run(mut self, clock: impl Fn() -> Timestamp + Send) {
        let mut ticks = tokio::time::interval(self.config.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tick(clock()).await {
                tracing::warn!(%error, "the guardrail sees nothing, because the database does not answer");
            }
        }
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// That of listing the environments. One that cannot be looked at keeps none of the others from being looked at.
    pub async fn tick(&mut self, now: Timestamp) -> Result<Ticked, StoreError> {
        let mut ticked = Ticked::default();
        let environments = self.store.environments().await?;
        let names: BTreeSet<_> = environments.iter().map(|it| it.name.clone()).collect();
        self.known.retain(|name, _| names.contains(name));
        for environment in environments {
            let known = self.known.remove(&environment.name).unwrap_or_default();
            let round = Round {
                store: self.store.as_ref(),
                actions: self.actions.as_ref(),
                config: &self.config,
                environment: &environment.name,
                now,
            };
            match round.look(known, environment.head.sequence, &mut ticked).await {
                Ok(known) => drop(self.known.insert(environment.name, known)),
                // Half read is not read: next time everything is read anew.
                Err(error) => {
                    ticked.failed += 1;
                    tracing::warn!(environment = %environment.name, %error, "the guardrail could not look at an environment");
                }
            }
        }
        Ok(ticked)
    }
}

/// One look at one environment.
struct Round<'r> {
    store: &'r dyn Store,
    actions: &'r dyn Actions,
    config: &'r Config,
    environment: &'r Environment,
    now: Timestamp,
}

impl Round<'_> {
    async fn look(&self, mut known: Known, sequence: u64, ticked: &mut Ticked) -> Result<Known, StoreError> {
        if sequence < known.sequence {
            // The store was restored from a backup.
            known = Known::default();
        }
        let head = self.store.rolled_up(self.environment).await?;
        if known.judged == Some((sequence, head.sequence)) {
            return Ok(known);
        }
        if sequence > known.sequence {
            let documents = self.store.documents_since(self.environment, known.sequence).await?;
            known.take_in(documents);
            known.sequence = sequence;
        }
        let failed_before = ticked.failed;
        self.judge_all(&mut known, ticked).await?;
        self.warn(&mut known.told, ticked).await?;
        self.pause_unhealthy(&mut known, ticked).await?;
        known.judged = (ticked.failed == failed_before).then_some((sequence, head.sequence));
        Ok(known)
    }

    async fn judge_all(&self, known: &mut Known, ticked: &mut Ticked) -> Result<(), StoreError> {
        let states = self.store.guardrail_states(self.environment).await?;
        let mut by_experiment: BTreeMap<ExperimentKey, Vec<GuardrailState>> = BTreeMap::new();
        for state in states {
            by_experiment.entry(state.experiment.clone()).or_default().push(state);
        }
        let experiments: Vec<_> = known.experiments.values().cloned().collect();
        for experiment in experiments {
            let states = by_experiment.remove(&experiment.key).unwrap_or_default();
            let running = experiment.state == ExperimentState::Running;
            // What does not run needs a look only for what may have been left undone.
            let undone = states.iter().any(|it| it.alarmed_at_ms.is_none() && it.max_log_e > 0.0);
            let undone = undone && experiment.state == ExperimentState::Paused;
            if !running && !undone {
                continue;
            }
            let Some(settings) = Settings::of(&experiment, &known.metrics) else { continue };
            let aggregates = self.store.aggregates(self.environment, Some(&experiment.key)).await?;
            let allocations = self.allocations(known, &experiment.key, &aggregates).await?;
            // Nothing was ever served of an experiment without allocations.
            let Some(xv) = allocations.iter().map(|it| it.xv).max() else { continue };
            let look = Look {
                settings: &settings,
                xv,
                running,
                allocations: &allocations,
                aggregates: &aggregates,
                states: &states,
                now_ms: self.now.unix_ms(),
            };
            ticked.judged += u64::from(running);
            self.judge_one(&look, known, ticked).await?;
        }
        Ok(())
    }

    /// How an experiment was divided up, with every epoch that anything was counted in.
    async fn allocations(
        &self,
        known: &mut Known,
        experiment: &ExperimentKey,
        aggregates: &[Aggregate],
    ) -> Result<Vec<Allocation>, StoreError> {
        let has = |allocations: &Vec<Allocation>, xv| allocations.iter().any(|it| it.xv == xv);
        if let Some(cached) = known.allocations.get(experiment)
            && aggregates.iter().all(|it| has(cached, it.key.xv))
        {
            return Ok(cached.clone());
        }
        let read = self.store.allocations(self.environment, experiment).await?;
        known.allocations.insert(experiment.clone(), read.clone());
        Ok(read)
    }

    async fn judge_one(
        &self,
        look: &Look<'_>,
        known: &mut Known,
        ticked: &mut Ticked,
    ) -> Result<(), StoreError> {
        let judgement = judge(look);
        let experiment = &look.settings.experiment;
        if !judgement.states.is_empty() {
            self.store.save_guardrail_states(self.environment, &judgement.states).await?;
        }
        let done = match &judgement.decision {
            Decision::Nothing => return Ok(()),
            Decision::Pause(alarm) => match self.actions.pause(&self.order(alarm)).await {
                Ok(Acted::Paused) => {
                    ticked.paused += 1;
                    tracing::warn!(
                        environment = %self.environment, %experiment, xv = alarm.xv, reason = summary(alarm),
                        "the guardrail paused an experiment"
                    );
                    Ok(Some(alarm))
                }
                Ok(Acted::AlreadyPaused) => Ok(Some(alarm)),
                Ok(Acted::Moved) => {
                    // Somebody changed it meanwhile: look again at what it is now.
                    known.allocations.remove(experiment);
                    ticked.failed += 1;
                    Ok(None)
                }
                Err(error) => Err(error),
            },
            Decision::Alert(alarm) => {
                let alert = self.alarm_alert("guardrail.alarm", alarm);
                let first = alarm.verdicts.first();
                let watched = first.map_or("", |it| it.watched.as_str());
                let variant = first.and_then(|it| it.variant.as_ref()).map_or("", |it| it.as_str());
                let (xv, name) = (alarm.xv.to_string(), self.environment.as_str());
                let occasion = ["alarm", name, experiment.as_str(), xv.as_str(), watched, variant];
                self.actions.alert(&alert.into_once(&occasion)).await.map(|()| {
                    ticked.alerted += 1;
                    Some(alarm)
                })
            }
        };
        match done {
            Ok(Some(alarm)) => self.store.save_guardrail_states(self.environment, &acted(look, alarm)).await,
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::error!(
                    environment = %self.environment, %experiment, %error,
                    "the guardrail found harm and could not act on it; it tries again"
                );
                ticked.failed += 1;
                Ok(())
            }
        }
    }

    fn order(&self, alarm: &Alarm) -> PauseOrder {
        PauseOrder {
            environment: self.environment.clone(),
            experiment: alarm.experiment.clone(),
            xv: alarm.xv,
            reason: summary(alarm),
            detail: numbers(alarm),
            alert: self.alarm_alert("guardrail.paused", alarm).into_new(),
        }
    }

    fn alarm_alert(&self, kind: &str, alarm: &Alarm) -> AlertBody {
        let verb = if kind == "guardrail.paused" { "paused" } else { "not paused, as configured" };
        AlertBody {
            format: ALERT_FORMAT,
            kind: kind.to_owned(),
            at_ms: self.now.unix_ms(),
            environment: self.environment.clone(),
            experiment: Some(alarm.experiment.clone()),
            severity: Severity::Critical,
            summary: format!("{verb}: {}", summary(alarm)),
            detail: numbers(alarm),
        }
    }

    /// Tells of leaks, drift and failing verification, once a day each.
    async fn warn(&self, told: &mut BTreeSet<String>, ticked: &mut Ticked) -> Result<(), StoreError> {
        let limits = &self.config.health;
        let since = self.now.unix_ms().saturating_sub(limits.window_ms);
        let counts = self.store.health(self.environment, since).await?;
        let mut today = BTreeSet::new();
        for warning in health::warnings(&counts, limits) {
            let day = self.now.unix_seconds().div_euclid(24 * 3_600).to_string();
            let about = warning.experiment.as_ref().map_or("", ExperimentKey::as_str);
            let occasion =
                ["health", self.environment.as_str(), warning.watched.as_str(), about, day.as_str()];
            let alert = self.health_alert(&warning).into_once(&occasion);
            if told.contains(&alert.id) {
                today.insert(alert.id);
                continue;
            }
            match self.actions.alert(&alert).await {
                Ok(()) => {
                    ticked.alerted += 1;
                    today.insert(alert.id);
                }
                Err(error) => {
                    tracing::error!(environment = %self.environment, %error, "a health warning could not be written");
                    ticked.failed += 1;
                }
            }
        }
        *told = today;
        Ok(())
    }

    /// Pauses experiments whose definition asks for it when clients report too much. Only what was reported since the
    /// running version began counts, so that what a person resumed is not paused again for what was before.
    async fn pause_unhealthy(&self, known: &mut Known, ticked: &mut Ticked) -> Result<(), StoreError> {
        let limits = &self.config.health;
        let asks = |it: &&ExperimentDefinition| {
            let analysis = it.analysis.as_ref();
            it.state == ExperimentState::Running
                && analysis.is_some_and(|analysis| analysis.on_health == OnHealth::Pause)
        };
        let asking: Vec<_> = known.experiments.values().filter(asks).map(|it| it.key.clone()).collect();
        for experiment in asking {
            let allocations = self.allocations(known, &experiment, &[]).await?;
            let Some(newest) = allocations.iter().max_by_key(|it| it.xv) else { continue };
            // Reports are counted by the hour: the one in which a later version began is partly of the one before.
            let began = newest.at_ms.div_euclid(HOUR_MS) + i64::from(allocations.len() > 1);
            let since =
                began.saturating_mul(HOUR_MS).max(self.now.unix_ms().saturating_sub(limits.window_ms));
            let counts = self.store.health(self.environment, since).await?;
            let about = |it: &HealthWarning| it.experiment.as_ref().is_none_or(|about| *about == experiment);
            let Some(warning) = health::warnings(&counts, limits).into_iter().find(about) else { continue };
            let reason = warning.to_string();
            let alert = AlertBody {
                kind: "guardrail.paused".to_owned(),
                experiment: Some(experiment.clone()),
                severity: Severity::Critical,
                summary: format!("paused: {reason}"),
                ..self.health_alert(&warning)
            };
            let order = PauseOrder {
                environment: self.environment.clone(),
                experiment: experiment.clone(),
                xv: newest.xv,
                reason,
                detail: json!({ "xv": newest.xv, "health": alert.detail }),
                alert: alert.into_new(),
            };
            match self.actions.pause(&order).await {
                Ok(Acted::Paused) => ticked.paused += 1,
                Ok(Acted::AlreadyPaused) => {}
                Ok(Acted::Moved) => {
                    known.allocations.remove(&experiment);
                    ticked.failed += 1;
                }
                Err(error) => {
                    tracing::error!(environment = %self.environment, %experiment, %error, "an unhealthy experiment could not be paused");
                    ticked.failed += 1;
                }
            }
        }
        Ok(())
    }

    fn health_alert(&self, warning: &HealthWarning) -> AlertBody {
        AlertBody {
            format: ALERT_FORMAT,
            kind: "guardrail.health".to_owned(),
            at_ms: self.now.unix_ms(),
            environment: self.environment.clone(),
            experiment: warning.experiment.clone(),
            severity: if warning.watched == Watched::Leak { Severity::Critical } else { Severity::Warning },
            summary: warning.to_string(),
            detail: json!({
                "watched": warning.watched.as_str(),
                "count": warning.count,
                "units": warning.units,
                "rate": warning.rate(),
                "limit": warning.limit,
                "windowMs": self.config.health.window_ms,
            }),
        }
    }
}

impl Known {
    fn take_in(&mut self, documents: Vec<Document>) {
        for Document { kind, key, body, .. } in documents {
            match kind {
                Kind::Experiment => {
                    let Ok(key) = ExperimentKey::parse(&key) else { continue };
                    self.allocations.remove(&key);
                    match body.and_then(|body| read::<ExperimentDefinition>(body, key.as_str())) {
                        Some(experiment) => drop(self.experiments.insert(key, experiment)),
                        None => drop(self.experiments.remove(&key)),
                    }
                }
                Kind::Metric => {
                    let Ok(key) = MetricKey::parse(&key) else { continue };
                    match body.and_then(|body| read::<MetricDefinition>(body, key.as_str())) {
                        Some(metric) => drop(self.metrics.insert(key, metric)),
                        None => drop(self.metrics.remove(&key)),
                    }
                }
                // A layer gives its experiments other buckets, and with them another version.
                Kind::Layer => self.allocations.clear(),
                Kind::Holdout | Kind::Group => {}
            }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(body: Value, key: &str) -> Option<T> {
    serde_json::from_value(body)
        .map_err(
            |error| tracing::error!(key, %error, "the guardrail cannot read a document; it is not watched"),
        )
        .ok()
}

/// The strongest verdict in words, and how many there are besides.
fn summary(alarm: &Alarm) -> String {
    let first = alarm.verdicts.first().map(ToString::to_string).unwrap_or_default();
    match alarm.verdicts.len() {
        0 | 1 => first,
        all => format!("{first}; and {} more", all - 1),
    }
}

fn numbers(alarm: &Alarm) -> Value {
    let verdicts: Vec<Value> = alarm.verdicts.iter().map(|it| it.to_json()).collect();
    json!({ "xv": alarm.xv, "verdicts": verdicts })
}
