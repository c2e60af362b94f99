//! Reports of edges.

use super::*;
use crate::EdgeReport;

fn report(id: &str, seen_minute: i64) -> EdgeReport {
    EdgeReport {
        id: id.to_owned(),
        environment: production(),
        version: format!("0.{seen_minute}.0"),
        source: "stream".into(),
        cv: 3,
        ep: 4,
        keyset_ver: 5,
        config_age_ms: -6,
        seen_at_ms: minute(seen_minute).unix_ms(),
    }
}

/// Whatever the order in which reports arrive; environments do not mix even where ids do.
pub async fn the_newest_report_of_an_edge_counts(database: &impl Database) {
    let store = database.open().await;
    store.edges_seen(&[]).await.unwrap();
    store.edges_seen(&[report("b", 1), report("a", 2), report("b", 3), report("b", 2)]).await.unwrap();
    store.edges_seen(&[report("a", 1)]).await.unwrap();
    assert_eq!(store.edges(&production()).await.unwrap(), [report("a", 2), report("b", 3)]);

    let elsewhere = EdgeReport { environment: Environment::parse("staging").unwrap(), ..report("a", 9) };
    store.edges_seen(std::slice::from_ref(&elsewhere)).await.unwrap();
    assert_eq!(store.edges(&production()).await.unwrap(), [report("a", 2), report("b", 3)]);
    assert_eq!(store.edges(&elsewhere.environment).await.unwrap(), [elsewhere]);
}

/// The limit itself is not yet silence.
pub async fn silent_ones_are_forgotten(database: &impl Database) {
    let store = database.open().await;
    store.edges_seen(&[report("a", 1), report("b", 2)]).await.unwrap();
    store.forget_edges(minute(2)).await.unwrap();
    assert_eq!(store.edges(&production()).await.unwrap(), [report("b", 2)]);
}
