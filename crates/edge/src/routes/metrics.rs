//! `GET /metrics`: OpenMetrics text for Prometheus.

use http::HeaderValue;

use super::{Request, Response, uncacheable};
use crate::Shared;
use crate::metrics::OPENMETRICS_TEXT;
use crate::problem::Problem;

/// Always 200, also before anything is published.
pub(crate) async fn read(app: &Shared, _request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let (age_seconds, version) = live.as_deref().map_or((0.0, 0), |live| {
        let age_ms = app.clock.now().unix_ms().saturating_sub(live.status.iat.unix_ms());
        (age_ms as f64 / 1e3, live.ruleset.version())
    });
    if let Some(intake) = app.intake.get() {
        let spool = &intake.spool;
        app.metrics.spool_is(spool.undelivered_bytes(), spool.damaged(), intake.lag_seconds(app.clock.now()));
    }
    Ok(uncacheable(HeaderValue::from_static(OPENMETRICS_TEXT), app.metrics.exposition(age_seconds, version)))
}
