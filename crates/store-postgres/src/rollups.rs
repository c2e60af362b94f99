//! Events as they are counted.

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey, Key};
use edgeseal_store::event_columns::{self, NOTE_KEY_BYTES};
use edgeseal_store::{
    Added, Aggregate, AggregateKey, Allocation, CommitError, Contribution, HealthCount, HealthKey, RollUp,
    RollUpHead, RollUps, StoreError, Sums, UnitRef, UnitState, added, columns,
};
use sqlx::{PgConnection, PgPool};

use crate::events::quarantine;
use crate::fault::{Attempt as _, collided, operation, within};
use crate::{OPERATION_TIMEOUT, PostgresStore};

const ROLLING_UP: &str = "rolling up events";
const READING: &str = "reading what was counted";

/// How often a step is tried that PostgreSQL undid because it collided with another.
const ATTEMPTS: u32 = 3;

#[async_trait]
impl RollUps for PostgresStore {
    async fn rolled_up(&self, environment: &Environment) -> Result<RollUpHead, StoreError> {
        let row: Option<(i64, i64)> = operation(
            READING,
            sqlx::query_as("SELECT sequence, cursor FROM rollups WHERE environment = $1")
                .bind(environment.as_str())
                .fetch_optional(&self.pool),
        )
        .await?;
        Ok(row.map(head).unwrap_or_default())
    }

    async fn contributions(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        experiments: Option<&[ExperimentKey]>,
    ) -> Result<Vec<Contribution>, StoreError> {
        let rows: Vec<ContributionRow> = operation(
            READING,
            // One look into the index for each unit, whatever the planner believes about them.
            sqlx::query_as(
                "SELECT unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content
                 FROM (SELECT DISTINCT * FROM unnest($2::text[], $3::bytea[]) AS wanted(kind_of_unit, tag)) AS wanted
                 CROSS JOIN LATERAL (
                    SELECT * FROM contributions
                    WHERE environment = $1 AND unit = wanted.tag AND unit_type = wanted.kind_of_unit
                        AND ($4::text[] IS NULL OR experiment = ANY($4))
                    OFFSET 0
                 ) AS found
                 ORDER BY unit_type, unit, experiment",
            )
            .bind(environment.as_str())
            .bind(units.iter().map(|unit| unit.unit_type.as_str()).collect::<Vec<_>>())
            .bind(units.iter().map(|unit| unit.tag.as_bytes().as_slice()).collect::<Vec<_>>())
            .bind(experiments.map(|keys| keys.iter().map(Key::as_str).collect::<Vec<_>>()))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Contribution::try_from).collect()
    }

    async fn contributions_page(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
        after: Option<&UnitRef>,
        limit: u32,
    ) -> Result<Vec<Contribution>, StoreError> {
        let rows: Vec<ContributionRow> = operation(
            READING,
            // Before every unit type comes the empty text.
            sqlx::query_as(
                "SELECT unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content
                 FROM contributions
                 WHERE environment = $1 AND experiment = $2 AND (unit_type, unit) > ($3, $4)
                 ORDER BY unit_type, unit LIMIT $5",
            )
            .bind(environment.as_str())
            .bind(experiment.as_str())
            .bind(after.map_or("", |unit| unit.unit_type.as_str()))
            .bind(after.map_or([].as_slice(), |unit| unit.tag.as_bytes()))
            .bind(event_columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Contribution::try_from).collect()
    }

    async fn apply_rollup(
        &self,
        environment: &Environment,
        step: &RollUp,
    ) -> Result<RollUpHead, CommitError> {
        let change = step.check()?;
        let keys = event_columns::note_keys(&step.quarantined);
        for _ in 0..ATTEMPTS {
            let attempt = apply(&self.pool, environment, step, &change, &keys);
            match within(OPERATION_TIMEOUT, ROLLING_UP, attempt).await {
                Err(CommitError::Store(error)) if collided(&error) => {}
                outcome => return outcome,
            }
        }
        Err(CommitError::Conflict)
    }

    async fn aggregates(
        &self,
        environment: &Environment,
        experiment: Option<&ExperimentKey>,
    ) -> Result<Vec<Aggregate>, StoreError> {
        let rows: Vec<AggregateRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT experiment, xv, variant, metric, n, nonzero, sums, products FROM aggregates
                 WHERE environment = $1 AND ($2 IS NULL OR experiment = $2)
                 ORDER BY experiment, xv, variant, metric",
            )
            .bind(environment.as_str())
            .bind(experiment.map(Key::as_str))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Aggregate::try_from).collect()
    }

    async fn health(&self, environment: &Environment, since_ms: i64) -> Result<Vec<HealthCount>, StoreError> {
        let rows: Vec<HealthRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT hour_ms, experiment, kind, code, count FROM health
                 WHERE environment = $1 AND hour_ms >= $2 ORDER BY hour_ms, experiment, kind, code",
            )
            .bind(environment.as_str())
            .bind(since_ms)
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(HealthCount::try_from).collect()
    }

    async fn rollup_settings(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ExperimentKey, String)>, StoreError> {
        let rows: Vec<(String, String)> = operation(
            READING,
            sqlx::query_as(
                "SELECT experiment, settings FROM rollup_settings WHERE environment = $1 ORDER BY experiment",
            )
            .bind(environment.as_str())
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(|(key, settings)| Ok((event_columns::key(READING, &key)?, settings))).collect()
    }

    async fn allocations(
        &self,
        environment: &Environment,
        experiment: &ExperimentKey,
    ) -> Result<Vec<Allocation>, StoreError> {
        let rows: Vec<(i64, i64, String, String)> = operation(
            READING,
            sqlx::query_as(
                "SELECT xv, at_ms, unit_type, shares FROM allocations
                 WHERE environment = $1 AND experiment = $2 ORDER BY xv",
            )
            .bind(environment.as_str())
            .bind(experiment.as_str())
            .fetch_all(&self.pool),
        )
        .await?;
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

fn head((sequence, cursor): (i64, i64)) -> RollUpHead {
    RollUpHead { sequence: columns::counter(sequence), cursor: columns::counter(cursor) }
}

/// A transaction that is dropped before its end is rolled back.
async fn apply(
    pool: &PgPool,
    environment: &Environment,
    step: &RollUp,
    change: &Added<'_>,
    keys: &[[u8; NOTE_KEY_BYTES]],
) -> Result<RollUpHead, CommitError> {
    let mut transaction = pool.begin().await.attempting(ROLLING_UP)?;
    let before = lock(&mut transaction, environment).await?;
    if before.sequence != step.expected {
        return Err(CommitError::Conflict);
    }
    let newest: Option<i64> = sqlx::query_scalar("SELECT head FROM event_streams WHERE environment = $1")
        .bind(environment.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    step.check_after(before, columns::counter(newest.unwrap_or_default()))?;
    write_contributions(&mut transaction, environment, &step.contributions).await?;
    add_to_aggregates(&mut transaction, environment, change).await?;
    add_to_health(&mut transaction, environment, change).await?;
    quarantine(&mut transaction, ROLLING_UP, environment, &step.quarantined, keys).await?;
    write_settings(&mut transaction, environment, &step.settings).await?;
    let after = step.head();
    sqlx::query("UPDATE rollups SET sequence = $2, cursor = $3 WHERE environment = $1")
        .bind(environment.as_str())
        .bind(columns::number(after.sequence))
        .bind(columns::number(after.cursor))
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    transaction.commit().await.attempting(ROLLING_UP)?;
    Ok(after)
}

/// From here on others who roll up wait until this transaction has ended, then get a conflict.
async fn lock(transaction: &mut PgConnection, environment: &Environment) -> Result<RollUpHead, StoreError> {
    loop {
        let locked: Option<(i64, i64)> =
            sqlx::query_as("SELECT sequence, cursor FROM rollups WHERE environment = $1 FOR NO KEY UPDATE")
                .bind(environment.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .attempting(ROLLING_UP)?;
        if let Some(locked) = locked {
            return Ok(head(locked));
        }
        sqlx::query(
            "INSERT INTO rollups (environment, sequence, cursor) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING",
        )
        .bind(environment.as_str())
        .execute(&mut *transaction)
        .await
        .attempting(ROLLING_UP)?;
    }
}

async fn write_contributions(
    transaction: &mut PgConnection,
    environment: &Environment,
    contributions: &[Contribution],
) -> Result<(), StoreError> {
    if contributions.is_empty() {
        return Ok(());
    }
    let text = |text: fn(&Contribution) -> &str| contributions.iter().map(text).collect::<Vec<_>>();
    let flag = |flag: fn(&Contribution) -> bool| contributions.iter().map(flag).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO contributions
            (environment, unit, unit_type, experiment, variant, xv, first_ms, excluded, drifted, content)
         SELECT $1, * FROM unnest($2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
            $8::boolean[], $9::boolean[], $10::text[])
         ON CONFLICT (environment, unit, unit_type, experiment) DO UPDATE SET
            variant = excluded.variant, xv = excluded.xv, first_ms = excluded.first_ms,
            excluded = excluded.excluded, drifted = excluded.drifted, content = excluded.content",
    )
    .bind(environment.as_str())
    .bind(contributions.iter().map(|it| it.unit.tag.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(text(|it| it.unit.unit_type.as_str()))
    .bind(text(|it| it.experiment.as_str()))
    .bind(text(|it| it.variant.as_str()))
    .bind(contributions.iter().map(|it| columns::number(it.xv)).collect::<Vec<_>>())
    .bind(contributions.iter().map(|it| it.first_ms).collect::<Vec<_>>())
    .bind(flag(|it| it.state == UnitState::Excluded))
    .bind(flag(|it| it.drifted))
    .bind(contributions.iter().map(|it| event_columns::values_text(&it.values)).collect::<Vec<_>>())
    .execute(transaction)
    .await
    .attempting(ROLLING_UP)?;
    Ok(())
}

/// Read, add, write: no column type adds 128 bits without rounding or growing beyond them.
async fn add_to_aggregates(
    transaction: &mut PgConnection,
    environment: &Environment,
    change: &Added<'_>,
) -> Result<(), StoreError> {
    if change.aggregates.is_empty() {
        return Ok(());
    }
    let keys = || change.aggregates.keys();
    let experiments: Vec<_> = keys().map(|key| key.experiment.as_str()).collect();
    let epochs: Vec<_> = keys().map(|key| columns::number(key.xv)).collect();
    let variants: Vec<_> = keys().map(|key| key.variant.as_str()).collect();
    let metrics: Vec<_> = keys().map(|key| event_columns::absent(key.metric.as_ref())).collect();
    let stored: Vec<AggregateRow> = sqlx::query_as(
        "SELECT experiment, xv, variant, metric, n, nonzero, sums, products
         FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[]) AS wanted(experiment, xv, variant, metric)
         JOIN aggregates USING (experiment, xv, variant, metric) WHERE environment = $1",
    )
    .bind(environment.as_str())
    .bind(&experiments)
    .bind(&epochs)
    .bind(&variants)
    .bind(&metrics)
    .fetch_all(&mut *transaction)
    .await
    .attempting(ROLLING_UP)?;
    let stored: std::collections::BTreeMap<AggregateKey, Sums> = stored
        .into_iter()
        .map(|row| Aggregate::try_from(row).map(|aggregate| (aggregate.key, aggregate.sums)))
        .collect::<Result<_, _>>()?;
    let nothing = Sums::default();
    let sums: Vec<Sums> = change
        .aggregates
        .iter()
        .map(|(key, delta)| added(key, stored.get(*key).unwrap_or(&nothing), delta))
        .collect::<Result<_, _>>()?;
    sqlx::query(
        "INSERT INTO aggregates (environment, experiment, xv, variant, metric, n, nonzero, sums, products)
         SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
            $8::text[], $9::text[])
         ON CONFLICT (environment, experiment, xv, variant, metric) DO UPDATE SET
            n = excluded.n, nonzero = excluded.nonzero, sums = excluded.sums, products = excluded.products",
    )
    .bind(environment.as_str())
    .bind(experiments)
    .bind(epochs)
    .bind(variants)
    .bind(metrics)
    .bind(sums.iter().map(|sums| sums.n).collect::<Vec<_>>())
    .bind(sums.iter().map(|sums| sums.nonzero).collect::<Vec<_>>())
    .bind(sums.iter().map(|sums| event_columns::decimals(&sums.sum)).collect::<Vec<_>>())
    .bind(sums.iter().map(|sums| event_columns::decimals(&sums.products)).collect::<Vec<_>>())
    .execute(transaction)
    .await
    .attempting(ROLLING_UP)?;
    Ok(())
}

async fn add_to_health(
    transaction: &mut PgConnection,
    environment: &Environment,
    change: &Added<'_>,
) -> Result<(), StoreError> {
    if change.health.is_empty() {
        return Ok(());
    }
    let keys = || change.health.keys();
    sqlx::query(
        "INSERT INTO health (environment, hour_ms, experiment, kind, code, count)
         SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
         ON CONFLICT (environment, hour_ms, experiment, kind, code) DO UPDATE SET
            count = health.count + excluded.count",
    )
    .bind(environment.as_str())
    .bind(keys().map(|key| key.hour_ms).collect::<Vec<_>>())
    .bind(keys().map(|key| event_columns::absent(key.experiment.as_ref())).collect::<Vec<_>>())
    .bind(keys().map(|key| key.kind.as_words().0).collect::<Vec<_>>())
    .bind(keys().map(|key| key.kind.as_words().1).collect::<Vec<_>>())
    .bind(change.health.values().copied().collect::<Vec<_>>())
    .execute(transaction)
    .await
    .attempting(ROLLING_UP)?;
    Ok(())
}

async fn write_settings(
    transaction: &mut PgConnection,
    environment: &Environment,
    settings: &[(ExperimentKey, String)],
) -> Result<(), StoreError> {
    for (experiment, settings) in settings {
        sqlx::query(
            "INSERT INTO rollup_settings (environment, experiment, settings) VALUES ($1, $2, $3)
             ON CONFLICT (environment, experiment) DO UPDATE SET settings = excluded.settings",
        )
        .bind(environment.as_str())
        .bind(experiment.as_str())
        .bind(settings)
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
