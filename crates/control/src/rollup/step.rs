//! From the next events, and what is stored of their units, to one transaction. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgeseal_core::events::{EventRecord, Happening, Quarantined, Rejection};
use edgeseal_core::ids::ExperimentKey;
use edgeseal_store::{
    Contribution, HealthCount, HealthKey, HealthKind, RollUp, RollUpHead, StoredEvent, UnitRef, UnitState,
};

use super::MAX_EVENTS_PER_UNIT;
use super::contribution::History;
use super::deltas::Deltas;
use super::kept::{Kept, Recount};
use super::rules::Rules;
use crate::error::ControlError;
use crate::ingest::about;

const HOUR_MS: i64 = 3_600_000;

/// The rules of an experiment, when it is counted.
type LookUp<'b> = Box<dyn Fn(&ExperimentKey) -> Option<Rules> + Send + Sync + 'b>;

/// The rules of experiments, each looked up once.
pub(super) struct Book<'b> {
    look_up: LookUp<'b>,
    known: BTreeMap<ExperimentKey, Option<Arc<Rules>>>,
}

impl<'b> Book<'b> {
    pub(super) fn new(look_up: impl Fn(&ExperimentKey) -> Option<Rules> + Send + Sync + 'b) -> Self {
        Self { look_up: Box::new(look_up), known: BTreeMap::new() }
    }

    /// The rules of an experiment; `None` when there is none of that name (any more).
    pub(super) fn rules(&mut self, experiment: &ExperimentKey) -> Option<Arc<Rules>> {
        if let Some(known) = self.known.get(experiment) {
            return known.clone();
        }
        let rules = (self.look_up)(experiment).map(Arc::new);
        self.known.insert(experiment.clone(), rules.clone());
        rules
    }
}

/// What the next events tell of one unit.
#[derive(Debug, Default)]
pub(super) struct News<'e> {
    /// Its exposures and metrics, by number.
    counted: Vec<(u64, &'e EventRecord)>,
    /// The experiments in which its variant changed within a session.
    drifted: BTreeSet<&'e ExperimentKey>,
    /// When the last of them was received.
    received_ms: i64,
}

/// The next events, by the units that they touch.
pub(super) fn by_unit(events: &[StoredEvent]) -> BTreeMap<UnitRef, News<'_>> {
    let mut units = BTreeMap::<UnitRef, News<'_>>::new();
    for StoredEvent { number, record } in events {
        if matches!(record.what, Happening::Leak { .. } | Happening::VerificationFailed { .. }) {
            continue;
        }
        let Some(unit) = unit_of(record) else { continue };
        let news = units.entry(unit).or_default();
        news.received_ms = news.received_ms.max(record.received_ms);
        match &record.what {
            Happening::Drift { experiment, .. } => {
                news.drifted.insert(experiment);
            }
            _ => news.counted.push((*number, record)),
        }
    }
    units
}

fn unit_of(record: &EventRecord) -> Option<UnitRef> {
    Some(UnitRef { unit_type: record.unit_type.clone(), tag: record.unit? })
}

/// A step under construction.
#[derive(Debug, Default)]
pub(super) struct Step {
    contributions: Vec<Contribution>,
    deltas: Deltas,
    health: BTreeMap<HealthKey, u64>,
    quarantined: Vec<Quarantined>,
    settings: BTreeMap<ExperimentKey, Kept>,
    /// Experiments with values that should be cut, and nobody knows yet where.
    pub(super) uncapped: BTreeSet<ExperimentKey>,
}

impl Step {
    /// Counts what clients reported about themselves: each event once.
    pub(super) fn count_reports(&mut self, events: &[StoredEvent]) {
        for StoredEvent { record, .. } in events {
            let (experiment, kind) = match &record.what {
                Happening::Drift { experiment, .. } => (Some(experiment), HealthKind::Drift),
                Happening::Leak { .. } => (None, HealthKind::Leak),
                Happening::VerificationFailed { code } => (None, HealthKind::VerificationFailed(*code)),
                Happening::Exposure { .. } | Happening::Metric { .. } => continue,
            };
            self.note(record.received_ms, experiment, kind);
        }
    }

    /// Counts one unit anew: all of its events, what is stored of it, and what is new.
    ///
    /// # Errors
    /// As [`Deltas::replace`].
    pub(super) fn count_unit(
        &mut self,
        book: &mut Book<'_>,
        known: &BTreeMap<ExperimentKey, Kept>,
        unit: &UnitRef,
        events: &[StoredEvent],
        old: &BTreeMap<&ExperimentKey, &Contribution>,
        news: &News<'_>,
    ) -> Result<(), ControlError> {
        self.note_too_busy(events, news);
        let history = History::of(events.iter().map(|event| &event.record));
        for experiment in history.experiments() {
            // Of an experiment that is gone, what was counted stays as it is.
            let Some(rules) = book.rules(experiment) else { continue };
            let old = old.get(experiment).copied();
            let drifted = news.drifted.contains(experiment) || old.is_some_and(|old| old.drifted);
            let Some(new) = history.contribution(experiment, unit, &rules, drifted) else { continue };
            if old.is_none() {
                self.note(new.first_ms, Some(experiment), HealthKind::Exposures);
            }
            if new.state == UnitState::Excluded && old.is_none_or(|old| old.state == UnitState::Counted) {
                self.note(news.received_ms, Some(experiment), HealthKind::Exclusions);
            }
            if !known.contains_key(experiment) && !self.settings.contains_key(experiment) {
                self.settings.insert(experiment.clone(), Kept::new(rules.digest()));
            }
            if rules.uncapped().next().is_some() {
                self.uncapped.insert(experiment.clone());
            }
            self.replace(old, new)?;
        }
        Ok(())
    }

    /// Counts one unit of one experiment anew, because the experiment's rules changed.
    ///
    /// # Errors
    /// As [`Deltas::replace`].
    pub(super) fn recount_unit(
        &mut self,
        rules: &Rules,
        old: &Contribution,
        events: &[StoredEvent],
    ) -> Result<(), ControlError> {
        let history = History::of(events.iter().map(|event| &event.record));
        match history.contribution(&old.experiment, &old.unit, rules, old.drifted) {
            Some(new) => self.replace(Some(old), new),
            None => Ok(()),
        }
    }

    /// Remembers how far the units of an experiment are counted anew; `None`: all of them.
    pub(super) fn recounted(&mut self, experiment: &ExperimentKey, kept: &Kept, last: Option<&UnitRef>) {
        let mut kept = kept.clone();
        kept.recount = last.map(Recount::up_to);
        self.settings.insert(experiment.clone(), kept);
    }

    /// Remembers something of an experiment.
    pub(super) fn keep(&mut self, experiment: &ExperimentKey, kept: Kept) {
        self.settings.insert(experiment.clone(), kept);
    }

    /// What the step remembers of experiments, in place of what was known.
    pub(super) fn settings(&self) -> &BTreeMap<ExperimentKey, Kept> {
        &self.settings
    }

    /// The step after `head`, with the events up to `cursor`.
    ///
    /// # Errors
    /// [`ControlError::Internal`] when what is remembered has no JSON form; never in practice.
    pub(super) fn finish(self, head: RollUpHead, cursor: u64) -> Result<RollUp, ControlError> {
        let settings = self.settings.into_iter().map(|(key, kept)| Ok((key, kept.to_json()?)));
        Ok(RollUp {
            expected: head.sequence,
            cursor,
            contributions: self.contributions,
            aggregates: self.deltas.into_vec(),
            health: self.health.into_iter().map(|(key, count)| HealthCount { key, count }).collect(),
            quarantined: self.quarantined,
            settings: settings.collect::<Result<_, ControlError>>()?,
        })
    }

    fn replace(&mut self, old: Option<&Contribution>, new: Contribution) -> Result<(), ControlError> {
        if old == Some(&new) {
            return Ok(());
        }
        self.deltas.replace(old, Some(&new))?;
        self.contributions.push(new);
        Ok(())
    }

    /// New events beyond those that are read of a unit do not count, and that is said.
    fn note_too_busy(&mut self, events: &[StoredEvent], news: &News<'_>) {
        if events.len() < MAX_EVENTS_PER_UNIT as usize {
            return;
        }
        let last = events.iter().map(|event| event.number).max().unwrap_or_default();
        let code = Rejection::UnitTooBusy.as_str();
        for (_, record) in news.counted.iter().filter(|(number, _)| *number > last) {
            self.note(record.received_ms, None, HealthKind::Rejected(code.to_owned()));
            self.quarantined.push(Quarantined {
                id: Some(record.id),
                received_ms: record.received_ms,
                code: code.to_owned(),
                about: about(&record.what).map(str::to_owned),
            });
        }
    }

    fn note(&mut self, at_ms: i64, experiment: Option<&ExperimentKey>, kind: HealthKind) {
        let hour_ms = at_ms.div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
        let count =
            self.health.entry(HealthKey { hour_ms, experiment: experiment.cloned(), kind }).or_default();
        *count = count.saturating_add(1);
    }
}
