//! The control plane: REST API, publishing, keys, edge feed.
//!
//! [`Control`] is the whole of it without HTTP. Questions are answered from an [`EnvironmentState`], the environment as
//! of one commit. Every change goes through one door, [`Control::change`]: read the state, decide (a pure function
//! that returns a [`Decision`]), publish (pure as well), commit everything in one transaction, or start over if
//! somebody else was faster. What edges should have is a [`Current`] in a watch channel for each environment, kept
//! fresh by [`Control::run`] even while the database is down.
//!
//! | to do | call |
//! | --- | --- |
//! | read | [`Control::state`], then [`EnvironmentState::find`], [`EnvironmentState::iter_after`], … |
//! | create, update, delete a document | [`lifecycle::create`], [`lifecycle::update`], [`lifecycle::delete`] as `decide` |
//! | start, pause, resume, stop | [`lifecycle::transition`] as `decide` |
//! | keys | [`keys::list`]; [`keys::rotate`], [`keys::retire`], [`keys::revoke`] as `decide` |
//! | a whole file | [`Control::apply`], [`Control::apply_answered`] |
//! | answer a request that may carry an idempotency key | [`Control::change_answered`] instead of [`Control::change`] |
//! | keep events that an edge delivers | [`read_delivery`], [`Control::ingest`] |
//! | count events now instead of in a moment | [`Control::roll_up`] |
//! | API tokens | [`Control::change_tokens`]; [`Control::tokens_changed`] tells streams to look again |
//! | what changed | [`diff::diff`] of two JSON forms |

mod answer;
pub mod apply;
mod auth;
mod body;
mod change;
mod config;
mod control;
mod counters;
pub mod diff;
mod environment;
mod error;
mod halts;
mod hub;
mod ingest;
pub mod keys;
pub mod lifecycle;
mod metrics;
mod openapi;
mod pagination;
mod problem;
mod publish;
mod results;
mod rollup;
mod router;
mod routes;
mod server;
#[cfg(test)]
mod testing;

pub use answer::{ANSWER_LIFE_SECONDS, Answer, IdempotencyKey};
pub use apply::Plan;
pub use auth::{NewToken, NoRandomness, Scope, Token, first_admin_token, recover_admin_token};
pub use change::{AuditNote, Changed, Context, Decision, DocumentChange, MAX_COMMIT_ATTEMPTS};
pub use config::{Clock, Config};
pub use control::{Control, MAX_ENVIRONMENTS};
pub use environment::{
    DocumentBody, Documents, EnvironmentState, GroupDefinition, LayerCapacity, LayerMember, StoredDocument,
};
pub use error::{ControlError, Fault};
pub use hub::Current;
pub use ingest::{Ingested, read_delivery};
pub use keys::{EdgeKeys, Keyring, KeyringError, MasterKey};
pub use openapi::openapi_json;
pub use rollup::RolledUp;
pub use router::{Api, HttpSettings, api};
pub use server::{MAX_HEADER_BYTES, serve};
