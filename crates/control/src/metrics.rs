//! What the control plane counts, in OpenMetrics. Labels are templates of routes, never paths, keys or names.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Media type of the exposition (OpenMetrics 1.0).
pub(crate) const OPENMETRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets, in seconds, for whole requests.
const REQUEST_BUCKETS: [f64; 12] = [5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 10.0];

/// All metrics of one control plane's API.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    auth_failures: Counter,
    edges_connected: Gauge,
    pub(crate) connections: Gauge,
    publishes: Counter,
    commit_conflicts: Counter,
    events: Family<EventLabels, Counter>,
    events_rolled_up: Counter,
    rollup_steps: Counter,
    rollup_conflicts: Counter,
    rollup_seconds: Counter<f64, AtomicU64>,
    config_versions: Family<ConfigLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfigLabels {
    environment: String,
    document: &'static str,
}

/// What is counted besides requests, at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Snapshots published by this process.
    pub(crate) publishes: u64,
    /// Commits that came too late and were decided anew.
    pub(crate) conflicts: u64,
    /// Events that were not there before.
    pub(crate) events_new: u64,
    /// Events that were there already.
    pub(crate) events_repeated: u64,
    /// Events that do not count.
    pub(crate) events_refused: u64,
    /// Events that the roll-up counted.
    pub(crate) events_rolled_up: u64,
    /// Transactions of the roll-up.
    pub(crate) rollup_steps: u64,
    /// Those that came too late and were computed anew.
    pub(crate) rollup_conflicts: u64,
    /// Time that the roll-up was at work.
    pub(crate) rolled_up_for: Duration,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("edgeseal_control");
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            auth_failures: Counter::default(),
            edges_connected: Gauge::default(),
            connections: Gauge::default(),
            publishes: Counter::default(),
            commit_conflicts: Counter::default(),
            events: Family::default(),
            events_rolled_up: Counter::default(),
            rollup_steps: Counter::default(),
            rollup_conflicts: Counter::default(),
            rollup_seconds: Counter::default(),
            config_versions: Family::default(),
            registry: Registry::default(),
        };
        // Counters get `_total` and units their suffix from the library.
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's header to its answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("http_connections", "Connections open now", metrics.connections.clone());
        registry.register(
            "auth_failures",
            "Requests without a token that is good",
            metrics.auth_failures.clone(),
        );
        registry.register("edges_connected", "Streams of edges open now", metrics.edges_connected.clone());
        registry.register("publishes", "Snapshots published by this process", metrics.publishes.clone());
        registry.register(
            "commit_conflicts",
            "Changes decided anew because somebody else committed first",
            metrics.commit_conflicts.clone(),
        );
        registry.register("events", "Events that came in, by what became of them", metrics.events.clone());
        registry.register(
            "events_rolled_up",
            "Events that this process counted",
            metrics.events_rolled_up.clone(),
        );
        registry.register("rollup_steps", "Transactions of the roll-up", metrics.rollup_steps.clone());
        registry.register(
            "rollup_conflicts",
            "Steps of the roll-up computed anew because another process was faster",
            metrics.rollup_conflicts.clone(),
        );
        registry.register_with_unit(
            "rollup",
            "Time that the roll-up was at work",
            Unit::Seconds,
            metrics.rollup_seconds.clone(),
        );
        registry.register(
            "config_version",
            "Newest version of each signed document that edges should have",
            metrics.config_versions.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create_owned(&RequestLabels { route: route.to_owned(), status }).inc();
        self.seconds
            .get_or_create_owned(&RouteLabels { route: route.to_owned() })
            .observe(took.as_secs_f64());
    }

    /// Counts a request without a good token.
    pub(crate) fn auth_failed(&self) {
        self.auth_failures.inc();
    }

    /// Counts a stream until the guard is dropped.
    pub(crate) fn edge_connected(&self) -> Connected {
        Connected::new(&self.edges_connected)
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> Connected {
        Connected::new(&self.connections)
    }

    /// Takes note of what edges of an environment should have.
    pub(crate) fn versions(&self, environment: &str, cv: u64, ep: u64, keyset_version: u64) {
        for (document, version) in [("snapshot", cv), ("status", ep), ("keyset", keyset_version)] {
            let labels = ConfigLabels { environment: environment.to_owned(), document };
            let version = i64::try_from(version).unwrap_or(i64::MAX);
            self.config_versions.get_or_create_owned(&labels).set(version);
        }
    }

    /// Everything as OpenMetrics text.
    pub(crate) fn exposition(&self, counts: Counts) -> String {
        let events = |outcome| self.events.get_or_create_owned(&EventLabels { outcome });
        for (counter, now) in [
            (&self.publishes, counts.publishes),
            (&self.commit_conflicts, counts.conflicts),
            (&events("new"), counts.events_new),
            (&events("repeated"), counts.events_repeated),
            (&events("refused"), counts.events_refused),
            (&self.events_rolled_up, counts.events_rolled_up),
            (&self.rollup_steps, counts.rollup_steps),
            (&self.rollup_conflicts, counts.rollup_conflicts),
        ] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        let rolled_up_for = counts.rolled_up_for.as_secs_f64();
        self.rollup_seconds.inc_by((rolled_up_for - self.rollup_seconds.get()).max(0.0));
        let mut text = String::new();
        // Writing into a `String` cannot fail.
        let _written = encode(&mut text, &self.registry);
        text
    }
}

/// Something that is open now; not any more when dropped.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Connected {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.answered("/api/v1/experiments/{key}", 200, Duration::from_millis(3));
        metrics.auth_failed();
        metrics.versions("production", 7, 3, 1);
        let connected = metrics.edge_connected();
        let counts = Counts {
            publishes: 2,
            conflicts: 1,
            events_new: 5,
            rollup_steps: 3,
            rolled_up_for: Duration::from_millis(250),
            ..Counts::default()
        };
        let text = metrics.exposition(counts);
        for line in [
            "edgeseal_control_http_requests_total{route=\"/api/v1/experiments/{key}\",status=\"200\"} 1",
            "edgeseal_control_auth_failures_total 1",
            "edgeseal_control_edges_connected 1",
            "edgeseal_control_http_connections 0",
            "edgeseal_control_publishes_total 2",
            "edgeseal_control_commit_conflicts_total 1",
            "edgeseal_control_events_total{outcome=\"new\"} 5",
            "edgeseal_control_rollup_steps_total 3",
            "edgeseal_control_rollup_seconds_total 0.25",
            "edgeseal_control_config_version{environment=\"production\",document=\"snapshot\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "no line '{line}' in\n{text}");
        }
        assert!(text.contains(
            "edgeseal_control_http_request_duration_seconds_bucket{le=\"0.005\",route=\"/api/v1/experiments/{key}\"} 1"
        ));
        drop(connected);
        let text = metrics.exposition(counts);
        assert!(text.contains("edgeseal_control_edges_connected 0"));
        assert!(text.contains("edgeseal_control_publishes_total 2"), "counts are taken over, not added");
    }
}
