//! What the driver's errors mean.

use edgeseal_store::StoreError;
use sqlx::error::DatabaseError;

/// Says what was being attempted when the driver failed.
pub(crate) trait Attempt<T> {
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| store_error(attempt, error))
    }
}

fn store_error(attempt: &'static str, error: sqlx::Error) -> StoreError {
    let corrupt = |error: &sqlx::Error| StoreError::Corrupt { attempt, detail: error.to_string() };
    match &error {
        sqlx::Error::Database(database) => match primary_code(&**database) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => corrupt(&error),
            Some(SQLITE_CONSTRAINT | SQLITE_TOOBIG) => {
                StoreError::Refused { attempt, detail: database.to_string() }
            }
            _ => StoreError::Unavailable { attempt, source: error.into() },
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::RowNotFound => corrupt(&error),
        _ => StoreError::Unavailable { attempt, source: error.into() },
    }
}

// https://www.sqlite.org/rescode.html
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_TOOBIG: u32 = 18;
const SQLITE_CONSTRAINT: u32 = 19;
const SQLITE_NOTADB: u32 = 26;

/// The low byte of an extended code says what happened, the rest says where.
fn primary_code(error: &dyn DatabaseError) -> Option<u32> {
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}
