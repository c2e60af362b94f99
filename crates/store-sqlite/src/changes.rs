//! Hears of what other processes commit to the file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use edgeseal_store::{Change, Hints, StoreError, columns};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use tokio::task::JoinHandle;

use crate::fault::Attempt as _;

/// How often the file is asked whether somebody wrote to it; the question reads a few bytes of shared memory.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(200);

const WATCHING: &str = "watching for changes by others";

/// A task that watches the file until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    /// Returns once it is watching, so that nothing committed from now on goes unnoticed.
    pub(crate) async fn start(readers: &SqlitePool, hints: &Arc<Hints>) -> Result<Self, StoreError> {
        // A connection of its own: `data_version` counts what connections other than the asking one did.
        let options: SqliteConnectOptions = (*readers.connect_options()).clone();
        let mut connection = options.connect().await.attempting(WATCHING)?;
        let mut seen = Seen::read(&mut connection).await.attempting(WATCHING)?;
        let hints = Arc::clone(hints);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(WATCH_INTERVAL).await;
                match seen.look(&mut connection).await {
                    Ok(changes) => changes.into_iter().for_each(|change| hints.tell(change)),
                    // Hints may be late: the next round sees the same change.
                    Err(error) => tracing::debug!(%error, "cannot look for changes by other processes"),
                }
            }
        });
        Ok(Self { task })
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the file held when it was last looked at.
struct Seen {
    data_version: i64,
    sequences: HashMap<String, i64>,
    /// How many tokens there are, and how many of them are revoked: neither ever shrinks.
    tokens: (i64, i64),
}

impl Seen {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        // The version first: a commit in between is then seen again rather than never.
        let data_version = data_version(connection).await?;
        let sequences: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, sequence FROM environments").fetch_all(&mut *connection).await?;
        let tokens = sqlx::query_as("SELECT count(*), count(revoked_at) FROM api_tokens")
            .fetch_one(connection)
            .await?;
        Ok(Self { data_version, sequences: sequences.into_iter().collect(), tokens })
    }

    async fn look(&mut self, connection: &mut SqliteConnection) -> Result<Vec<Change>, sqlx::Error> {
        if data_version(connection).await? == self.data_version {
            return Ok(Vec::new());
        }
        let before = std::mem::replace(self, Self::read(connection).await?);
        let mut changes = Vec::new();
        for (name, sequence) in &self.sequences {
            if before.sequences.get(name) != Some(sequence)
                && let Ok(environment) = columns::environment(WATCHING, name)
            {
                changes.push(Change::Environment { environment, sequence: columns::counter(*sequence) });
            }
        }
        if before.tokens != self.tokens {
            changes.push(Change::Tokens);
        }
        Ok(changes)
    }
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await
}
