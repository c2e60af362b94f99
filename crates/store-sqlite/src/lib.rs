//! The embedded store: one SQLite file.
//!
//! An acknowledged commit is on disk (`synchronous = FULL`). Several processes may use the file at the same time, such
//! as the command line beside a running server: writers queue up, readers never wait, and each process hears of the
//! other's commits within [`WATCH_INTERVAL`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use edgeseal_store::{Environments as _, Store as _};
//! use edgeseal_store_sqlite::SqliteStore;
//!
//! # let folder = tempfile::tempdir()?;
//! let store = SqliteStore::open(&folder.path().join("edgeseal.db")).await?;
//! assert!(store.environments().await?.is_empty());
//! store.close().await;
//! # Ok(())
//! # }
//! ```

mod audit;
mod changes;
mod commit;
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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgeseal_store::{Change, Commit, CommitError, Hints, Store, StoreError};
use futures_util::stream::BoxStream;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::OnceCell;

pub use changes::WATCH_INTERVAL;
use changes::Watcher;
use fault::Attempt as _;

/// Connections that read at the same time; a further reader waits for one.
pub const READERS: u32 = 4;
/// How long a commit waits for its turn behind other commits of this process, and again behind another process.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages of 8 KiB: a snapshot of megabytes takes half as many as with SQLite's 4 KiB, and a document still fits in one.
const PAGE_BYTES: u32 = 8 * 1024;
/// The writer's page cache, in KiB: a transaction with the largest snapshot need not spill halfway through.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Rows that SQLite's thread reads before it waits for ours: each wait costs more than a row.
const ROWS_AHEAD: usize = 1024;
/// The write-ahead log shrinks back to this after a large transaction.
const WAL_KEPT_BYTES: u32 = 64 * 1024 * 1024;

/// A store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    // SQLite has one writer at a time; queueing here is fair, and cheaper than its busy loop.
    writer: SqlitePool,
    readers: SqlitePool,
    hints: Arc<Hints>,
    watcher: OnceCell<Watcher>,
}

impl SqliteStore {
    /// Opens the file, creates it when it is not there (readable by its owner only), and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Schema`] for a file that a newer version wrote, [`StoreError::Corrupt`] for one that is no database
    /// of this program, [`StoreError::Unavailable`] when it cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(sqlx::Error::Io).attempting(OPENING)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writing = options
            .clone()
            .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
            .pragma("journal_size_limit", WAL_KEPT_BYTES.to_string());
        let reading = options.pragma("query_only", "ON").row_buffer_size(ROWS_AHEAD);
        let writer = pool(1).connect_with(writing).await.attempting(OPENING)?;
        migrate::run(&writer).await?;
        let readers = pool(READERS).connect_with(reading).await.attempting(OPENING)?;
        Ok(Self { writer, readers, hints: Arc::default(), watcher: OnceCell::new() })
    }
}

const OPENING: &str = "opening the database file";

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let sequence = commit::apply(&self.writer, &commit).await?;
        self.tell_of(&commit, sequence);
        Ok(sequence)
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, StoreError> {
        self.watcher.get_or_try_init(|| Watcher::start(&self.readers, &self.hints)).await?;
        Ok(self.hints.listen())
    }

    async fn check(&self) -> Result<(), StoreError> {
        migrate::check(&self.readers).await
    }

    async fn close(&self) {
        self.hints.close();
        if let Some(watcher) = self.watcher.get() {
            watcher.stop();
        }
        self.readers.close().await;
        // Last, so that it is the one that empties the write-ahead log.
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_TIMEOUT)
        // A file does not hang up: no need to ask each time whether it is still there.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// SQLite gives its write-ahead log the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
