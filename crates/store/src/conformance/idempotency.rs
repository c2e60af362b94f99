//! Answers kept for repeated requests.

use tokio::task::JoinSet;

use super::*;

/// Every member comes back, and only to the caller that asked.
pub async fn an_answer_is_found_by_caller_and_key(database: &impl Database) {
    let store = database.open().await;
    let kept = IdempotencyRecord { status: 599, sealed_body: String::new(), ..answer("k", minute(1)) };
    let commit = Commit { idempotency: Some(kept.clone()), ..nothing() };
    assert_eq!(store.commit(commit).await.unwrap(), 0);
    assert_eq!(store.answered("tokenofada", "k").await.unwrap(), Some(kept));
    assert_eq!(store.answered("tokenofada", "K").await.unwrap(), None);
    assert_eq!(store.answered("tokenofbob", "k").await.unwrap(), None);
    let same_key = IdempotencyRecord { token_id: "tokenofbob".into(), ..answer("k", minute(1)) };
    store.commit(Commit { idempotency: Some(same_key), ..nothing() }).await.unwrap();
}

/// The second one is told so and writes nothing, even where its sequence is old as well.
pub async fn a_key_is_answered_once(database: &impl Database) {
    let store = with_production(database).await;
    let commit = |expected| Commit {
        audit: vec![entry("experiment.create")],
        idempotency: Some(answer("k", minute(1))),
        ..writing(&production(), expected)
    };
    assert_eq!(store.commit(commit(1)).await.unwrap(), 2);
    for expected in [1, 2] {
        let outcome = store.commit(commit(expected)).await;
        assert!(matches!(outcome, Err(CommitError::IdempotencyTaken)), "{outcome:?}");
    }
    assert_eq!(store.sequence(&production()).await.unwrap(), Some(2));
    assert_eq!(store.audit_after(0, 9).await.unwrap().len(), 1);
}

/// Sixteen requests with one key, half of them elsewhere; the losers write nothing.
pub async fn of_concurrent_duplicates_exactly_one_writes(database: &impl Database) {
    let stores = [with_production(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for task in 0..16_usize {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            let commit = Commit {
                audit: vec![entry("experiment.create")],
                idempotency: Some(answer("k", minute(1))),
                ..writing(&production(), 1)
            };
            match store.commit(commit).await {
                Ok(sequence) => Some(sequence),
                Err(CommitError::IdempotencyTaken) => None,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let winners: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners, [2]);
    assert_eq!(stores[0].audit_after(0, 99).await.unwrap().len(), 1);
}

/// A forgotten key is free again.
pub async fn old_answers_are_forgotten(database: &impl Database) {
    let store = database.open().await;
    for (key, at) in [("old", minute(1)), ("new", minute(2))] {
        store.commit(Commit { idempotency: Some(answer(key, at)), ..nothing() }).await.unwrap();
    }
    store.forget_answers(minute(2)).await.unwrap();
    assert_eq!(store.answered("tokenofada", "old").await.unwrap(), None);
    assert!(store.answered("tokenofada", "new").await.unwrap().is_some());
    store.commit(Commit { idempotency: Some(answer("old", minute(3))), ..nothing() }).await.unwrap();
}
