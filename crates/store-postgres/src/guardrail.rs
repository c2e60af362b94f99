//! What the guardrail found, whom it tells, and what it showed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_store::{
    Alert, GuardrailState, GuardrailStore, IntervalPoint, NewAlert, StoreError, Watched, columns,
    event_columns,
};

use crate::PostgresStore;
use crate::fault::operation;

const KEEPING: &str = "keeping what the guardrail found";
const READING: &str = "reading what the guardrail found";
const DELIVERING: &str = "noting what became of an alert";
const READING_ALERTS: &str = "reading alerts";
const READING_INTERVALS: &str = "reading intervals";

#[async_trait]
impl GuardrailStore for PostgresStore {
    async fn guardrail_states(&self, environment: &Environment) -> Result<Vec<GuardrailState>, StoreError> {
        let rows: Vec<StateRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT experiment, xv, watched, variant, max_log_e, alarmed_at_ms, detail, checked_at_ms
                 FROM guardrail_states WHERE environment = $1 ORDER BY experiment, xv, watched, variant",
            )
            .bind(environment.as_str())
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(GuardrailState::try_from).collect()
    }

    async fn save_guardrail_states(
        &self,
        environment: &Environment,
        states: &[GuardrailState],
    ) -> Result<(), StoreError> {
        // One of each, because one statement cannot write a row twice; in one order, so that two guardrails do not wait
        // for one another.
        let mut merged: BTreeMap<_, GuardrailState> = BTreeMap::new();
        for state in states {
            state.check()?;
            let known = merged.entry(state.key()).or_insert_with(|| state.clone());
            *known = known.overwritten_by(state);
        }
        let states = || merged.values();
        operation(
            KEEPING,
            sqlx::query(
                "INSERT INTO guardrail_states AS stored
                    (environment, experiment, xv, watched, variant, max_log_e, alarmed_at_ms, detail, checked_at_ms)
                 SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::float8[],
                    $7::bigint[], $8::text[], $9::bigint[])
                 ON CONFLICT (environment, experiment, xv, watched, variant) DO UPDATE SET
                    max_log_e = greatest(stored.max_log_e, excluded.max_log_e),
                    alarmed_at_ms = coalesce(stored.alarmed_at_ms, excluded.alarmed_at_ms),
                    detail = CASE WHEN excluded.checked_at_ms >= stored.checked_at_ms
                        THEN excluded.detail ELSE stored.detail END,
                    checked_at_ms = greatest(stored.checked_at_ms, excluded.checked_at_ms)",
            )
            .bind(environment.as_str())
            .bind(states().map(|state| state.experiment.as_str()).collect::<Vec<_>>())
            .bind(states().map(|state| columns::number(state.xv)).collect::<Vec<_>>())
            .bind(states().map(|state| state.watched.as_str()).collect::<Vec<_>>())
            .bind(states().map(|state| event_columns::absent(state.variant.as_ref())).collect::<Vec<_>>())
            .bind(states().map(|state| state.max_log_e).collect::<Vec<_>>())
            .bind(states().map(|state| state.alarmed_at_ms).collect::<Vec<_>>())
            .bind(states().map(|state| state.detail.as_str()).collect::<Vec<_>>())
            .bind(states().map(|state| state.checked_at_ms).collect::<Vec<_>>())
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn take_due_alerts(
        &self,
        now_ms: i64,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<Alert>, StoreError> {
        let rows: Vec<AlertRow> = operation(
            "taking alerts that are due",
            sqlx::query_as(
                "WITH due AS (
                     SELECT number, next_at_ms AS due_at_ms FROM alerts WHERE next_at_ms <= $1
                     ORDER BY next_at_ms, number LIMIT $3 FOR UPDATE SKIP LOCKED
                 ), taken AS (
                     UPDATE alerts SET attempts = attempts + 1, next_at_ms = $2
                     FROM due WHERE alerts.number = due.number
                     RETURNING alerts.*, due_at_ms
                 )
                 SELECT id, environment, experiment, kind, body, at_ms, attempts, next_at_ms, delivered_at_ms, error
                 FROM taken ORDER BY due_at_ms, number",
            )
            .bind(now_ms)
            .bind(now_ms.saturating_add(lease_ms))
            .bind(columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Alert::try_from).collect()
    }

    async fn alert_delivered(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        if !columns::is_storable(id) {
            return Ok(());
        }
        operation(
            DELIVERING,
            sqlx::query(
                "UPDATE alerts SET delivered_at_ms = coalesce(delivered_at_ms, $2), next_at_ms = NULL, error = NULL
                 WHERE id = $1",
            )
            .bind(id)
            .bind(now_ms)
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn alert_failed(
        &self,
        id: &str,
        attempts: u32,
        next_at_ms: Option<i64>,
        error: &str,
    ) -> Result<(), StoreError> {
        if !columns::is_storable(id) {
            return Ok(());
        }
        operation(
            DELIVERING,
            sqlx::query(
                "UPDATE alerts SET next_at_ms = $3, error = $4
                 WHERE id = $1 AND attempts = $2 AND delivered_at_ms IS NULL",
            )
            .bind(id)
            .bind(i64::from(attempts))
            .bind(next_at_ms)
            .bind(event_columns::note_text(error).into_owned())
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn alerts(&self, environment: &Environment, limit: u32) -> Result<Vec<Alert>, StoreError> {
        let rows: Vec<AlertRow> = operation(
            READING_ALERTS,
            sqlx::query_as(
                "SELECT id, environment, experiment, kind, body, at_ms, attempts, next_at_ms, delivered_at_ms, error
                 FROM alerts WHERE environment = $1 ORDER BY number DESC LIMIT $2",
            )
            .bind(environment.as_str())
            .bind(columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Alert::try_from).collect()
    }

    async fn forget_alerts(&self, before_ms: i64) -> Result<(), StoreError> {
        operation(
            "forgetting alerts",
            sqlx::query("DELETE FROM alerts WHERE next_at_ms IS NULL AND at_ms < $1")
                .bind(before_ms)
                .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn append_interval_points(
        &self,
        environment: &Environment,
        points: &[IntervalPoint],
    ) -> Result<(), StoreError> {
        let mut newest = BTreeMap::new();
        for point in points {
            point.check()?;
            newest.insert((&point.experiment, point.at_ms, &point.metric, &point.variant), point);
        }
        let points = || newest.values();
        operation(
            "keeping intervals",
            sqlx::query(
                "INSERT INTO interval_points (environment, experiment, at_ms, metric, variant, body)
                 SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
                 ON CONFLICT (environment, experiment, at_ms, metric, variant) DO UPDATE SET body = excluded.body",
            )
            .bind(environment.as_str())
            .bind(points().map(|point| point.experiment.as_str()).collect::<Vec<_>>())
            .bind(points().map(|point| point.at_ms).collect::<Vec<_>>())
            .bind(points().map(|point| point.metric.as_str()).collect::<Vec<_>>())
            .bind(points().map(|point| point.variant.as_str()).collect::<Vec<_>>())
            .bind(points().map(|point| point.body.as_str()).collect::<Vec<_>>())
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn interval_points(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<IntervalPoint>, StoreError> {
        let rows: Vec<(i64, String, String, String)> = operation(
            READING_INTERVALS,
            sqlx::query_as(
                "SELECT at_ms, metric, variant, body FROM interval_points
                 WHERE environment = $1 AND experiment = $2 AND at_ms >= $3
                 ORDER BY at_ms, metric, variant LIMIT $4",
            )
            .bind(environment.as_str())
            .bind(experiment.as_str())
            .bind(since_ms)
            .bind(event_columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter()
            .map(|(at_ms, metric, variant, body)| {
                Ok(IntervalPoint {
                    experiment: experiment.clone(),
                    metric: event_columns::key(READING_INTERVALS, &metric)?,
                    variant: event_columns::key(READING_INTERVALS, &variant)?,
                    at_ms,
                    body,
                })
            })
            .collect()
    }
}

#[derive(sqlx::FromRow)]
struct StateRow {
    experiment: String,
    xv: i64,
    watched: String,
    variant: String,
    max_log_e: f64,
    alarmed_at_ms: Option<i64>,
    detail: String,
    checked_at_ms: i64,
}

impl TryFrom<StateRow> for GuardrailState {
    type Error = StoreError;

    fn try_from(row: StateRow) -> Result<Self, StoreError> {
        Ok(Self {
            experiment: event_columns::key(READING, &row.experiment)?,
            xv: columns::counter(row.xv),
            watched: Watched::parse(&row.watched).ok_or_else(|| StoreError::Corrupt {
                attempt: READING,
                detail: format!("'{}' is nothing that is watched", row.watched),
            })?,
            variant: event_columns::present(READING, &row.variant)?,
            max_log_e: row.max_log_e,
            alarmed_at_ms: row.alarmed_at_ms,
            detail: row.detail,
            checked_at_ms: row.checked_at_ms,
        })
    }
}

#[derive(sqlx::FromRow)]
struct AlertRow {
    id: String,
    environment: String,
    experiment: String,
    kind: String,
    body: String,
    at_ms: i64,
    attempts: i32,
    next_at_ms: Option<i64>,
    delivered_at_ms: Option<i64>,
    error: Option<String>,
}

impl TryFrom<AlertRow> for Alert {
    type Error = StoreError;

    fn try_from(row: AlertRow) -> Result<Self, StoreError> {
        Ok(Self {
            alert: NewAlert {
                id: row.id,
                environment: columns::environment(READING_ALERTS, &row.environment)?,
                experiment: event_columns::present(READING_ALERTS, &row.experiment)?,
                kind: row.kind,
                body: row.body,
            },
            at_ms: row.at_ms,
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            next_at_ms: row.next_at_ms,
            delivered_at_ms: row.delivered_at_ms,
            error: row.error,
        })
    }
}
