//! The same store in memory: events, what was counted of them, and the guardrail.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use edgeseal_core::events::{EventRecord, Quarantined};
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_store::{
    Aggregate, AggregateKey, Alert, Allocation, Appended, CommitError, Contribution, EventBatch, Events,
    GuardrailState, GuardrailStore, HealthCount, HealthKey, IntervalPoint, QuarantineFilter, RollUp,
    RollUpHead, RollUps, StoreError, StoredEvent, StoredNote, Sums, UnitRef, added, event_columns,
};

use super::MemoryStore;

/// Everything that is kept of events.
#[derive(Default)]
pub(super) struct EventData {
    streams: BTreeMap<Environment, Stream>,
    pub(super) alerts: Vec<Alert>,
    notes: u64,
}

/// Everything that is kept of the events of one environment.
#[derive(Default)]
pub(super) struct Stream {
    events: Vec<StoredEvent>,
    notes: Vec<StoredNote>,
    note_keys: BTreeSet<[u8; event_columns::NOTE_KEY_BYTES]>,
    note_counts: BTreeMap<String, u64>,
    head: RollUpHead,
    contributions: BTreeMap<(ExperimentKey, UnitRef), Contribution>,
    aggregates: BTreeMap<AggregateKey, Sums>,
    health: BTreeMap<HealthKey, u64>,
    settings: BTreeMap<ExperimentKey, String>,
    pub(super) allocations: BTreeMap<(ExperimentKey, u64), Allocation>,
    guardrails: Vec<GuardrailState>,
    points: Vec<IntervalPoint>,
}

impl EventData {
    pub(super) fn stream(&mut self, environment: &Environment) -> &mut Stream {
        self.streams.entry(environment.clone()).or_default()
    }

    fn quarantine(&mut self, environment: &Environment, notes: &[Quarantined]) {
        for (note, key) in notes.iter().zip(event_columns::note_keys(notes)) {
            if !self.stream(environment).note_keys.insert(key) {
                continue;
            }
            self.notes += 1;
            let number = self.notes;
            let stream = self.stream(environment);
            *stream.note_counts.entry(note.code.clone()).or_default() += 1;
            stream.notes.push(StoredNote { number, note: note.clone() });
        }
    }
}

impl MemoryStore {
    /// Keeps many events at once, without looking whether they are there already.
    pub(crate) fn put_events(&self, environment: &Environment, records: Vec<EventRecord>) {
        let mut inner = self.lock().unwrap();
        let events = &mut inner.events.stream(environment).events;
        for record in records {
            let number = events.len() as u64 + 1;
            events.push(StoredEvent { number, record });
        }
    }
}

#[async_trait]
impl Events for MemoryStore {
    async fn append_events(
        &self,
        environment: &Environment,
        batch: &EventBatch,
    ) -> Result<Appended, StoreError> {
        let mut inner = self.lock()?;
        if !inner.environments.contains_key(environment) {
            let detail = format!("there is no environment '{environment}'");
            return Err(StoreError::Refused { attempt: "testing", detail });
        }
        let stream = inner.events.stream(environment);
        let mut appended = Appended::default();
        for record in &batch.records {
            if stream.events.iter().any(|known| known.record.id == record.id) {
                appended.duplicates += 1;
            } else {
                appended.new += 1;
                let number = stream.events.len() as u64 + 1;
                stream.events.push(StoredEvent { number, record: record.clone() });
            }
        }
        inner.events.quarantine(environment, &batch.quarantined);
        Ok(appended)
    }

    async fn newest_event(&self, environment: &Environment) -> Result<u64, StoreError> {
        Ok(self.lock()?.events.stream(environment).events.len() as u64)
    }

    async fn events_after(
        &self,
        environment: &Environment,
        number: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut inner = self.lock()?;
        let events = inner.events.stream(environment).events.iter();
        Ok(events.filter(|event| event.number > number).take(limit as usize).cloned().collect())
    }

    async fn events_of_units(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        limit_per_unit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut inner = self.lock()?;
        let events = &inner.events.stream(environment).events;
        let units: BTreeSet<_> = units.iter().collect();
        let mut found = Vec::new();
        for unit in units {
            let own = |event: &&StoredEvent| {
                event.record.unit == Some(unit.tag)
                    && event.record.unit_type == unit.unit_type
                    && matches!(event.record.what.kind(), "exposure" | "metric")
            };
            let mut own: Vec<_> = events.iter().filter(own).take(limit_per_unit as usize).cloned().collect();
            own.sort_by_key(|event| (event.record.at_ms, event.number));
            found.append(&mut own);
        }
        Ok(found)
    }

    async fn quarantine(
        &self,
        environment: &Environment,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<Vec<StoredNote>, StoreError> {
        let mut inner = self.lock()?;
        let notes = inner.events.stream(environment).notes.iter().rev();
        let wanted = notes.filter(|stored| {
            filter.code.as_ref().is_none_or(|code| *code == stored.note.code)
                && (filter.about.is_none() || filter.about == stored.note.about)
                && filter.before.is_none_or(|before| stored.number < before)
        });
        Ok(wanted.take(limit as usize).cloned().collect())
    }

    async fn quarantine_counts(&self, environment: &Environment) -> Result<Vec<(String, u64)>, StoreError> {
        let mut inner = self.lock()?;
        Ok(inner.events.stream(environment).note_counts.clone().into_iter().collect())
    }

    async fn forget_quarantine(&self, received_before_ms: i64) -> Result<(), StoreError> {
        for stream in self.lock()?.events.streams.values_mut() {
            stream.notes.retain(|stored| stored.note.received_ms >= received_before_ms);
            let kept: Vec<_> = stream.notes.iter().map(|stored| stored.note.clone()).collect();
            stream.note_keys = event_columns::note_keys(&kept).into_iter().collect();
        }
        Ok(())
    }
}

#[async_trait]
impl RollUps for MemoryStore {
    async fn rolled_up(&self, environment: &Environment) -> Result<RollUpHead, StoreError> {
        Ok(self.lock()?.events.stream(environment).head)
    }

    async fn contributions(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        experiments: Option<&[ExperimentKey]>,
    ) -> Result<Vec<Contribution>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).contributions.values();
        let mut found: Vec<_> = all
            .filter(|it| units.contains(&it.unit))
            .filter(|it| experiments.is_none_or(|wanted| wanted.contains(&it.experiment)))
            .cloned()
            .collect();
        found.sort_by(|one, other| (&one.unit, &one.experiment).cmp(&(&other.unit, &other.experiment)));
        Ok(found)
    }

    async fn contributions_page(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        after: Option<&UnitRef>,
        limit: u32,
    ) -> Result<Vec<Contribution>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).contributions.values();
        let wanted =
            all.filter(|it| it.experiment == *experiment && after.is_none_or(|after| it.unit > *after));
        Ok(wanted.take(limit as usize).cloned().collect())
    }

    async fn apply_rollup(
        &self,
        environment: &Environment,
        step: &RollUp,
    ) -> Result<RollUpHead, CommitError> {
        // Lets other tasks in between, as a network would.
        tokio::task::yield_now().await;
        let change = step.check()?;
        let mut inner = self.lock()?;
        let stream = inner.events.stream(environment);
        if stream.head.sequence != step.expected {
            return Err(CommitError::Conflict);
        }
        step.check_after(stream.head, stream.events.len() as u64)?;
        let mut aggregates = stream.aggregates.clone();
        for (key, delta) in change.aggregates {
            let stored = aggregates.entry(key.clone()).or_default();
            *stored = added(key, stored, &delta)?;
        }
        stream.aggregates = aggregates;
        for (key, count) in change.health {
            *stream.health.entry(key.clone()).or_default() += count.unsigned_abs();
        }
        for it in &step.contributions {
            stream.contributions.insert((it.experiment.clone(), it.unit.clone()), it.clone());
        }
        stream.settings.extend(step.settings.iter().cloned());
        stream.head = step.head();
        inner.events.quarantine(environment, &step.quarantined);
        Ok(step.head())
    }

    async fn aggregates(
        &self,
        environment: &Environment,
        experiment: Option<&ExperimentKey>,
    ) -> Result<Vec<Aggregate>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).aggregates.iter();
        let wanted = all.filter(|(key, _)| experiment.is_none_or(|wanted| *wanted == key.experiment));
        Ok(wanted.map(|(key, sums)| Aggregate { key: key.clone(), sums: *sums }).collect())
    }

    async fn health(&self, environment: &Environment, since_ms: i64) -> Result<Vec<HealthCount>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).health.iter();
        let wanted = all.filter(|(key, _)| key.hour_ms >= since_ms);
        Ok(wanted.map(|(key, count)| HealthCount { key: key.clone(), count: *count }).collect())
    }

    async fn rollup_settings(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ExperimentKey, String)>, StoreError> {
        let mut inner = self.lock()?;
        Ok(inner.events.stream(environment).settings.clone().into_iter().collect())
    }

    async fn allocations(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
    ) -> Result<Vec<Allocation>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).allocations.iter();
        Ok(all.filter(|((of, _), _)| of == experiment).map(|(_, it)| it.clone()).collect())
    }
}

#[async_trait]
impl GuardrailStore for MemoryStore {
    async fn guardrail_states(&self, environment: &Environment) -> Result<Vec<GuardrailState>, StoreError> {
        Ok(self.lock()?.events.stream(environment).guardrails.clone())
    }

    async fn save_guardrail_states(
        &self,
        environment: &Environment,
        states: &[GuardrailState],
    ) -> Result<(), StoreError> {
        states.iter().try_for_each(GuardrailState::check)?;
        let mut inner = self.lock()?;
        let kept = &mut inner.events.stream(environment).guardrails;
        for state in states {
            match kept.iter_mut().find(|known| known.key() == state.key()) {
                Some(known) => *known = known.overwritten_by(state),
                None => kept.push(state.clone()),
            }
        }
        let order = |state: &GuardrailState| {
            let (experiment, xv, watched, variant) = state.key();
            (experiment.clone(), xv, watched.as_str().to_owned(), variant.cloned())
        };
        kept.sort_by_key(order);
        Ok(())
    }

    async fn take_due_alerts(
        &self,
        now_ms: i64,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<Alert>, StoreError> {
        let mut inner = self.lock()?;
        let mut due: Vec<&mut Alert> = inner
            .events
            .alerts
            .iter_mut()
            .filter(|alert| alert.next_at_ms.is_some_and(|next| next <= now_ms))
            .collect();
        due.sort_by_key(|alert| alert.next_at_ms);
        let take = |alert: &mut Alert| {
            alert.attempts += 1;
            alert.next_at_ms = Some(now_ms.saturating_add(lease_ms));
            alert.clone()
        };
        Ok(due.into_iter().take(limit as usize).map(take).collect())
    }

    async fn alert_delivered(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        for alert in self.lock()?.events.alerts.iter_mut().filter(|it| it.alert.id == id) {
            alert.delivered_at_ms.get_or_insert(now_ms);
            (alert.next_at_ms, alert.error) = (None, None);
        }
        Ok(())
    }

    async fn alert_failed(
        &self,
        id: &str,
        attempts: u32,
        next_at_ms: Option<i64>,
        error: &str,
    ) -> Result<(), StoreError> {
        let failed =
            |it: &&mut Alert| it.alert.id == id && it.attempts == attempts && it.delivered_at_ms.is_none();
        for alert in self.lock()?.events.alerts.iter_mut().filter(failed) {
            (alert.next_at_ms, alert.error) = (next_at_ms, Some(error.to_owned()));
        }
        Ok(())
    }

    async fn alerts(&self, environment: &Environment, limit: u32) -> Result<Vec<Alert>, StoreError> {
        let inner = self.lock()?;
        let all = inner.events.alerts.iter().rev();
        Ok(all.filter(|it| it.alert.environment == *environment).take(limit as usize).cloned().collect())
    }

    async fn forget_alerts(&self, before_ms: i64) -> Result<(), StoreError> {
        self.lock()?.events.alerts.retain(|alert| alert.next_at_ms.is_some() || alert.at_ms >= before_ms);
        Ok(())
    }

    async fn append_interval_points(
        &self,
        environment: &Environment,
        points: &[IntervalPoint],
    ) -> Result<(), StoreError> {
        points.iter().try_for_each(IntervalPoint::check)?;
        let mut inner = self.lock()?;
        let kept = &mut inner.events.stream(environment).points;
        fn moment(it: &IntervalPoint) -> impl Ord + '_ {
            (&it.experiment, it.at_ms, &it.metric, &it.variant)
        }
        for point in points {
            kept.retain(|known| moment(known) != moment(point));
            kept.push(point.clone());
        }
        kept.sort_by(|one, other| moment(one).cmp(&moment(other)));
        Ok(())
    }

    async fn interval_points(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<IntervalPoint>, StoreError> {
        let mut inner = self.lock()?;
        let all = inner.events.stream(environment).points.iter();
        let wanted = all.filter(|it| it.experiment == *experiment && it.at_ms >= since_ms);
        Ok(wanted.take(limit as usize).cloned().collect())
    }
}
