//! Posts alerts.

use async_trait::async_trait;
use edgeseal_guardrail::{Outgoing, SendError, Sender};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};

use crate::exit::Outcome;
use crate::http_client;

/// HTTP with short timeouts and no redirects.
pub(super) struct HttpSender {
    client: Client,
}

impl HttpSender {
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self { client: http_client::client()? })
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        let mut request = self.client.post(&outgoing.url).header(CONTENT_TYPE, "application/json");
        for (name, value) in &outgoing.headers {
            request = request.header(*name, value);
        }
        let answer = request
            .body(outgoing.body.clone())
            .send()
            .await
            .map_err(|error| SendError { cause: innermost(&error.without_url()), gone: false })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => {
                Err(SendError { cause: format!("answered {status}"), gone: status == StatusCode::GONE })
            }
        }
    }
}

/// The innermost cause says most: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
