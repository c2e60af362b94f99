
use std::time::Instant;
use edgeseal_store::*;
use edgeseal_core::{ids::Environment, time::Timestamp};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn perf() {
    let server = tokio::task::spawn_blocking(edgeseal_testkit::servers::Postgres::start_own).await.unwrap(); let url = server.create_database(); edgeseal_store_postgres::PostgresStore::migrate(&url).await.unwrap(); let store = edgeseal_store_postgres::PostgresStore::connect(&url).await.unwrap();
    let env = Environment::default();
    let actor = Actor { id: "s".into(), name: "s".into() };
    let audit = |n: usize| (0..n).map(|i| AuditEntry { at_ms: 0, actor: actor.clone(), action: "experiment.update".into(), environment: Some(env.clone()), kind: Some("experiment".into()), key: Some(format!("e{i}")), request: None, detail: json!({"a": 1}) }).collect::<Vec<_>>();
    let body = |i: usize| json!({ "key": format!("e{i}"), "variants": [{"key":"a","weight":50},{"key":"b","weight":50}], "audience": {"country": {"$in": ["DE","FR"]}}, "description": "x".repeat(300) });
    let docs = |n: usize| (0..n).map(|i| DocumentWrite { kind: Kind::Experiment, key: format!("e{i}"), body: Some(body(i)), action: "experiment.update" }).collect::<Vec<_>>();
    let w = |expected: Option<u64>, cv: u64, n: usize, token: Option<String>| Commit { actor: actor.clone(), at: Timestamp::from_unix_ms(0), tokens: vec![], idempotency: None, audit: audit(n.max(1)),
        environment: Some(EnvironmentWrite { name: env.clone(), expected, cv, ep: 1, keyset_ver: 1, keyring: None, state: None, documents: docs(n), snapshot: token.map(|token| NewSnapshot { cv, token }) }) };
    let t = Instant::now(); store.commit(w(None, 0, 5000, None)).await.unwrap(); eprintln!("5000 docs create {:?}", t.elapsed());
    let t = Instant::now(); store.commit(w(Some(1), 0, 5000, None)).await.unwrap(); eprintln!("5000 docs update {:?}", t.elapsed());
    let t = Instant::now(); let d = store.documents_since(&env, 0).await.unwrap(); eprintln!("documents_since(0) {} {:?}", d.len(), t.elapsed());
    let t = Instant::now(); let d = store.documents_since(&env, 2).await.unwrap(); eprintln!("documents_since(2) {} {:?}", d.len(), t.elapsed());
    let token: String = (0..3_000_000u32).map(|i| char::from(b'a' + (i.wrapping_mul(2654435761) >> 27) as u8 % 26)).collect();
    let mut times = vec![];
    for i in 0..40u64 { let c = w(Some(2 + i), 1 + i, 1, Some(token.clone())); let t = Instant::now(); store.commit(c).await.unwrap(); times.push(t.elapsed()); }
    times.sort(); eprintln!("publish 3MB p50 {:?} max {:?}", times[20], times[39]);
    let t = Instant::now(); store.snapshot(&env).await.unwrap(); eprintln!("snapshot {:?}", t.elapsed());
    let t = Instant::now(); for _ in 0..200 { store.sequence(&env).await.unwrap(); } eprintln!("sequence {:?}", t.elapsed() / 200);
    let mut times = vec![];
    for i in 0..40u64 { let c = w(Some(42 + i), 40, 1, None); let t = Instant::now(); store.commit(c).await.unwrap(); times.push(t.elapsed()); }
    times.sort(); eprintln!("small commit p50 {:?} max {:?}", times[20], times[39]);
    for f in [AuditFilter { key: Some("e77".into()), ..Default::default() }, AuditFilter { action: Some("nope.".into()), ..Default::default() }, AuditFilter { actor: Some("x".into()), ..Default::default() }] { let t = Instant::now(); let r = store.audit(&f, 50).await.unwrap(); eprintln!("audit {f:?} {} {:?}", r.len(), t.elapsed()); }
    drop(server);
}
