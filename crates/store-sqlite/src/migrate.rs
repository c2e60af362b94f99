//! The schema and its version.

use edgeseal_store::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{SqliteConnection, SqlitePool};

use crate::fault::Attempt as _;

static MIGRATIONS: Migrator = sqlx::migrate!();

const MIGRATING: &str = "bringing the database schema up to date";
const CHECKING: &str = "checking the database schema";

/// Brings the schema up to date, all of it or nothing. Processes that start together take turns.
pub(crate) async fn run(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.attempting(MIGRATING)?;
    let found = version(&mut transaction).await?;
    if found > expected() {
        return Err(StoreError::Schema { found, expected: expected() });
    }
    // Not `run`, whose future is not `Send` for every lifetime of a connection.
    MIGRATIONS.run_direct(None, &mut *transaction, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::Unavailable { attempt: MIGRATING, source: error.into() }
        }
        error => StoreError::Corrupt { attempt: MIGRATING, detail: error.to_string() },
    })?;
    transaction.commit().await.attempting(MIGRATING)
}

/// Whether the schema is the one that this code knows; another process may have changed it.
pub(crate) async fn check(readers: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = readers.acquire().await.attempting(CHECKING)?;
    match version(&mut connection).await? {
        found if found == expected() => Ok(()),
        found => Err(StoreError::Schema { found, expected: expected() }),
    }
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let migrated: bool = sqlx::query_scalar(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
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

fn expected() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}
