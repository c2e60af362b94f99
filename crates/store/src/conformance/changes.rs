//! Hints about commits. They may be late, repeated or lost in general; in a quiet test they arrive.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::timeout;

use super::*;
use crate::Change;

const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// Environments and tokens.
pub async fn own_commits_are_hinted_at(database: &impl Database) {
    let store = with_production(database).await;
    let mut changes = store.changes().await.unwrap();
    store.commit(writing(&production(), 1)).await.unwrap();
    wait_for(&mut changes, &Change::Environment { environment: production(), sequence: 2 }).await;
    store.commit(creating_token(api_token("a"))).await.unwrap();
    wait_for(&mut changes, &Change::Tokens).await;
    let revoke = TokenWrite::Revoke { id: "a".into(), at: minute(1) };
    store.commit(Commit { tokens: vec![revoke], ..nothing() }).await.unwrap();
    wait_for(&mut changes, &Change::Tokens).await;
}

/// As another process would commit; to every listener, whenever it began to listen.
pub async fn commits_of_another_handle_are_hinted_at(database: &impl Database) {
    let store = with_production(database).await;
    let other = database.open().await;
    let mut early = store.changes().await.unwrap();
    other.commit(writing(&production(), 1)).await.unwrap();
    wait_for(&mut early, &Change::Environment { environment: production(), sequence: 2 }).await;
    let mut late = store.changes().await.unwrap();
    let staging = Environment::parse("staging").unwrap();
    other.commit(creation(&staging)).await.unwrap();
    for changes in [&mut early, &mut late] {
        wait_for(changes, &Change::Environment { environment: staging.clone(), sequence: 1 }).await;
    }
    other.commit(creating_token(api_token("a"))).await.unwrap();
    wait_for(&mut late, &Change::Tokens).await;
}

/// What was not written is not announced.
pub async fn a_failed_commit_is_not_hinted_at(database: &impl Database) {
    let store = with_production(database).await;
    let mut changes = store.changes().await.unwrap();
    let mut failing = writing(&production(), 7);
    failing.tokens = vec![TokenWrite::Create(api_token("a"))];
    assert_conflict(store.commit(failing).await);
    store.commit(writing(&production(), 1)).await.unwrap();
    let first = timeout(ARRIVES_WITHIN, changes.next()).await.expect("no hint").unwrap();
    assert_eq!(first, Change::Environment { environment: production(), sequence: 2 });
}

/// A listener does not wait for what will never come.
pub async fn closing_ends_the_stream(database: &impl Database) {
    let store = database.open().await;
    let changes = store.changes().await.unwrap();
    store.close().await;
    timeout(ARRIVES_WITHIN, changes.count()).await.expect("the stream goes on");
}

async fn wait_for(changes: &mut BoxStream<'static, Change>, expected: &Change) {
    let found = timeout(ARRIVES_WITHIN, async {
        while let Some(change) = changes.next().await {
            if change == *expected {
                return;
            }
        }
        panic!("the stream ended");
    });
    assert!(found.await.is_ok(), "no hint about {expected:?}");
}
