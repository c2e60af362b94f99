//! Delivers the events of an edge to its control plane over HTTP.

use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_edge::feed::TokenSource;
use edgeseal_edge::intake::{Delivery, Drain, DrainError};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use zeroize::Zeroizing;

use crate::exit::{Failure, OrExit, Outcome};

/// Media type of a delivery: one record a line.
const NDJSON: &str = "application/x-ndjson";
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the control plane to have a whole delivery on its own disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// `POST /api/v1/edge/events` of one control plane. What it does not answer with 2xx is delivered again.
pub(super) struct HttpDrain {
    client: Client,
    url: Url,
    token: TokenSource,
}

impl HttpDrain {
    /// For the control plane at `control`, whose address the follower has found good.
    pub(super) fn new(control: &str, token: TokenSource) -> Outcome<Self> {
        let client = Client::builder()
            .user_agent(concat!("edgeseal-edge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .or_unreachable(|| "cannot set up HTTP")?;
        let mut url = Url::parse(control).map_err(Failure::usage)?;
        url.set_path(&format!("{}/api/v1/edge/events", url.path().trim_end_matches('/')));
        Ok(Self { client, url, token })
    }

    fn bearer(&self) -> Result<HeaderValue, DrainError> {
        let token =
            (self.token)().map_err(|error| trouble(format_args!("the API token cannot be read: {error}")))?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| {
            trouble("the API token holds characters that no token has; is it the right file?")
        })?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }
}

impl Drain for HttpDrain {
    async fn deliver(
        &self,
        environment: &Environment,
        edge: &str,
        delivery: &Delivery,
    ) -> Result<(), DrainError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("environment", environment.as_str()).append_pair("edge", edge);
        let request = self
            .client
            .post(url)
            .header(AUTHORIZATION, self.bearer()?)
            .header(CONTENT_TYPE, NDJSON)
            .body(delivery.lines().clone());
        let response = request.send().await.map_err(|error| {
            trouble(format_args!("cannot reach the control plane: {}", innermost(&error)))
        })?;
        judge(&response)
    }
}

fn judge(response: &Response) -> Result<(), DrainError> {
    let cause = match response.status() {
        status if status.is_success() => return Ok(()),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => format!(
            "the control plane answered {status}: is the edge's API token right, alive, and of scope 'edge' for this environment?"
        ),
        status => format!("the control plane answered {status}"),
    };
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(DrainError { cause, retry_after: seconds.map(Duration::from_secs) })
}

fn trouble(cause: impl ToString) -> DrainError {
    DrainError { cause: cause.to_string(), retry_after: None }
}

/// The innermost cause says most: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
