//! The HTTP edge: evaluates, signs and serves assignments.
//!
//! An [`Edge`] answers from what was last [published](Edge::publish) and needs nobody else to do so. A request goes
//! `router.rs` → `routes/assignments.rs` → `edgeseal_core::answer` and back; every route is one file under
//! `routes/` with its request, rules, reply, failures and tests.
//!
//! ```no_run
//! use edgeseal_edge::{Clock, Config, Edge, Publication, Published};
//!
//! # fn publication() -> Publication { unimplemented!() }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let edge = Edge::new(Config::default(), Clock::system())?;
//! edge.publish(Published::new(publication())?)?;
//! let running = edge.start()?;
//! println!("listening on http://{}", running.local_addr());
//! running.shutdown();
//! running.join();
//! # Ok(())
//! # }
//! ```

mod body;
mod caching;
mod clock;
mod config;
mod connection;
pub mod feed;
pub mod intake;
mod memo;
mod metrics;
mod pace;
mod problem;
mod published;
mod request;
mod route;
mod router;
mod routes;
mod server;
mod signer;

#[cfg(test)]
mod testing;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

pub use clock::Clock;
pub use config::{
    BODY_READ_TIMEOUT, CdnProfile, Config, DEFAULT_PORT, HEADER_READ_TIMEOUT, IDLE_TIMEOUT, MAX_BODY_BYTES,
    MAX_BODY_DEPTH, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_STREAMS, MAX_TOKEN_LIFE_SECONDS,
    MAX_URL_BYTES, MEMO_BYTES, MIN_TOKEN_LIFE_SECONDS, RETRY_AFTER_SECONDS, SHUTDOWN_GRACE,
    SPOOL_RETRY_AFTER_SECONDS, STREAM_HEARTBEAT, STREAM_STALL_TIMEOUT, TOKEN_LIFE_SECONDS,
    TOKEN_MAX_AGE_SECONDS,
};
pub use published::{Publication, PublishError, Published};
pub use server::{Running, StartError};
pub use signer::{NativeSigner, SignerError};

use intake::{Intake, Spool};
use memo::Memo;
use metrics::Metrics;
use problem::Problem;
use published::Live;

/// An edge: publish to it, start it, and it answers.
pub struct Edge {
    app: App,
    /// Held while publishing, so that two publishers cannot undo one another's check of what is older.
    publishing: Mutex<()>,
}

/// What requests share.
type App = Arc<Shared>;

struct Shared {
    config: Config,
    clock: Clock,
    live: ArcSwapOption<Live>,
    /// Told after every publication.
    news: watch::Sender<()>,
    /// Streams open now.
    streams: AtomicUsize,
    memo: Memo,
    /// Where events go; nothing in an edge that takes none.
    intake: OnceLock<Intake>,
    metrics: Arc<Metrics>,
}

/// What was last published, read through a guard of [`Shared::live`].
fn published(live: &Option<Arc<Live>>) -> Result<&Live, Problem> {
    live.as_deref().ok_or_else(Problem::not_ready)
}

/// Why settings were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Verifiers refuse tokens that live longer; shorter ones would expire within their own window.
    #[error("a token may live {MIN_TOKEN_LIFE_SECONDS} to {MAX_TOKEN_LIFE_SECONDS} seconds, not {seconds}")]
    TokenLife {
        /// What was set.
        seconds: u32,
    },
}

impl Edge {
    /// An edge with nothing published: it answers 503 until [`Edge::publish`].
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        let seconds = config.token_life_seconds;
        if !(MIN_TOKEN_LIFE_SECONDS..=MAX_TOKEN_LIFE_SECONDS).contains(&seconds) {
            return Err(ConfigError::TokenLife { seconds });
        }
        let app = Arc::new(Shared {
            live: ArcSwapOption::empty(),
            news: watch::Sender::new(()),
            streams: AtomicUsize::new(0),
            memo: Memo::new(config.memo_bytes),
            intake: OnceLock::new(),
            metrics: Arc::new(Metrics::new()),
            config,
            clock,
        });
        Ok(Self { app, publishing: Mutex::new(()) })
    }

    /// Replaces what the edge answers from, at once and as a whole; requests under way finish with what they began.
    ///
    /// # Errors
    /// [`PublishError::Older`] when a version would go backwards; the edge keeps what it has.
    pub fn publish(&self, published: Published) -> Result<(), PublishError> {
        // Nothing is left half-done when a holder panics.
        let _alone = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.app.live.load_full();
        let live = Live::new(published, before.as_deref(), self.app.config.cdn_profile, &self.app.metrics)?;
        tracing::debug!(snapshot = live.ruleset.version(), epoch = live.status.ep, "published");
        self.app.live.store(Some(Arc::new(live)));
        self.app.news.send_replace(());
        Ok(())
    }

    /// Takes events from now on and keeps them in `spool`, until [`intake::drain`] delivers them. Without a spool the edge
    /// answers that it takes none. The first spool stays.
    pub fn accept_events(&self, spool: Spool) {
        let _stays = self.app.intake.set(Intake::new(spool));
    }

    /// Listens and serves on its own threads, until [`Running::shutdown`].
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or threads cannot be made.
    pub fn start(&self) -> Result<Running, StartError> {
        server::start(&self.app)
    }
}
