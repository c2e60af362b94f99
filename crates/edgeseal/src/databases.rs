//! Opens the store that a URL names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgeseal_store::{Store, StoreError};
use edgeseal_store_postgres::PostgresStore;
use edgeseal_store_sqlite::SqliteStore;

use crate::exit::{Failure, Outcome};

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// Database: postgres://user@host/name (password by PGPASSFILE or the variable), or sqlite:FILE
    #[arg(long, value_name = "URL", env = "EDGESEAL_DATABASE", hide_env_values = true)]
    database: String,
}

/// A database that was named, understood.
pub(crate) enum Database {
    /// A server that several control planes may share.
    Postgres(String),
    /// A file.
    Sqlite(PathBuf),
}

impl DatabaseArgs {
    /// Reads the URL.
    pub(crate) fn database(&self) -> Outcome<Database> {
        Database::parse(&self.database)
    }
}

impl Database {
    /// Reads a URL; never repeats it in an error, because it may hold a password.
    pub(crate) fn parse(url: &str) -> Outcome<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(Failure::usage("the database must be postgres://… or sqlite:FILE")),
        }
    }

    /// Opens it; its schema has to be there already.
    pub(crate) async fn open(&self) -> Outcome<Arc<dyn Store>> {
        match self {
            Self::Postgres(url) => Ok(Arc::new(PostgresStore::connect(url).await.map_err(refused)?)),
            Self::Sqlite(path) => open_file(path).await,
        }
    }

    /// Creates or updates the schema.
    pub(crate) async fn migrate(&self) -> Outcome<()> {
        match self {
            Self::Postgres(url) => PostgresStore::migrate(url).await.map(drop).map_err(refused),
            Self::Sqlite(path) => {
                open_file(path).await?.close().await;
                Ok(())
            }
        }
    }
}

/// Opens a SQLite file, and makes it when it is missing.
pub(crate) async fn open_file(path: &Path) -> Outcome<Arc<dyn Store>> {
    Ok(Arc::new(SqliteStore::open(path).await.map_err(refused)?))
}

/// What a store refused, with its exit code.
pub(crate) fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable { .. } => Failure::unreachable(error),
        StoreError::Corrupt { .. } | StoreError::Refused { .. } | StoreError::Schema { .. } => {
            Failure::no(error)
        }
    }
}
