//! What a backend has to offer.

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use futures_util::stream::BoxStream;

use crate::commit::Commit;
use crate::error::{CommitError, StoreError};
use crate::events::{Events, GuardrailStore, RollUps};
use crate::records::{
    ApiToken, AuditFilter, AuditRecord, Change, Document, EdgeReport, EnvironmentRecord, Head,
    IdempotencyRecord, Kind, Publication, Revision, StoredSnapshot,
};

/// Most records in one page; a larger wish is cut to it.
pub const MAX_PAGE: u32 = 1_000;

/// Environments and what was published for them.
#[async_trait]
pub trait Environments: Send + Sync {
    /// All environments, by name.
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, StoreError>;

    /// One environment's head; `None` when there is no such environment.
    async fn head(&self, environment: &Environment) -> Result<Option<Head>, StoreError>;

    /// Only the sequence of an environment's head: cheap enough to ask with every request.
    async fn sequence(&self, environment: &Environment) -> Result<Option<u64>, StoreError>;

    /// The newest snapshot.
    async fn snapshot(&self, environment: &Environment) -> Result<Option<StoredSnapshot>, StoreError>;

    /// What was published, newest first, before the version `before`.
    async fn publications(
        &self,
        environment: &Environment,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Publication>, StoreError>;
}

/// Experiments, layers, holdouts, groups and metrics.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Documents of an environment whose newest revision was written after `sequence`, tombstones included, ordered by
    /// kind and key. From 0: all of them.
    async fn documents_since(
        &self,
        environment: &Environment,
        sequence: u64,
    ) -> Result<Vec<Document>, StoreError>;

    /// A document's history, newest first, before the revision `before`.
    async fn revisions(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError>;

    /// One revision.
    async fn revision(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        revision: u64,
    ) -> Result<Option<Revision>, StoreError>;
}

/// API tokens.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// One token, whatever its state.
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError>;

    /// All tokens, oldest first.
    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError>;

    /// Notes that tokens were used. Losing it does no harm.
    async fn tokens_used(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError>;
}

/// The audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Newest first.
    async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// Oldest first, after the record `number`: for verifying the chain from its beginning.
    async fn audit_after(&self, number: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;
}

/// Edges that reported lately.
#[async_trait]
pub trait Edges: Send + Sync {
    /// Takes reports; a newer one of the same edge replaces the older.
    async fn edges_seen(&self, reports: &[EdgeReport]) -> Result<(), StoreError>;

    /// The edges of an environment, by id.
    async fn edges(&self, environment: &Environment) -> Result<Vec<EdgeReport>, StoreError>;

    /// Forgets edges that were not seen since.
    async fn forget_edges(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// Answers kept for repeated requests.
#[async_trait]
pub trait Idempotency: Send + Sync {
    /// The answer under a key.
    async fn answered(&self, token_id: &str, key: &str) -> Result<Option<IdempotencyRecord>, StoreError>;

    /// Forgets answers from before.
    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// A whole store.
#[async_trait]
pub trait Store:
    Environments + Documents + Tokens + AuditLog + Edges + Idempotency + Events + RollUps + GuardrailStore
{
    /// Applies a change as a whole and durably; returns the environment's new sequence (0 when none was touched).
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when `expected` is not the stored sequence, an environment to create exists already, or
    /// the id of a token or an alert is taken; [`CommitError::IdempotencyTaken`] when the idempotency key has an answer. Nothing was
    /// written then.
    async fn commit(&self, commit: Commit) -> Result<u64, CommitError>;

    /// Hints about commits, by this process and by others. See [`Change`] for what they are worth.
    async fn changes(&self) -> Result<BoxStream<'static, Change>, StoreError>;

    /// Whether the database answers, and with the schema that this code needs.
    async fn check(&self) -> Result<(), StoreError>;

    /// Finishes what is under way and closes the connections.
    async fn close(&self);
}
