//! What the edge counts, in OpenMetrics. Never labelled by unit, path or tag: a label may only take values that the
//! operator chose.
//!
//! Counters of the hot path are looked up once per published ruleset or per route, and then only incremented.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use edgeseal_core::evaluate::{Outcome, Reason};
use edgeseal_core::ruleset::{Experiment, Ruleset};
use edgeseal_core::sealing::{KeyId, SIGNATURE_BYTES, Signer};
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::route::Route;

/// Media type of the exposition (OpenMetrics 1.0).
pub(crate) const OPENMETRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets, in seconds, for work done in process.
const WORK_BUCKETS: [f64; 11] = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2];
/// Upper bounds of the buckets, in seconds, for whole requests.
const REQUEST_BUCKETS: [f64; 12] = [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0, 10.0];

/// Every status that a route answers with; others (there are none today) take the slow path.
const STATUSES: [u16; 15] = [200, 202, 204, 304, 400, 401, 404, 405, 408, 413, 414, 415, 429, 431, 503];

/// All metrics of one edge.
pub(crate) struct Metrics {
    registry: Registry,
    evaluations: Family<EvaluationLabels, Counter>,
    /// Seconds to evaluate all experiments of one request, without signing.
    pub(crate) evaluation_seconds: Histogram,
    /// Seconds for one signature.
    pub(crate) sign_seconds: Histogram,
    pub(crate) memo_hits: Counter,
    pub(crate) memo_misses: Counter,
    config_age_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    snapshot_version: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    /// Streams of status documents open now.
    pub(crate) streams: Gauge,
    feed_refusals: Family<RefusalLabels, Counter>,
    pub(crate) feed_takeovers: Counter,
    pub(crate) feed_state_failures: Counter,
    /// 1 while the control plane's stream is open.
    pub(crate) feed_connected: Gauge,
    /// Events of batches that could be read, whatever became of them.
    pub(crate) events_received: Counter,
    /// Events that are on disk.
    pub(crate) events_accepted: Counter,
    events_rejected: Family<EventLabels, Counter>,
    event_tokens_refused: Family<EventLabels, Counter>,
    /// Records that the control plane has, notes of refused events included.
    pub(crate) events_delivered: Counter,
    pub(crate) event_delivery_failures: Counter,
    spool_bytes: Gauge,
    spool_damages: Gauge,
    event_delivery_lag_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    requests: Family<RequestLabels, Counter>,
    by_route: [RouteMetrics; Route::ALL.len()],
}

struct RouteMetrics {
    seconds: Histogram,
    by_status: [OnceLock<Counter>; STATUSES.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvaluationLabels {
    experiment: String,
    variant: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS));
        let metrics = Self {
            registry: Registry::with_prefix("edgeseal"),
            evaluations: Family::default(),
            evaluation_seconds: Histogram::new(WORK_BUCKETS),
            sign_seconds: Histogram::new(WORK_BUCKETS),
            memo_hits: Counter::default(),
            memo_misses: Counter::default(),
            config_age_seconds: Gauge::default(),
            snapshot_version: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            streams: Gauge::default(),
            feed_refusals: Family::default(),
            feed_takeovers: Counter::default(),
            feed_state_failures: Counter::default(),
            feed_connected: Gauge::default(),
            events_received: Counter::default(),
            events_accepted: Counter::default(),
            events_rejected: Family::default(),
            event_tokens_refused: Family::default(),
            events_delivered: Counter::default(),
            event_delivery_failures: Counter::default(),
            spool_bytes: Gauge::default(),
            spool_damages: Gauge::default(),
            event_delivery_lag_seconds: Gauge::default(),
            requests: Family::default(),
            by_route: Route::ALL.map(|route| RouteMetrics {
                seconds: request_seconds.get_or_create_owned(&RouteLabels { route: route.pattern() }),
                by_status: std::array::from_fn(|_| OnceLock::new()),
            }),
        };
        metrics.registered(request_seconds)
    }

    // Counters get `_total` and units their suffix from the library.
    fn registered(mut self, request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>) -> Self {
        let registry = &mut self.registry;
        registry.register("evaluations", "Experiments evaluated", self.evaluations.clone());
        registry.register_with_unit(
            "evaluation_duration",
            "Time to evaluate the experiments of one request, without signing",
            Unit::Seconds,
            self.evaluation_seconds.clone(),
        );
        registry.register_with_unit(
            "sign_duration",
            "Time for one signature",
            Unit::Seconds,
            self.sign_seconds.clone(),
        );
        registry.register("memo_hits", "Tokens answered from memory", self.memo_hits.clone());
        registry.register("memo_misses", "Tokens signed afresh", self.memo_misses.clone());
        registry.register_with_unit(
            "config_age",
            "Age of the status document in use: how far this edge may be behind the control plane",
            Unit::Seconds,
            self.config_age_seconds.clone(),
        );
        registry.register(
            "snapshot_version",
            "Version of the snapshot in use, 0 for none",
            self.snapshot_version.clone(),
        );
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's header to its answer",
            Unit::Seconds,
            request_seconds,
        );
        registry.register("http_connections", "Connections open now", self.connections.clone());
        registry.register(
            "http_connections_refused",
            "Connections turned away because too many were open",
            self.connections_refused.clone(),
        );
        registry.register("http_streams", "Streams of status documents open now", self.streams.clone());
        registry.register("feed_refusals", "Offered documents that were refused", self.feed_refusals.clone());
        registry.register(
            "feed_takeovers",
            "Offers that changed what is served",
            self.feed_takeovers.clone(),
        );
        registry.register(
            "feed_state_failures",
            "Writes to this edge's own disk that failed",
            self.feed_state_failures.clone(),
        );
        registry.register(
            "feed_connected",
            "1 while the control plane's stream is open",
            self.feed_connected.clone(),
        );
        self.registered_events()
    }

    fn registered_events(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "events_received",
            "Events of batches that were read",
            self.events_received.clone(),
        );
        registry.register("events_accepted", "Events that are on disk", self.events_accepted.clone());
        registry.register(
            "events_rejected",
            "Events that were refused, by code",
            self.events_rejected.clone(),
        );
        registry.register(
            "event_tokens_refused",
            "Batches of events whose token was refused, by its code",
            self.event_tokens_refused.clone(),
        );
        registry.register(
            "events_delivered",
            "Events, and notes of refused ones, that the control plane has",
            self.events_delivered.clone(),
        );
        registry.register(
            "event_delivery_failures",
            "Deliveries to the control plane that failed and were tried again",
            self.event_delivery_failures.clone(),
        );
        registry.register_with_unit(
            "event_spool",
            "Events on this disk that the control plane does not have yet",
            Unit::Bytes,
            self.spool_bytes.clone(),
        );
        registry.register(
            "event_spool_damages",
            "Damaged places on this disk that were passed over since the start",
            self.spool_damages.clone(),
        );
        registry.register_with_unit(
            "event_delivery_lag",
            "Age of the oldest event that the control plane does not have yet",
            Unit::Seconds,
            self.event_delivery_lag_seconds.clone(),
        );
        self
    }

    /// Counts one refused event.
    pub(crate) fn event_rejected(&self, code: &'static str) {
        self.events_rejected.get_or_create_owned(&EventLabels { code }).inc();
    }

    /// Counts one batch whose token was refused.
    pub(crate) fn event_token_refused(&self, code: &'static str) {
        self.event_tokens_refused.get_or_create_owned(&EventLabels { code }).inc();
    }

    /// Sets what the spool says of itself.
    pub(crate) fn spool_is(&self, bytes: u64, damages: u64, lag_seconds: f64) {
        self.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.spool_damages.set(i64::try_from(damages).unwrap_or(i64::MAX));
        self.event_delivery_lag_seconds.set(lag_seconds);
    }

    /// Counts one refused offer.
    pub(crate) fn feed_refused(&self, reason: &'static str) {
        self.feed_refusals.get_or_create_owned(&RefusalLabels { reason }).inc();
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        let by_route = &self.by_route[route as usize];
        by_route.seconds.observe(took.as_secs_f64());
        let status = status.as_u16();
        let resolve = || self.requests.get_or_create_owned(&RequestLabels { route: route.pattern(), status });
        match STATUSES.iter().position(|&known| known == status) {
            Some(place) => by_route.by_status[place].get_or_init(resolve).inc(),
            None => resolve().inc(),
        };
    }

    /// `signer`, measured.
    pub(crate) fn measured(&self, signer: Arc<dyn Signer>) -> MeasuredSigner {
        MeasuredSigner { signer, seconds: self.sign_seconds.clone() }
    }

    /// The counters of one ruleset's experiments.
    pub(crate) fn evaluation_counters(&self, ruleset: &Ruleset) -> EvaluationCounters {
        EvaluationCounters {
            family: self.evaluations.clone(),
            by_experiment: ruleset.experiments().iter().map(OutcomeCounters::new).collect(),
        }
    }

    /// Everything as OpenMetrics text; the gauges that depend on the time are set first.
    pub(crate) fn exposition(&self, config_age_seconds: f64, snapshot_version: u64) -> String {
        self.config_age_seconds.set(config_age_seconds);
        self.snapshot_version.set(i64::try_from(snapshot_version).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a `String` cannot fail.
        let _written = encode(&mut text, &self.registry);
        text
    }
}

/// A signer whose every signature is timed.
pub(crate) struct MeasuredSigner {
    signer: Arc<dyn Signer>,
    seconds: Histogram,
}

thread_local! {
    static LAST_SIGNATURE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long the last signature on this thread took: `answer` evaluates and signs in one go, and this tells the two
/// apart.
pub(crate) fn last_signature() -> Duration {
    LAST_SIGNATURE.get()
}

impl Signer for MeasuredSigner {
    fn kid(&self) -> &KeyId {
        self.signer.kid()
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let started = Instant::now();
        let signature = self.signer.sign(message);
        let took = started.elapsed();
        LAST_SIGNATURE.set(took);
        self.seconds.observe(took.as_secs_f64());
        signature
    }
}

/// The counters `edgeseal_evaluations_total{experiment,variant,reason}` of one ruleset, found by index.
pub(crate) struct EvaluationCounters {
    family: Family<EvaluationLabels, Counter>,
    by_experiment: Box<[OutcomeCounters]>,
}

/// One experiment's counters, made when first needed so that the exposition lists only what happened.
struct OutcomeCounters {
    with_variant: Box<[[OnceLock<Counter>; Reason::ALL.len()]]>,
    without: [OnceLock<Counter>; Reason::ALL.len()],
}

impl OutcomeCounters {
    fn new(experiment: &Experiment) -> Self {
        let fresh = || std::array::from_fn(|_| OnceLock::new());
        Self { with_variant: experiment.variants().iter().map(|_| fresh()).collect(), without: fresh() }
    }
}

impl EvaluationCounters {
    /// Counts one outcome.
    pub(crate) fn count(&self, experiment: &Experiment, outcome: &Outcome<'_>) {
        let Some(counters) = self.by_experiment.get(experiment.index()) else { return };
        let by_reason = match outcome.variant {
            Some(variant) => counters.with_variant.get(variant.index()),
            None => Some(&counters.without),
        };
        let Some(counter) = by_reason.and_then(|by_reason| by_reason.get(outcome.reason as usize)) else {
            return;
        };
        counter.get_or_init(|| self.resolve(experiment, outcome)).inc();
    }

    #[cold]
    fn resolve(&self, experiment: &Experiment, outcome: &Outcome<'_>) -> Counter {
        self.family.get_or_create_owned(&EvaluationLabels {
            experiment: experiment.key().to_string(),
            variant: outcome.variant.map(|variant| variant.key().to_string()).unwrap_or_default(),
            reason: outcome.reason.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.answered(Route::Status, StatusCode::OK, Duration::from_micros(80));
        metrics.memo_hits.inc();
        let text = metrics.exposition(2.5, 7);
        for line in [
            "edgeseal_config_age_seconds 2.5",
            "edgeseal_snapshot_version 7",
            "edgeseal_memo_hits_total 1",
            "edgeseal_memo_misses_total 0",
            "edgeseal_http_requests_total{route=\"/v1/status\",status=\"200\"} 1",
            "edgeseal_http_connections 0",
            "edgeseal_http_connections_refused_total 0",
            "edgeseal_http_streams 0",
            "edgeseal_evaluation_duration_seconds_count 0",
            "edgeseal_sign_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line '{line}' in\n{text}");
        }
        assert!(
            text.contains(
                "edgeseal_http_request_duration_seconds_bucket{le=\"0.0001\",route=\"/v1/status\"} 1"
            )
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_status_outside_the_table_is_counted_too() {
        let metrics = Metrics::new();
        metrics.answered(Route::Other, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        assert!(
            metrics
                .exposition(0.0, 0)
                .contains("edgeseal_http_requests_total{route=\"other\",status=\"418\"} 1")
        );
    }
}
