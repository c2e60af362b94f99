//! What was acknowledged is there for whoever opens the database next.

use serde_json::json;

use super::events::{batch, event};
use super::guardrail::alert;
use super::rollups::full_step;
use super::*;
use crate::{AuditFilter, EdgeReport};

/// At once, while the first handle is still open.
pub async fn another_handle_sees_everything(database: &impl Database) {
    let first = database.open().await;
    fill(&*first).await;
    assert_eq!(summary(&*database.open().await).await, summary(&*first).await);
}

/// After an orderly end; that a killed process loses nothing is each backend's own test.
pub async fn everything_is_there_after_closing(database: &impl Database) {
    let first = database.open().await;
    fill(&*first).await;
    let before = summary(&*first).await;
    first.close().await;
    drop(first);
    let again = database.open().await;
    assert_eq!(summary(&*again).await, before);
    assert_eq!(again.commit(writing(&production(), 2)).await.unwrap(), 3);
}

async fn fill(store: &dyn Store) {
    store.commit(creation(&production())).await.unwrap();
    let mut commit = publishing(&production(), 1, 1, "a snapshot");
    commit.environment.as_mut().unwrap().documents =
        vec![document(Kind::Experiment, "checkout", json!({ "a": 1 })), deletion(Kind::Layer, "gone")];
    commit.tokens = vec![TokenWrite::Create(api_token("a"))];
    commit.audit = vec![entry("experiment.create"), entry("token.create")];
    commit.idempotency = Some(answer("k", minute(0)));
    commit.alerts = vec![alert("a")];
    store.commit(commit).await.unwrap();
    let report = EdgeReport {
        id: "edge".into(),
        environment: production(),
        version: "0.1.0".into(),
        source: "poll".into(),
        cv: 1,
        ep: 1,
        keyset_ver: 1,
        config_age_ms: 10,
        seen_at_ms: minute(0).unix_ms(),
    };
    store.edges_seen(&[report]).await.unwrap();
    let records: Vec<_> = (0..5).map(|number| event(number, "ada")).collect();
    store.append_events(&production(), &batch(&records)).await.unwrap();
    store.apply_rollup(&production(), &full_step(0, 3)).await.unwrap();
}

/// Everything there is, as text to compare.
async fn summary(store: &dyn Store) -> Vec<String> {
    let name = production();
    let mut texts = rollups::summary(store).await;
    texts.extend([
        format!("{:?}", store.environments().await.unwrap()),
        format!("{:?}", store.head(&name).await.unwrap().unwrap().keyring),
        format!("{:?}", store.documents_since(&name, 0).await.unwrap()),
        format!("{:?}", store.revisions(&name, Kind::Experiment, "checkout", None, 9).await.unwrap()),
        format!("{:?}", store.snapshot(&name).await.unwrap().unwrap()),
        format!("{:?}", store.publications(&name, None, 9).await.unwrap()),
        format!("{:?}", store.tokens().await.unwrap()),
        format!("{:?}", store.audit(&AuditFilter::default(), 9).await.unwrap()),
        format!("{:?}", store.answered("tokenofada", "k").await.unwrap().unwrap().sealed_body),
        format!("{:?}", store.edges(&name).await.unwrap()),
        format!("{:?}", store.events_after(&name, 0, 99).await.unwrap()),
        format!("{:?}", store.alerts(&name, 9).await.unwrap()),
    ]);
    texts
}
