//! For whoever watches this process: `/healthz`, `/readyz`, `/metrics`, and the document of the API.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::at;
use super::call::{OpenCall, json};
use super::operation::Operation;
use crate::metrics::OPENMETRICS_TEXT;
use crate::problem::{Code, Problem};

/// What `/healthz` and `/readyz` say.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Health")]
struct Health {
    /// `ok`.
    status: &'static str,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/healthz", "health", "Whether this process is alive")
            .tag("process")
            .replies::<Health>(StatusCode::OK, "It is.")
            .openly_by(|_: OpenCall| async { json(StatusCode::OK, &Health { status: "ok" }) }),
        Operation::get("/readyz", "readiness", "Whether this process can answer: its database does")
            .tag("process")
            .replies::<Health>(StatusCode::OK, "It can.")
            .refuses(&[503])
            .openly_by(ready),
        Operation::get("/metrics", "processMetrics", "Counters in OpenMetrics")
            .tag("process")
            .replies_in(StatusCode::OK, "The counters.", OPENMETRICS_TEXT)
            .openly_by(metrics),
        Operation::get(at("/openapi.json"), "openapi", "This document")
            .tag("process")
            .replies::<Value>(StatusCode::OK, "The document.")
            .openly_by(document),
    ]
}

async fn ready(call: OpenCall) -> Result<Response, Problem> {
    match call.desk.control.store().check().await {
        Ok(()) => json(StatusCode::OK, &Health { status: "ok" }),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            // What a driver says may hold addresses; the kind of trouble is enough for a stranger.
            let detail = match error {
                edgeseal_store::StoreError::Unavailable { .. } => "the database does not answer",
                edgeseal_store::StoreError::Corrupt { .. } | edgeseal_store::StoreError::Refused { .. } => {
                    "the database holds something unreadable"
                }
                edgeseal_store::StoreError::Schema { .. } => {
                    "the database schema has another version than this edgeseal works with; see `edgeseal migrate`"
                }
            };
            Err(Problem::new(Code::Unavailable, detail))
        }
    }
}

async fn metrics(call: OpenCall) -> Result<Response, Problem> {
    let (control, metrics) = (&call.desk.control, &call.desk.metrics);
    for slot in control.slots() {
        let current = slot.subscribe().borrow().clone();
        let set = &current.set;
        metrics.versions(current.environment.as_str(), set.cv, set.ep, set.keyset_ver);
    }
    let text = metrics.exposition(control.counts());
    Ok(of_type(OPENMETRICS_TEXT, text))
}

async fn document(call: OpenCall) -> Result<Response, Problem> {
    Ok(of_type("application/json", call.desk.document.clone()))
}

fn of_type(media_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
