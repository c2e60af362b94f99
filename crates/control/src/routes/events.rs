//! Events: from edges, from clients and servers, and those that were refused.

use std::sync::Arc;

use axum::response::Response;
use edgeseal_core::events::{BatchError, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, Rejected, read_batch};
use edgeseal_core::ids::MAX_UNIT_ID_BYTES;
use edgeseal_core::sealing::MAX_TOKEN_BYTES;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{QuarantineFilter, StoredNote};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::SemaphorePermit;

use super::at;
use super::call::{Call, OpenCall, json};
use super::documents::MAX_REVISION;
use super::operation::{Access, Operation, Reach};
use super::parameter::{NAME_PATTERN, Parameter};
use crate::auth::Scope;
use crate::body::views::Time;
use crate::ingest::{Ingested, Intake, Judged, Reporter, read_delivery};
use crate::pagination;
use crate::problem::{Code, Problem};

/// Most bytes of what an edge delivers at once; edges stay a little below.
const MAX_DELIVERY_BYTES: usize = 5 * 1024 * 1024;
/// One record a line.
const NDJSON: &[&str] = &["application/x-ndjson"];
/// What browsers can send while a page closes is text.
const JSON_OR_TEXT: &[&str] = &["application/json", "text/plain"];
/// Longest id of an edge, code, experiment or metric to look for, in characters.
const MAX_FILTER_CHARS: usize = 128;

/// Records of an edge, each on a line of its own.
#[derive(JsonSchema)]
#[schemars(rename = "EventDelivery", transparent)]
#[expect(dead_code, reason = "describes a body that is read line by line")]
struct Delivery(#[schemars(length(max = MAX_DELIVERY_BYTES))] String);

/// A batch of events. Other members than these are passed over.
#[derive(JsonSchema)]
#[schemars(rename = "EventBatch", rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read event by event")]
struct Batch {
    /// The assignment token of the unit whose events these are. Without it, an API token of scope `ingest` is needed.
    #[schemars(length(max = MAX_TOKEN_BYTES))]
    token: Option<String>,
    /// The unit whose events these are, unless an event names its own; with an API token only.
    #[schemars(length(min = 1, max = MAX_UNIT_ID_BYTES))]
    unit: Option<String>,
    /// The unit's type; `user` when absent.
    #[schemars(regex(pattern = NAME_PATTERN), length(min = 1, max = 64))]
    unit_type: Option<String>,
    /// The events: `id` (UUID of version 7), `type`, `ts` (milliseconds since the Unix epoch) and the members of their type.
    #[schemars(length(max = MAX_BATCH_EVENTS))]
    events: Vec<Map<String, Value>>,
}

/// What became of a batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventsTaken")]
struct Taken {
    /// Events that are durable.
    accepted: usize,
    /// Events that came twice in the batch.
    duplicates: usize,
    /// Events that are not counted.
    rejected: Vec<RejectedView>,
}

/// An event that is not counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RejectedEvent")]
struct RejectedView {
    /// Its place in the batch, from 0.
    index: usize,
    /// Its id, if it has a usable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Why.
    code: &'static str,
}

/// What became of a delivery.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventsDelivered")]
struct Delivered {
    /// Events that were not there before.
    new: u64,
    /// Events that were there already.
    duplicates: u64,
    /// Events that do not count.
    quarantined: u64,
}

/// Events that do not count.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "QuarantinePage")]
struct Quarantine {
    /// How many there ever were, by code, whatever the filter.
    counts: Vec<CodeCount>,
    /// What is known of them, newest first.
    items: Vec<NoteView>,
    /// Send it as `before` for older ones; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<u64>,
}

/// How many events were refused for a reason.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QuarantineCount")]
struct CodeCount {
    /// The reason.
    code: String,
    /// How many.
    count: u64,
}

/// A refused event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "QuarantinedEvent")]
struct NoteView {
    /// Grows with every note.
    number: u64,
    /// Its id, if it had a usable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// When it was received.
    received_at: Time,
    /// Why it was refused.
    code: String,
    /// Which experiment or metric it named; for a refused token, the token's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    let text = |name, description| Parameter::text(name, MAX_FILTER_CHARS, description);
    vec![
        Operation::post("/v1/events", "sendEvents", "Report events")
            .tag("events")
            .describe(
                "With the unit's assignment token in the body: exposures, metrics and what went wrong; the token says \
                 whose they are. With an API token of scope 'ingest' instead: metrics of the units that they name. Each \
                 event is judged for itself, and counted once however often it is sent. Answered when it is durable.",
            )
            .allow(Access::Optional(Scope::Ingest), Reach::Environment)
            .repeatable()
            .takes::<Batch>()
            .in_media(JSON_OR_TEXT)
            .up_to(MAX_BATCH_BYTES)
            .replies::<Taken>(StatusCode::ACCEPTED, "What is accepted is durable.")
            .refuses(&[401, 429, 500, 503])
            .openly_by(report),
        Operation::post(at("/edge/events"), "deliverEvents", "Deliver what an edge has kept")
            .tag("events")
            .describe("One JSON record a line. Delivered again, a record is counted once.")
            .allow(Access::Scope(Scope::Edge), Reach::Environment)
            .query(text("edge", "Id of the edge."))
            .repeatable()
            .takes::<Delivery>()
            .in_media(NDJSON)
            .up_to(MAX_DELIVERY_BYTES)
            .replies::<Delivered>(StatusCode::ACCEPTED, "They are durable.")
            .by(deliver),
        Operation::get(at("/events/quarantine"), "listQuarantine", "Events that do not count, newest first")
            .tag("events")
            .allow(Access::Scope(Scope::Viewer), Reach::Environment)
            .query(text("code", "Only those refused for this reason."))
            .query(text("about", "Only those about this experiment or metric."))
            .query(Parameter::number("before", 1, MAX_REVISION, "Only notes before this number."))
            .query(Parameter::limit())
            .replies::<Quarantine>(StatusCode::OK, "What is known of them.")
            .by(quarantine),
    ]
}

fn place(intake: &Intake) -> Result<SemaphorePermit<'_>, Problem> {
    intake.places.try_acquire().map_err(|_| {
        Problem::new(Code::Overloaded, "too many batches of events are under way; try again shortly")
    })
}

async fn report(mut call: OpenCall) -> Result<Response, Problem> {
    let caller = call.caller(Scope::Ingest).await?;
    let bound = caller.as_ref().and_then(|caller| caller.environment.clone());
    let environment = call.query.environment()?.or(bound).unwrap_or_default();
    if let Some(caller) = &caller {
        caller.check(&environment)?;
    }
    let desk = Arc::clone(&call.desk);
    let _place = place(&desk.intake)?;
    let bytes = call.bytes().await?;
    let batch = read_batch(&bytes).map_err(batch_problem)?;
    let reporter = match (&batch.token, &caller) {
        (Some(token), _) => Reporter::Unit(token.as_ref().into()),
        (None, Some(_)) => Reporter::Server,
        (None, None) => {
            let detail = "send the unit's assignment token in 'token', or an API token of scope 'ingest'";
            return Err(Problem::new(Code::Unauthenticated, detail));
        }
    };
    let (control, duplicates) = (&desk.control, batch.repeated);
    let state = control.state(&environment).await?;
    let judged = desk.intake.judge(batch, &reporter, &state, &control.config().policy(), control.now());
    let Judged { batch, rejected } =
        judged.map_err(|error| Problem::new(Code::TokenRefused, error.to_string()).because(error.code()))?;
    let accepted = batch.records.len();
    if !batch.records.is_empty() || !batch.quarantined.is_empty() {
        control.ingest_with_others(&state, batch).await?;
    }
    let rejected = rejected.iter().map(RejectedView::of).collect();
    json(StatusCode::ACCEPTED, &Taken { accepted, duplicates, rejected })
}

async fn deliver(mut call: Call) -> Result<Response, Problem> {
    let edge = call.query.text("edge", MAX_FILTER_CHARS)?.unwrap_or("edge").to_owned();
    let desk = Arc::clone(&call.desk);
    let _place = place(&desk.intake)?;
    let bytes = call.bytes().await?;
    let batch = read_delivery(&bytes, call.control().now());
    let Ingested { new, duplicates, quarantined } =
        call.control().ingest(&call.environment, &edge, batch).await?;
    json(StatusCode::ACCEPTED, &Delivered { new, duplicates, quarantined })
}

async fn quarantine(call: Call) -> Result<Response, Problem> {
    let text = |name| call.query.text(name, MAX_FILTER_CHARS).map(|text| text.map(str::to_owned));
    let filter = QuarantineFilter {
        code: text("code")?,
        about: text("about")?,
        before: call.query.number("before", 1, MAX_REVISION)?,
    };
    let limit = call.query.number("limit", 1, pagination::MAX_LIMIT.into())?;
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(pagination::DEFAULT_LIMIT);
    call.control().state(&call.environment).await?;
    let store = call.control().store();
    let mut notes = store.quarantine(&call.environment, &filter, limit.saturating_add(1)).await?;
    let more = notes.len() > limit as usize;
    notes.truncate(limit as usize);
    let counts = store.quarantine_counts(&call.environment).await?;
    json(
        StatusCode::OK,
        &Quarantine {
            counts: counts.into_iter().map(|(code, count)| CodeCount { code, count }).collect(),
            next_before: notes.last().filter(|_| more).map(|last| last.number),
            items: notes.into_iter().map(NoteView::of).collect(),
        },
    )
}

fn batch_problem(error: BatchError) -> Problem {
    let code = match error {
        BatchError::TooLarge { .. } => Code::BodyTooLarge,
        BatchError::TooManyEvents => Code::TooManyEvents,
        BatchError::NotJson { .. } | BatchError::NotABatch => Code::MalformedBody,
    };
    Problem::new(code, error.to_string())
}

impl RejectedView {
    fn of(rejected: &Rejected) -> Self {
        let id = rejected.id.map(|id| id.to_string());
        Self { index: rejected.index, id, code: rejected.code.as_str() }
    }
}

impl NoteView {
    fn of(StoredNote { number, note }: StoredNote) -> Self {
        Self {
            number,
            id: note.id.map(|id| id.to_string()),
            received_at: Timestamp::from_unix_ms(note.received_ms).into(),
            code: note.code,
            about: note.about,
        }
    }
}

#[cfg(test)]
mod tests;
