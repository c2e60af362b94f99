//! The control plane's side: put what is new where edges find it, and ring the bell.

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{MAX_SNAPSHOT_TOKEN_BYTES, MAX_TOKEN_BYTES};
use edgeseal_store::{AnnounceError, Announcer, SignedSet};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult, Script};
use tokio::sync::Mutex;

use crate::connection::{Server, Settings};
use crate::error::{CacheError, OpenError};
use crate::subscription::Subscription;

/// A Redis or Valkey as the bell and the shared cache of any number of environments.
#[derive(Debug)]
pub struct RedisNotices {
    server: Server,
    script: Script,
    /// The connection to announce on, while it works.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisNotices {
    /// Checks the settings. Connects when there is something to do: neither a control plane nor an edge should
    /// wait for a cache in order to start.
    ///
    /// # Errors
    /// [`OpenError`] if the settings cannot be used with any server.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        Ok(Self {
            server: Server::new(settings)?,
            script: Script::new(include_str!("announce.lua")),
            connection: Mutex::new(None),
        })
    }

    /// Listens for news of `environment`, on a connection and in a task of its own, until the subscription is
    /// dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn subscribe(&self, environment: &Environment) -> Subscription {
        Subscription::start(self.server.clone(), environment)
    }

    async fn write(&self, environment: &Environment, news: &SignedSet) -> Result<(), CacheError> {
        let key = self.server.key(environment);
        check_lengths(&key, news)?;
        // The snapshot is long and seldom new: it is sent only when the script asks for it.
        let mut outcome = self.run(environment, news, "").await?;
        if outcome.first().map(String::as_str) == Some("wanted") {
            outcome = self.run(environment, news, &news.snapshot).await?;
        }
        if let [behind, keyset_ver, cv, ep] = outcome.as_slice()
            && behind == "behind"
        {
            tracing::info!(
                %environment, keyset_ver, cv, ep,
                "Redis holds newer documents than this process announces: it will catch up in a moment; \
                 if the store was restored from a backup, delete the key `{key}`"
            );
        }
        Ok(())
    }

    /// Runs the script, once more if the connection turns out to have broken since it was last used.
    async fn run(
        &self,
        environment: &Environment,
        news: &SignedSet,
        snapshot: &str,
    ) -> Result<Vec<String>, CacheError> {
        let mut call = self.script.key(self.server.key(environment));
        call.arg(self.server.channel(environment))
            .arg(news.keyset_ver)
            .arg(news.cv)
            .arg(news.ep)
            .arg(news.status_iat.max(0))
            .arg(&*news.keyset)
            .arg(&*news.status)
            .arg(signature(&news.snapshot))
            .arg(snapshot);
        let (mut connection, used_before) =
            self.connection().await.map_err(|error| self.server.trouble(error))?;
        let mut outcome = call.invoke_async(&mut connection).await;
        if let Err(error) = &outcome {
            let hangs = error.is_timeout();
            self.connection.lock().await.take();
            if used_before && !hangs {
                (connection, _) = self.connection().await.map_err(|error| self.server.trouble(error))?;
                outcome = call.invoke_async(&mut connection).await;
            }
        }
        outcome.map_err(|error| self.server.trouble(error))
    }

    /// A connection, and whether it was used before.
    async fn connection(&self) -> RedisResult<(MultiplexedConnection, bool)> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok((connection.clone(), true));
        }
        let connection = self.server.connect(AsyncConnectionConfig::new()).await?;
        *held = Some(connection.clone());
        Ok((connection, false))
    }
}

#[async_trait]
impl Announcer for RedisNotices {
    async fn announce(&self, environment: &Environment, news: &SignedSet) -> Result<(), AnnounceError> {
        self.write(environment, news)
            .await
            .map_err(|source| AnnounceError { through: "Redis", source: Box::new(source) })
    }
}

/// Refuses to write what no edge would read.
fn check_lengths(key: &str, news: &SignedSet) -> Result<(), CacheError> {
    let documents = [
        ("keyset", &news.keyset, MAX_TOKEN_BYTES),
        ("snapshot", &news.snapshot, MAX_SNAPSHOT_TOKEN_BYTES),
        ("status", &news.status, MAX_TOKEN_BYTES),
    ];
    for (document, token, limit) in documents {
        if token.len() > limit {
            return Err(CacheError::Oversized {
                key: key.to_owned(),
                document: document.to_owned(),
                bytes: token.len().to_string(),
                limit,
            });
        }
    }
    Ok(())
}

/// Tells one token from another in a few bytes: the part after the last dot signs all the rest.
fn signature(token: &str) -> &str {
    token.rsplit_once('.').map_or(token, |(_, signature)| signature)
}
