//! Telling edges about news through a shared cache, which may be lost at any time.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use edgeseal_core::ids::Environment;

/// The signed documents of one environment that belong together. Nothing in it is secret: every edge checks the
/// signatures, so the cache that carries it need not be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    /// Version of the keyset, `ver`.
    pub keyset_ver: u64,
    /// The keyset token.
    pub keyset: Arc<str>,
    /// Version of the snapshot, `cv`.
    pub cv: u64,
    /// The snapshot token.
    pub snapshot: Arc<str>,
    /// Epoch of the status document, `ep`.
    pub ep: u64,
    /// When the status document was signed, in seconds since the Unix epoch.
    pub status_iat: i64,
    /// The status document.
    pub status: Arc<str>,
}

/// Why the news did not get into the shared cache. Edges poll, so they only hear of it later.
#[derive(Debug, thiserror::Error)]
#[error("the news could not be announced through {through}: {source}; edges hear of it when they poll")]
pub struct AnnounceError {
    /// The means: `Redis`.
    pub through: &'static str,
    /// What its driver said.
    pub source: Box<dyn Error + Send + Sync>,
}

/// Carries news to edges that do not hang on the control plane's own stream.
#[async_trait]
pub trait Announcer: Send + Sync {
    /// Puts `news` where edges find it, unless something newer is there already, and tells them to look.
    ///
    /// # Errors
    /// [`AnnounceError`]; the caller logs it and goes on.
    async fn announce(&self, environment: &Environment, news: &SignedSet) -> Result<(), AnnounceError>;
}
