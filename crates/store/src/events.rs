//! What a backend has to offer for events, their roll-up, and the guardrail.

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey};

use crate::error::{CommitError, StoreError};
use crate::event_records::{Appended, EventBatch, QuarantineFilter, StoredEvent, StoredNote, UnitRef};
use crate::guardrail_records::{Alert, GuardrailState, IntervalPoint};
use crate::rollup_records::{Aggregate, Allocation, Contribution, HealthCount, RollUp, RollUpHead};

/// Events as they came in.
#[async_trait]
pub trait Events: Send + Sync {
    /// Keeps a batch as a whole and durably. What the environment has already is passed over, so a batch may be delivered
    /// again when nobody knows what became of it: events are known by their id, refused ones by id and code, and where a
    /// refused one has no id, by everything about it and its place among its likes in the batch.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no such environment, or for an experiment version beyond 63 bits. Nothing was
    /// kept then, nor after any other error but a connection that broke while committing.
    async fn append_events(
        &self,
        environment: &Environment,
        batch: &EventBatch,
    ) -> Result<Appended, StoreError>;

    /// Number of the newest event; 0 when there is none.
    async fn newest_event(&self, environment: &Environment) -> Result<u64, StoreError>;

    /// Events after `number`, oldest first; at most [`MAX_EVENTS_PAGE`](crate::MAX_EVENTS_PAGE).
    async fn events_after(
        &self,
        environment: &Environment,
        number: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Exposures and metrics of units, ordered by unit, time and number. Of a unit with more than `limit_per_unit` those
    /// that came in first, so that what was counted once stays counted.
    async fn events_of_units(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        limit_per_unit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Refused events, newest first.
    async fn quarantine(
        &self,
        environment: &Environment,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<Vec<StoredNote>, StoreError>;

    /// How many events were ever refused, by code. Forgetting notes does not lower it.
    async fn quarantine_counts(&self, environment: &Environment) -> Result<Vec<(String, u64)>, StoreError>;

    /// Forgets notes of events that were received before. One of them that is delivered again counts again.
    async fn forget_quarantine(&self, received_before_ms: i64) -> Result<(), StoreError>;
}

/// Events as they are counted.
#[async_trait]
pub trait RollUps: Send + Sync {
    /// How far it has come.
    async fn rolled_up(&self, environment: &Environment) -> Result<RollUpHead, StoreError>;

    /// What units add to experiments (to all of them when none are named), ordered by unit and experiment.
    async fn contributions(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        experiments: Option<&[ExperimentKey]>,
    ) -> Result<Vec<Contribution>, StoreError>;

    /// What units add to one experiment, ordered by unit, after the unit `after`; at most
    /// [`MAX_EVENTS_PAGE`](crate::MAX_EVENTS_PAGE).
    async fn contributions_page(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        after: Option<&UnitRef>,
        limit: u32,
    ) -> Result<Vec<Contribution>, StoreError>;

    /// Takes a step as a whole and durably; gives the new head.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when `expected` is not the stored sequence; [`StoreError::Refused`] when the cursor would
    /// go back, a sum would be beyond its bits, or fewer than no units would be left. Nothing was written then.
    async fn apply_rollup(&self, environment: &Environment, step: &RollUp)
    -> Result<RollUpHead, CommitError>;

    /// Aggregates of one experiment or of all, by key.
    async fn aggregates(
        &self,
        environment: &Environment,
        experiment: Option<&ExperimentKey>,
    ) -> Result<Vec<Aggregate>, StoreError>;

    /// Health counts of the hours since, oldest hour first.
    async fn health(&self, environment: &Environment, since_ms: i64) -> Result<Vec<HealthCount>, StoreError>;

    /// What the roll-up keeps for itself, by experiment.
    async fn rollup_settings(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ExperimentKey, String)>, StoreError>;

    /// How an experiment was divided up, oldest epoch first.
    async fn allocations(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
    ) -> Result<Vec<Allocation>, StoreError>;
}

/// What the guardrail found, whom it tells, and what it showed.
#[async_trait]
pub trait GuardrailStore: Send + Sync {
    /// What was found, by experiment, epoch, what is watched and variant.
    async fn guardrail_states(&self, environment: &Environment) -> Result<Vec<GuardrailState>, StoreError>;

    /// Keeps what was found. See [`GuardrailState`] for what stays when it was kept before.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for evidence that is not a number or text with a NUL character. Nothing was kept then.
    async fn save_guardrail_states(
        &self,
        environment: &Environment,
        states: &[GuardrailState],
    ) -> Result<(), StoreError>;

    /// Takes alerts that are due, the longest waiting first. Nobody else gets one of them before `lease_ms` are over.
    async fn take_due_alerts(&self, now_ms: i64, limit: u32, lease_ms: i64)
    -> Result<Vec<Alert>, StoreError>;

    /// Notes that an alert was delivered, whoever has the lease by now.
    async fn alert_delivered(&self, id: &str, now_ms: i64) -> Result<(), StoreError>;

    /// Notes that delivering an alert failed, and when to try again; `None` gives up. No effect when it was delivered, or
    /// taken again since: `attempts` are those of the alert when it was taken.
    async fn alert_failed(
        &self,
        id: &str,
        attempts: u32,
        next_at_ms: Option<i64>,
        error: &str,
    ) -> Result<(), StoreError>;

    /// Alerts of an environment, newest first.
    async fn alerts(&self, environment: &Environment, limit: u32) -> Result<Vec<Alert>, StoreError>;

    /// Forgets alerts from before that were delivered or given up.
    async fn forget_alerts(&self, before_ms: i64) -> Result<(), StoreError>;

    /// Adds points to intervals over time; one of the same moment is replaced.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for text with a NUL character. Nothing was kept then.
    async fn append_interval_points(
        &self,
        environment: &Environment,
        points: &[IntervalPoint],
    ) -> Result<(), StoreError>;

    /// Points of an experiment since, oldest first; at most [`MAX_EVENTS_PAGE`](crate::MAX_EVENTS_PAGE).
    async fn interval_points(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<IntervalPoint>, StoreError>;
}
