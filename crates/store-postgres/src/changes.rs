//! Hears of what anybody commits to the database, through `LISTEN`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use edgeseal_store::{Change, Hints, StoreError, columns};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ACQUIRE_TIMEOUT;
use crate::fault::{Attempt as _, within};

const LISTENING: &str = "listening for changes";

/// After this much silence the connection is asked whether it still lives.
const QUIET_LIMIT: Duration = Duration::from_secs(15);
/// Between two attempts to listen again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A task that listens until it is stopped or dropped, and connects again by itself.
#[derive(Debug)]
pub(crate) struct Listener {
    task: JoinHandle<()>,
}

impl Listener {
    /// Returns once it is listening, so that nothing committed from now on goes unheard.
    pub(crate) async fn start(pool: &PgPool, hints: &Arc<Hints>) -> Result<Self, StoreError> {
        let options: PgConnectOptions = (*pool.connect_options()).clone();
        let mut listener =
            within(ACQUIRE_TIMEOUT, LISTENING, async { listen(&options).await.attempting(LISTENING) })
                .await?;
        let hints = Arc::clone(hints);
        let task = tokio::spawn(async move {
            loop {
                let error = hear(&mut listener, &hints).await;
                tracing::warn!(%error, "lost the connection that listens for changes; connecting again");
                listener = listen_again(&options).await;
                tracing::info!("listening for changes again");
                // Nobody knows what was committed meanwhile.
                if let Err(error) = tell_all(&mut listener, &hints).await {
                    tracing::debug!(%error, "cannot tell of what changed meanwhile");
                }
            }
        });
        Ok(Self { task })
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Passes on what it hears until the connection breaks.
async fn hear(listener: &mut PgListener, hints: &Hints) -> sqlx::Error {
    loop {
        match timeout(QUIET_LIMIT, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Some(Notice(change)) = Notice::parse(notification.payload()) {
                    hints.tell(change);
                }
            }
            Ok(Ok(None)) => return std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into(),
            Ok(Err(error)) => return error,
            // A peer that vanished without a word looks like one that has nothing to say.
            Err(_) => match timeout(ACQUIRE_TIMEOUT, sqlx::query("SELECT 1").execute(&mut *listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return sqlx::Error::PoolTimedOut,
            },
        }
    }
}

async fn listen_again(options: &PgConnectOptions) -> PgListener {
    loop {
        sleep(RETRY_INTERVAL).await;
        if let Ok(Ok(listener)) = timeout(ACQUIRE_TIMEOUT, listen(options)).await {
            return listener;
        }
    }
}

/// A connection outside the store's pool, which must not lose one of its few for good.
async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    // The one above connects again; the driver would do so without letting us know in time.
    listener.eager_reconnect(false);
    listener.listen(Notice::CHANNEL).await?;
    Ok(listener)
}

async fn tell_all(listener: &mut PgListener, hints: &Hints) -> Result<(), sqlx::Error> {
    let environments: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, sequence FROM environments").fetch_all(listener).await?;
    for (name, sequence) in environments {
        if let Ok(environment) = columns::environment(LISTENING, &name) {
            hints.tell(Change::Environment { environment, sequence: columns::counter(sequence) });
        }
    }
    hints.tell(Change::Tokens);
    Ok(())
}

/// A change as the text of a notification: `tokens`, or an environment's sequence and name, `42 production`.
pub(crate) struct Notice(pub(crate) Change);

impl Notice {
    pub(crate) const CHANNEL: &str = "edgeseal_changes";

    fn parse(text: &str) -> Option<Self> {
        if text == "tokens" {
            return Some(Self(Change::Tokens));
        }
        let (sequence, name) = text.split_once(' ')?;
        let environment = columns::environment(LISTENING, name).ok()?;
        Some(Self(Change::Environment { environment, sequence: sequence.parse().ok()? }))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Change::Tokens => f.write_str("tokens"),
            Change::Environment { environment, sequence } => write!(f, "{sequence} {environment}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::ids::Environment;

    use super::*;

    #[test]
    fn notices_survive_the_way_through_the_database() {
        let environment = Change::Environment { environment: Environment::default(), sequence: u64::MAX };
        for change in [Change::Tokens, environment] {
            assert_eq!(Notice::parse(&Notice(change.clone()).to_string()).unwrap().0, change);
        }
    }

    #[test]
    fn what_somebody_else_says_on_the_channel_is_ignored() {
        for text in ["", "token", "7", "x production", "-1 production", "7 ", "7 two words"] {
            assert!(Notice::parse(text).is_none(), "{text:?}");
        }
    }
}
