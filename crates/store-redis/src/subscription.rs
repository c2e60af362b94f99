//! An edge's side: hear the bell, read the documents.

use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{MAX_SNAPSHOT_TOKEN_BYTES, MAX_TOKEN_BYTES};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Script};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::connection::Server;
use crate::error::CacheError;
use crate::retry::Backoff;

/// Without a bell for this long, look anyway: a message may have been lost, and a server that hangs says nothing.
/// While a control plane runs, the bell rings every 10 s.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The signed documents of an environment as they lay together in the cache. Anybody may have put them there: check
/// the signatures and versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDocuments {
    /// The keyset token.
    pub keyset: Arc<str>,
    /// The snapshot token; the same allocation as last time while it did not change.
    pub snapshot: Arc<str>,
    /// The status document.
    pub status: Arc<str>,
}

/// What a [`Subscription`] has to say.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Documents that differ from those of the last `News`.
    News(Arc<SignedDocuments>),
    /// The cache carries no news: poll until [`Notice::Back`]. Also said first when it does not work from the start.
    Lost(Arc<CacheError>),
    /// The cache carries news. Also said first when it works from the start.
    Back,
}

/// Listens for news of one environment, reconnecting by itself; dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    states: watch::Receiver<State>,
    told: State,
    listener: JoinHandle<()>,
}

/// What the listener knows now. A reader that is late finds the newest only: bursts melt, nothing piles up.
#[derive(Debug, Clone, Default)]
struct State {
    link: Link,
    documents: Option<Arc<SignedDocuments>>,
}

#[derive(Debug, Clone, Default)]
enum Link {
    #[default]
    Unknown,
    Up,
    Down(Arc<CacheError>),
}

impl Subscription {
    pub(crate) fn start(server: Server, environment: &Environment) -> Self {
        let (sender, states) = watch::channel(State::default());
        let listener = Listener {
            key: server.key(environment),
            channel: server.channel(environment),
            server,
            script: Script::new(include_str!("read.lua")),
            snapshot: None,
            states: sender,
        };
        Self { states, told: State::default(), listener: tokio::spawn(listener.run()) }
    }

    /// Waits for the next notice. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Notice {
        loop {
            let state = self.states.borrow_and_update().clone();
            if let Some(notice) = self.news_in(state) {
                return notice;
            }
            if self.states.changed().await.is_err() {
                return self.without_listener().await;
            }
        }
    }

    fn news_in(&mut self, state: State) -> Option<Notice> {
        match (&state.link, &self.told.link) {
            (Link::Unknown, _) | (Link::Down(_), Link::Down(_)) => None,
            (Link::Down(trouble), _) => {
                self.told.link = state.link.clone();
                Some(Notice::Lost(Arc::clone(trouble)))
            }
            (Link::Up, Link::Unknown | Link::Down(_)) => {
                self.told.link = Link::Up;
                Some(Notice::Back)
            }
            (Link::Up, Link::Up) => {
                let documents = state.documents?;
                let news = self.told.documents.as_ref() != Some(&documents);
                self.told.documents = Some(Arc::clone(&documents));
                news.then_some(Notice::News(documents))
            }
        }
    }

    async fn without_listener(&mut self) -> Notice {
        if matches!(self.told.link, Link::Down(_)) {
            return std::future::pending().await;
        }
        let trouble = Arc::new(CacheError::Deaf);
        self.told.link = Link::Down(Arc::clone(&trouble));
        Notice::Lost(trouble)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

struct Listener {
    server: Server,
    key: String,
    channel: String,
    script: Script,
    /// The snapshot that was read last, and its signature: not read again until it changes.
    snapshot: Option<(String, Arc<str>)>,
    states: watch::Sender<State>,
}

impl Listener {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = self.listen(&mut backoff).await;
            self.publish(Err(self.server.trouble(error)));
            tokio::time::sleep(backoff.delay()).await;
        }
    }

    /// Connects, subscribes, reads, and reads again whenever the bell rings, until the connection breaks.
    async fn listen(&mut self, backoff: &mut Backoff) -> RedisResult<std::convert::Infallible> {
        let bell = Arc::new(Notify::new());
        let rope = Arc::clone(&bell);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            // The end of the connection rings too: the next look will find out.
            if matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                rope.notify_one();
            }
            Ok::<(), redis::aio::SendError>(())
        });
        let mut connection = self.server.connect(config).await?;
        // Subscribed first, read then: whatever is announced in between rings.
        connection.subscribe(&self.channel).await?;
        loop {
            let outcome = self.read(&mut connection).await?;
            backoff.reset();
            self.publish(outcome);
            // Out of patience or called, the answer is the same: look.
            let _ = tokio::time::timeout(LOOK_AGAIN_AFTER, bell.notified()).await;
        }
    }

    /// The outer error is the connection's, the inner one that of the key.
    async fn read(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Result<SignedDocuments, CacheError>> {
        let known = self.snapshot.as_ref().map_or("", |(signature, _)| signature);
        let mut call = self.script.key(&self.key);
        call.arg(known).arg(MAX_TOKEN_BYTES).arg(MAX_SNAPSHOT_TOKEN_BYTES);
        let reply: Vec<Vec<u8>> = call.invoke_async(connection).await?;
        Ok(self.documents(reply))
    }

    fn documents(&mut self, reply: Vec<Vec<u8>>) -> Result<SignedDocuments, CacheError> {
        let foreign = |detail: &str| CacheError::Foreign { key: self.key.clone(), detail: detail.to_owned() };
        let mut parts = Vec::with_capacity(reply.len());
        for part in reply {
            parts.push(String::from_utf8(part).map_err(|_| foreign("a document that is not text"))?);
        }
        let mut parts = parts.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        match next().as_str() {
            "documents" => {
                let (keyset, status, signature) = (next(), next(), next());
                let snapshot = match (parts.next(), &self.snapshot) {
                    (Some(snapshot), _) => snapshot.into(),
                    (None, Some((_, snapshot))) => Arc::clone(snapshot),
                    (None, None) => return Err(foreign("a hash without snapshot")),
                };
                self.snapshot = Some((signature, Arc::clone(&snapshot)));
                Ok(SignedDocuments { keyset: keyset.into(), snapshot, status: status.into() })
            }
            "oversized" => {
                let (document, bytes) = (next(), next());
                let limit = if document == "snapshot" { MAX_SNAPSHOT_TOKEN_BYTES } else { MAX_TOKEN_BYTES };
                Err(CacheError::Oversized { key: self.key.clone(), document, bytes, limit })
            }
            "empty" => Err(CacheError::Empty { key: self.key.clone() }),
            _ => Err(foreign(&next())),
        }
    }

    fn publish(&self, outcome: Result<SignedDocuments, CacheError>) {
        self.states.send_if_modified(|state| match outcome {
            Ok(documents) => {
                let was_up = matches!(state.link, Link::Up);
                let same = state.documents.as_deref() == Some(&documents);
                state.link = Link::Up;
                if !same {
                    state.documents = Some(Arc::new(documents));
                }
                !(was_up && same)
            }
            Err(trouble) => {
                let was_down = matches!(state.link, Link::Down(_));
                state.link = Link::Down(Arc::new(trouble));
                !was_down
            }
        });
    }
}
