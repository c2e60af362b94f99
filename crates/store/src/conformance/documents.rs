//! Documents, their revisions and their tombstones.

use serde_json::json;

use super::*;
use crate::{Document, MAX_PAGE};

const KEY: &str = "checkout";

/// The newest revision is the document; the older ones stay in its history.
pub async fn revisions_grow_and_keep_what_was(database: &impl Database) {
    let store = with_production(database).await;
    for number in 1..=3_i64 {
        let written = document(Kind::Experiment, KEY, json!({ "number": number }));
        let mut commit = writing_documents(&production(), number.cast_unsigned(), vec![written]);
        commit.at = minute(number);
        commit.actor.name = format!("Ada {number}");
        store.commit(commit).await.unwrap();
    }
    let expected = Document {
        kind: Kind::Experiment,
        key: KEY.into(),
        revision: 3,
        sequence: 4,
        body: Some(json!({ "number": 3 })),
        created_at: minute(1),
        updated_at: minute(3),
        updated_by: Actor { id: ada().id, name: "Ada 3".into() },
    };
    assert_eq!(store.documents_since(&production(), 0).await.unwrap(), [expected]);
    let second = store.revision(&production(), Kind::Experiment, KEY, 2).await.unwrap().unwrap();
    assert_eq!((second.revision, second.at, &*second.actor.name), (2, minute(2), "Ada 2"));
    assert_eq!((second.body, &*second.action), (Some(json!({ "number": 2 })), "experiment.update"));
    for missing in [0, 4, u64::MAX] {
        assert_eq!(store.revision(&production(), Kind::Experiment, KEY, missing).await.unwrap(), None);
    }
    assert_eq!(store.revision(&production(), Kind::Layer, KEY, 1).await.unwrap(), None);
}

/// Deleting is a revision too.
pub async fn a_deleted_one_leaves_a_tombstone_and_returns_with_the_next_revision(database: &impl Database) {
    let store = with_production(database).await;
    let writes = [
        document(Kind::Experiment, KEY, json!({ "life": 1 })),
        deletion(Kind::Experiment, KEY),
        document(Kind::Experiment, KEY, json!({ "life": 2 })),
    ];
    for (sequence, write) in (1..).zip(writes) {
        store.commit(writing_documents(&production(), sequence, vec![write])).await.unwrap();
        if sequence == 2 {
            let [tombstone] = &store.documents_since(&production(), 0).await.unwrap()[..] else { panic!() };
            assert_eq!((tombstone.revision, &tombstone.body), (2, &None));
        }
    }
    let [again] = &store.documents_since(&production(), 0).await.unwrap()[..] else { panic!() };
    assert_eq!((again.revision, &again.body), (3, &Some(json!({ "life": 2 }))));
    let deleted = store.revision(&production(), Kind::Experiment, KEY, 2).await.unwrap().unwrap();
    assert_eq!((deleted.body, &*deleted.action), (None, "experiment.delete"));
}

/// Pages join without gap or overlap; no page is longer than the longest.
pub async fn history_is_paged_newest_first(database: &impl Database) {
    let store = with_production(database).await;
    for sequence in 1..=7 {
        let written = document(Kind::Layer, KEY, json!(sequence));
        store.commit(writing_documents(&production(), sequence, vec![written])).await.unwrap();
    }
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = store.revisions(&production(), Kind::Layer, KEY, before, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.revision);
        seen.extend(page.into_iter().map(|revision| revision.revision));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(
        store.revisions(&production(), Kind::Layer, KEY, Some(u64::MAX), u32::MAX).await.unwrap().len(),
        7
    );
    assert_eq!(store.revisions(&production(), Kind::Layer, KEY, None, 0).await.unwrap(), []);

    let many = (0..MAX_PAGE + 1).map(|number| document(Kind::Group, &format!("g{number}"), json!([])));
    store.commit(writing_documents(&production(), 8, many.collect())).await.unwrap();
    assert_eq!(store.documents_since(&production(), 0).await.unwrap().len(), 1 + MAX_PAGE as usize + 1);
}

/// From 0 everything; from a head nothing.
pub async fn what_changed_since_a_sequence_is_told_with_tombstones(database: &impl Database) {
    let store = with_production(database).await;
    let steps = [
        vec![document(Kind::Experiment, "a", json!(1)), document(Kind::Experiment, "b", json!(1))],
        vec![document(Kind::Experiment, "b", json!(2))],
        vec![deletion(Kind::Experiment, "a")],
    ];
    for (sequence, documents) in (1..).zip(steps) {
        store.commit(writing_documents(&production(), sequence, documents)).await.unwrap();
    }
    for (since, expected) in
        [(0, vec!["a", "b"]), (2, vec!["a", "b"]), (3, vec!["a"]), (4, vec![]), (u64::MAX, vec![])]
    {
        let documents = store.documents_since(&production(), since).await.unwrap();
        let keys: Vec<_> = documents.iter().map(|document| document.key.as_str()).collect();
        assert_eq!(keys, expected, "since {since}");
    }
}

/// Kinds in their own order, keys by their bytes.
pub async fn they_come_by_kind_and_key(database: &impl Database) {
    let store = with_production(database).await;
    let keys = ["b", "B", "a-1", "a", "a_1", "Z", "10", "9"];
    let kinds = [Kind::Metric, Kind::Experiment, Kind::Group, Kind::Layer, Kind::Holdout];
    let documents: Vec<_> =
        kinds.iter().flat_map(|kind| keys.map(|key| document(*kind, key, json!(key)))).collect();
    store.commit(writing_documents(&production(), 1, documents)).await.unwrap();
    let found: Vec<_> = store
        .documents_since(&production(), 0)
        .await
        .unwrap()
        .into_iter()
        .map(|document| (document.kind, document.key))
        .collect();
    let mut expected: Vec<_> =
        kinds.iter().flat_map(|kind| keys.map(|key| (*kind, key.to_owned()))).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// Two revisions of one document in one commit have no order.
pub async fn one_is_not_written_twice_in_a_commit(database: &impl Database) {
    let store = with_production(database).await;
    let twice = vec![document(Kind::Layer, KEY, json!(1)), deletion(Kind::Layer, KEY)];
    assert_refused(store.commit(writing_documents(&production(), 1, twice)).await);
    let alike = vec![document(Kind::Layer, KEY, json!(1)), document(Kind::Holdout, KEY, json!(2))];
    assert_eq!(store.commit(writing_documents(&production(), 1, alike)).await.unwrap(), 2);
}
