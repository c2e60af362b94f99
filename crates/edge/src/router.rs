//! From a request to the route that answers it, and what every answer carries.

use std::time::Instant;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, HeaderName,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::watch;

use crate::App;
use crate::caching::NO_STORE;
use crate::problem::{Code, Problem, quote};
use crate::route::Route;
use crate::routes::{
    Refusal, Request, Response, assignments, events, experiments, health, keyset, metrics, ofrep, status,
    stream,
};

/// What browsers of other origins may do on open routes.
const OPEN_METHODS: &str = "GET, HEAD, POST";
const OPEN_REQUEST_HEADERS: &str = "authorization, content-type, if-none-match, last-event-id, traceparent, tracestate, x-api-key, x-edgeseal-timing";
const OPEN_RESPONSE_HEADERS: &str = "etag, retry-after, server-timing, x-edgeseal-previous";
const PREFLIGHT_MAX_AGE_SECONDS: &str = "86400";

/// Answers one request.
///
/// A plain `match` instead of a routing library: what a general router boxes and clones for each request shows in the
/// profile of a remembered token (docs/decisions/0005-no-router-library.md).
///
/// `stop` turns true when the edge shuts down: whatever has no end of its own ends then.
pub(crate) async fn dispatch(app: &App, stop: &watch::Receiver<bool>, request: Request) -> Response {
    let route = Route::of(request.uri().path());
    let started = Instant::now();
    let mut response = match route {
        Route::Other => not_found().into_response(),
        _ if !route.answers(request.method()) => method_not_allowed(route, request.method()),
        _ if request.method() == Method::OPTIONS => preflight(),
        Route::AssignmentsOfUnit => said(assignments::read(app, request).await),
        Route::Assignments => said(assignments::write(app, request).await),
        Route::Experiment => said(experiments::read(app, request).await),
        Route::Status => said(status::read(app, request).await),
        Route::Stream => said(stream::read(app, stop, request).await),
        Route::Keyset => said(keyset::read(app, request).await),
        Route::Jwks => said(keyset::read_jwks(app, request).await),
        Route::Events => said(events::write(app, request).await),
        Route::OfrepFlags => said(ofrep::evaluate_all(app, request).await),
        Route::OfrepFlag => said(ofrep::evaluate_one(app, request).await),
        Route::Health => said(health::alive(app, request).await),
        Route::Ready => said(health::ready(app, request).await),
        Route::Metrics => said(metrics::read(app, request).await),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if route.is_open() {
        set_open(headers);
    }
    app.metrics.answered(route, response.status(), started.elapsed());
    response
}

fn said<E: Refusal>(result: Result<Response, E>) -> Response {
    result.unwrap_or_else(Refusal::into_response)
}

fn set_open(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(OPEN_RESPONSE_HEADERS));
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
}

fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(OPEN_METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(OPEN_REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_SECONDS));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path; see the list of routes in the documentation")
}

fn method_not_allowed(route: Route, method: &Method) -> Response {
    let detail = format!("method '{}' does not work here; see 'allow'", quote(method.as_str()));
    let mut response = Problem::new(Code::MethodNotAllowed, detail).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.methods()));
    response
}

#[cfg(test)]
mod tests;
