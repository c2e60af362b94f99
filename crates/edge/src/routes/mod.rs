//! One file per route: its request, rules, reply, failures and tests.

pub(crate) mod assignments;
pub(crate) mod events;
pub(crate) mod experiments;
pub(crate) mod health;
pub(crate) mod keyset;
pub(crate) mod metrics;
pub(crate) mod ofrep;
pub(crate) mod status;
pub(crate) mod stream;

use std::borrow::Cow;

use bytes::Bytes;
use edgeseal_core::ids::UnitType;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Incoming;

use crate::body::Body;
use crate::caching::{is_held, set_validators};
use crate::problem::Problem;
use crate::published::{Document, Live};
use crate::request;

/// A request as hyper hands it over.
pub(crate) type Request = http::Request<Incoming>;
/// A reply.
pub(crate) type Response = http::Response<Body>;

/// A refusal in the form that its route speaks: problem details, or OFREP's.
pub(crate) trait Refusal {
    /// The reply that says it.
    fn into_response(self) -> Response;
}

/// Media type of every signed token (RFC 7519 §10.3.1).
pub(crate) const JWT: HeaderValue = HeaderValue::from_static("application/jwt");
/// The one header that caches may vary answers by: none but this is a safe part of their keys.
pub(crate) const VARY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
/// Room for the headers of the largest reply, so that the map never grows.
const REPLY_HEADERS: usize = 16;

/// A reply that shared caches may keep and clients may revalidate: 304 when the client holds it already.
pub(crate) fn cacheable(
    request: &HeaderMap,
    content_type: HeaderValue,
    cache_control: HeaderValue,
    etag: HeaderValue,
    body: Bytes,
) -> Response {
    let held = is_held(request, &etag);
    let mut response = Response::new(if held { Body::default() } else { Body::Whole(body) });
    let headers = response.headers_mut();
    headers.reserve(REPLY_HEADERS);
    set_validators(headers, cache_control, etag);
    headers.insert(VARY, VARY_ENCODING);
    if held {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, content_type);
    }
    response
}

/// A published document, for `cache_control`.
pub(crate) fn document(
    request: &HeaderMap,
    content_type: HeaderValue,
    cache_control: HeaderValue,
    document: &Document,
) -> Response {
    cacheable(request, content_type, cache_control, document.etag.clone(), document.body.clone())
}

/// A reply for this request only.
pub(crate) fn uncacheable(content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::Whole(body.into()));
    let headers = response.headers_mut();
    headers.reserve(REPLY_HEADERS);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(http::header::CACHE_CONTROL, crate::caching::NO_STORE);
    response
}

/// Checks a unit type, without making one where an experiment randomises it.
pub(crate) fn unit_type<'l>(live: &'l Live, name: &str) -> Result<Cow<'l, UnitType>, Problem> {
    match live.unit_type(name) {
        Some(known) => Ok(Cow::Borrowed(known)),
        None => request::unit_type(name).map(Cow::Owned),
    }
}
