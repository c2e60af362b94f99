//! What the API says when it refuses: problem details (RFC 9457), told to people with the exit code that fits.

use std::fmt::{self, Write};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::ControlUrl;
use crate::exit::{Exit, Failure};
use crate::printable::printable;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The control plane refused.
    Refused(Box<Problem>),
    /// It could not be asked.
    Failed(Failure),
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    control: ControlUrl,
    status: StatusCode,
    document: Document,
}

/// One of several faults of a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Fault {
    /// JSON pointer into the body that was sent.
    #[serde(default)]
    pub(crate) pointer: String,
    /// What is wrong there.
    #[serde(default)]
    pub(crate) detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    errors: Vec<Fault>,
}

impl Problem {
    /// Whether a body is a problem of ours: it has a `code`.
    pub(super) fn is_one(body: &Value) -> bool {
        body.get("code").is_some_and(Value::is_string)
    }

    pub(super) fn read(control: &ControlUrl, status: StatusCode, headers: &HeaderMap, body: Value) -> Self {
        let mut document: Document = serde_json::from_value(body).unwrap_or_default();
        let header = || headers.get("x-request-id").and_then(|value| value.to_str().ok());
        document.request_id = document.request_id.or_else(|| header().map(str::to_owned));
        Self { control: control.clone(), status, document }
    }

    /// An answer that is not the API's.
    pub(super) fn foreign(control: &ControlUrl, status: StatusCode, detail: &str) -> Self {
        let document = Document {
            detail: Some(format!("{detail}: is this the address of a control plane?")),
            ..Document::default()
        };
        Self { control: control.clone(), status, document }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code; the status for an answer that has none.
    pub(crate) fn code(&self) -> &str {
        self.document.code.as_deref().unwrap_or(self.status.as_str())
    }

    /// The faults of the body that was sent, if it was the body.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.document.errors
    }

    /// The sentence for people, without codes.
    pub(crate) fn detail(&self) -> String {
        let words = self.document.detail.as_deref().or(self.document.title.as_deref());
        printable(words.or(self.status.canonical_reason()).unwrap_or("refused"))
    }

    /// Whether the same request may be answered soon.
    pub(super) fn is_worth_waiting(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            // Our own earlier attempt, whose connection broke, is still being worked on.
            || self.code() == "in_flight"
    }

    /// What the run ends with: a refusal is an answer, a server that cannot give one is as good as away.
    fn exit(&self) -> Exit {
        let away = self.document.code.is_none()
            || self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS;
        if away { Exit::Unreachable } else { Exit::No }
    }

    /// What to do, where the sentence of the server cannot know it.
    fn remedy(&self) -> Option<String> {
        match self.status {
            StatusCode::UNAUTHORIZED => Some(format!("log in again with `edgeseal login {}`", self.control)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some("try again later".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = if self.document.code.is_some() { "refused" } else { "answered" };
        write!(f, "'{}' {whom} ({}): {}", self.control, self.status.as_u16(), self.detail())?;
        // A single fault is what the sentence is about.
        if self.document.errors.len() > 1 {
            for fault in &self.document.errors {
                write!(f, "\n  {}: {}", printable(&fault.pointer), printable(&fault.detail))?;
            }
        }
        if let Some(remedy) = self.remedy() {
            write!(f, "; {remedy}")?;
        }
        let mut marks = String::new();
        if let Some(code) = &self.document.code {
            write!(marks, "code {}", printable(code))?;
        }
        if let Some(request) = &self.document.request_id {
            let comma = if marks.is_empty() { "" } else { ", " };
            write!(marks, "{comma}request {}", printable(request))?;
        }
        if marks.is_empty() { Ok(()) } else { write!(f, " ({marks})") }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure { exit: problem.exit(), error: anyhow::anyhow!("{problem}") }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(problem) => (*problem).into(),
            ApiError::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
