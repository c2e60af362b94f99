//! Refusals: RFC 9457 problem details with a stable `code`, the same shape on every route but OFREP's.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::config::{RETRY_AFTER_SECONDS, SPOOL_RETRY_AFTER_SECONDS};
use crate::routes::{Refusal, Response};

/// Media type of every problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused. Clients match on [`Code::as_str`]: a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    MalformedRequest,
    MalformedPath,
    MalformedQuery,
    UnknownParameter,
    RepeatedParameter,
    InvalidUnit,
    InvalidUnitType,
    InvalidAttributes,
    AttributesTooLarge,
    InvalidVersion,
    MalformedBody,
    UnknownMember,
    TooManyEvents,
    TokenRefused,
    EventsDisabled,
    SpoolFull,
    SpoolUnwritable,
    UnknownExperiment,
    UnknownVariant,
    NotAssigned,
    ProfileDisabled,
    IdentityMissing,
    IdentityRepeated,
    IdentityInvalid,
    NotFound,
    MethodNotAllowed,
    HeaderTimeout,
    BodyTimeout,
    BodyTooLarge,
    UrlTooLong,
    UnsupportedMediaType,
    HeaderTooLarge,
    NotReady,
    Overloaded,
}

impl Code {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedPath => "malformed_path",
            Self::MalformedQuery => "malformed_query",
            Self::UnknownParameter => "unknown_parameter",
            Self::RepeatedParameter => "repeated_parameter",
            Self::InvalidUnit => "invalid_unit",
            Self::InvalidUnitType => "invalid_unit_type",
            Self::InvalidAttributes => "invalid_attributes",
            Self::AttributesTooLarge => "attributes_too_large",
            Self::InvalidVersion => "invalid_version",
            Self::MalformedBody => "malformed_body",
            Self::UnknownMember => "unknown_member",
            Self::TooManyEvents => "too_many_events",
            Self::TokenRefused => "token_refused",
            Self::EventsDisabled => "events_disabled",
            Self::SpoolFull => "spool_full",
            Self::SpoolUnwritable => "spool_unwritable",
            Self::UnknownExperiment => "unknown_experiment",
            Self::UnknownVariant => "unknown_variant",
            Self::NotAssigned => "not_assigned",
            Self::ProfileDisabled => "profile_disabled",
            Self::IdentityMissing => "identity_missing",
            Self::IdentityRepeated => "identity_repeated",
            Self::IdentityInvalid => "identity_invalid",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HeaderTimeout => "header_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UrlTooLong => "url_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::HeaderTooLarge => "header_too_large",
            Self::NotReady => "not_ready",
            Self::Overloaded => "overloaded",
        }
    }

    /// The status that it is answered with, unless the route says otherwise.
    const fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest
            | Self::MalformedPath
            | Self::MalformedQuery
            | Self::UnknownParameter
            | Self::RepeatedParameter
            | Self::InvalidUnit
            | Self::InvalidUnitType
            | Self::InvalidAttributes
            | Self::AttributesTooLarge
            | Self::InvalidVersion
            | Self::MalformedBody
            | Self::UnknownMember
            | Self::TooManyEvents
            | Self::IdentityRepeated
            | Self::IdentityInvalid
            | Self::UnknownVariant => StatusCode::BAD_REQUEST,
            Self::IdentityMissing | Self::TokenRefused => StatusCode::UNAUTHORIZED,
            Self::UnknownExperiment
            | Self::NotAssigned
            | Self::ProfileDisabled
            | Self::EventsDisabled
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::SpoolFull => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeaderTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotReady | Self::Overloaded | Self::SpoolUnwritable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// How long the client is told to wait before it comes again, in seconds, where that helps.
    const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::NotReady | Self::Overloaded => Some(RETRY_AFTER_SECONDS),
            Self::SpoolFull | Self::SpoolUnwritable => Some(SPOOL_RETRY_AFTER_SECONDS),
            _ => None,
        }
    }

    /// Whether the rest of the connection is unreadable or unwanted after this.
    const fn closes(self) -> bool {
        matches!(
            self,
            Self::MalformedRequest
                | Self::HeaderTimeout
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::HeaderTooLarge
                | Self::Overloaded
        )
    }
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    detail: Cow<'static, str>,
    member: Option<(&'static str, Value)>,
}

impl Problem {
    /// `detail` is for people: the cause, and what to do.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: code.status(), detail: detail.into(), member: None }
    }

    /// Nothing was published to this edge yet.
    pub(crate) fn not_ready() -> Self {
        Self::new(Code::NotReady, "this edge has no snapshot yet; try again shortly")
    }

    /// With one more member.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.member = Some((name, value.into()));
        self
    }

    /// With another status than the code's usual one.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The sentence for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The problem document.
    pub(crate) fn body(&self) -> String {
        let mut members = Map::new();
        // RFC 9457 §4.2.1: with `about:blank` the title is the status phrase; `code` tells problems apart.
        members.insert("type".into(), "about:blank".into());
        members.insert("title".into(), self.status.canonical_reason().unwrap_or_default().into());
        members.insert("status".into(), self.status.as_u16().into());
        members.insert("code".into(), self.code.as_str().into());
        members.insert("detail".into(), self.detail.as_ref().into());
        if let Some((name, value)) = &self.member {
            members.insert((*name).into(), value.clone());
        }
        Value::Object(members).to_string()
    }

    /// The whole answer as bytes, for the places where no HTTP library is in between.
    pub(crate) fn wire(&self) -> String {
        let body = self.body();
        let seconds = self.code.retry_after_seconds();
        let retry = seconds.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
        format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\n{retry}connection: close\r\n\r\n{body}",
            self.status.as_u16(),
            self.status.canonical_reason().unwrap_or_default(),
            body.len(),
        )
    }
}

impl Refusal for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        mark_refusal(self.code, headers);
        response
    }
}

/// The headers that a refusal needs whatever its body looks like.
pub(crate) fn mark_refusal(code: Code, headers: &mut http::HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = code.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
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
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_happened_to_machines_and_people() {
        let problem =
            Problem::new(Code::NotAssigned, "the unit is not in the experiment").with("reason", "audience");
        let body: Value = serde_json::from_str(&problem.body()).unwrap();
        assert_eq!(body["status"], 404);
        assert_eq!(body["title"], "Not Found");
        assert_eq!(body["code"], "not_assigned");
        assert_eq!(body["reason"], "audience");
        assert_eq!(problem.into_response().headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn the_raw_form_is_a_complete_response() {
        let wire = Problem::new(Code::Overloaded, "too many connections").wire();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    }

    #[test]
    fn quotes_are_cut_at_characters() {
        assert_eq!(quote("short"), "short");
        assert_eq!(quote(&"é".repeat(100)), format!("{}…", "é".repeat(64)));
    }
}
