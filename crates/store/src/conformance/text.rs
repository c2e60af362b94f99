//! What must come back as it was written.

use serde_json::json;

use super::*;
use crate::AuditFilter;

const ODD: [&str; 9] = [
    "'; DROP TABLE documents; --",
    "\"quoted\" \\ back`tick $1 ?1 :name %s",
    "ünïcödé 漢字 😀 \u{202e}rtl\u{202c} e\u{301}",
    "line\nbreak\r\n\ttab\u{1}\u{1b}\u{7f}",
    "",
    " ",
    "NULL",
    "{\"json\": [1]}",
    "\u{feff}\u{fffd}\u{10ffff}",
];

/// Keys, bodies, names, entries, tokens, answers.
pub async fn odd_text_survives_everywhere(database: &impl Database) {
    let store = with_production(database).await;
    let mut sequence = 1;
    for (number, odd) in ODD.iter().enumerate() {
        let mut commit = publishing(&production(), sequence, sequence + 1, odd);
        commit.actor = Actor { id: (*odd).into(), name: (*odd).into() };
        let environment = commit.environment.as_mut().unwrap();
        environment.keyring = Some((*odd).into());
        environment.state = Some((*odd).into());
        environment.documents = vec![document(Kind::Group, odd, json!({ *odd: [odd] }))];
        let token = ApiToken { name: (*odd).into(), ..api_token(&format!("{number}{odd}")) };
        commit.tokens = vec![TokenWrite::Create(token.clone())];
        commit.audit = vec![AuditEntry { key: Some((*odd).into()), detail: json!(odd), ..entry(odd) }];
        let kept = IdempotencyRecord { sealed_body: (*odd).into(), ..answer(odd, minute(0)) };
        commit.idempotency = Some(kept.clone());
        sequence = store.commit(commit).await.unwrap();

        let head = store.head(&production()).await.unwrap().unwrap();
        assert_eq!((&*head.keyring, &*head.state), (*odd, *odd));
        assert_eq!(store.snapshot(&production()).await.unwrap().unwrap().token, *odd);
        let revision = store.revision(&production(), Kind::Group, odd, 1).await.unwrap().unwrap();
        assert_eq!((revision.body, &*revision.actor.name), (Some(json!({ *odd: [odd] })), *odd));
        assert_eq!(store.token(&token.id).await.unwrap(), Some(token));
        assert_eq!(store.answered("tokenofada", odd).await.unwrap(), Some(kept));
        let filter = AuditFilter { key: Some((*odd).into()), ..AuditFilter::default() };
        assert_eq!(store.audit(&filter, 9).await.unwrap().len(), 1, "{odd:?}");
    }
    assert_eq!(store.documents_since(&production(), 0).await.unwrap().len(), ODD.len());
}

/// A column of text cannot hold NUL everywhere, JSON can.
pub async fn nul_is_refused_in_plain_text_and_survives_in_json(database: &impl Database) {
    let store = with_production(database).await;
    let refused = [
        writing_documents(&production(), 1, vec![document(Kind::Group, "a\0", json!(1))]),
        publishing(&production(), 1, 2, "a\0"),
        Commit { actor: Actor { name: "a\0".into(), ..ada() }, ..writing(&production(), 1) },
        creating_token(ApiToken { name: "a\0".into(), ..api_token("a") }),
        Commit { audit: vec![AuditEntry { key: Some("a\0".into()), ..entry("x") }], ..nothing() },
        Commit { idempotency: Some(answer("a\0", minute(0))), ..nothing() },
    ];
    for commit in refused {
        assert_refused(store.commit(commit).await);
    }
    let body = json!({ "a\0": "\0\0\\\0 \\u0000" });
    let mut commit = writing_documents(&production(), 1, vec![document(Kind::Group, "a", body.clone())]);
    commit.audit = vec![AuditEntry { detail: body.clone(), ..entry("group.create") }];
    store.commit(commit).await.unwrap();
    assert_eq!(store.documents_since(&production(), 0).await.unwrap()[0].body, Some(body.clone()));
    let filter = AuditFilter { action: Some("group.".into()), ..AuditFilter::default() };
    let [record] = &store.audit(&filter, 9).await.unwrap()[..] else { panic!("not one record") };
    assert_eq!(serde_json::from_str::<AuditEntry>(&record.entry).unwrap().detail, body);

    assert_eq!(store.token("a\0").await.unwrap(), None);
    assert_eq!(store.answered("a\0", "a\0").await.unwrap(), None);
    assert_eq!(store.revisions(&production(), Kind::Group, "a\0", None, 9).await.unwrap(), []);
    assert_eq!(store.revision(&production(), Kind::Group, "a\0", 1).await.unwrap(), None);
    store.tokens_used(&[("a\0".into(), minute(0))]).await.unwrap();
}

/// Columns are signed: half of what a counter could say.
pub async fn extreme_numbers_survive_and_larger_ones_are_refused(database: &impl Database) {
    let store = with_production(database).await;
    let largest = i64::MAX.cast_unsigned();
    let mut commit = publishing(&production(), 1, largest, "a snapshot");
    commit.at = Timestamp::from_unix_ms(i64::MIN);
    let environment = commit.environment.as_mut().unwrap();
    (environment.ep, environment.keyset_ver) = (largest, largest);
    let body = json!([
        i64::MIN,
        i64::MAX,
        u64::MAX,
        f64::MIN_POSITIVE,
        f64::MAX,
        0.1,
        -0.0,
        1e-7,
        123_456_789.123_456_79
    ]);
    environment.documents = vec![document(Kind::Metric, "m", body.clone())];
    let token = ApiToken { expires_at: Some(Timestamp::from_unix_ms(i64::MAX)), ..api_token("a") };
    commit.tokens = vec![TokenWrite::Create(token.clone())];
    store.commit(commit).await.unwrap();

    let head = store.head(&production()).await.unwrap().unwrap();
    assert_eq!((head.cv, head.ep, head.keyset_ver), (largest, largest, largest));
    let snapshot = store.snapshot(&production()).await.unwrap().unwrap();
    assert_eq!((snapshot.cv, snapshot.at.unix_ms()), (largest, i64::MIN));
    assert_eq!(store.documents_since(&production(), 0).await.unwrap()[0].body, Some(body));
    assert_eq!(store.token("a").await.unwrap(), Some(token));

    for larger in [largest + 1, u64::MAX] {
        let mut commit = writing(&production(), 2);
        let environment = commit.environment.as_mut().unwrap();
        (environment.cv, environment.ep, environment.keyset_ver) = (largest, larger, largest);
        assert_refused(store.commit(commit).await);
        assert_refused(store.commit(writing(&production(), larger)).await);
    }
}

/// As large as a request may be, and deeper than people write.
pub async fn a_large_document_survives(database: &impl Database) {
    let store = with_production(database).await;
    let deep = (0..60).fold(json!("x"), |inner, _| json!([inner]));
    let body = json!({ "long": "é\\\"".repeat(1 << 18), "deep": deep });
    let commit = writing_documents(&production(), 1, vec![document(Kind::Group, "g", body.clone())]);
    store.commit(commit).await.unwrap();
    assert!(store.documents_since(&production(), 0).await.unwrap()[0].body == Some(body));
}
