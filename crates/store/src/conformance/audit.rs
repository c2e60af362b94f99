//! The audit log and its chain.

use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::audit::{GENESIS, verify};
use crate::{AuditFilter, AuditRecord};

/// Within a commit and across commits, in the order given.
pub async fn records_are_numbered_and_chained(database: &impl Database) {
    let store = database.open().await;
    assert_eq!(store.audit(&AuditFilter::default(), 9).await.unwrap(), []);
    for commit in [vec!["a", "b"], vec![], vec!["c"]] {
        let audit = commit.into_iter().map(entry).collect();
        store.commit(Commit { audit, ..nothing() }).await.unwrap();
    }
    let records = store.audit_after(0, 9).await.unwrap();
    assert_eq!(records.iter().map(action).collect::<Vec<_>>(), ["a", "b", "c"]);
    let newest = verify(GENESIS, &records).unwrap();
    assert_eq!(newest.0, 3);

    let first = store.audit_after(0, 2).await.unwrap();
    let rest = store.audit_after(2, 2).await.unwrap();
    assert_eq!(verify(verify(GENESIS, &first).unwrap(), &rest).unwrap(), newest);
    assert_eq!(store.audit_after(u64::MAX, 9).await.unwrap(), []);
    let newest_first = store.audit(&AuditFilter::default(), 2).await.unwrap();
    assert_eq!(newest_first.iter().map(action).collect::<Vec<_>>(), ["c", "b"]);
}

/// What comes back is the very text that was hashed.
pub async fn the_canonical_entry_is_kept_to_the_byte(database: &impl Database) {
    let store = database.open().await;
    let full = AuditEntry {
        environment: Some(production()),
        kind: Some("experiment".into()),
        key: Some("checkout".into()),
        request: Some("request 1".into()),
        detail: json!({ "é": 1, "e": 1.5, "z": [null, true, -0.001, 1e21, "\u{1}\\u0000 \\\u{0}\u{0} \"\u{7f}\u{2028}😀"] }),
        ..entry("experiment.update")
    };
    store.commit(Commit { audit: vec![full.clone()], ..nothing() }).await.unwrap();
    let [record] = &store.audit_after(0, 9).await.unwrap()[..] else { panic!("not one record") };
    assert_eq!(*record, crate::audit::link(GENESIS, &full).unwrap());
    assert_eq!(serde_json::from_str::<AuditEntry>(&record.entry).unwrap(), full);
}

/// Each alone and several together; an action with a trailing dot stands for all that begin so.
pub async fn every_filter_filters(database: &impl Database) {
    let store = database.open().await;
    let staging = Environment::parse("staging").unwrap();
    let of = |action: &str, environment: &Environment, kind: &str, key: &str, actor: &str| AuditEntry {
        environment: Some(environment.clone()),
        kind: Some(kind.into()),
        key: Some(key.into()),
        actor: Actor { id: actor.into(), name: "somebody".into() },
        ..entry(action)
    };
    let audit = vec![
        of("experiment.create", &production(), "experiment", "checkout", "ada"),
        of("experiment.pause", &production(), "experiment", "search", "bob"),
        of("layer.create", &staging, "layer", "checkout", "ada"),
        of("experiments", &staging, "experiment", "checkout", "bob"),
        entry("token.create"),
    ];
    store.commit(Commit { audit, ..nothing() }).await.unwrap();

    let all = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        (all(), vec![5, 4, 3, 2, 1]),
        (AuditFilter { environment: Some(production()), ..all() }, vec![2, 1]),
        (AuditFilter { actor: text("bob"), ..all() }, vec![4, 2]),
        (AuditFilter { action: text("experiment.pause"), ..all() }, vec![2]),
        (AuditFilter { action: text("experiment."), ..all() }, vec![2, 1]),
        (AuditFilter { action: text("experiment"), ..all() }, vec![]),
        (AuditFilter { action: text("."), ..all() }, vec![]),
        (AuditFilter { action: text("%."), ..all() }, vec![]),
        (AuditFilter { kind: text("experiment"), ..all() }, vec![4, 2, 1]),
        (AuditFilter { key: text("checkout"), ..all() }, vec![4, 3, 1]),
        (AuditFilter { before: Some(3), ..all() }, vec![2, 1]),
        (AuditFilter { before: Some(u64::MAX), key: text("search"), ..all() }, vec![2]),
        (AuditFilter { key: text("checkout"), kind: text("experiment"), ..all() }, vec![4, 1]),
        (AuditFilter { key: text("checkout"), actor: text("ada"), ..all() }, vec![3, 1]),
        (AuditFilter { environment: Some(staging), actor: text("ada"), before: Some(5), ..all() }, vec![3]),
        (AuditFilter { key: text("x' OR '1'='1"), ..all() }, vec![]),
        (AuditFilter { key: text("\0"), ..all() }, vec![]),
    ];
    for (filter, expected) in filters {
        let records = store.audit(&filter, 9).await.unwrap();
        let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
        assert_eq!(numbers, expected, "{filter:?}");
    }
    assert_eq!(store.audit(&AuditFilter { key: text("checkout"), ..all() }, 1).await.unwrap()[0].number, 4);
}

/// From two handles, in several environments and none.
pub async fn concurrent_commits_leave_one_unbroken_chain(database: &impl Database) {
    let stores = [database.open().await, database.open().await];
    let mut tasks = JoinSet::new();
    for task in 0..16_usize {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            for step in 0..4 {
                let audit = vec![entry(&format!("{task}.{step}.a")), entry(&format!("{task}.{step}.b"))];
                store.commit(Commit { audit, ..nothing() }).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let records = stores[0].audit_after(0, 1000).await.unwrap();
    assert_eq!(verify(GENESIS, &records).unwrap().0, 16 * 4 * 2);
    for pair in records.chunks(2) {
        let (a, b) = (action(&pair[0]), action(&pair[1]));
        assert_eq!(a.strip_suffix(".a"), b.strip_suffix(".b"), "the entries of one commit were torn apart");
    }
}

fn action(record: &AuditRecord) -> String {
    serde_json::from_str::<AuditEntry>(&record.entry).unwrap().action
}
