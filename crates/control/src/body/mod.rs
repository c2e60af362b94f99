//! Request bodies: bounded in size, time and depth, strict JSON, and faults named by their place.

mod strict;
pub(crate) mod views;
mod words;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use edgeseal_core::json::{self, JsonError, Limits};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use self::strict::Strict;
use crate::problem::{Code, Problem};

/// What most bodies are.
pub(crate) const JSON_MEDIA: &str = "application/json";
/// Deepest nesting of a JSON body.
pub(crate) const MAX_BODY_DEPTH: usize = 64;

/// Refuses everything but these media types, with parameters (`charset`) or without.
pub(crate) fn check_media_type(headers: &HeaderMap, known: &[&str]) -> Result<(), Problem> {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    if let (Some(field), None) = (fields.next(), fields.next()) {
        let media_type = field.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if known.iter().any(|known| media_type.eq_ignore_ascii_case(known.as_bytes())) {
            return Ok(());
        }
    }
    let detail = match known {
        [JSON_MEDIA] => "the body must be JSON; send 'content-type: application/json'".to_owned(),
        known => format!("send 'content-type: {}'", known.join("' or '")),
    };
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Reads a body of at most `limit` bytes within `timeout`.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body may have at most {limit} bytes; send less");
        Problem::new(Code::BodyTooLarge, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::MalformedRequest, "the body broke off or is badly framed")),
        Err(_elapsed) => {
            let detail = format!("the body did not arrive within {} s", timeout.as_secs());
            Err(Problem::new(Code::BodyTimeout, detail))
        }
    }
}

/// Reads JSON into what a route takes; the size was bounded while reading.
///
/// # Errors
/// 400 for what is no JSON, 422 for JSON of another form, with the place of the first fault.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let limits = Limits { max_bytes: usize::MAX, max_depth: MAX_BODY_DEPTH };
    let value = json::parse(bytes, limits)
        .map_err(|error: JsonError| Problem::new(Code::MalformedBody, error.to_string()))?;
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let pointer: String = error.path().iter().map(pointer_part).collect();
        let reason = error.inner().to_string();
        let code = if reason.starts_with("unknown field") { Code::UnknownMember } else { Code::Invalid };
        let name = pointer.rsplit('/').next().unwrap_or_default();
        let detail = words::of_json(&reason, name);
        Problem::at(code, pointer, detail)
    })
}

fn pointer_part(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key: name } | Segment::Enum { variant: name } => {
            format!("/{}", name.replace('~', "~0").replace('/', "~1"))
        }
        Segment::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::ExperimentDefinition;
    use http::HeaderValue;

    use super::*;

    fn refused(text: &str) -> (&'static str, String) {
        let problem = parse::<ExperimentDefinition>(text.as_bytes()).unwrap_err();
        (problem.code().as_str(), format!("{problem:?}"))
    }

    #[test]
    fn faults_are_named_by_their_place() {
        for (text, code, place) in [
            ("", "malformed_body", ""),
            ("{", "malformed_body", ""),
            (r#"{"key":"a","key":"a"}"#, "malformed_body", ""),
            ("[]", "invalid", ""),
            ("{}", "invalid", ""),
            (r#"{"key":"a","variants":[],"traffik":1}"#, "unknown_member", "/traffik"),
            (r#"{"key":"a b","variants":[]}"#, "invalid", "/key"),
            (r#"{"key":"a","variants":[{"key":"x","weight":-1}]}"#, "invalid", "/variants/0/weight"),
            (r#"{"key":"a","variants":[],"overrides":{"a/b":1}}"#, "invalid", "/overrides/a~1b"),
        ] {
            let (found, problem) = refused(text);
            assert_eq!(found, code, "{text}");
            assert!(problem.contains(&format!("{place:?}")) || place.is_empty(), "{text}: {problem}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| {
            let audience = format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
            format!(r#"{{"key":"a","variants":[],"audience":{audience}}}"#)
        };
        assert!(parse::<ExperimentDefinition>(deep(MAX_BODY_DEPTH).as_bytes()).is_ok());
        assert_eq!(refused(&deep(MAX_BODY_DEPTH + 1)).0, "malformed_body");
    }

    #[test]
    fn only_plain_json_is_taken() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            check_media_type(&headers, &[JSON_MEDIA]).is_ok()
        };
        assert!(check(&["application/json"]));
        assert!(check(&["Application/JSON; charset=utf-8"]));
        for bad in [&["text/plain"][..], &["application/merge-patch+json"], &["application/json"; 2], &[]] {
            assert!(!check(bad), "{bad:?}");
        }
    }
}
