//! The door: what a URL or a body may say, checked once and turned into values that cannot be wrong.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use edgeseal_core::attributes::{Attributes, AttributesError, MAX_ATTRIBUTES_BYTES};
use edgeseal_core::ids::{UnitId, UnitType};
use edgeseal_core::json::{self, JsonError, Limits};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use crate::config::{MAX_BODY_BYTES, MAX_BODY_DEPTH};
use crate::problem::{Code, Problem, quote};

/// Unit type of a request that names none.
pub(crate) const DEFAULT_UNIT_TYPE: &str = "user";
/// Longest `attrs` parameter: the largest attributes in base64url.
const MAX_ATTRS_CHARS: usize = (MAX_ATTRIBUTES_BYTES * 4).div_ceil(3);

/// What follows `prefix` in the path, percent-decoded.
///
/// Decoding is strict: each `%` needs two hexadecimal digits, and the bytes must be UTF-8.
pub(crate) fn path_tail<'u>(uri: &'u Uri, prefix: &str) -> Result<Cow<'u, str>, Problem> {
    let tail = uri.path().strip_prefix(prefix).unwrap_or_default();
    if !tail.contains('%') {
        return Ok(Cow::Borrowed(tail));
    }
    let malformed = |why| Problem::new(Code::MalformedPath, why);
    let mut bytes = Vec::with_capacity(tail.len());
    let mut rest = tail.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (Some(high), Some(low)) = (hex(after.first()), hex(after.get(1))) else {
            return Err(malformed("a '%' in the path must be followed by two hexadecimal digits"));
        };
        bytes.push(high << 4 | low);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| malformed("the path is not UTF-8 once percent-decoded; encode the text as UTF-8 first"))
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    let value = char::from(*digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The query parameters of a read, as sent.
///
/// Their alphabets need no percent-encoding, so none is accepted: one question has one URL, and one cache entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query<'u> {
    /// `ut`, the unit type.
    pub(crate) unit_type: Option<&'u str>,
    /// `attrs`, the attributes as unpadded base64url of a JSON object.
    pub(crate) attributes: Option<&'u str>,
    /// `cv`, the snapshot version that the client knows of.
    pub(crate) version: Option<&'u str>,
    /// `fresh`, anything: makes a URL that no cache has an answer to.
    pub(crate) fresh: Option<&'u str>,
}

impl<'u> Query<'u> {
    /// Takes the query apart; parameters outside `known` and repeated ones are refused, for a cache would keep one
    /// entry for each spelling.
    pub(crate) fn parse(uri: &'u Uri, known: &'static [&'static str]) -> Result<Self, Problem> {
        let mut query = Self::default();
        let Some(text) = uri.query().filter(|text| !text.is_empty()) else { return Ok(query) };
        for pair in text.split('&') {
            let Some((name, value)) = pair.split_once('=') else {
                let detail = format!("'{}' in the query is not of the form name=value", quote(pair));
                return Err(Problem::new(Code::MalformedQuery, detail));
            };
            if !known.contains(&name) {
                let detail =
                    format!("query parameter '{}' is unknown; use {}", quote(name), known.join(", "));
                return Err(Problem::new(Code::UnknownParameter, detail));
            }
            let slot = match name {
                "ut" => &mut query.unit_type,
                "attrs" => &mut query.attributes,
                "fresh" => &mut query.fresh,
                _ => &mut query.version,
            };
            if slot.replace(value).is_some() {
                let detail = format!("query parameter '{name}' is repeated; send it once");
                return Err(Problem::new(Code::RepeatedParameter, detail));
            }
        }
        Ok(query)
    }

    /// The unit type, [`DEFAULT_UNIT_TYPE`] if none was sent.
    pub(crate) fn unit_type(&self) -> &'u str {
        self.unit_type.unwrap_or(DEFAULT_UNIT_TYPE)
    }

    /// The attributes, none if none were sent.
    pub(crate) fn attributes(&self) -> Result<Attributes, Problem> {
        let Some(text) = self.attributes else { return Ok(Attributes::default()) };
        if text.len() > MAX_ATTRS_CHARS {
            let detail = format!(
                "'attrs' may hold at most {MAX_ATTRIBUTES_BYTES} bytes of JSON; send less, or use POST"
            );
            return Err(Problem::new(Code::AttributesTooLarge, detail));
        }
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| {
            let detail = "'attrs' is not base64url without padding (RFC 4648 section 5) of a JSON object";
            Problem::new(Code::InvalidAttributes, detail)
        })?;
        Attributes::parse(&json).map_err(attributes_problem)
    }

    /// The snapshot version that the client knows of; 0 if it named none.
    pub(crate) fn version(&self) -> Result<u64, Problem> {
        let Some(text) = self.version else { return Ok(0) };
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        text.parse().ok().filter(|_| canonical).ok_or_else(|| {
            let detail =
                format!("'cv' must be a whole number without sign or leading zeros, not '{}'", quote(text));
            Problem::new(Code::InvalidVersion, detail)
        })
    }
}

/// Checks a unit id.
pub(crate) fn unit_id(text: &str) -> Result<UnitId<'_>, Problem> {
    UnitId::parse(text).map_err(|error| Problem::new(Code::InvalidUnit, format!("the unit id {error}")))
}

/// Checks a unit type.
pub(crate) fn unit_type(text: &str) -> Result<UnitType, Problem> {
    UnitType::parse(text)
        .map_err(|error| Problem::new(Code::InvalidUnitType, format!("unit type '{}' {error}", quote(text))))
}

/// Words a refusal of attributes.
pub(crate) fn attributes_problem(error: AttributesError) -> Problem {
    let code = match error {
        AttributesError::Json(JsonError::TooLarge { .. }) => Code::AttributesTooLarge,
        _ => Code::InvalidAttributes,
    };
    Problem::new(code, error.to_string())
}

/// Reads a JSON object from a body: `application/json` only, bounded in size, time and depth, no duplicate members.
pub(crate) async fn json_object(
    headers: &HeaderMap,
    body: Incoming,
    timeout: Duration,
) -> Result<Map<String, Value>, Problem> {
    if !is_json(headers) {
        let detail = "the body must be JSON; send 'content-type: application/json'";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let bytes = read_body(headers, body, timeout, MAX_BODY_BYTES).await?;
    let limits = Limits { max_bytes: MAX_BODY_BYTES, max_depth: MAX_BODY_DEPTH };
    match json::parse(&bytes, limits) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::new(Code::MalformedBody, "the body must be a JSON object")),
        Err(error) => Err(Problem::new(Code::MalformedBody, error.to_string())),
    }
}

// `application/json`, with parameters (`charset`) or without.
fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, &["application/json"])
}

/// As JSON, or as the text that `navigator.sendBeacon` sends without asking first.
pub(crate) fn is_json_or_text(headers: &HeaderMap) -> bool {
    is_of_type(headers, &["application/json", "text/plain"])
}

fn is_of_type(headers: &HeaderMap, known: &[&str]) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let media_type = field.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    known.iter().any(|known| media_type.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
}

/// Reads a body, bounded in size and time.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Incoming,
    timeout: Duration,
    max_bytes: usize,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body may have at most {max_bytes} bytes; send less");
        Problem::new(Code::BodyTooLarge, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max_bytes as u64) {
        return Err(too_large());
    }
    let read = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::MalformedRequest, "the body broke off or is badly framed")),
        Err(_elapsed) => {
            let detail = format!("the body did not arrive within {} s", timeout.as_secs());
            Err(Problem::new(Code::BodyTimeout, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(path: &'static str) -> Result<String, &'static str> {
        let uri = Uri::from_static(path);
        path_tail(&uri, "/u/").map(Cow::into_owned).map_err(|problem| problem.code().as_str())
    }

    #[test]
    fn path_segments_are_percent_decoded_once() {
        assert_eq!(tail("/u/user-1"), Ok("user-1".into()));
        assert_eq!(tail("/u/a%2Fb%20c+d"), Ok("a/b c+d".into()));
        assert_eq!(tail("/u/%E7%94%A8%e6%88%b7"), Ok("用户".into()));
        assert_eq!(tail("/u/%2541"), Ok("%41".into()));
    }

    #[test]
    fn broken_percent_encoding_is_a_malformed_path() {
        for bad in ["/u/%zz", "/u/%", "/u/%4", "/u/a%2", "/u/%+1", "/u/%ff", "/u/%C3%28"] {
            assert_eq!(tail(bad), Err("malformed_path"), "{bad}");
        }
    }

    fn query(text: &'static str) -> Result<Query<'static>, &'static str> {
        let uri = Box::leak(Box::new(Uri::try_from(format!("/x?{text}")).unwrap()));
        Query::parse(uri, &["ut", "attrs", "cv", "fresh"]).map_err(|problem| problem.code().as_str())
    }

    #[test]
    fn known_parameters_are_taken_as_sent() {
        let all = query("cv=7&ut=device&attrs=e30").unwrap();
        assert_eq!((all.unit_type(), all.version().unwrap()), ("device", 7));
        assert!(all.attributes().unwrap().is_empty());
        assert_eq!(query("").unwrap().unit_type(), "user");
    }

    #[test]
    fn unknown_repeated_and_shapeless_parameters_are_refused() {
        for (text, code) in [
            ("utm_source=x", "unknown_parameter"),
            ("ut=user&ut=user", "repeated_parameter"),
            ("ut=user&ut=device", "repeated_parameter"),
            ("fresh=1&fresh=2", "repeated_parameter"),
            ("ut", "malformed_query"),
            ("ut=user&&cv=1", "malformed_query"),
            ("&", "malformed_query"),
            ("Ut=user", "unknown_parameter"),
            ("u%74=user", "unknown_parameter"),
        ] {
            assert_eq!(query(text), Err(code), "{text}");
        }
    }

    #[test]
    fn the_version_has_one_spelling() {
        for (text, version) in [("cv=0", 0), ("cv=12", 12), ("cv=18446744073709551615", u64::MAX)] {
            assert_eq!(query(text).unwrap().version().unwrap(), version);
        }
        for bad in ["cv=", "cv=01", "cv=+1", "cv=-1", "cv=1.0", "cv=1e3", "cv=18446744073709551616", "cv=%31"]
        {
            let problem = query(bad).unwrap().version().unwrap_err();
            assert_eq!(problem.code(), Code::InvalidVersion, "{bad}");
        }
    }

    #[test]
    fn attributes_are_one_strictly_encoded_object() {
        let attributes = |text: &str| Query { attributes: Some(text), ..Query::default() }.attributes();
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        assert_eq!(attributes(&encoded(r#"{"plan":"pro"}"#)).unwrap().len(), 1);
        for bad in [
            "e30=",
            "e3 0",
            "e31",
            "é",
            &encoded("[]"),
            &encoded("1"),
            &encoded("{"),
            &encoded(r#"{"a":1,"a":2}"#),
            &encoded(r#"{"a":1e400}"#),
            &URL_SAFE_NO_PAD.encode(b"{\"a\":\"\xff\"}"),
            "",
        ] {
            assert_eq!(attributes(bad).unwrap_err().code(), Code::InvalidAttributes, "{bad}");
        }
        for large in [5_000, 10_000] {
            let json = format!(r#"{{"a":"{}"}}"#, "x".repeat(large));
            assert_eq!(attributes(&encoded(&json)).unwrap_err().code(), Code::AttributesTooLarge);
        }
    }

    #[test]
    fn only_plain_json_bodies_are_read() {
        let is_json = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, http::HeaderValue::from_static(value));
            }
            is_json(&headers)
        };
        assert!(is_json(&["application/json"]));
        assert!(is_json(&["Application/JSON; charset=utf-8"]));
        for bad in [&["text/plain"][..], &["application/json-patch+json"], &["application/json"; 2], &[]] {
            assert!(!is_json(bad), "{bad:?}");
        }
    }
}
