//! The schema and its version.

use edgeseal_store::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};

use crate::fault::{Attempt as _, within};
use crate::{ACQUIRE_TIMEOUT, CONNECTING};

static MIGRATIONS: Migrator = sqlx::migrate!();

const MIGRATING: &str = "migrating the database";
const CHECKING: &str = "checking the database schema";

/// What [`PostgresStore::migrate`](crate::PostgresStore::migrate) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Version of the schema before; 0 for an empty database.
    pub from: i64,
    /// Version now.
    pub to: i64,
}

pub(crate) async fn run(options: &PgConnectOptions) -> Result<Migrated, StoreError> {
    // Rewriting a large table may take its time; waiting for another process to migrate as well.
    let options = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let mut connection =
        within(ACQUIRE_TIMEOUT, MIGRATING, async { options.connect().await.attempting(MIGRATING) }).await?;
    let from = version(&mut connection).await?;
    if from > expected() {
        return Err(StoreError::Schema { found: from, expected: expected() });
    }
    // Not `run`, whose future is not `Send` for every lifetime of a connection.
    MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(migrate_error)?;
    connection.close().await.attempting(MIGRATING)?;
    Ok(Migrated { from, to: expected() })
}

/// Connects, checks and hangs up.
pub(crate) async fn check_once(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await.attempting(CONNECTING)?;
    check_version(&mut connection).await?;
    connection.close().await.attempting(CONNECTING)
}

/// Whether the database answers, with the schema that this code needs; `edgeseal migrate` may have run since.
pub(crate) async fn check(pool: &PgPool) -> Result<(), StoreError> {
    check_version(&mut *pool.acquire().await.attempting(CHECKING)?).await
}

async fn check_version(connection: &mut PgConnection) -> Result<(), StoreError> {
    match version(connection).await? {
        found if found == expected() => Ok(()),
        found => Err(StoreError::Schema { found, expected: expected() }),
    }
}

async fn version(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .attempting(CHECKING)?;
    if !migrated {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .attempting(CHECKING)
}

fn migrate_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::Unavailable { attempt: MIGRATING, source: error.into() }
        }
        // Somebody newer migrated between our look and our turn.
        MigrateError::VersionMissing(found) if found > expected() => {
            StoreError::Schema { found, expected: expected() }
        }
        error => StoreError::Corrupt { attempt: MIGRATING, detail: error.to_string() },
    }
}

fn expected() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}
