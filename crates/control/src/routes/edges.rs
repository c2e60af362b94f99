//! Edges: what they report, and who reported lately.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use edgeseal_core::ids::Environment;
use edgeseal_store::EdgeReport;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::at;
use super::call::{Call, json};
use super::operation::{Access, Operation, Reach};
use super::parameter::NAME_PATTERN;
use crate::auth::Scope;
use crate::body::views::EdgeView;
use crate::pagination::Page;
use crate::problem::{Code, Problem};
use crate::router::Desk;

/// How often reports are written to the store.
pub(crate) const REPORTS_WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// Most edges whose reports wait to be written; beyond it: 503.
const MAX_WAITING_REPORTS: usize = 10_000;
/// Longest id or version of an edge, in characters.
const MAX_LABEL_CHARS: usize = 128;
const LIST: &str = "edges";
/// Characters that an id or version is made of.
const LABEL_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}$";
/// Largest version that a report may name.
const MAX_VERSION: u64 = 999_999_999_999_999_999;
/// Largest age that a report may name, in milliseconds; beyond all calendars.
const MAX_AGE_MS: i64 = 9_999_999_999_999;

/// What an edge says of itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "EdgeReport")]
struct Report {
    /// Drawn when the edge first started.
    #[schemars(regex(pattern = LABEL_PATTERN), length(min = 1, max = MAX_LABEL_CHARS))]
    id: String,
    /// The environment it serves.
    #[schemars(with = "String", regex(pattern = NAME_PATTERN), length(min = 1, max = 64))]
    environment: Environment,
    /// Its software version.
    #[schemars(regex(pattern = LABEL_PATTERN), length(min = 1, max = MAX_LABEL_CHARS))]
    version: String,
    /// How it hears of changes.
    source: Source,
    /// Version of the snapshot it serves.
    #[schemars(range(min = 0, max = MAX_VERSION))]
    cv: u64,
    /// Epoch of the status document it serves.
    #[schemars(range(min = 0, max = MAX_VERSION))]
    ep: u64,
    /// Version of the keyset it serves.
    #[schemars(range(min = 0, max = MAX_VERSION))]
    keyset_ver: u64,
    /// Age of the status document it serves, in milliseconds; negative when its clock is behind.
    #[schemars(range(min = -MAX_AGE_MS, max = MAX_AGE_MS))]
    config_age_ms: i64,
}

/// How an edge hears of changes.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "EdgeSource")]
enum Source {
    /// From the control plane's stream.
    Stream,
    /// Through Redis.
    Redis,
    /// By asking.
    Poll,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(at("/edges"), "listEdges", "List edges that reported lately, by id")
            .tag("edges")
            .allow(Access::Scope(Scope::Viewer), Reach::Environment)
            .paged()
            .replies::<Page<EdgeView<'static>>>(StatusCode::OK, "One page.")
            .by(list),
        Operation::post(at("/edge/heartbeat"), "reportEdge", "Tell how an edge is")
            .tag("edges")
            .allow(Access::Scope(Scope::Edge), Reach::BodyEnvironment)
            .repeatable()
            .takes::<Report>()
            .replies_empty("Noted.")
            .by(report),
    ]
}

async fn list(call: Call) -> Result<Response, Problem> {
    let wanted = call.query.page(LIST)?;
    call.control().state(&call.environment).await?;
    let stored = call.control().store().edges(&call.environment).await?;
    let mut edges: BTreeMap<String, EdgeReport> =
        stored.into_iter().map(|report| (report.id.clone(), report)).collect();
    for waiting in call.desk.reports.of(&call.environment) {
        edges.insert(waiting.id.clone(), waiting);
    }
    let now = call.control().now();
    let after = wanted.after.unwrap_or_default();
    let views = edges.values().filter(|report| report.id > after).map(|report| EdgeView::of(report, now));
    json(StatusCode::OK, &Page::cut(LIST, views, wanted.limit, |view| view.id().to_owned()))
}

async fn report(mut call: Call) -> Result<Response, Problem> {
    let report: Report = call.json().await?;
    call.caller.check(&report.environment)?;
    for (pointer, text) in [("/id", &report.id), ("/version", &report.version)] {
        if !is_label(text) {
            let detail = format!(
                "must have 1 to {MAX_LABEL_CHARS} ASCII letters, digits, '_', '-', '.' and '+', and begin with a letter \
                 or digit"
            );
            return Err(Problem::at(Code::Invalid, pointer, detail));
        }
    }
    for (pointer, version) in [("/cv", report.cv), ("/ep", report.ep), ("/keysetVer", report.keyset_ver)] {
        if version > MAX_VERSION {
            return Err(Problem::at(Code::Invalid, pointer, format!("must be at most {MAX_VERSION}")));
        }
    }
    if !(-MAX_AGE_MS..=MAX_AGE_MS).contains(&report.config_age_ms) {
        let detail = format!("must be from -{MAX_AGE_MS} to {MAX_AGE_MS}");
        return Err(Problem::at(Code::Invalid, "/configAgeMs", detail));
    }
    // From memory if it was met: a heartbeat does not wait for the database.
    call.control().subscribe(&report.environment).await?;
    let report = EdgeReport {
        id: report.id,
        environment: report.environment,
        version: report.version,
        source: match report.source {
            Source::Stream => "stream",
            Source::Redis => "redis",
            Source::Poll => "poll",
        }
        .to_owned(),
        cv: report.cv,
        ep: report.ep,
        keyset_ver: report.keyset_ver,
        config_age_ms: report.config_age_ms,
        seen_at_ms: call.control().now().unix_ms(),
    };
    if !call.desk.reports.take(report) {
        return Err(Problem::new(
            Code::Overloaded,
            "too many edges report at the same time; try again shortly",
        ));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-');
    text.len() <= MAX_LABEL_CHARS
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Reports that the store does not know yet: at most one of each edge.
#[derive(Default)]
pub(crate) struct Reports(Mutex<BTreeMap<(Environment, String), EdgeReport>>);

impl Reports {
    /// Takes a report; `false` when there is no room.
    fn take(&self, report: EdgeReport) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (report.environment.clone(), report.id.clone());
        if waiting.len() >= MAX_WAITING_REPORTS && !waiting.contains_key(&place) {
            return false;
        }
        waiting.insert(place, report);
        true
    }

    fn of(&self, environment: &Environment) -> Vec<EdgeReport> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().filter(|report| report.environment == *environment).cloned().collect()
    }

    /// Writes them all; what cannot be written waits for the next time, unless something newer came.
    pub(crate) async fn write(&self, desk: &Desk) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return;
        }
        let reports: Vec<EdgeReport> = taken.into_values().collect();
        if let Err(error) = desk.control.store().edges_seen(&reports).await {
            tracing::warn!(%error, edges = reports.len(), "cannot note what edges reported; trying again");
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for report in reports {
                let place = (report.environment.clone(), report.id.clone());
                waiting.entry(place).or_insert(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of(id: &str, cv: u64) -> EdgeReport {
        EdgeReport {
            id: id.into(),
            environment: Environment::default(),
            version: "0.1.0".into(),
            source: "poll".into(),
            cv,
            ep: 1,
            keyset_ver: 1,
            config_age_ms: 0,
            seen_at_ms: 0,
        }
    }

    #[test]
    fn the_newest_report_of_each_edge_waits() {
        let reports = Reports::default();
        assert!(reports.take(report_of("a", 1)) && reports.take(report_of("b", 1)));
        assert!(reports.take(report_of("a", 2)));
        let waiting: Vec<(String, u64)> =
            reports.of(&Environment::default()).into_iter().map(|it| (it.id, it.cv)).collect();
        assert_eq!(waiting, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }

    #[test]
    fn reports_are_bounded_but_known_edges_stay_welcome() {
        let reports = Reports::default();
        for number in 0..MAX_WAITING_REPORTS {
            assert!(reports.take(report_of(&format!("edge-{number}"), 1)));
        }
        assert!(!reports.take(report_of("one-more", 1)));
        assert!(reports.take(report_of("edge-0", 2)));
    }

    #[test]
    fn labels_are_harmless() {
        for good in ["0.1.0", "0.1.0-rc.1+build", "edge_1", &"x".repeat(MAX_LABEL_CHARS)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a b", "é", "a\n", &"x".repeat(MAX_LABEL_CHARS + 1)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
