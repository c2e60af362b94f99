//! `POST /v1/events`: a batch of events, answered once it is on this machine's disk.
//!
//! Each event is judged for itself; what is wrong with one leaves the others alone. The token that comes along says
//! whose events these are.

use edgeseal_core::events::{BatchError, MAX_BATCH_BYTES, read_batch};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{Request, Response, uncacheable};
use crate::intake::Judged;
use crate::intake::spool::AppendError;
use crate::problem::{Code, Problem};
use crate::request::{is_json_or_text, read_body};
use crate::{Shared, published};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Keeps a batch.
pub(crate) async fn write(app: &Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let intake = app.intake.get().ok_or_else(|| {
        Problem::new(
            Code::EventsDisabled,
            "this edge takes no events; send them to one that has a place to keep them",
        )
    })?;
    let _entered = intake.enter().ok_or_else(|| {
        Problem::new(Code::Overloaded, "too many batches of events are under way; try again shortly")
    })?;
    if !is_json_or_text(&parts.headers) {
        let detail =
            "a batch of events is JSON; send 'content-type: application/json', or 'text/plain' from a beacon";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let bytes = read_body(&parts.headers, body, app.config.body_read_timeout, MAX_BATCH_BYTES).await?;
    let mut judged = {
        let live = app.live.load();
        let live = published(&live)?;
        let batch = read_batch(&bytes).map_err(batch_problem)?;
        intake.judge(batch, live, app.clock.now(), &app.metrics).map_err(|error| {
            Problem::new(Code::TokenRefused, error.to_string()).with("reason", error.code())
        })?
    };
    let frames = std::mem::take(&mut judged.frames);
    if !frames.is_empty() {
        intake.spool.append(frames).await.map_err(append_problem)?;
    }
    app.metrics.events_accepted.inc_by(judged.accepted as u64);
    let mut response = uncacheable(JSON, answer(&judged).to_string());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

fn answer(judged: &Judged) -> Value {
    let rejected = judged.rejected.iter().map(|rejected| {
        let mut members = Map::new();
        members.insert("index".into(), rejected.index.into());
        if let Some(id) = rejected.id {
            members.insert("id".into(), id.to_string().into());
        }
        members.insert("code".into(), rejected.code.as_str().into());
        Value::Object(members)
    });
    json!({
        "accepted": judged.accepted,
        "duplicates": judged.repeated,
        "rejected": rejected.collect::<Vec<_>>(),
    })
}

fn batch_problem(error: BatchError) -> Problem {
    let code = match error {
        BatchError::TooLarge { .. } => Code::BodyTooLarge,
        BatchError::TooManyEvents => Code::TooManyEvents,
        BatchError::NotJson { .. } | BatchError::NotABatch => Code::MalformedBody,
    };
    Problem::new(code, error.to_string())
}

fn append_problem(error: AppendError) -> Problem {
    match error {
        AppendError::Full => Problem::new(
            Code::SpoolFull,
            "this edge keeps as many events as it may; keep them and send them later",
        ),
        AppendError::Busy => Problem::new(
            Code::Overloaded,
            "the disk of this edge cannot keep up; keep the events and send them later",
        ),
        AppendError::Unwritable => Problem::new(
            Code::SpoolUnwritable,
            "this edge cannot write to its disk; keep the events and send them later",
        ),
    }
}

#[cfg(test)]
mod tests;
