//! Every route of the edge, in one place.

use std::future::Future;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::App;
use crate::caching::NO_STORE;
use crate::metrics::Route;
use crate::problem::{Code, Problem};
use crate::routes::{assignments, experiments, health, keyset, metrics, ofrep, status};

/// What browsers of other origins may do on open routes.
const OPEN_METHODS: &str = "GET, HEAD, POST";
const OPEN_REQUEST_HEADERS: &str =
    "authorization, content-type, if-none-match, traceparent, tracestate, x-api-key, x-edgeseal-timing";
const OPEN_RESPONSE_HEADERS: &str = "etag, retry-after, server-timing, x-edgeseal-previous";
const PREFLIGHT_MAX_AGE_SECONDS: &str = "86400";

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/assignments/{unit}", open(reads(Route::AssignmentsOfUnit, assignments::read)))
        .route("/v1/assignments", open(writes(Route::Assignments, assignments::write)))
        // Not open: a browser must never see the HMAC profile.
        .route("/v1/experiments/{key}", reads(Route::Experiment, experiments::read))
        .route("/v1/status", open(reads(Route::Status, status::read)))
        .route("/v1/keyset", open(reads(Route::Keyset, keyset::read)))
        .route("/.well-known/jwks.json", open(reads(Route::Jwks, keyset::read_jwks)))
        .route("/ofrep/v1/evaluate/flags", open(writes(Route::OfrepFlags, ofrep::evaluate_all)))
        .route("/ofrep/v1/evaluate/flags/{key}", open(writes(Route::OfrepFlag, ofrep::evaluate_one)))
        .route("/healthz", reads(Route::Health, health::alive))
        .route("/readyz", reads(Route::Ready, health::ready))
        .route("/metrics", reads(Route::Metrics, metrics::read))
        .method_not_allowed_fallback(|State(app): State<App>, request: Request| {
            answer(Route::Other, app, request, method_not_allowed)
        })
        .fallback(|State(app): State<App>, request: Request| answer(Route::Other, app, request, not_found))
        .with_state(app)
}

/// GET and HEAD.
fn reads<H, Fut, E>(route: Route, handler: H) -> MethodRouter<App>
where
    H: Fn(App, Request) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, E>> + Send,
    E: IntoResponse + 'static,
{
    get(move |State(app): State<App>, request: Request| answer(route, app, request, handler))
}

/// POST.
fn writes<H, Fut, E>(route: Route, handler: H) -> MethodRouter<App>
where
    H: Fn(App, Request) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, E>> + Send,
    E: IntoResponse + 'static,
{
    post(move |State(app): State<App>, request: Request| answer(route, app, request, handler))
}

/// Open to scripts of every origin: what is answered here is either public or asked for by name, and no cookie or
/// other ambient credential counts.
fn open(methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.options(preflight)
}

/// Runs a handler, adds the headers that every answer carries, and counts it.
async fn answer<H, Fut, E>(route: Route, app: App, request: Request, handler: H) -> Response
where
    H: Fn(App, Request) -> Fut,
    Fut: Future<Output = Result<Response, E>>,
    E: IntoResponse,
{
    let started = Instant::now();
    let mut response = handler(App::clone(&app), request).await.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if route.is_open() {
        set_open(headers);
    }
    app.metrics.answered(route, response.status(), started.elapsed());
    response
}

fn set_open(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(OPEN_RESPONSE_HEADERS));
    headers.insert(HeaderName::from_static("timing-allow-origin"), HeaderValue::from_static("*"));
}

async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(OPEN_METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(OPEN_REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_SECONDS));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

async fn not_found(_app: App, _request: Request) -> Result<Response, Problem> {
    Err(Problem::new(
        Code::NotFound,
        "there is nothing at this path; see the list of routes in the documentation",
    ))
}

// axum adds the `allow` header.
async fn method_not_allowed(_app: App, request: Request) -> Result<Response, Problem> {
    let method = request.method().as_str();
    let detail = format!("method '{}' does not work here; see 'allow'", crate::problem::quote(method));
    Err(Problem::new(Code::MethodNotAllowed, detail))
}

#[cfg(test)]
mod tests;
