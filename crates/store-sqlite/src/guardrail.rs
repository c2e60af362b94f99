//! What the guardrail found, whom it tells, and what it showed.

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_store::{
    Alert, GuardrailState, GuardrailStore, IntervalPoint, NewAlert, StoreError, Watched, columns,
    event_columns,
};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const KEEPING: &str = "keeping what the guardrail found";
const READING: &str = "reading what the guardrail found";
const TAKING: &str = "taking alerts that are due";
const DELIVERING: &str = "noting what became of an alert";
const READING_ALERTS: &str = "reading alerts";
const KEEPING_INTERVALS: &str = "keeping intervals";
const READING_INTERVALS: &str = "reading intervals";

#[async_trait]
impl GuardrailStore for SqliteStore {
    async fn guardrail_states(&self, environment: &Environment) -> Result<Vec<GuardrailState>, StoreError> {
        let rows: Vec<StateRow> = sqlx::query_as(
            "SELECT experiment, xv, watched, variant, max_log_e, alarmed_at_ms, detail, checked_at_ms
             FROM guardrail_states WHERE environment = ? ORDER BY experiment, xv, watched, variant",
        )
        .bind(environment.as_str())
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(GuardrailState::try_from).collect()
    }

    async fn save_guardrail_states(
        &self,
        environment: &Environment,
        states: &[GuardrailState],
    ) -> Result<(), StoreError> {
        states.iter().try_for_each(GuardrailState::check)?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(KEEPING)?;
        for state in states {
            sqlx::query(
                "INSERT INTO guardrail_states AS stored
                    (environment, experiment, xv, watched, variant, max_log_e, alarmed_at_ms, detail, checked_at_ms)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (environment, experiment, xv, watched, variant) DO UPDATE SET
                    max_log_e = max(stored.max_log_e, excluded.max_log_e),
                    alarmed_at_ms = coalesce(stored.alarmed_at_ms, excluded.alarmed_at_ms),
                    detail = CASE WHEN excluded.checked_at_ms >= stored.checked_at_ms
                        THEN excluded.detail ELSE stored.detail END,
                    checked_at_ms = max(stored.checked_at_ms, excluded.checked_at_ms)",
            )
            .bind(environment.as_str())
            .bind(state.experiment.as_str())
            .bind(columns::number(state.xv))
            .bind(state.watched.as_str())
            .bind(event_columns::absent(state.variant.as_ref()))
            .bind(state.max_log_e)
            .bind(state.alarmed_at_ms)
            .bind(state.detail.as_str())
            .bind(state.checked_at_ms)
            .execute(&mut *transaction)
            .await
            .attempting(KEEPING)?;
        }
        transaction.commit().await.attempting(KEEPING)
    }

    async fn take_due_alerts(
        &self,
        now_ms: i64,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<Alert>, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(TAKING)?;
        let due: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM alerts WHERE next_at_ms <= ? ORDER BY next_at_ms, number LIMIT ?",
        )
        .bind(now_ms)
        .bind(columns::page(limit))
        .fetch_all(&mut *transaction)
        .await
        .attempting(TAKING)?;
        let mut alerts = Vec::with_capacity(due.len());
        for number in due {
            let row: AlertRow = sqlx::query_as(
                "UPDATE alerts SET attempts = attempts + 1, next_at_ms = ? WHERE number = ?
                 RETURNING id, environment, experiment, kind, body, at_ms, attempts, next_at_ms, delivered_at_ms,
                    error",
            )
            .bind(now_ms.saturating_add(lease_ms))
            .bind(number)
            .fetch_one(&mut *transaction)
            .await
            .attempting(TAKING)?;
            alerts.push(Alert::try_from(row)?);
        }
        transaction.commit().await.attempting(TAKING)?;
        Ok(alerts)
    }

    async fn alert_delivered(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE alerts SET delivered_at_ms = coalesce(delivered_at_ms, ?2), next_at_ms = NULL, error = NULL
             WHERE id = ?1",
        )
        .bind(id)
        .bind(now_ms)
        .execute(&self.writer)
        .await
        .attempting(DELIVERING)?;
        Ok(())
    }

    async fn alert_failed(
        &self,
        id: &str,
        attempts: u32,
        next_at_ms: Option<i64>,
        error: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE alerts SET next_at_ms = ?3, error = ?4
             WHERE id = ?1 AND attempts = ?2 AND delivered_at_ms IS NULL",
        )
        .bind(id)
        .bind(attempts)
        .bind(next_at_ms)
        .bind(event_columns::note_text(error).into_owned())
        .execute(&self.writer)
        .await
        .attempting(DELIVERING)?;
        Ok(())
    }

    async fn alerts(&self, environment: &Environment, limit: u32) -> Result<Vec<Alert>, StoreError> {
        let rows: Vec<AlertRow> = sqlx::query_as(
            "SELECT id, environment, experiment, kind, body, at_ms, attempts, next_at_ms, delivered_at_ms, error
             FROM alerts WHERE environment = ? ORDER BY number DESC LIMIT ?",
        )
        .bind(environment.as_str())
        .bind(columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING_ALERTS)?;
        rows.into_iter().map(Alert::try_from).collect()
    }

    async fn forget_alerts(&self, before_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM alerts WHERE next_at_ms IS NULL AND at_ms < ?")
            .bind(before_ms)
            .execute(&self.writer)
            .await
            .attempting("forgetting alerts")?;
        Ok(())
    }

    async fn append_interval_points(
        &self,
        environment: &Environment,
        points: &[IntervalPoint],
    ) -> Result<(), StoreError> {
        points.iter().try_for_each(IntervalPoint::check)?;
        let mut transaction =
            self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(KEEPING_INTERVALS)?;
        for point in points {
            sqlx::query(
                "INSERT INTO interval_points (environment, experiment, at_ms, metric, variant, body)
                 VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (environment, experiment, at_ms, metric, variant) DO UPDATE SET body = excluded.body",
            )
            .bind(environment.as_str())
            .bind(point.experiment.as_str())
            .bind(point.at_ms)
            .bind(point.metric.as_str())
            .bind(point.variant.as_str())
            .bind(point.body.as_str())
            .execute(&mut *transaction)
            .await
            .attempting(KEEPING_INTERVALS)?;
        }
        transaction.commit().await.attempting(KEEPING_INTERVALS)
    }

    async fn interval_points(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<IntervalPoint>, StoreError> {
        let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
            "SELECT at_ms, metric, variant, body FROM interval_points
             WHERE environment = ? AND experiment = ? AND at_ms >= ?
             ORDER BY at_ms, metric, variant LIMIT ?",
        )
        .bind(environment.as_str())
        .bind(experiment.as_str())
        .bind(since_ms)
        .bind(event_columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING_INTERVALS)?;
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
    attempts: u32,
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
            attempts: row.attempts,
            next_at_ms: row.next_at_ms,
            delivered_at_ms: row.delivered_at_ms,
            error: row.error,
        })
    }
}
