//! The client of the control plane's API: whom to ask, one request with its retries, and refusals told to people.
//!
//! Commands build a [`Call`], [`Api::send`] it, and get the answer's JSON or an [`ApiError`] that knows its exit code.

mod args;
mod call;
mod problem;
mod target;
mod token;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::exit::{Failure, Outcome};
use crate::output::Output;

pub(crate) use args::{ApiArgs, LoginFileArgs, ServerArgs, WireArgs};
pub(crate) use call::Call;
pub(crate) use problem::{ApiError, Problem};
pub(crate) use target::{ControlUrl, Target};
pub(crate) use token::ApiToken;

/// Where the API begins below the address of a control plane.
const BASE_PATH: &str = "api/v1";
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that one request may take, `apply` of a large file included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is sent again when the control plane is busy.
const MAX_BUSY_RETRIES: u32 = 2;
/// How often a request is sent again when its connection broke.
const MAX_BROKEN_RETRIES: u32 = 1;
/// Longest wait before a retry; whoever asks for more is not waited for.
const MAX_RETRY_WAIT_SECONDS: u64 = 10;
/// Wait before a retry when the answer names none.
const RETRY_WAIT_SECONDS: u64 = 1;
/// Most items per page that the API gives.
const PAGE: u32 = 200;
/// Most pages that are fetched for one list.
const MAX_PAGES: usize = 500;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A control plane and the right to ask it.
#[derive(Debug)]
pub(crate) struct Api {
    target: Target,
    client: Client,
    output: Output,
}

/// How one attempt ended.
enum Attempt {
    /// What it says; `null` when there was no body.
    Answered(Value),
    Refused {
        problem: Problem,
        wait_seconds: Option<u64>,
    },
    /// No whole answer came: nobody knows whether the request was carried out.
    Broken(Failure),
}

impl Api {
    /// Finds out whom to ask, from flags, variables and the login file.
    pub(crate) fn connect(args: &ApiArgs, output: Output) -> Outcome<Self> {
        Self::to(args.target(output)?, output)
    }

    /// As [`Api::connect`], for commands that speak of no environment.
    pub(crate) fn of_server(args: &ServerArgs, output: Output) -> Outcome<Self> {
        Self::to(args.target(output)?, output)
    }

    /// A client of `target`.
    pub(crate) fn to(target: Target, output: Output) -> Outcome<Self> {
        let client = client(&target.control)?;
        Ok(Self { target, client, output })
    }

    /// Whom it asks.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The client itself, for routes outside the API; it carries no token.
    pub(crate) fn bare_client(&self) -> &Client {
        &self.client
    }

    /// `call` for the environment that was chosen, or for the default of the control plane.
    pub(crate) fn here(&self, call: Call) -> Call {
        call.maybe("environment", self.target.environment.as_ref())
    }

    /// Sends a request, again when that is safe and promising, and reads the answer.
    ///
    /// A request that changes something carries an idempotency key, the same with every attempt: a repetition of what
    /// was carried out gets the first answer.
    pub(crate) async fn send(&self, call: Call) -> Result<Value, ApiError> {
        let key = call.needs_idempotency_key().then(|| Uuid::now_v7().to_string());
        let (mut busy, mut broken) = (0, 0);
        loop {
            match self.attempt(&call, key.as_deref()).await {
                Attempt::Answered(body) => return Ok(body),
                Attempt::Refused { problem, wait_seconds: Some(seconds) }
                    if busy < MAX_BUSY_RETRIES && seconds <= MAX_RETRY_WAIT_SECONDS =>
                {
                    busy += 1;
                    self.output.remark(format_args!(
                        "the control plane asks to wait ({}): trying again in {seconds} s",
                        problem.code()
                    ));
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                Attempt::Refused { problem, .. } => return Err(ApiError::Refused(Box::new(problem))),
                Attempt::Broken(_) if broken < MAX_BROKEN_RETRIES => broken += 1,
                Attempt::Broken(failure) => return Err(ApiError::Failed(failure)),
            }
        }
    }

    /// Sends a request and reads its answer as a `T`.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        let path = call.path().to_owned();
        let body = self.send(call).await?;
        serde_json::from_value(body).map_err(|error| {
            ApiError::Failed(Failure::unreachable(format_args!(
                "'{}' answered '{path}' in a form that this edgeseal does not know ({error}): use the version that the \
                 control plane has",
                self.target.control
            )))
        })
    }

    /// All items of a list, page by page; at most `limit` of them if given.
    pub(crate) async fn list(&self, call: Call, limit: Option<usize>) -> Result<Vec<Value>, ApiError> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let wanted = limit.map_or(PAGE, |limit| {
                u32::try_from(limit.saturating_sub(items.len())).unwrap_or(PAGE).min(PAGE)
            });
            let page = call.clone().query("limit", wanted).maybe("cursor", cursor.as_ref());
            let mut body = self.send(page).await?;
            if let Some(Value::Array(page)) = body.get_mut("items").map(Value::take) {
                items.extend(page);
            }
            cursor = body.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || limit.is_some_and(|limit| items.len() >= limit) {
                break;
            }
        }
        items.truncate(limit.unwrap_or(usize::MAX));
        Ok(items)
    }

    async fn attempt(&self, call: &Call, key: Option<&str>) -> Attempt {
        let url = self.target.control.join(BASE_PATH, call.path(), call.parameters());
        let mut request = self
            .client
            .request(call.method().clone(), url)
            .header(AUTHORIZATION, self.target.token.header())
            .timeout(REQUEST_TIMEOUT);
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(revision) = call.revision() {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(body) = call.body() {
            request = request.json(body);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Broken(self.unreachable(&error)),
        };
        match read(&mut response).await {
            Ok(body) => self.judge(response.status(), response.headers(), &body),
            Err(ReadError::Broken(error)) => Attempt::Broken(self.unreachable(&error)),
            Err(ReadError::TooLarge) => {
                let detail = format!("the answer has more than {MAX_ANSWER_BYTES} bytes");
                Attempt::Refused {
                    problem: Problem::foreign(&self.target.control, response.status(), &detail),
                    wait_seconds: None,
                }
            }
        }
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
        let json = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        match json {
            Ok(body) if status.is_success() => Attempt::Answered(body),
            Ok(body) if Problem::is_one(&body) => {
                let problem = Problem::read(&self.target.control, status, headers, body);
                let wait_seconds = problem.is_worth_waiting().then(|| retry_after(headers));
                Attempt::Refused { problem, wait_seconds }
            }
            // Not a word of our API: a proxy in between, or something else altogether.
            _ => {
                let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
                Attempt::Refused {
                    problem: Problem::foreign(&self.target.control, status, &foreign_detail(headers)),
                    wait_seconds: (busy && headers.contains_key(RETRY_AFTER)).then(|| retry_after(headers)),
                }
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::unreachable(format_args!(
            "cannot reach the control plane '{}': {}; is it running, and the address right?",
            self.target.control,
            innermost(error)
        ))
    }
}

/// A client for `control`: it follows no redirect, so a token goes to whom it was meant for and nobody else.
fn client(control: &ControlUrl) -> Outcome<Client> {
    let builder = Client::builder()
        .user_agent(concat!("edgeseal/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    // Without TLS a proxy reads what passes: what stays on this machine has no business there.
    let builder = if control.is_plain() { builder.no_proxy() } else { builder };
    Ok(builder.build().map_err(anyhow::Error::from)?)
}

enum ReadError {
    Broken(reqwest::Error),
    TooLarge,
}

async fn read(response: &mut Response) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Broken)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ReadError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn retry_after(headers: &HeaderMap) -> u64 {
    let named = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    named.unwrap_or(RETRY_WAIT_SECONDS)
}

/// What there is to say of an answer that is not the API's.
fn foreign_detail(headers: &HeaderMap) -> String {
    let place = headers.get(LOCATION).and_then(|value| Url::parse(value.to_str().ok()?).ok());
    match place {
        Some(url) => format!("it points to '{}', which is not followed", url.origin().ascii_serialization()),
        None => "it did not answer as the API does".to_owned(),
    }
}

/// The innermost cause says most: "connection refused" rather than "error sending request".
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
