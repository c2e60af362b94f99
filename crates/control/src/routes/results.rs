//! `GET /experiments/{key}/results`: what an experiment shows.

use axum::response::Response;
use edgeseal_core::time::Timestamp;
use http::StatusCode;

use super::at;
use super::call::{Call, json};
use super::documents::{Experiment, path_key};
use super::operation::{Access, Operation, Reach};
use super::parameter::Parameter;
use crate::auth::Scope;
use crate::problem::{Code, Problem};
use crate::results::Results;

/// Longest time as text.
const MAX_TIME_CHARS: usize = 64;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            at("/experiments/{key}/results"),
            "getExperimentResults",
            "Effects, guardrails, sample ratio, health and what follows from them",
        )
        .tag("experiments")
        .describe("With `at`, what was kept of that time: the rows of its hour, and the series until then.")
        .allow(Access::Scope(Scope::Viewer), Reach::Environment)
        .path_parameter(Parameter::key("The key."))
        .query(Parameter::text("at", MAX_TIME_CHARS, "A time in the past, in RFC 3339."))
        .replies::<Results>(StatusCode::OK, "The results.")
        .by(results),
    ]
}

async fn results(call: Call) -> Result<Response, Problem> {
    let key = path_key::<Experiment>(&call)?;
    let at = match call.query.text("at", MAX_TIME_CHARS)? {
        None => None,
        Some(text) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Some(Timestamp::from_unix_ms(time.as_millisecond())),
            Err(_) => {
                let detail = "'at' must be a time in RFC 3339, such as 2026-11-23T21:00:00Z";
                return Err(Problem::new(Code::InvalidParameter, detail));
            }
        },
    };
    json(StatusCode::OK, &call.control().results(&call.environment, &key, at).await?)
}

#[cfg(test)]
mod tests;
