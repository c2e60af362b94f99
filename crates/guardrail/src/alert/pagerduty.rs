//! PagerDuty Events API v2 (developer.pagerduty.com/docs/events-api-v2/trigger-events).

use serde_json::{Value, json};

use super::{AlertBody, cut, json_request};
use crate::outbox::Outgoing;

/// Where events go.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Longest summary, in characters; bytes are at least as many.
const MAX_SUMMARY: usize = 1_024;
/// Longest key that groups events.
const MAX_DEDUP_KEY: usize = 255;

pub(super) fn request(url: &str, routing_key: &str, body: &AlertBody) -> Outgoing {
    json_request(url, Vec::new(), &payload(routing_key, body))
}

fn payload(routing_key: &str, body: &AlertBody) -> Value {
    let subject = body.subject();
    let key = format!("edgeseal/{}/{subject}", body.kind);
    json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": cut(&key, MAX_DEDUP_KEY),
        "payload": {
            "summary": cut(&format!("{subject}: {}", body.summary), MAX_SUMMARY),
            "source": "edgeseal",
            "severity": body.severity,
            "timestamp": body.time(),
            "component": body.experiment,
            "group": body.environment,
            "class": body.kind,
            "custom_details": body.detail,
        },
    })
}
