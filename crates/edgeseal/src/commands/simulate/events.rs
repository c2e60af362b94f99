//! Experiments in which every unit is real: evaluated, sealed, reported, verified, stored in a SQLite file, rolled up and
//! judged, by the code that does so in production. Only the clock is simulated.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, anyhow, bail};
use edgeseal_control::{Clock, Config, Context, Control, MasterKey};
use edgeseal_core::answer::{AnswerContext, answer};
use edgeseal_core::attributes::Attributes;
use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::definition::{AnalysisSettings, Definition, Share};
use edgeseal_core::evaluate::{Forced, Request};
use edgeseal_core::events::{EventRecord, read_batch, resolve, verify_token};
use edgeseal_core::ids::{Environment, UnitId};
use edgeseal_core::ruleset::{Halts, Ruleset};
use edgeseal_core::sealing::{Keyset, Sealer, TokenKind};
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_edge::NativeSigner;
use edgeseal_guardrail::{Config as GuardrailConfig, Guardrail, Settings};
use edgeseal_store::{Aggregate, EventBatch, Store, Watched};
use serde_json::json;

use super::play::{Ended, Rule, Simulation};
use super::random::Random;
use super::rule::Cause;
use super::world::{Counts, Names, Totals};
use crate::databases;
use crate::exit::Outcome;
use crate::guardrail::ThroughControl;
use crate::plane::{ensure_environment, refused};

/// When simulated experiments begin: some day in 2026.
const START_MS: i64 = 1_780_000_000_000;
/// Life of the tokens that units report with, in seconds.
const TOKEN_LIFE_SECONDS: i64 = 3_600;

/// An experiment after its end.
pub(super) struct Played {
    pub(super) ended: Ended,
    /// What happened, which is also what the store counted.
    #[cfg_attr(not(test), expect(dead_code, reason = "what tests hold against the judge alone"))]
    totals: Totals,
}

/// So many experiments, one after the other; `checked` hears of every check.
pub(super) fn play_all(simulation: &Simulation, experiments: u64, checked: impl Fn()) -> Outcome<Vec<Ended>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let play = |experiment| Ok(runtime.block_on(play(simulation, experiment, &checked))?.ended);
    (0..experiments).map(play).collect()
}

/// One experiment.
pub(super) async fn play(simulation: &Simulation, experiment: u64, checked: &impl Fn()) -> Outcome<Played> {
    let Rule::Edgeseal(settings) = &simulation.rule else {
        return Err(anyhow!("only the guardrail judges events").into());
    };
    let directory = Scratch::new()?;
    let store = databases::open_file(&directory.0.join("edgeseal.db")).await?;
    let ended = Site::open(simulation, settings, store.clone(), experiment).await?.play(checked).await;
    store.close().await;
    ended
}

/// One installation.
struct Site<'s> {
    simulation: &'s Simulation,
    environment: Environment,
    clock: Arc<AtomicI64>,
    store: Arc<dyn Store>,
    control: Arc<Control>,
    guardrail: Guardrail,
    ruleset: Ruleset,
    sealer: Sealer,
    attributes: Attributes,
    random: Random,
    /// Units so far.
    units: u64,
    /// Events so far.
    events: u64,
}

impl<'s> Site<'s> {
    async fn open(
        simulation: &'s Simulation,
        settings: &Settings,
        store: Arc<dyn Store>,
        experiment: u64,
    ) -> Outcome<Self> {
        let definition = definition(simulation, settings, experiment)?;
        let environment = definition.environment.clone();
        let clock = Arc::new(AtomicI64::new(START_MS));
        let reads = Arc::clone(&clock);
        let config = Config {
            clock: Clock::new(move || Timestamp::from_unix_ms(reads.load(Ordering::Relaxed))),
            ..Config::default()
        };
        let master = MasterKey::from_bytes(&[7; 32]).map_err(anyhow::Error::from)?;
        let control = Control::new(config, store.clone(), master, Vec::new());
        ensure_environment(&control, &environment).await?;
        control.apply(&environment, &Context::system(), &definition, false).await.map_err(refused)?;
        let state = control.state(&environment).await.map_err(refused)?;
        let ruleset = state.snapshot.compile().map_err(anyhow::Error::from)?;
        let keys = control.subscribe(&environment).await.map_err(refused)?.borrow().keys.clone();
        let signer = NativeSigner::new(keys.signer()).map_err(anyhow::Error::from)?;
        let actions = Arc::new(ThroughControl::new(Arc::clone(&control)));
        Ok(Self {
            simulation,
            environment,
            clock,
            guardrail: Guardrail::new(store.clone(), actions, GuardrailConfig::default()),
            store,
            control,
            ruleset,
            sealer: Sealer::new(TokenKind::Assignment, Arc::new(signer)),
            attributes: Attributes::parse(b"{}").map_err(anyhow::Error::from)?,
            random: Random::new(simulation.seed, experiment),
            units: 0,
            events: 0,
        })
    }

    async fn play(mut self, checked: &impl Fn()) -> Outcome<Played> {
        let world = &self.simulation.world;
        let mut totals = Totals::new(world);
        let mut paused = None;
        for check in 0..world.checks {
            let begin = START_MS + i64::from(check) * self.simulation.check_ms;
            self.clock.store(begin, Ordering::Relaxed);
            let counts = self.traffic(world.rates(check)).await?;
            totals.add(world.stage(check), &counts);
            self.clock.store(begin + self.simulation.check_ms, Ordering::Relaxed);
            self.control.roll_up(&self.environment).await.map_err(refused)?;
            self.guardrail.tick(self.control.now()).await.map_err(databases::refused)?;
            checked();
            if let Some(cause) = self.paused().await? {
                paused = Some((check, cause));
                break;
            }
        }
        self.compare(&totals).await?;
        Ok(Played { ended: Ended { paused, counts: totals.sum() }, totals })
    }

    /// Everything that happened was counted, once.
    async fn compare(&self, totals: &Totals) -> Outcome<()> {
        let names = &self.simulation.names;
        let stored = self.store.aggregates(&self.environment, Some(&names.experiment)).await;
        let sorted = |mut aggregates: Vec<Aggregate>| {
            aggregates.sort_by(|one, other| one.key.cmp(&other.key));
            aggregates
        };
        if sorted(stored.map_err(databases::refused)?) == sorted(totals.aggregates(names)) {
            return Ok(());
        }
        Err(anyhow!("the roll-up counted something else than what happened").into())
    }

    /// The units between two checks: what they get, what they do, and what they report.
    async fn traffic(&mut self, rates: [f64; 2]) -> Outcome<Counts> {
        let mut counts = Counts::default();
        let mut records = Vec::new();
        // Signed anew as time goes by.
        let current = self.control.subscribe(&self.environment).await.map_err(refused)?.borrow().clone();
        let now = Timestamp::from_unix_ms(START_MS).max(self.control.now());
        let keyset = Keyset::verify_at_rest(&current.set.keyset, &current.root, &self.environment)
            .map_err(anyhow::Error::from)?;
        for _ in 0..self.simulation.world.units_per_check {
            let name = format!("sim-{}", self.units);
            self.units += 1;
            let (token, arm) = self.expose(&name, now)?;
            counts.exposed[arm] += 1;
            let converts = self.random.happens(rates[arm]);
            counts.converted[arm] += u64::from(converts);
            records.extend(self.report(&token, converts, &keyset, now)?);
        }
        let batch = EventBatch { records, quarantined: Vec::new() };
        let sent = batch.records.len() as u64;
        let ingested = self.control.ingest(&self.environment, "simulate", batch).await.map_err(refused)?;
        if ingested.new != sent {
            return Err(anyhow!("of {sent} events {} were kept", ingested.new).into());
        }
        Ok(counts)
    }

    /// The unit's token, and which variant it names: 0 for the control.
    fn expose(&self, name: &str, now: Timestamp) -> anyhow::Result<(String, usize)> {
        let request = Request {
            unit: UnitId::parse(name)?,
            attributes: &self.attributes,
            forced: Forced::none(),
            previous: None,
        };
        let context = AnswerContext { now, life_seconds: TOKEN_LIFE_SECONDS, epoch: 0, sealer: &self.sealer };
        let Names { unit_type, variants, .. } = &self.simulation.names;
        let mut arm = None;
        let halts = Halts::none();
        let answer = answer(&self.ruleset, &halts, unit_type, &request, &context, |_, outcome| {
            arm = outcome.variant.and_then(|it| variants.iter().position(|key| key == it.key()));
        });
        Ok((answer.token, arm.context("a unit is in no variant")?))
    }

    /// What the unit's client sends, as the edge reads it.
    fn report(
        &mut self,
        token: &str,
        converts: bool,
        keyset: &Keyset,
        now: Timestamp,
    ) -> anyhow::Result<Vec<EventRecord>> {
        let names = &self.simulation.names;
        let mut id = || {
            self.events += 1;
            format!("019e0000-0000-7000-8000-{:012x}", self.events)
        };
        let mut events = vec![
            json!({ "id": id(), "type": "exposure", "ts": now.unix_ms(), "experiment": names.experiment }),
        ];
        if converts {
            let ts = now.unix_ms() + 1;
            events
                .push(json!({ "id": id(), "type": "metric", "ts": ts, "metric": names.metric, "value": 1 }));
        }
        let text = json!({ "token": token, "events": events }).to_string();
        let batch = read_batch(text.as_bytes())?;
        let verified = verify_token(token, keyset, None, &self.environment, now)?;
        let mut records = Vec::with_capacity(2);
        for event in batch.events {
            match event.and_then(|event| resolve(event, Some(&verified), now)) {
                Ok(record) => records.push(record),
                Err(rejected) => bail!("an event was rejected: {}", rejected.code.as_str()),
            }
        }
        Ok(records)
    }

    /// Why the experiment is paused, if it is.
    async fn paused(&self) -> Outcome<Option<Cause>> {
        let key = &self.simulation.names.experiment;
        let state = self.control.state(&self.environment).await.map_err(refused)?;
        if state.experiment(key.as_str()).is_none_or(|it| it.state == ExperimentState::Running) {
            return Ok(None);
        }
        let found = self.store.guardrail_states(&self.environment).await.map_err(databases::refused)?;
        let sample_ratio =
            found.iter().any(|it| it.watched == Watched::SampleRatio && it.alarmed_at_ms.is_some());
        Ok(Some(if sample_ratio { Cause::SampleRatio } else { Cause::Metric }))
    }
}

/// The experiments file; another salt for each experiment, so that the same units are divided anew.
fn definition(simulation: &Simulation, settings: &Settings, experiment: u64) -> anyhow::Result<Definition> {
    let Names { experiment: key, metric, variants: [control, treatment], .. } = &simulation.names;
    let share = simulation.world.stages.first().context("there is no stage")?;
    let buckets = (share * f64::from(BUCKETS)).round() as u32;
    let watched = settings.metrics.first().context("there is no metric")?;
    let mut definition: Definition = serde_json::from_value(json!({
        "metrics": [{ "key": metric, "kind": watched.kind }],
        "experiments": [{
            "key": key,
            "state": "running",
            "salt": format!("{}-{experiment}", simulation.seed),
            "variants": [
                { "key": control, "weight": BUCKETS - buckets },
                { "key": treatment, "weight": buckets },
            ],
            "metrics": { "guardrails": [metric] },
        }],
    }))?;
    let percent = |fraction: f64| Share::parse(&format!("{:.4}", 100.0 * fraction));
    let analysis = AnalysisSettings {
        guardrail_alpha: percent(settings.alpha)?,
        margins: [(metric.clone(), percent(watched.margin)?)].into(),
        ..AnalysisSettings::default()
    };
    for experiment in &mut definition.experiments {
        experiment.analysis = Some(analysis.clone());
    }
    Ok(definition)
}

/// A directory that goes away with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let name = format!("edgeseal-simulate-{}", uuid::Uuid::now_v7());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        // What cannot be removed is the operating system's to clear away.
        let _ = std::fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::{MetricKind, OnHarm};
    use edgeseal_guardrail::GuardrailMetric;
    use edgeseal_stats::guardrail::Direction;

    use super::super::rule;
    use super::super::world::{World, example};
    use super::*;

    fn simulation(world: World) -> Simulation {
        let names = Names::new().unwrap();
        let [control, treatment] = names.variants.clone();
        let settings = Settings {
            experiment: names.experiment.clone(),
            control,
            treatments: vec![treatment],
            sticky: false,
            metrics: vec![GuardrailMetric {
                key: names.metric.clone(),
                kind: MetricKind::Conversion,
                direction: Direction::LowerIsHarm,
                margin: 0.0,
            }],
            alpha: 0.01,
            n_star: 20_000.0,
            on_harm: OnHarm::Pause,
        };
        Simulation { world, names, rule: Rule::Edgeseal(Box::new(settings)), check_ms: 300_000, seed: 5 }
    }

    fn play_one(simulation: &Simulation) -> Played {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(simulation, 0, &|| ())).map_err(|failure| failure.error).unwrap()
    }

    #[test]
    fn both_ways_give_the_same_totals_from_the_same_draws() {
        // `play` compares what was drawn with what the store counted.
        let simulation = simulation(World { checks: 6, units_per_check: 60, baseline: 0.2, ..example() });
        let played = play_one(&simulation);
        assert_eq!(played.ended.paused, None);
        assert_eq!(played.ended.counts.exposed.iter().sum::<u64>(), 360);
    }

    #[test]
    fn both_ways_pause_at_the_same_check_for_the_same_reason() {
        let world = World { checks: 40, units_per_check: 100, baseline: 0.2, lift: -0.9, ..example() };
        let simulation = simulation(world);
        let played = play_one(&simulation);
        let Some((check, cause)) = played.ended.paused else { panic!("{:?}", played.ended) };
        assert_eq!(cause, Cause::Metric);

        // The judge alone, on the totals of the last check.
        let Rule::Edgeseal(settings) = &simulation.rule else { panic!() };
        let allocations = simulation.world.allocations(&simulation.names, check);
        let mut guardrail = rule::Guardrail::new(settings);
        let found = guardrail.look(0, &allocations, &played.totals.aggregates(&simulation.names), 0);
        assert_eq!(found, Some(Cause::Metric));
    }
}
