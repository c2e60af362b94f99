//! What the control plane keeps, and how a backend has to keep it.
//!
//! Records are plain data. A change is one value, a [`Commit`], that a backend applies as a whole or not at all, so
//! everything that decides stays pure and every backend stays small. Nothing here knows SQL; the backends are
//! `edgeseal-store-sqlite` and `edgeseal-store-postgres`, and both pass the same `conformance` story.
//!
//! Two control processes may work on one store: whoever read an older [`Head::sequence`] gets
//! [`CommitError::Conflict`], reads again and decides again.

pub mod audit;
pub mod columns;
mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod event_columns;
mod event_records;
mod events;
mod guardrail_records;
mod hints;
mod notices;
mod records;
mod repositories;
mod rollup_records;

pub use commit::{
    AllocationWrite, Commit, DocumentWrite, EnvironmentWrite, KEPT_SNAPSHOTS, NewSnapshot, TokenWrite,
};
pub use error::{CommitError, StoreError};
pub use event_records::{
    Appended, EventBatch, MAX_EVENTS_PAGE, QuarantineFilter, StoredEvent, StoredNote, UnitRef,
};
pub use events::{Events, GuardrailStore, RollUps};
pub use guardrail_records::{Alert, GuardrailState, IntervalPoint, NewAlert, Watched};
pub use hints::Hints;
pub use notices::{AnnounceError, Announcer, SignedSet};
pub use records::{
    Actor, ApiToken, AuditEntry, AuditFilter, AuditRecord, Change, Document, EdgeReport, EnvironmentRecord,
    Head, IdempotencyRecord, Kind, Publication, Revision, StoredSnapshot, TOKEN_HASH_BYTES,
};
pub use repositories::{AuditLog, Documents, Edges, Environments, Idempotency, MAX_PAGE, Store, Tokens};
pub use rollup_records::{
    Added, Aggregate, AggregateDelta, AggregateKey, Allocation, Contribution, HealthCount, HealthKey,
    HealthKind, RollUp, RollUpHead, Sums, UnitState, UnitValues, added,
};
