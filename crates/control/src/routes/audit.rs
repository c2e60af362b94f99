//! The audit log: who did what, newest first for people, oldest first for whoever verifies the chain.

use axum::response::Response;
use edgeseal_store::{AuditFilter, AuditRecord, MAX_PAGE};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::at;
use super::call::{Call, json};
use super::documents::MAX_REVISION;
use super::operation::{Access, Operation, Reach};
use super::parameter::Parameter;
use super::query::Query;
use crate::auth::{Caller, Scope};
use crate::body::views::AuditView;
use crate::pagination;
use crate::problem::Problem;

/// Longest actor, action, kind or key to look for, in characters.
const MAX_FILTER_CHARS: usize = 128;

/// Records, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditPage")]
struct AuditPage<'a> {
    /// The records.
    items: Vec<AuditView<'a>>,
    /// Send it as `before` for older records; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
}

/// Records, oldest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditChain")]
struct AuditChain<'a> {
    /// The records, without gaps.
    items: Vec<AuditView<'a>>,
    /// Send it as `after` for newer records; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

pub(super) fn operations() -> Vec<Operation> {
    let text = |name, description| Parameter::text(name, MAX_FILTER_CHARS, description);
    vec![
        Operation::get(at("/audit"), "listAudit", "Who did what, newest first")
            .tag("audit")
            .describe("A token that is bound to one environment sees what happened there.")
            .allow(Access::Scope(Scope::Viewer), Reach::Visible)
            .query(Parameter {
                description: "Only what happened in this environment; by default in all of them.",
                ..Parameter::environment()
            })
            .query(text("actor", "Only what this token did, by its id."))
            .query(text(
                "action",
                "Only this action; with a dot at its end all that begin so: `experiment.`.",
            ))
            .query(text("kind", "Only things of this kind."))
            .query(text("key", "Only the thing with this key or id."))
            .query(Parameter::number("before", 1, MAX_REVISION, "Only records before this number."))
            .query(Parameter::limit())
            .replies::<AuditPage<'static>>(StatusCode::OK, "The records.")
            .by(newest_first),
        Operation::get(at("/audit/chain"), "readAuditChain", "The whole log, oldest first, to verify it")
            .tag("audit")
            .describe("Each record is hashed together with the hash of the one before.")
            .allow(Access::Scope(Scope::Viewer), Reach::Installation)
            .query(Parameter::number("after", 0, MAX_REVISION, "Only records after this number."))
            .query(Parameter::number("limit", 1, MAX_PAGE.into(), "Most records of the answer."))
            .replies::<AuditChain<'static>>(StatusCode::OK, "The records.")
            .by(oldest_first),
    ]
}

async fn newest_first(call: Call) -> Result<Response, Problem> {
    let filter = filter(&call.query, &call.caller)?;
    let limit = limit(&call, pagination::MAX_LIMIT)?;
    let mut records = call.control().store().audit(&filter, limit.saturating_add(1)).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next_before = records.last().filter(|_| more).map(|last| last.number);
    json(StatusCode::OK, &AuditPage { items: views(&records)?, next_before })
}

/// What the parameters choose, within what the token may see.
fn filter(query: &Query, caller: &Caller) -> Result<AuditFilter, Problem> {
    let text = |name| query.text(name, MAX_FILTER_CHARS).map(|text| text.map(str::to_owned));
    Ok(AuditFilter {
        environment: query.environment()?.or_else(|| caller.environment.clone()),
        actor: text("actor")?,
        action: text("action")?,
        kind: text("kind")?,
        key: text("key")?,
        before: query.number("before", 1, MAX_REVISION)?,
    })
}

async fn oldest_first(call: Call) -> Result<Response, Problem> {
    let after = call.query.number("after", 0, MAX_REVISION)?.unwrap_or_default();
    let limit = limit(&call, MAX_PAGE)?;
    let records = call.control().store().audit_after(after, limit).await?;
    let full = records.len() == limit as usize;
    let next_after = records.last().filter(|_| full).map(|last| last.number);
    json(StatusCode::OK, &AuditChain { items: views(&records)?, next_after })
}

fn limit(call: &Call, most: u32) -> Result<u32, Problem> {
    let limit = call.query.number("limit", 1, most.into())?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(pagination::DEFAULT_LIMIT))
}

fn views(records: &[AuditRecord]) -> Result<Vec<AuditView<'_>>, Problem> {
    let views: Option<Vec<_>> = records.iter().map(AuditView::of).collect();
    views.ok_or_else(|| {
        tracing::error!("the audit log holds a record that is no JSON: it was altered");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests;
