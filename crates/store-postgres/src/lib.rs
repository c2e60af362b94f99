//! The shared store: PostgreSQL 15 to 18.
//!
//! Several control planes may work on one database. A commit is one transaction that locks the environment's row, so
//! whoever read an older sequence gets a conflict. Commits are announced by `NOTIFY`, within the transaction.
//!
//! ```no_run
//! # async fn example() -> Result<(), edgeseal_store::StoreError> {
//! use edgeseal_store::Environments as _;
//! use edgeseal_store_postgres::PostgresStore;
//!
//! let url = "postgres://edgeseal@db.example/edgeseal?sslmode=verify-full";
//! PostgresStore::migrate(url).await?;
//! let store = PostgresStore::connect(url).await?;
//! for environment in store.environments().await? {
//!     println!("{}", environment.name);
//! }
//! # Ok(())
//! # }
//! ```

mod audit;
mod changes;
mod commit;
mod copy;
mod documents;
mod edges;
mod environments;
mod events;
mod fault;
mod guardrail;
mod idempotency;
mod migrate;
mod rollups;
mod tokens;

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use edgeseal_store::{Change, Commit, CommitError, Hints, Store, StoreError};
use futures_util::stream::BoxStream;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::OnceCell;

use changes::Listener;
use fault::{Attempt as _, within};
pub use migrate::Migrated;

/// Connections of one process, besides the one that listens for changes. A further request waits for one.
pub const MAX_CONNECTIONS: u32 = 16;
/// How long a request waits for a connection, the building of a new one included.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// After this the server gives up on a statement.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// After this the server gives up waiting for a row that another transaction holds.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// After this an operation fails even if the server has fallen silent.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

const CONNECTING: &str = "connecting to PostgreSQL";

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    hints: Arc<Hints>,
    listener: OnceCell<Listener>,
    /// Whether events that come in are taken for new until the database says otherwise.
    expects_news: AtomicBool,
}

impl PostgresStore {
    /// Connects to a database whose schema is up to date. TLS is used as the URL's `sslmode` says (`prefer` when it says
    /// nothing). Connections that break later are built anew by themselves.
    ///
    /// # Errors
    /// [`StoreError::Schema`] for a database with another schema, [`StoreError::Unavailable`] when it cannot be reached
    /// or the URL is none. No error repeats the URL: it may hold a password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = options(url)?;
        // One connection by hand, because the pool would keep trying and then say no more than "timed out".
        within(ACQUIRE_TIMEOUT, CONNECTING, migrate::check_once(&options)).await?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            hints: Arc::default(),
            listener: OnceCell::new(),
            expects_news: AtomicBool::new(true),
        })
    }

    /// Brings the database's schema up to date. Processes that try at the same time take turns.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when the database is newer than this code, [`StoreError::Corrupt`] when a migration that
    /// was applied is not the one that this code knows, [`StoreError::Unavailable`] when it cannot be reached.
    pub async fn migrate(url: &str) -> Result<Migrated, StoreError> {
        migrate::run(&options(url)?).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let sequence = commit::apply(&self.pool, &commit).await?;
        self.tell_of(&commit, sequence);
        Ok(sequence)
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, StoreError> {
        self.listener.get_or_try_init(|| Listener::start(&self.pool, &self.hints)).await?;
        Ok(self.hints.listen())
    }

    async fn check(&self) -> Result<(), StoreError> {
        within(OPERATION_TIMEOUT, "checking the database", migrate::check(&self.pool)).await
    }

    async fn close(&self) {
        self.hints.close();
        if let Some(listener) = self.listener.get() {
            listener.stop();
        }
        // What is under way ends by its own time limits.
        let _ = tokio::time::timeout(OPERATION_TIMEOUT, self.pool.close()).await;
    }
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).attempting("reading the PostgreSQL URL")?;
    Ok(options.application_name("edgeseal").options([
        ("statement_timeout", STATEMENT_TIMEOUT.as_millis().to_string()),
        ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", OPERATION_TIMEOUT.as_millis().to_string()),
    ]))
}
