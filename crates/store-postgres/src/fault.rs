//! What the driver's errors mean, and how long an operation may take.

use std::time::Duration;

use edgeseal_store::StoreError;

use crate::OPERATION_TIMEOUT;

/// Says what was being attempted when the driver failed.
pub(crate) trait Attempt<T> {
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| store_error(attempt, error))
    }
}

/// Runs one operation against the database, and gives up when the server stays silent.
pub(crate) async fn operation<T>(
    attempt: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    within(OPERATION_TIMEOUT, attempt, async { work.await.attempting(attempt) }).await
}

/// The same for work that has errors of its own.
pub(crate) async fn within<T, E: From<StoreError>>(
    limit: Duration,
    attempt: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(E::from(StoreError::Unavailable {
            attempt,
            source: format!("no answer within {} s", limit.as_secs()).into(),
        })),
    }
}

/// Whether two transactions got in each other's way, so that the same one may succeed when tried again.
pub(crate) fn collided(error: &StoreError) -> bool {
    let StoreError::Unavailable { source, .. } = error else { return false };
    let Some(sqlx::Error::Database(database)) = source.downcast_ref() else { return false };
    matches!(database.code().as_deref(), Some("40001" | "40P01"))
}

// Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
fn store_error(attempt: &'static str, error: sqlx::Error) -> StoreError {
    let corrupt = |error: &sqlx::Error| StoreError::Corrupt { attempt, detail: error.to_string() };
    match &error {
        sqlx::Error::Database(database) => match database.code().as_deref().and_then(|code| code.get(..2)) {
            // Data exception, integrity constraint violation, program limit exceeded.
            Some("22" | "23" | "54") => StoreError::Refused { attempt, detail: database.to_string() },
            // Data corrupted, index corrupted.
            Some("XX") if database.code().is_some_and(|code| code != "XX000") => corrupt(&error),
            _ => StoreError::Unavailable { attempt, source: error.into() },
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::RowNotFound => corrupt(&error),
        _ => StoreError::Unavailable { attempt, source: error.into() },
    }
}
