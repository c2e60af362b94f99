//! Steps in an experiment's life: start, pause, resume, stop. Each is idempotent: one that was taken changes nothing.

use axum::response::Response;
use edgeseal_core::ids::VariantKey;
use edgeseal_store::Kind;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::Instrument;

use super::at;
use super::call::{Call, respond};
use super::documents::{Described, Experiment, path_key, shown};
use super::operation::{Access, Operation, Reach};
use super::parameter::{KEY_PATTERN, Parameter};
use crate::auth::Scope;
use crate::lifecycle::{self, Transition};
use crate::problem::{Code, Problem};

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 1_024;

/// Why an experiment takes a step.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "StepRequest")]
struct StepRequest {
    /// For the audit log.
    #[schemars(length(min = 1, max = MAX_REASON_CHARS))]
    reason: Option<String>,
}

/// How an experiment ends.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "StopRequest")]
struct StopRequest {
    /// For the audit log.
    #[schemars(length(min = 1, max = MAX_REASON_CHARS))]
    reason: Option<String>,
    /// The variant that everyone gets from now on; absent: nobody gets any.
    #[schemars(with = "Option<String>", regex(pattern = KEY_PATTERN), length(min = 1, max = 128))]
    winner: Option<VariantKey>,
}

pub(super) fn operations() -> Vec<Operation> {
    let step = |verb: &'static str, summary: &'static str| {
        Operation::post(at(&format!("/experiments/{{key}}/{verb}")), format!("{verb}Experiment"), summary)
            .tag("experiments")
            .allow(Access::Scope(Scope::Publisher), Reach::Environment)
            .path_parameter(Parameter::key("The experiment's key."))
            .may_match()
            .replies_tagged::<Described<Experiment>>(StatusCode::OK, "The experiment as it is now.")
    };
    vec![
        step("start", "Let units in: draft to running")
            .may_take::<StepRequest>()
            .by(|call| named("control.experiment.start", call, Transition::Start)),
        step("pause", "Halt it everywhere: running to paused")
            .may_take::<StepRequest>()
            .by(|call| named("control.experiment.pause", call, Transition::Pause)),
        step("resume", "Let units in again: paused to running")
            .may_take::<StepRequest>()
            .by(|call| named("control.experiment.resume", call, Transition::Resume)),
        step("stop", "End it, with or without a winner").may_take::<StopRequest>().by(stop),
    ]
}

async fn named(span: &'static str, mut call: Call, transition: Transition) -> Result<Response, Problem> {
    let work = async {
        let StepRequest { reason } = call.json_or_default().await?;
        take(call, transition, reason).await
    };
    // A span's name is fixed where it is made, so each step has its own.
    let span = match span {
        "control.experiment.start" => tracing::info_span!("control.experiment.start"),
        "control.experiment.pause" => tracing::info_span!("control.experiment.pause"),
        _ => tracing::info_span!("control.experiment.resume"),
    };
    work.instrument(span).await
}

#[tracing::instrument(name = "control.experiment.stop", skip_all)]
async fn stop(mut call: Call) -> Result<Response, Problem> {
    let StopRequest { reason, winner } = call.json_or_default().await?;
    take(call, Transition::Stop { winner }, reason).await
}

async fn take(call: Call, transition: Transition, reason: Option<String>) -> Result<Response, Problem> {
    let key = path_key::<Experiment>(&call)?;
    let expected = call.if_match_sent()?;
    if reason.as_ref().is_some_and(|reason| !(1..=MAX_REASON_CHARS).contains(&reason.chars().count())) {
        let detail = format!("'reason' must have 1 to {MAX_REASON_CHARS} characters");
        return Err(Problem::at(Code::Invalid, "/reason", detail));
    }
    let answer = call
        .control()
        .change_answered(
            &call.environment,
            &call.context(),
            |state, _| lifecycle::transition(state, &key, &transition, reason.as_deref(), expected),
            |changed| shown(200, Kind::Experiment, &key, changed),
        )
        .await?;
    respond(answer)
}
