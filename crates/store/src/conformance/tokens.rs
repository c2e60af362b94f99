//! API tokens.

use super::*;

/// Every member comes back.
pub async fn one_is_found_by_its_id_and_listed_oldest_first(database: &impl Database) {
    let store = database.open().await;
    let full = ApiToken {
        environment: Some(Environment::parse("staging").unwrap()),
        hash: std::array::from_fn(|index| u8::try_from(index * 8).unwrap()),
        created_at: minute(2),
        expires_at: Some(minute(9)),
        ..api_token("full")
    };
    let older = ApiToken { created_at: minute(1), ..api_token("older") };
    let commit = Commit {
        tokens: vec![TokenWrite::Create(full.clone()), TokenWrite::Create(older.clone())],
        ..nothing()
    };
    assert_eq!(store.commit(commit).await.unwrap(), 0);
    assert_eq!(store.token("full").await.unwrap(), Some(full.clone()));
    assert_eq!(store.token("none").await.unwrap(), None);
    assert_eq!(store.tokens().await.unwrap(), [older, full]);
}

/// A taken id is a conflict, and the rest of the commit is not written.
pub async fn an_id_is_taken_once(database: &impl Database) {
    let store = database.open().await;
    store.commit(creating_token(api_token("a"))).await.unwrap();
    let mut again = creating_token(ApiToken { scope: "admin".into(), ..api_token("a") });
    again.tokens.insert(0, TokenWrite::Create(api_token("b")));
    assert_conflict(store.commit(again).await);
    assert_eq!(store.tokens().await.unwrap(), [api_token("a")]);
}

/// Revoking again, or what is not there, changes nothing.
pub async fn the_first_revocation_counts(database: &impl Database) {
    let store = database.open().await;
    store.commit(creating_token(api_token("a"))).await.unwrap();
    for (id, at) in [("a", minute(1)), ("a", minute(2)), ("none", minute(3))] {
        let revoke = TokenWrite::Revoke { id: id.into(), at };
        store.commit(Commit { tokens: vec![revoke], ..nothing() }).await.unwrap();
    }
    let revoked = ApiToken { revoked_at: Some(minute(1)), ..api_token("a") };
    assert_eq!(store.tokens().await.unwrap(), [revoked]);
}

/// Out of order, repeated, or of tokens that are not there.
pub async fn the_last_use_is_noted_and_never_goes_back(database: &impl Database) {
    let store = database.open().await;
    store.commit(creating_token(api_token("a"))).await.unwrap();
    store.commit(creating_token(api_token("b"))).await.unwrap();
    store.tokens_used(&[]).await.unwrap();
    let used = [("a", 3), ("none", 4), ("a", 2), ("b", 1)].map(|(id, at)| (id.to_owned(), minute(at)));
    store.tokens_used(&used).await.unwrap();
    store.tokens_used(&used[2..3]).await.unwrap();
    let times: Vec<_> = store.tokens().await.unwrap().into_iter().map(|token| token.last_used_at).collect();
    assert_eq!(times, [Some(minute(3)), Some(minute(1))]);
}
