//! Reading the next events and applying what follows from them, for as long as the process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_store::{
    CommitError, Contribution, MAX_EVENTS_PAGE, RollUpHead, StoredEvent, UnitRef, UnitState,
};
use futures_util::future::try_join;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::Instrument;

use super::kept::Kept;
use super::rules::Rules;
use super::step::{Book, Step, by_unit};
use super::{MAX_EVENTS_PER_UNIT, MAX_STEP_EVENTS, UNITS_AT_ONCE, winsor};
use crate::control::Control;
use crate::environment::EnvironmentState;
use crate::error::ControlError;
use crate::hub::Slot;
use crate::keys::random_bytes;

/// How often it is looked for events that came in through another process.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Steps of one environment before the next one has its turn.
const STEPS_AT_A_TURN: u32 = 20;
/// So many looks at most that only ask for the newest event: then everything is looked at, in case another process
/// left something half done.
const LONGEST_REST: u32 = 20;
/// Longest pause after another process was faster.
const LONGEST_PAUSE_MS: u64 = 250;

/// What a roll-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Events that it counted.
    pub events: u64,
    /// The last event that is counted now.
    pub cursor: u64,
}

/// What this process knows of the roll-up of one environment.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How far the store said it is; `None`: to be asked.
    head: Option<RollUpHead>,
    kept: BTreeMap<ExperimentKey, Kept>,
    /// The sequence of the definitions that `kept` agrees with.
    agrees_with: Option<u64>,
    /// Experiments to look at because values should be cut.
    uncapped: BTreeSet<ExperimentKey>,
    /// Newest event and sequence of the definitions when there was nothing left to do.
    rests_at: Option<(u64, u64)>,
    /// How often nothing was looked at since.
    rested: u32,
}

/// What the roll-up of this process did so far.
#[derive(Debug, Default)]
pub(crate) struct RollUpCounts {
    pub(crate) events: AtomicU64,
    pub(crate) steps: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    /// Time at work, in microseconds.
    pub(crate) micros: AtomicU64,
}

/// How a step ended.
enum Stepped {
    /// With this many events counted, or units counted anew.
    On(u64),
    /// Another process was faster.
    Conflict,
    /// There is nothing to do.
    Rests,
}

impl Control {
    /// Counts every event of an environment that is not counted yet. [`Control::run`] does so by itself.
    ///
    /// # Errors
    /// [`ControlError::NoEnvironment`], [`ControlError::Store`].
    pub async fn roll_up(&self, environment: &Environment) -> Result<RolledUp, ControlError> {
        let slot = self.refreshed(environment).await?;
        let mut progress = slot.rolling.lock().await;
        // Whoever asks wants to know, not to believe what was found a moment ago.
        progress.rests_at = None;
        let mut rolled = RolledUp::default();
        loop {
            match self.roll_step(&slot, &mut progress).await? {
                Stepped::On(events) => rolled.events = rolled.events.saturating_add(events),
                Stepped::Conflict => pause().await?,
                Stepped::Rests => {
                    rolled.cursor = progress.head.map_or(0, |head| head.cursor);
                    return Ok(rolled);
                }
            }
        }
    }

    /// Rolls up all environments until dropped.
    pub(crate) async fn keep_rolling_up(&self) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut more, mut failing) = (false, BTreeSet::<Environment>::new());
        loop {
            if !more {
                tokio::select! {
                    _ = looks.tick() => {}
                    () = self.arrived.notified() => {}
                }
            }
            more = false;
            for slot in self.slots() {
                match self.turn(&slot).await {
                    Ok(unfinished) => {
                        more |= unfinished;
                        if failing.remove(&slot.name) {
                            tracing::info!(environment = %slot.name, "events are counted again");
                        }
                    }
                    Err(error) => {
                        if failing.insert(slot.name.clone()) {
                            tracing::error!(environment = %slot.name, %error, "events are not counted; they wait");
                        }
                    }
                }
            }
        }
    }

    /// Some steps of one environment; `true` when there is more to do.
    async fn turn(&self, slot: &Slot) -> Result<bool, ControlError> {
        // Whoever holds it does the same.
        let Ok(mut progress) = slot.rolling.try_lock() else { return Ok(false) };
        for _ in 0..STEPS_AT_A_TURN {
            match self.roll_step(slot, &mut progress).await? {
                Stepped::On(_) => {}
                Stepped::Conflict => {
                    pause().await?;
                    return Ok(false);
                }
                Stepped::Rests => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn roll_step(&self, slot: &Slot, progress: &mut Progress) -> Result<Stepped, ControlError> {
        let newest = self.store.newest_event(&slot.name).await?;
        if progress.rests_at == Some((newest, slot.known().head.sequence)) && progress.rested < LONGEST_REST {
            progress.rested = progress.rested.saturating_add(1);
            return Ok(Stepped::Rests);
        }
        progress.rested = 0;
        let span = tracing::info_span!("control.rollup", environment = %slot.name);
        let begun = Instant::now();
        let stepped = self.step(slot, progress).instrument(span).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.rolled.micros.fetch_add(micros, Ordering::Relaxed);
        match &stepped {
            Ok(Stepped::Rests) => {
                progress.rests_at = Some((newest, progress.agrees_with.unwrap_or_default()));
            }
            Ok(Stepped::On(_)) => {}
            // Nobody knows what is stored now.
            Ok(Stepped::Conflict) | Err(_) => (progress.head, progress.rests_at) = (None, None),
        }
        stepped
    }

    async fn step(&self, slot: &Slot, progress: &mut Progress) -> Result<Stepped, ControlError> {
        let environment = &slot.name;
        let head = self.store.rolled_up(environment).await?;
        if progress.head != Some(head) {
            let stored = self.store.rollup_settings(environment).await?;
            let read = |(key, json): (ExperimentKey, String)| Ok((key.clone(), Kept::parse(&key, &json)?));
            progress.kept = stored.into_iter().map(read).collect::<Result<_, ControlError>>()?;
            (progress.head, progress.agrees_with) = (Some(head), None);
        }
        let state = self.refreshed(environment).await?.known();
        let other_rules = progress.other_rules(&state);
        let events = self.store.events_after(environment, head.cursor, MAX_STEP_EVENTS).await?;
        let mut worked = 0;
        if !events.is_empty() || !other_rules.is_empty() {
            let mut step = Step::default();
            for (experiment, kept) in other_rules {
                step.keep(&experiment, kept);
            }
            self.count(environment, &state, progress, &events, &mut step).await?;
            let cursor = events.last().map_or(head.cursor, |last| last.number);
            if !self.take_step(environment, progress, step, cursor).await? {
                return Ok(Stepped::Conflict);
            }
            worked = events.len() as u64;
            self.rolled.events.fetch_add(worked, Ordering::Relaxed);
        }
        progress.agrees_with = Some(state.head.sequence);
        let recounted = self.recount(environment, &state, progress).await?;
        let capped = if recounted == Some(false) {
            Some(false)
        } else {
            self.fix_caps(environment, &state, progress).await?
        };
        match (recounted, capped) {
            (Some(false), _) | (_, Some(false)) => Ok(Stepped::Conflict),
            (None, None) if events.is_empty() => Ok(Stepped::Rests),
            _ => Ok(Stepped::On(worked)),
        }
    }

    /// Counts the next events.
    async fn count(
        &self,
        environment: &Environment,
        state: &Arc<EnvironmentState>,
        progress: &Progress,
        events: &[StoredEvent],
        step: &mut Step,
    ) -> Result<(), ControlError> {
        step.count_reports(events);
        let units = by_unit(events);
        let mut book = Book::new(|key| Rules::of(state, key.as_str(), progress.kept.get(key)));
        let all: Vec<&UnitRef> = units.keys().collect();
        for some in all.chunks(UNITS_AT_ONCE) {
            let some: Vec<UnitRef> = some.iter().copied().cloned().collect();
            let (read, old) = try_join(
                self.store.events_of_units(environment, &some, MAX_EVENTS_PER_UNIT),
                self.store.contributions(environment, &some, None),
            )
            .await?;
            let mut read = grouped(read);
            let mut known = BTreeMap::<&UnitRef, BTreeMap<&ExperimentKey, &Contribution>>::new();
            for it in &old {
                known.entry(&it.unit).or_default().insert(&it.experiment, it);
            }
            for unit in &some {
                let Some(news) = units.get(unit) else { continue };
                let events = read.remove(unit).unwrap_or_default();
                let old = known.remove(unit).unwrap_or_default();
                step.count_unit(&mut book, &progress.kept, unit, &events, &old, news)?;
            }
        }
        Ok(())
    }

    /// Counts some units anew of an experiment whose rules changed. `None`: there is none; `Some(false)`: a conflict.
    async fn recount(
        &self,
        environment: &Environment,
        state: &Arc<EnvironmentState>,
        progress: &mut Progress,
    ) -> Result<Option<bool>, ControlError> {
        let pending = progress.kept.iter().find_map(|(key, kept)| Some((key, kept, kept.recount.as_ref()?)));
        let Some((experiment, kept, recount)) = pending else { return Ok(None) };
        let (experiment, kept, after) = (experiment.clone(), kept.clone(), recount.after());
        let mut step = Step::default();
        let mut last = None;
        if let Some(rules) = Rules::of(state, experiment.as_str(), Some(&kept)) {
            let limit = UNITS_AT_ONCE as u32;
            let page = self.store.contributions_page(environment, &experiment, after.as_ref(), limit).await?;
            let units: Vec<UnitRef> = page.iter().map(|contribution| contribution.unit.clone()).collect();
            let read = self.store.events_of_units(environment, &units, MAX_EVENTS_PER_UNIT).await?;
            let read = grouped(read);
            for old in &page {
                let events = read.get(&old.unit).map(Vec::as_slice).unwrap_or_default();
                step.recount_unit(&rules, old, events)?;
            }
            last = units.last().filter(|_| units.len() == UNITS_AT_ONCE).cloned();
            if last.is_none() && rules.uncapped().next().is_some() {
                step.uncapped.insert(experiment.clone());
            }
        }
        step.recounted(&experiment, &kept, last.as_ref());
        let cursor = progress.head.map_or(0, |head| head.cursor);
        self.take_step(environment, progress, step, cursor).await.map(Some)
    }

    /// Fixes where values are cut, once there are enough of them. `None`: nothing to fix; `Some(false)`: a conflict.
    async fn fix_caps(
        &self,
        environment: &Environment,
        state: &Arc<EnvironmentState>,
        progress: &mut Progress,
    ) -> Result<Option<bool>, ControlError> {
        let mut fixed = None;
        for experiment in std::mem::take(&mut progress.uncapped) {
            let Some(kept) = progress.kept.get(&experiment) else { continue };
            if kept.recount.is_some() {
                // Values of different rules lie side by side; afterwards it is asked again.
                continue;
            }
            let Some(rules) = Rules::of(state, experiment.as_str(), Some(kept)) else { continue };
            let mut next = kept.clone();
            let aggregates = self.store.aggregates(environment, Some(&experiment)).await?;
            for (metric, rule, share) in rules.uncapped() {
                let ours = aggregates.iter().filter(|it| it.key.metric.as_ref() == Some(metric));
                let units = ours.fold(0_i64, |units, it| units.saturating_add(it.sums.nonzero));
                if usize::try_from(units).unwrap_or(0) < winsor::UNITS_NEEDED {
                    continue;
                }
                let totals = self.totals(environment, &experiment, metric).await?;
                if let Some(cap) = winsor::cap(totals, share) {
                    tracing::info!(%environment, %experiment, %metric, cap, "large values are cut from now on");
                    next.fix_cap(metric, share, rule.window_ms, cap);
                }
            }
            if next == *kept {
                continue;
            }
            let rules = Rules::of(state, experiment.as_str(), Some(&next)).unwrap_or_default();
            let mut step = Step::default();
            step.keep(&experiment, next.under(rules.digest()));
            let cursor = progress.head.map_or(0, |head| head.cursor);
            if !self.take_step(environment, progress, step, cursor).await? {
                return Ok(Some(false));
            }
            fixed = Some(true);
        }
        Ok(fixed)
    }

    /// The totals of the counted units that have one.
    async fn totals(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        metric: &edgeseal_core::ids::MetricKey,
    ) -> Result<Vec<i128>, ControlError> {
        let (mut totals, mut after) = (Vec::new(), None::<UnitRef>);
        loop {
            let page = self
                .store
                .contributions_page(environment, experiment, after.as_ref(), MAX_EVENTS_PAGE)
                .await?;
            let counted = page.iter().filter(|it| it.state == UnitState::Counted);
            let values = counted.filter_map(|it| it.values.get(metric)).map(|values| values.y);
            totals.extend(values.filter(|total| *total != 0));
            match page.into_iter().last() {
                Some(last) => after = Some(last.unit),
                None => return Ok(totals),
            }
        }
    }

    /// Applies a step; `false` when another process was faster.
    async fn take_step(
        &self,
        environment: &Environment,
        progress: &mut Progress,
        mut step: Step,
        cursor: u64,
    ) -> Result<bool, ControlError> {
        let settings = step.settings().clone();
        let uncapped = std::mem::take(&mut step.uncapped);
        let step = step.finish(progress.head.unwrap_or_default(), cursor)?;
        match self.store.apply_rollup(environment, &step).await {
            Ok(head) => {
                progress.head = Some(head);
                progress.kept.extend(settings);
                progress.uncapped.extend(uncapped);
                self.rolled.steps.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(CommitError::Conflict) => {
                self.rolled.conflicts.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(CommitError::IdempotencyTaken) => {
                Err(ControlError::Internal { attempt: "rolling up events" })
            }
        }
    }
}

impl Progress {
    /// The experiments whose rules are others than those that their units were counted by.
    fn other_rules(&self, state: &EnvironmentState) -> Vec<(ExperimentKey, Kept)> {
        if self.agrees_with == Some(state.head.sequence) {
            return Vec::new();
        }
        let differs = |(key, kept): (&ExperimentKey, &Kept)| {
            let digest = Rules::of(state, key.as_str(), Some(kept))?.digest();
            (digest != kept.digest).then(|| (key.clone(), kept.under(digest)))
        };
        self.kept.iter().filter_map(differs).collect()
    }
}

/// Events by the unit that they are of.
fn grouped(events: Vec<StoredEvent>) -> BTreeMap<UnitRef, Vec<StoredEvent>> {
    let mut units = BTreeMap::<UnitRef, Vec<StoredEvent>>::new();
    for event in events {
        if let Some(tag) = event.record.unit {
            let unit = UnitRef { unit_type: event.record.unit_type.clone(), tag };
            units.entry(unit).or_default().push(event);
        }
    }
    units
}

/// Waits for a random while, so that two processes do not keep step.
async fn pause() -> Result<(), ControlError> {
    let [random] = *random_bytes::<1>()?;
    sleep(Duration::from_millis(LONGEST_PAUSE_MS.saturating_mul(u64::from(random)) / 255)).await;
    Ok(())
}
