//! Environments and the comparison of sequences.

use serde_json::json;

use super::*;
use crate::Head;

/// Creation sets everything and starts at sequence 1.
pub async fn a_new_one_holds_what_it_was_given(database: &impl Database) {
    let store = database.open().await;
    assert_eq!(store.environments().await.unwrap(), []);
    assert_eq!(store.head(&production()).await.unwrap(), None);
    assert_eq!(store.sequence(&production()).await.unwrap(), None);
    assert_eq!(store.snapshot(&production()).await.unwrap(), None);
    store.check().await.unwrap();

    let mut commit = creation(&production());
    commit.at = minute(3);
    let environment = commit.environment.as_mut().unwrap();
    (environment.cv, environment.ep, environment.keyset_ver) = (5, 6, 7);
    assert_eq!(store.commit(commit).await.unwrap(), 1);

    let head = Head {
        sequence: 1,
        cv: 5,
        ep: 6,
        keyset_ver: 7,
        keyring: "the first key ring".into(),
        state: "the first state".into(),
    };
    assert_eq!(store.head(&production()).await.unwrap(), Some(head.clone()));
    assert_eq!(store.sequence(&production()).await.unwrap(), Some(1));
    let [record] = &store.environments().await.unwrap()[..] else { panic!("not one environment") };
    assert_eq!((&record.name, record.created_at, &record.head), (&production(), minute(3), &head));
}

/// The second creation is a conflict and leaves the first as it is.
pub async fn one_is_created_once(database: &impl Database) {
    let store = with_production(database).await;
    let before = store.head(&production()).await.unwrap();
    let mut again = creation(&production());
    again.environment.as_mut().unwrap().keyring = Some("another".into());
    assert_conflict(store.commit(again).await);
    assert_eq!(store.head(&production()).await.unwrap(), before);
}

/// A commit is all or nothing: one that is refused leaves no part of itself.
pub async fn whoever_read_an_older_sequence_gets_a_conflict_and_writes_nothing(database: &impl Database) {
    let store = with_production(database).await;
    assert_eq!(store.commit(writing(&production(), 1)).await.unwrap(), 2);
    let before = store.head(&production()).await.unwrap();

    for expected in [0, 1, 3, u64::try_from(i64::MAX).unwrap() - 1] {
        let mut commit = publishing(&production(), expected, 9, "a snapshot");
        let environment = commit.environment.as_mut().unwrap();
        environment.keyring = Some("another".into());
        environment.documents = vec![document(Kind::Experiment, "checkout", json!({}))];
        commit.tokens = vec![TokenWrite::Create(api_token("a"))];
        commit.audit = vec![entry("experiment.create")];
        commit.idempotency = Some(answer("k", minute(0)));
        assert_conflict(store.commit(commit).await);
    }
    assert_conflict(store.commit(writing(&Environment::parse("elsewhere").unwrap(), 1)).await);

    assert_eq!(store.head(&production()).await.unwrap(), before);
    assert_eq!(store.documents_since(&production(), 0).await.unwrap(), []);
    assert_eq!(store.snapshot(&production()).await.unwrap(), None);
    assert_eq!(store.publications(&production(), None, 9).await.unwrap(), []);
    assert_eq!(store.tokens().await.unwrap(), []);
    assert_eq!(store.audit_after(0, 9).await.unwrap(), []);
    assert_eq!(store.answered("tokenofada", "k").await.unwrap(), None);
}

/// `None` leaves the key ring and the state.
pub async fn a_write_leaves_what_it_does_not_name(database: &impl Database) {
    let store = with_production(database).await;
    let mut commit = writing(&production(), 1);
    commit.environment.as_mut().unwrap().state = Some("the second state".into());
    store.commit(commit).await.unwrap();
    let head = store.head(&production()).await.unwrap().unwrap();
    assert_eq!((&*head.keyring, &*head.state), ("the first key ring", "the second state"));
}

/// Versions that have been seen are never taken back, whatever the caller says.
pub async fn versions_do_not_go_back(database: &impl Database) {
    let store = with_production(database).await;
    for lower in [0_usize, 1, 2] {
        let mut commit = writing(&production(), 1);
        let environment = commit.environment.as_mut().unwrap();
        *[&mut environment.cv, &mut environment.ep, &mut environment.keyset_ver][lower] = 0;
        assert_refused(store.commit(commit).await);
    }
    assert_eq!(store.sequence(&production()).await.unwrap(), Some(1));
}

/// Sequences, documents and snapshots are an environment's own, and the list goes by name.
pub async fn they_do_not_mix(database: &impl Database) {
    let store = with_production(database).await;
    let staging = Environment::parse("staging").unwrap();
    let early = Environment::parse("early").unwrap();
    store.commit(creation(&staging)).await.unwrap();
    store.commit(creation(&early)).await.unwrap();
    let documents = vec![document(Kind::Experiment, "checkout", json!({ "in": "staging" }))];
    assert_eq!(store.commit(writing_documents(&staging, 1, documents)).await.unwrap(), 2);
    store.commit(publishing(&staging, 2, 2, "staging's")).await.unwrap();

    assert_eq!(store.sequence(&production()).await.unwrap(), Some(1));
    assert_eq!(store.documents_since(&production(), 0).await.unwrap(), []);
    assert_eq!(store.snapshot(&production()).await.unwrap(), None);
    assert_eq!(store.revisions(&production(), Kind::Experiment, "checkout", None, 9).await.unwrap(), []);
    let names: Vec<_> = store.environments().await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, [early, production(), staging]);
}
