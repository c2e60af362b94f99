//! Events as they are counted.

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey, Key};
use edgeseal_store::{
    Added, Aggregate, AggregateKey, Allocation, CommitError, Contribution, HealthCount, HealthKey, RollUp,
    RollUpHead, RollUps, StoreError, Sums, UnitRef, UnitState, added, columns, event_columns,
};
use sqlx::SqliteConnection;

use crate::SqliteStore;
use crate::events::quarantine;
use crate::fault::Attempt as _;

const ROLLING_UP: &str = "rolling up events";
const READING: &str = "reading what was counted";

#[async_trait]
impl RollUps for SqliteStore {
    async fn rolled_up(&self, environment: &Environment) -> Result<RollUpHead, StoreError> {
        let mut connection = self.readers.acquire().await.attempting(READING)?;
        read_head(&mut connection, environment).await.attempting(READING)
    }

    async fn contributions(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        experiments: Option<&[ExperimentKey]>,
    ) -> Result<Vec<Contribution>, StoreError> {
        let mut units: Vec<&UnitRef> = units.iter().collect();
        units.sort_unstable();
        units.dedup();
        let mut connection = self.readers.acquire().await.attempting(READING)?;
        let mut contributions = Vec::new();
        for unit in units {
            let rows: Vec<ContributionRow> = sqlx::query_as(
                "SELECT unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content
                 FROM contributions WHERE environment = ? AND unit = ? AND unit_type = ? ORDER BY experiment",
            )
            .bind(environment.as_str())
            .bind(unit.tag.as_bytes().as_slice())
            .bind(unit.unit_type.as_str())
            .fetch_all(&mut *connection)
            .await
            .attempting(READING)?;
            for row in rows {
                let contribution = Contribution::try_from(row)?;
                if experiments.is_none_or(|wanted| wanted.contains(&contribution.experiment)) {
                    contributions.push(contribution);
                }
            }
        }
        Ok(contributions)
    }

    async fn contributions_page(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        after: Option<&UnitRef>,
        limit: u32,
    ) -> Result<Vec<Contribution>, StoreError> {
        // Before every unit type comes the empty text.
        let rows: Vec<ContributionRow> = sqlx::query_as(
            "SELECT unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content
             FROM contributions
             WHERE environment = ? AND experiment = ? AND (unit_type, unit) > (?, ?)
             ORDER BY unit_type, unit LIMIT ?",
        )
        .bind(environment.as_str())
        .bind(experiment.as_str())
        .bind(after.map_or("", |unit| unit.unit_type.as_str()))
        .bind(after.map_or([].as_slice(), |unit| unit.tag.as_bytes()))
        .bind(event_columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(Contribution::try_from).collect()
    }

    async fn apply_rollup(
        &self,
        environment: &Environment,
        step: &RollUp,
    ) -> Result<RollUpHead, CommitError> {
        let change = step.check()?;
        // Takes the write lock at once: whoever comes second reads what the first one wrote.
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(ROLLING_UP)?;
        let before = read_head(&mut transaction, environment).await.attempting(ROLLING_UP)?;
        if before.sequence != step.expected {
            return Err(CommitError::Conflict);
        }
        let newest: Option<i64> = sqlx::query_scalar("SELECT head FROM event_streams WHERE environment = ?")
            .bind(environment.as_str())
            .fetch_optional(&mut *transaction)
            .await
            .attempting(ROLLING_UP)?;
        step.check_after(before, columns::counter(newest.unwrap_or_default()))?;
        write_contributions(&mut transaction, environment, &step.contributions).await?;
        add_to_aggregates(&mut transaction, environment, &change).await?;
        add_to_health(&mut transaction, environment, &change).await?;
        quarantine(&mut transaction, ROLLING_UP, environment, &step.quarantined).await?;
        write_settings(&mut transaction, environment, &step.settings).await?;
        let after = step.head();
        sqlx::query(
            "INSERT INTO rollups (environment, sequence, cursor) VALUES (?, ?, ?)
             ON CONFLICT (environment) DO UPDATE SET sequence = excluded.sequence, cursor = excluded.cursor",
        )
        .bind(environment.as_str())
        .bind(columns::number(after.sequence))
        .bind(columns::number(after.cursor))
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
        transaction.commit().await.attempting(ROLLING_UP)?;
        Ok(after)
    }

    async fn aggregates(
        &self,
        environment: &Environment,
        experiment: Option<&ExperimentKey>,
    ) -> Result<Vec<Aggregate>, StoreError> {
        let rows: Vec<AggregateRow> = sqlx::query_as(
            "SELECT experiment, xv, variant, metric, n, nonzero, sums, products FROM aggregates
             WHERE environment = ?1 AND (?2 IS NULL OR experiment = ?2)
             ORDER BY experiment, xv, variant, metric",
        )
        .bind(environment.as_str())
        .bind(experiment.map(Key::as_str))
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(Aggregate::try_from).collect()
    }

    async fn health(&self, environment: &Environment, since_ms: i64) -> Result<Vec<HealthCount>, StoreError> {
        let rows: Vec<HealthRow> = sqlx::query_as(
            "SELECT hour_ms, experiment, kind, code, count FROM health
             WHERE environment = ? AND hour_ms >= ? ORDER BY hour_ms, experiment, kind, code",
        )
        .bind(environment.as_str())
        .bind(since_ms)
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(HealthCount::try_from).collect()
    }

    async fn rollup_settings(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ExperimentKey, String)>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT experiment, settings FROM rollup_settings WHERE environment = ? ORDER BY experiment",
        )
        .bind(environment.as_str())
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(|(key, settings)| Ok((event_columns::key(READING, &key)?, settings))).collect()
    }

    async fn allocations(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
    ) -> Result<Vec<Allocation>, StoreError> {
        let rows: Vec<(i64, i64, String, String)> = sqlx::query_as(
            "SELECT xv, at_ms, unit_type, shares FROM allocations
             WHERE environment = ? AND experiment = ? ORDER BY xv",
        )
        .bind(environment.as_str())
        .bind(experiment.as_str())
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter()
            .map(|(xv, at_ms, unit_type, shares)| {
                Ok(Allocation {
                    xv: columns::counter(xv),
                    at_ms,
                    unit_type: event_columns::unit_type(READING, &unit_type)?,
                    shares: event_columns::shares(READING, &shares)?,
                })
            })
            .collect()
    }
}

async fn read_head(
    connection: &mut SqliteConnection,
    environment: &Environment,
) -> Result<RollUpHead, sqlx::Error> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT sequence, cursor FROM rollups WHERE environment = ?")
            .bind(environment.as_str())
            .fetch_optional(connection)
            .await?;
    let (sequence, cursor) = row.unwrap_or_default();
    Ok(RollUpHead { sequence: columns::counter(sequence), cursor: columns::counter(cursor) })
}

async fn write_contributions(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    contributions: &[Contribution],
) -> Result<(), StoreError> {
    for contribution in contributions {
        sqlx::query(
            "INSERT INTO contributions
                (environment, unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (environment, unit, unit_type, experiment) DO UPDATE SET
                variant = excluded.variant, xv = excluded.xv, first_ms = excluded.first_ms,
                excluded = excluded.excluded, drifted = excluded.drifted, content = excluded.content",
        )
        .bind(environment.as_str())
        .bind(contribution.unit.tag.as_bytes().as_slice())
        .bind(contribution.unit.unit_type.as_str())
        .bind(contribution.experiment.as_str())
        .bind(contribution.variant.as_str())
        .bind(columns::number(contribution.xv))
        .bind(contribution.first_ms)
        .bind(contribution.state == UnitState::Excluded)
        .bind(contribution.drifted)
        .bind(event_columns::values_text(&contribution.values))
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    }
    Ok(())
}

/// Read, add, write: SQLite adds 64 bits.
async fn add_to_aggregates(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    change: &Added<'_>,
) -> Result<(), StoreError> {
    for (key, delta) in &change.aggregates {
        let stored: Option<AggregateRow> = sqlx::query_as(
            "SELECT experiment, xv, variant, metric, n, nonzero, sums, products FROM aggregates
             WHERE environment = ? AND experiment = ? AND xv = ? AND variant = ? AND metric = ?",
        )
        .bind(environment.as_str())
        .bind(key.experiment.as_str())
        .bind(columns::number(key.xv))
        .bind(key.variant.as_str())
        .bind(event_columns::absent(key.metric.as_ref()))
        .fetch_optional(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
        let stored = stored.map(Aggregate::try_from).transpose()?.map(|stored| stored.sums);
        let sums = added(key, &stored.unwrap_or_default(), delta)?;
        sqlx::query(
            "INSERT INTO aggregates (environment, experiment, xv, variant, metric, n, nonzero, sums, products)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (environment, experiment, xv, variant, metric) DO UPDATE SET
                n = excluded.n, nonzero = excluded.nonzero, sums = excluded.sums, products = excluded.products",
        )
        .bind(environment.as_str())
        .bind(key.experiment.as_str())
        .bind(columns::number(key.xv))
        .bind(key.variant.as_str())
        .bind(event_columns::absent(key.metric.as_ref()))
        .bind(sums.n)
        .bind(sums.nonzero)
        .bind(event_columns::decimals(&sums.sum))
        .bind(event_columns::decimals(&sums.products))
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    }
    Ok(())
}

async fn add_to_health(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    change: &Added<'_>,
) -> Result<(), StoreError> {
    for (key, count) in &change.health {
        let (kind, code) = key.kind.as_words();
        sqlx::query(
            "INSERT INTO health (environment, hour_ms, experiment, kind, code, count) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (environment, hour_ms, experiment, kind, code) DO UPDATE SET
                count = count + excluded.count",
        )
        .bind(environment.as_str())
        .bind(key.hour_ms)
        .bind(event_columns::absent(key.experiment.as_ref()))
        .bind(kind)
        .bind(code)
        .bind(*count)
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    }
    Ok(())
}

async fn write_settings(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    settings: &[(ExperimentKey, String)],
) -> Result<(), StoreError> {
    for (experiment, settings) in settings {
        sqlx::query(
            "INSERT INTO rollup_settings (environment, experiment, settings) VALUES (?, ?, ?)
             ON CONFLICT (environment, experiment) DO UPDATE SET settings = excluded.settings",
        )
        .bind(environment.as_str())
        .bind(experiment.as_str())
        .bind(settings.as_str())
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ContributionRow {
    unit: Vec<u8>,
    unit_type: String,
    experiment: String,
    variant: String,
    xv: i64,
    first_ms: i64,
    excluded: bool,
    drifted: bool,
    content: String,
}

impl TryFrom<ContributionRow> for Contribution {
    type Error = StoreError;

    fn try_from(row: ContributionRow) -> Result<Self, StoreError> {
        Ok(Self {
            experiment: event_columns::key(READING, &row.experiment)?,
            unit: event_columns::unit(READING, &row.unit_type, &row.unit)?,
            variant: event_columns::key(READING, &row.variant)?,
            xv: columns::counter(row.xv),
            first_ms: row.first_ms,
            state: event_columns::unit_state(row.excluded),
            drifted: row.drifted,
            values: event_columns::values(READING, &row.content)?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct AggregateRow {
    experiment: String,
    xv: i64,
    variant: String,
    metric: String,
    n: i64,
    nonzero: i64,
    sums: String,
    products: String,
}

impl TryFrom<AggregateRow> for Aggregate {
    type Error = StoreError;

    fn try_from(row: AggregateRow) -> Result<Self, StoreError> {
        Ok(Self {
            key: AggregateKey {
                experiment: event_columns::key(READING, &row.experiment)?,
                xv: columns::counter(row.xv),
                variant: event_columns::key(READING, &row.variant)?,
                metric: event_columns::present(READING, &row.metric)?,
            },
            sums: Sums {
                n: row.n,
                nonzero: row.nonzero,
                sum: event_columns::read_decimals(READING, &row.sums)?,
                products: event_columns::read_decimals(READING, &row.products)?,
            },
        })
    }
}

#[derive(sqlx::FromRow)]
struct HealthRow {
    hour_ms: i64,
    experiment: String,
    kind: String,
    code: String,
    count: i64,
}

impl TryFrom<HealthRow> for HealthCount {
    type Error = StoreError;

    fn try_from(row: HealthRow) -> Result<Self, StoreError> {
        Ok(Self {
            key: HealthKey {
                hour_ms: row.hour_ms,
                experiment: event_columns::present(READING, &row.experiment)?,
                kind: event_columns::health_kind(READING, &row.kind, &row.code)?,
            },
            count: columns::counter(row.count),
        })
    }
}
