//! `POST /apply`: a whole experiments file becomes what is, in one commit.

use axum::response::Response;
use edgeseal_core::definition::Definition;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::at;
use super::call::{Call, json, respond};
use super::operation::{Access, Operation, Reach};
use crate::answer::Answer;
use crate::apply::Plan;
use crate::auth::Scope;
use crate::change::Changed;
use crate::error::{ControlError, Fault};
use crate::problem::Problem;

/// Most bytes of a file to apply: all that the largest snapshot can hold, and room for what is for people only.
pub(crate) const MAX_APPLY_BYTES: usize = 16 * 1024 * 1024;
/// Where the definition is in the body.
const DEFINITION: &str = "/definition";

/// A file to apply.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ApplyRequest")]
struct ApplyRequest {
    /// The experiments file. Its environment is the one that the request is about.
    definition: Definition,
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// Delete what the file does not name.
    #[serde(default)]
    prune: bool,
}

/// What applying a file did, or would do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Applied")]
struct Applied<'a> {
    /// Nothing was changed: this is what would happen.
    dry_run: bool,
    /// Whether anything differs.
    changed: bool,
    /// Version of the snapshot afterwards.
    cv: u64,
    #[serde(flatten)]
    plan: &'a Plan,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post(at("/apply"), "apply", "Make an environment what an experiments file says")
            .tag("apply")
            .describe("Takes a publisher's token if it alters what edges serve, but not for a dry run.")
            .allow(Access::Scope(Scope::Editor), Reach::Environment)
            .takes::<ApplyRequest>()
            .up_to(MAX_APPLY_BYTES)
            .replies::<Applied<'static>>(StatusCode::OK, "What was done.")
            .by(apply),
    ]
}

#[tracing::instrument(name = "control.definition.apply", skip_all)]
async fn apply(mut call: Call) -> Result<Response, Problem> {
    let ApplyRequest { definition, dry_run, prune } = call.json().await?;
    let mut context = call.context();
    let (environment, control) = (&call.environment, call.control());
    if dry_run {
        // Looking does no harm, so an editor may see what a publisher would do.
        (context.dry_run, context.may_publish) = (true, true);
        let changed = control.apply(environment, &context, &definition, prune).await.map_err(below)?;
        return json(StatusCode::OK, &applied(&changed, true));
    }
    let answer = control
        .apply_answered(environment, &context, &definition, prune, |changed| Answer {
            status: 200,
            etag: None,
            location: None,
            // A plan of texts and values always has a JSON form.
            body: serde_json::to_value(applied(changed, false)).unwrap_or_default(),
        })
        .await
        .map_err(below)?;
    respond(answer)
}

fn applied(changed: &Changed<Plan>, dry_run: bool) -> Applied<'_> {
    Applied { dry_run, changed: changed.changed, cv: changed.state.head.cv, plan: &changed.reply }
}

/// Pointers into the definition become pointers into the body.
fn below(error: ControlError) -> Problem {
    match error {
        ControlError::Invalid { faults } => {
            let placed = |fault: Fault| Fault { pointer: format!("{DEFINITION}{}", fault.pointer), ..fault };
            ControlError::Invalid { faults: faults.into_iter().map(placed).collect() }.into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
