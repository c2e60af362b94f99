//! The HTTP API: every operation of [`routes`], behind one layer that all answers pass on their way out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use crate::auth::Auth;
use crate::control::Control;
use crate::ingest::Intake;
use crate::metrics::Metrics;
use crate::openapi;
use crate::problem::{self, Problem};
use crate::routes::{self, Handler, Operation, Reports, call};

/// Longest `x-request-id` that is taken over from a request.
const MAX_REQUEST_ID_CHARS: usize = 64;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How the API is served, and what it bounds.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Longest that a client may take to send a request's header; beyond it the connection is closed.
    pub header_read_timeout: Duration,
    /// Longest that a client may take to send a request's body; beyond it: 408.
    pub body_read_timeout: Duration,
    /// Most connections open at once; beyond it they wait to be accepted.
    pub max_connections: usize,
    /// Most streams of edges open at once; beyond it: 503.
    pub max_streams: usize,
    /// Failed authentications that one client address may have in a minute; beyond it: 429.
    pub auth_failures_per_minute: u32,
    /// How often a stream's token is looked up again, besides whenever tokens change.
    pub stream_recheck: Duration,
    /// Longest that requests under way may take to finish once a shutdown was asked for.
    pub shutdown_grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(5),
            body_read_timeout: Duration::from_secs(10),
            max_connections: 4_096,
            max_streams: 2_048,
            auth_failures_per_minute: 10,
            stream_recheck: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// What all requests share.
pub(crate) struct Desk {
    pub(crate) control: Arc<Control>,
    pub(crate) settings: HttpSettings,
    pub(crate) auth: Auth,
    pub(crate) metrics: Metrics,
    /// What edges reported and the store does not know yet.
    pub(crate) reports: Reports,
    /// Places and memory for batches of events.
    pub(crate) intake: Intake,
    /// The OpenAPI document.
    pub(crate) document: Bytes,
    /// Places for streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Turns true when streams have to end.
    pub(crate) closing: watch::Sender<bool>,
}

/// The API, ready to be served.
#[derive(Clone)]
pub struct Api {
    router: axum::Router,
    pub(crate) desk: Arc<Desk>,
}

/// Puts the API together.
pub fn api(control: Arc<Control>, settings: HttpSettings) -> Api {
    let desk = Arc::new(Desk {
        control,
        auth: Auth::new(settings.auth_failures_per_minute),
        metrics: Metrics::new(),
        reports: Reports::default(),
        intake: Intake::new(),
        document: openapi::openapi_json().into(),
        streams: Arc::new(Semaphore::new(settings.max_streams)),
        closing: watch::Sender::new(false),
        settings,
    });
    let router = routes::all().into_iter().fold(axum::Router::new(), |router, operation| {
        let path = operation.path.clone();
        router.route(&path, endpoint(operation))
    });
    let router = router.layer(from_fn_with_state(Arc::clone(&desk), finish)).with_state(Arc::clone(&desk));
    Api { router, desk }
}

impl Api {
    /// The routes, for a server of one's own. It has to put `ConnectInfo<SocketAddr>` into each request, or all
    /// clients share one count of failed authentications; and [`Api::background`] has to run beside it.
    pub fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// Writes what edges reported and when tokens were used, in batches, until it is dropped.
    pub async fn background(&self) {
        let mut tick = tokio::time::interval(routes::REPORTS_WRITTEN_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.flush().await;
        }
    }

    /// Writes what is still to be written, at the end.
    pub(crate) async fn flush(&self) {
        self.desk.reports.write(&self.desk).await;
        self.desk.auth.write_usage(&self.desk).await;
    }

    /// Ends all streams, and every one that begins from now on.
    pub(crate) fn close_streams(&self) {
        self.desk.closing.send_replace(true);
    }
}

fn endpoint(operation: Operation) -> MethodRouter<Arc<Desk>> {
    let filter = match operation.method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    let operation = Arc::new(operation);
    on(filter, move |State(desk): State<Arc<Desk>>, request: Request| {
        let operation = Arc::clone(&operation);
        async move {
            let answered = match &operation.handler {
                Handler::Open(handler) => match call::open(&operation, desk, request) {
                    Ok(call) => handler(call).await,
                    Err(refusal) => Err(refusal),
                },
                Handler::Gated(handler) => match call::admit(&operation, desk, request).await {
                    Ok(call) => handler(call).await,
                    Err(refusal) => Err(refusal),
                },
            };
            let mut response = answered.unwrap_or_else(IntoResponse::into_response);
            response.extensions_mut().insert(RouteLabel(operation.path.clone()));
            response
        }
    })
}

/// The template of the route that answered, for metrics.
#[derive(Clone)]
struct RouteLabel(Cow<'static, str>);

/// Names a request in answers, logs and the audit log.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// Takes over what the client or a proxy chose, if it is harmless; or else makes one.
    fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(X_REQUEST_ID).iter();
        let chosen = match (sent.next().map(HeaderValue::to_str), sent.next()) {
            (Some(Ok(id)), None) if is_safe(id) => Some(id.to_owned()),
            _ => None,
        };
        Self(chosen.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_safe(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(allowed)
}

/// What every answer passes: it gets its id and its headers, refusals get their words, and it is counted.
async fn finish(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let span = tracing::info_span!("control.request", %method, request = id.as_str());
    let mut response = next.run(request).instrument(span).await;

    let refusal = response.extensions_mut().remove::<Problem>().or_else(|| problem::of_router(&response));
    let code = refusal.as_ref().map(|refusal| refusal.code().as_str());
    if let Some(refusal) = refusal {
        let mut written = refusal.render(Some(id.as_str()));
        // What the router said besides, such as `allow`.
        for (name, value) in response.headers() {
            if !written.headers().contains_key(name) && *name != http::header::CONTENT_LENGTH {
                written.headers_mut().insert(name.clone(), value.clone());
            }
        }
        *written.extensions_mut() = std::mem::take(response.extensions_mut());
        response = written;
    }
    protect(response.headers_mut());
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    let route = response.extensions().get::<RouteLabel>().map_or("other", |label| label.0.as_ref());
    let (status, took) = (response.status().as_u16(), started.elapsed());
    tracing::debug!(request = id.as_str(), %method, route, status, code, ?took, "answered");
    desk.metrics.answered(route, status, took);
    response
}

/// The headers that every answer carries.
pub(crate) fn protect(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_request_ids_are_taken_over() {
        let id = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_REQUEST_ID, HeaderValue::from_static(value));
            }
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(id(&["trace-1.a_B"]), "trace-1.a_B");
        let long: &'static str = Box::leak("x".repeat(65).into_boxed_str());
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &[long], &["a", "a"]] {
            assert_eq!(id(bad).len(), 36, "{bad:?}");
        }
    }
}
