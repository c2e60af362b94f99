//! Refusals: RFC 9457 problem details with a stable `code`, the same shape on every route.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use edgeseal_core::sealing::RotationError;
use edgeseal_store::StoreError;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{ControlError, Fault};

/// Media type of every problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";
/// What a client is told to wait, in seconds, when there is no better guess.
const RETRY_AFTER_SECONDS: u64 = 1;
/// Most faults that one answer lists.
const MAX_FAULTS: usize = 32;

/// Why a request was refused. Clients match on [`Code::as_str`]: a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    MalformedRequest,
    MalformedPath,
    MalformedQuery,
    UnknownParameter,
    RepeatedParameter,
    InvalidParameter,
    InvalidCursor,
    InvalidHeader,
    MalformedBody,
    TooManyEvents,
    Unauthenticated,
    TokenRefused,
    ScopeInsufficient,
    EnvironmentForbidden,
    PublisherNeeded,
    NotFound,
    UnknownEnvironment,
    MethodNotAllowed,
    BodyTimeout,
    Exists,
    WrongState,
    WrongKeyState,
    InFlight,
    RevisionMismatch,
    BodyTooLarge,
    UrlTooLong,
    UnsupportedMediaType,
    UnknownMember,
    Invalid,
    IdempotencyMismatch,
    PreconditionRequired,
    TooManyFailures,
    Internal,
    Unavailable,
    TooBusy,
    Overloaded,
}

impl Code {
    /// Every code, in the order of their statuses.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 36] = [
        Self::MalformedRequest,
        Self::MalformedPath,
        Self::MalformedQuery,
        Self::UnknownParameter,
        Self::RepeatedParameter,
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::InvalidHeader,
        Self::MalformedBody,
        Self::TooManyEvents,
        Self::Unauthenticated,
        Self::TokenRefused,
        Self::ScopeInsufficient,
        Self::EnvironmentForbidden,
        Self::PublisherNeeded,
        Self::NotFound,
        Self::UnknownEnvironment,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::Exists,
        Self::WrongState,
        Self::WrongKeyState,
        Self::InFlight,
        Self::RevisionMismatch,
        Self::BodyTooLarge,
        Self::UrlTooLong,
        Self::UnsupportedMediaType,
        Self::UnknownMember,
        Self::Invalid,
        Self::IdempotencyMismatch,
        Self::PreconditionRequired,
        Self::TooManyFailures,
        Self::Internal,
        Self::Unavailable,
        Self::TooBusy,
        Self::Overloaded,
    ];

    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedPath => "malformed_path",
            Self::MalformedQuery => "malformed_query",
            Self::UnknownParameter => "unknown_parameter",
            Self::RepeatedParameter => "repeated_parameter",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidCursor => "invalid_cursor",
            Self::InvalidHeader => "invalid_header",
            Self::MalformedBody => "malformed_body",
            Self::TooManyEvents => "too_many_events",
            Self::Unauthenticated => "unauthenticated",
            Self::TokenRefused => "token_refused",
            Self::ScopeInsufficient => "scope_insufficient",
            Self::EnvironmentForbidden => "environment_forbidden",
            Self::PublisherNeeded => "publisher_needed",
            Self::NotFound => "not_found",
            Self::UnknownEnvironment => "unknown_environment",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::Exists => "exists",
            Self::WrongState => "wrong_state",
            Self::WrongKeyState => "wrong_key_state",
            Self::InFlight => "in_flight",
            Self::RevisionMismatch => "revision_mismatch",
            Self::BodyTooLarge => "body_too_large",
            Self::UrlTooLong => "url_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnknownMember => "unknown_member",
            Self::Invalid => "invalid",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::PreconditionRequired => "precondition_required",
            Self::TooManyFailures => "too_many_failures",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::TooBusy => "too_busy",
            Self::Overloaded => "overloaded",
        }
    }

    /// The status that it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest
            | Self::MalformedPath
            | Self::MalformedQuery
            | Self::UnknownParameter
            | Self::RepeatedParameter
            | Self::InvalidParameter
            | Self::InvalidCursor
            | Self::InvalidHeader
            | Self::MalformedBody
            | Self::TooManyEvents => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::TokenRefused => StatusCode::UNAUTHORIZED,
            Self::ScopeInsufficient | Self::EnvironmentForbidden | Self::PublisherNeeded => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound | Self::UnknownEnvironment => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Exists | Self::WrongState | Self::WrongKeyState | Self::InFlight => StatusCode::CONFLICT,
            Self::RevisionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownMember | Self::Invalid | Self::IdempotencyMismatch => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::TooBusy | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal on its way to the client. The router's outermost layer writes it out, because only that knows the id of
/// the request.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    reason: Option<&'static str>,
    retry_after_seconds: Option<u64>,
}

/// A problem document as it is sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Problem", title = "Problem", description = "Why a request was refused (RFC 9457).")]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    type_: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What went wrong, for programs: a code never changes its meaning.
    #[schemars(length(max = 64))]
    code: &'static str,
    /// What went wrong and what to do, for people.
    detail: &'a str,
    /// Of a refused assignment token: the code of its verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    reason: Option<&'static str>,
    /// Names the request in logs and in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// Each single fault, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    errors: Vec<FaultBody<'a>>,
}

/// One fault of a request body.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Fault")]
struct FaultBody<'a> {
    /// JSON pointer (RFC 6901) into the body that was sent.
    pointer: &'a str,
    /// What is wrong there.
    detail: &'a str,
}

impl Problem {
    /// `detail` is for people: the cause, and what to do.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new(), reason: None, retry_after_seconds: None }
    }

    /// A thing that does not exist, or no more.
    pub(crate) fn not_found(kind: &str, key: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} '{}'", quote(key)))
    }

    /// One fault at one place of the body.
    pub(crate) fn at(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let sentence =
            if pointer.is_empty() { detail.clone() } else { format!("{detail} (at '{}')", quote(&pointer)) };
        Self { faults: vec![Fault { pointer, detail }], ..Self::new(code, sentence) }
    }

    /// A fault on this side; what it is stands in the log, under the request's id.
    pub(crate) fn internal() -> Self {
        Self::new(
            Code::Internal,
            "this failed for a reason on the server's side; its log names it by the request id",
        )
    }

    /// With the code of what is behind it.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// To be tried again after this long, at the earliest.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_seconds = Some(wait.as_secs().max(1));
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The whole answer, but for the headers that every answer carries.
    pub(crate) fn render(&self, request_id: Option<&str>) -> Response {
        let status = self.code.status();
        let errors = self.faults.iter().take(MAX_FAULTS);
        let body = ProblemBody {
            // RFC 9457 §4.2.1: with `about:blank` the title is the status phrase.
            type_: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            reason: self.reason,
            request_id,
            errors: errors
                .map(|fault| FaultBody { pointer: &fault.pointer, detail: &fault.detail })
                .collect(),
        };
        // A struct of texts and numbers always has a JSON form.
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.code {
            Code::Unauthenticated | Code::TokenRefused => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"edgeseal\""));
            }
            Code::TooManyFailures | Code::Unavailable | Code::TooBusy | Code::Overloaded | Code::InFlight => {
                let seconds = self.retry_after_seconds.unwrap_or(RETRY_AFTER_SECONDS);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Says no in the words of the decision; what is nobody's fault but ours is logged here, once.
impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::NoEnvironment { .. } => Code::UnknownEnvironment,
            ControlError::NotFound { .. } => Code::NotFound,
            ControlError::EnvironmentExists { .. } | ControlError::Exists { .. } => Code::Exists,
            ControlError::TooManyEnvironments { .. }
            | ControlError::OtherEnvironment { .. }
            | ControlError::TooLarge { .. } => Code::Invalid,
            ControlError::Stale { .. } => Code::RevisionMismatch,
            ControlError::WrongState { .. } => Code::WrongState,
            ControlError::PublisherNeeded => Code::PublisherNeeded,
            ControlError::Rotation(RotationError::UnknownKey { .. }) => Code::NotFound,
            ControlError::Rotation(_) | ControlError::HmacRotation(_) => Code::WrongKeyState,
            ControlError::InFlight => Code::InFlight,
            ControlError::IdempotencyMismatch => Code::IdempotencyMismatch,
            ControlError::Busy => Code::TooBusy,
            ControlError::Invalid { faults } => {
                let faults = faults.clone();
                return Self { faults, ..Self::new(Code::Invalid, error.to_string()) };
            }
            ControlError::Store(StoreError::Unavailable { .. }) => {
                tracing::warn!(%error, "the store did not answer");
                let detail = "the database does not answer at the moment; try again shortly";
                return Self::new(Code::Unavailable, detail);
            }
            ControlError::Store(_) | ControlError::Keyring(_) | ControlError::Internal { .. } => {
                tracing::error!(%error, "a request failed for a reason on this side");
                return Self::internal();
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        ControlError::from(error).into()
    }
}

/// What the router itself says no to, in the words of this API; `None` for everything else.
pub(crate) fn of_router(response: &Response) -> Option<Problem> {
    match response.status() {
        StatusCode::NOT_FOUND => {
            let detail = "there is nothing here; '/api/v1/openapi.json' lists every route";
            Some(Problem::new(Code::NotFound, detail))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get(ALLOW).and_then(|allow| allow.to_str().ok());
            let detail = match allowed {
                Some(allowed) => format!("this route takes {}", allowed.replace(',', ", ")),
                None => "this route does not take this method".to_owned(),
            };
            Some(Problem::new(Code::MethodNotAllowed, detail))
        }
        _ => None,
    }
}

/// At most the first 64 characters of `text`, to quote what the client sent without echoing pages of it.
pub(crate) fn quote(text: &str) -> Cow<'_, str> {
    const MAX_QUOTED_CHARS: usize = 64;
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
