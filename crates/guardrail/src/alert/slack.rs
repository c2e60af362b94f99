//! Slack incoming webhooks (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

use serde_json::{Value, json};

use super::{AlertBody, Severity, cut, json_request};
use crate::outbox::Outgoing;

/// Longest text of a header block, in characters; bytes are at least as many.
const MAX_HEADER: usize = 150;
/// Longest text of a section block, likewise, with room for what escaping adds.
const MAX_SECTION: usize = 2_500;

pub(super) fn request(url: &str, body: &AlertBody) -> Outgoing {
    json_request(url, Vec::new(), &payload(body))
}

fn payload(body: &AlertBody) -> Value {
    let sign = match body.severity {
        Severity::Critical => ":octagonal_sign:",
        Severity::Warning => ":warning:",
    };
    let title = match body.kind.as_str() {
        "guardrail.paused" => "paused by the guardrail",
        "guardrail.alarm" => "guardrail alarm",
        _ => "health warning",
    };
    let headline = format!("{}: {title}", body.subject());
    let summary = escaped(cut(&body.summary, MAX_SECTION));
    json!({
        "text": format!("{sign} {}. {summary}", escaped(&headline)),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": cut(&headline, MAX_HEADER) } },
            { "type": "section", "text": { "type": "mrkdwn", "text": format!("{sign} {summary}") } },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": format!("Edgeseal, {}", body.time()) }] },
        ],
    })
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
