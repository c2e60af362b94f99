//! What is sent when something is to be told.
//!
//! The outbox keeps an [`AlertBody`], which knows no receiver; each [`Channel`] makes its own request of it when it is
//! sent, so a channel that is configured later gets what waits for it.

mod pagerduty;
mod slack;
mod webhook;

use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_core::time::Timestamp;
use edgeseal_store::NewAlert;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::outbox::Outgoing;

pub use pagerduty::PAGERDUTY_URL;
pub use webhook::{Secret, SecretError};

/// Version of the JSON form that the outbox keeps.
pub const ALERT_FORMAT: u32 = 1;

/// What an alert says, as the outbox keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertBody {
    /// [`ALERT_FORMAT`].
    pub format: u32,
    /// What happened: `guardrail.paused`, `guardrail.alarm`, `guardrail.health`.
    pub kind: String,
    /// When it was found, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// In which environment.
    pub environment: Environment,
    /// In which experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentKey>,
    /// How bad it is.
    pub severity: Severity,
    /// In one sentence.
    pub summary: String,
    /// In numbers; an object.
    pub detail: Value,
}

/// How bad it is, in the words of PagerDuty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Users were harmed.
    Critical,
    /// Somebody should look.
    Warning,
}

/// A receiver.
#[derive(Debug)]
pub enum Channel {
    /// Any HTTP endpoint, signed as <https://www.standardwebhooks.com> says.
    Webhook {
        /// Where.
        url: String,
        /// What signs.
        secret: Secret,
    },
    /// A Slack incoming webhook. Its address is a secret.
    Slack {
        /// Where.
        url: SecretText,
    },
    /// PagerDuty Events API v2.
    PagerDuty {
        /// Where; [`PAGERDUTY_URL`] outside tests.
        url: String,
        /// The integration's key.
        routing_key: SecretText,
    },
}

/// A text that is never shown.
#[derive(Clone)]
pub struct SecretText(zeroize::Zeroizing<String>);

impl SecretText {
    /// Takes a secret.
    pub fn new(text: &str) -> Self {
        Self(zeroize::Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

impl Channel {
    /// The word for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::PagerDuty { .. } => "pagerduty",
        }
    }

    /// The request that tells an alert. A repetition has the same id, so receivers can tell.
    pub fn request(&self, id: &str, body: &AlertBody, now: Timestamp) -> Outgoing {
        match self {
            Self::Webhook { url, secret } => webhook::request(url, secret, id, body, now),
            Self::Slack { url } => slack::request(url.expose(), body),
            Self::PagerDuty { url, routing_key } => pagerduty::request(url, routing_key.expose(), body),
        }
    }
}

impl AlertBody {
    /// An alert to write, under an id that is drawn.
    pub fn into_new(self) -> NewAlert {
        let id = format!("msg_{}", uuid::Uuid::now_v7().simple());
        self.with_id(id)
    }

    /// An alert to write, under an id that the same occasion always has: whoever is second finds it taken.
    pub fn into_once(self, occasion: &[&str]) -> NewAlert {
        let mut hash = Sha256::new();
        for part in occasion {
            // With its length, so that no two occasions read alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.with_id(format!("msg_{hex}"))
    }

    fn with_id(self, id: String) -> NewAlert {
        NewAlert {
            id,
            environment: self.environment.clone(),
            experiment: self.experiment.clone(),
            kind: self.kind.clone(),
            // Texts and numbers always have a JSON form.
            body: serde_json::to_string(&self).unwrap_or_default(),
        }
    }

    /// What it is about, the same for every alert of one experiment: receivers group by it.
    fn subject(&self) -> String {
        match &self.experiment {
            Some(experiment) => format!("{}/{experiment}", self.environment),
            None => self.environment.to_string(),
        }
    }

    /// When, as RFC 3339.
    fn time(&self) -> String {
        rfc3339(self.at_ms)
    }
}

fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// The beginning of a text, in at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn json_request(url: &str, headers: Vec<(&'static str, String)>, body: &Value) -> Outgoing {
    Outgoing { url: url.to_owned(), headers, body: body.to_string().into_bytes() }
}

#[cfg(test)]
mod tests;
