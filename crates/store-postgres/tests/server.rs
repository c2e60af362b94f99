//! What is particular to a server: its schema, its password, its absence.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::conformance::events::{batch, event};
use edgeseal_store::{
    Actor, AuditEntry, AuditLog as _, Change, Commit, CommitError, EnvironmentWrite, Environments as _,
    Events as _, KEPT_SNAPSHOTS, NewSnapshot, Store as _, StoreError, audit,
};
use edgeseal_store_postgres::{Migrated, PostgresStore};
use edgeseal_testkit::servers::Postgres;
use edgeseal_testkit::servers::postgres::try_execute;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_empty_database_has_to_be_migrated_first() {
    let url = database().await;
    let refused = PostgresStore::connect(&url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema { found: 0, expected: 2 }), "{refused}");
    assert!(refused.to_string().contains("edgeseal migrate"), "{refused}");
    assert_eq!(PostgresStore::migrate(&url).await.unwrap(), Migrated { from: 0, to: 2 });
    assert_eq!(PostgresStore::migrate(&url).await.unwrap(), Migrated { from: 2, to: 2 });
    PostgresStore::connect(&url).await.unwrap().check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_migrate_together_take_turns() {
    let url = database().await;
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        tasks.spawn(async move { PostgresStore::migrate(&url).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|migrated| migrated.to == 2));
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let (url, store) = migrated().await;
    run(&url, "INSERT INTO _sqlx_migrations VALUES (99, 'of tomorrow', now(), TRUE, '', 1)").await.unwrap();
    for refused in [
        store.check().await.unwrap_err(),
        PostgresStore::connect(&url).await.unwrap_err(),
        PostgresStore::migrate(&url).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Schema { found: 99, expected: 2 }), "{refused}");
        assert!(refused.to_string().contains("newer edgeseal"), "{refused}");
    }
}

#[tokio::test]
async fn a_migration_that_was_altered_is_refused() {
    let (url, _store) = migrated().await;
    run(&url, "UPDATE _sqlx_migrations SET checksum = ''").await.unwrap();
    let refused = PostgresStore::migrate(&url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}

#[tokio::test]
async fn no_error_tells_the_password() {
    let url = database().await;
    let (login, place) = url.rsplit_once('@').unwrap();
    let user = login.rsplit_once(':').unwrap().0;
    let mistakes = [
        format!("{user}:hunter2@{place}"),
        format!("{user}:hunter2@127.0.0.1:1/postgres"),
        format!("{user}:hunter2@{place}?sslmode=require"),
        format!("{user}:hunter2@{place}?sslmode=sometimes"),
        format!("{user}:hunter2@no.such.host.invalid/postgres"),
        format!("{user}:hunter2@127.0.0.1:port/postgres"),
        "hunter2".to_owned(),
    ];
    for url in mistakes {
        for refused in
            [PostgresStore::connect(&url).await.unwrap_err(), PostgresStore::migrate(&url).await.unwrap_err()]
        {
            assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
            let mut told = format!("{refused} {refused:?}");
            let mut cause: Option<&dyn Error> = Some(&refused);
            while let Some(error) = cause {
                told.push_str(&format!(" {error} {error:?}"));
                cause = error.source();
            }
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[tokio::test]
async fn an_open_store_does_not_show_its_password() {
    let (url, store) = migrated().await;
    let password = url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1;
    assert!(!format!("{store:?}").contains(password));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_url_asks_for_it() {
    let (url, _store) = migrated().await;
    PostgresStore::connect(&format!("{url}?sslmode=prefer")).await.unwrap();
    for mode in ["require", "verify-full"] {
        let refused = PostgresStore::connect(&format!("{url}?sslmode={mode}")).await.unwrap_err();
        assert!(refused.to_string().contains("TLS"), "{refused}");
    }
}

#[tokio::test]
async fn the_audit_log_takes_nothing_back() {
    let (url, store) = migrated().await;
    store.commit(publication(None)).await.unwrap();
    store.commit(publication(Some(1))).await.unwrap();
    for tampering in [
        "UPDATE audit SET entry = '{}' WHERE number = 1",
        "UPDATE audit SET number = 3 WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (number, entry, previous, hash, actor) SELECT 3, entry, previous, hash, 'me' FROM audit",
        "INSERT INTO audit (number, entry, previous, hash) SELECT 2, '{}', previous, hash FROM audit WHERE number = 2
         ON CONFLICT (number) DO UPDATE SET entry = excluded.entry",
    ] {
        assert!(run(&url, tampering).await.is_err(), "{tampering}");
    }
    assert_eq!(audit::verify(audit::GENESIS, &store.audit_after(0, 9).await.unwrap()).unwrap().0, 2);
}

#[tokio::test]
async fn only_the_newest_snapshots_keep_their_tokens() {
    let (url, store) = migrated().await;
    store.commit(publication(None)).await.unwrap();
    let count = u64::from(KEPT_SNAPSHOTS) + 5;
    for sequence in 1..count {
        store.commit(publication(Some(sequence))).await.unwrap();
    }
    // Division by zero unless exactly the newest ones are there.
    run(&url, "SELECT 1 / (count(*) = 16 AND min(cv) = 6 AND max(cv) = 21)::integer FROM snapshots")
        .await
        .unwrap();
    assert_eq!(store.publications(&Environment::default(), None, 99).await.unwrap().len() as u64, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_down_is_found_again() {
    let mut server = spawn_blocking(Postgres::start_own).await.unwrap();
    let url = server.create_database();
    PostgresStore::migrate(&url).await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut changes = store.changes().await.unwrap();
    store.commit(publication(None)).await.unwrap();
    assert_eq!(timeout(PATIENCE, changes.next()).await.unwrap(), Some(hint(1)));

    let mut server = spawn_blocking(move || {
        server.stop();
        server
    })
    .await
    .unwrap();
    let outcome = store.commit(publication(Some(1))).await;
    assert!(matches!(outcome, Err(CommitError::Store(StoreError::Unavailable { .. }))), "{outcome:?}");
    assert!(matches!(store.check().await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(PostgresStore::connect(&url).await, Err(StoreError::Unavailable { .. })));

    let _server = spawn_blocking(move || {
        server.start_again();
        server
    })
    .await
    .unwrap();
    // Nobody asks the store to connect again.
    assert_eq!(store.commit(publication(Some(1))).await.unwrap(), 2);
    // The listener hears of what it missed, and of what comes.
    timeout(PATIENCE, async { while changes.next().await != Some(Change::Tokens) {} }).await.unwrap();
    let other = PostgresStore::connect(&url).await.unwrap();
    other.commit(publication(Some(2))).await.unwrap();
    timeout(PATIENCE, async { while changes.next().await != Some(hint(3)) {} }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_committing_loses_nothing_it_acknowledged() {
    let mut server = spawn_blocking(Postgres::start_own).await.unwrap();
    let url = server.create_database();
    PostgresStore::migrate(&url).await.unwrap();
    let store = Arc::new(PostgresStore::connect(&url).await.unwrap());
    let mut acknowledged = store.commit(publication(None)).await.unwrap();
    for _ in 0..3 {
        // Killed between two commits, nobody would notice: then it is told to stop.
        let stop = Arc::new(AtomicBool::new(false));
        let committing = tokio::spawn({
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            async move {
                let mut sequence = acknowledged;
                while !stop.load(Ordering::Relaxed) {
                    let Ok(next) = store.commit(publication(Some(sequence))).await else { break };
                    sequence = next;
                }
                sequence
            }
        });
        let under_way = async {
            while store.sequence(&Environment::default()).await.unwrap() < Some(acknowledged + 5) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, under_way).await.unwrap();
        server = spawn_blocking(move || {
            server.kill();
            server.start_again();
            server
        })
        .await
        .unwrap();
        stop.store(true, Ordering::Relaxed);
        acknowledged = committing.await.unwrap();
        let head = timeout(PATIENCE, async {
            loop {
                match store.head(&Environment::default()).await {
                    Ok(head) => return head.unwrap(),
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        })
        .await
        .unwrap();
        // The last one may have been committed without anybody hearing of it.
        assert!(
            [acknowledged, acknowledged + 1].contains(&head.sequence),
            "{} {acknowledged}",
            head.sequence
        );
        acknowledged = head.sequence;
        let snapshot = store.snapshot(&Environment::default()).await.unwrap().unwrap();
        assert_eq!((snapshot.cv, snapshot.cv), (head.cv, head.sequence));
        let records = store.audit_after(0, 1000).await.unwrap();
        assert!(audit::verify(audit::GENESIS, &records).unwrap().0 == head.sequence.min(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_once_however_often_the_server_is_killed() {
    const BATCH: u32 = 50;
    let mut server = spawn_blocking(Postgres::start_own).await.unwrap();
    let url = server.create_database();
    PostgresStore::migrate(&url).await.unwrap();
    let store = Arc::new(PostgresStore::connect(&url).await.unwrap());
    store.commit(publication(None)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // Two edges; whatever was not acknowledged is delivered again.
    let mut edges = JoinSet::new();
    for edge in 0..2 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        edges.spawn(async move {
            let mut batches = 0;
            while !stop.load(Ordering::Relaxed) {
                let first = edge * 1_000_000 + batches * BATCH;
                let records: Vec<_> = (first..first + BATCH).map(|number| event(number, "ada")).collect();
                while store.append_events(&Environment::default(), &batch(&records)).await.is_err() {
                    sleep(Duration::from_millis(10)).await;
                }
                batches += 1;
            }
            u64::from(batches * BATCH)
        });
    }
    for _ in 0..3 {
        let before = newest(&store).await;
        while newest(&store).await < before + u64::from(10 * BATCH) {
            sleep(Duration::from_millis(1)).await;
        }
        server = spawn_blocking(move || {
            server.kill();
            server.start_again();
            server
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: u64 = timeout(PATIENCE, edges.join_all()).await.unwrap().into_iter().sum();
    let mut ids = BTreeSet::new();
    let mut number = 0;
    loop {
        let page = store.events_after(&Environment::default(), number, 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().zip(number + 1..).all(|(event, number)| event.number == number));
        number = last.number;
        ids.extend(page.into_iter().map(|event| event.record.id));
    }
    assert_eq!((ids.len() as u64, number), (acknowledged, acknowledged));
}

async fn newest(store: &PostgresStore) -> u64 {
    let asking = async {
        loop {
            match store.newest_event(&Environment::default()).await {
                Ok(number) => return number,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap()
}

fn hint(sequence: u64) -> Change {
    Change::Environment { environment: Environment::default(), sequence }
}

/// A publication with the version of its sequence and one audit entry.
fn publication(expected: Option<u64>) -> Commit {
    let version = expected.map_or(1, |expected| expected + 1);
    let actor = Actor { id: "system".into(), name: "system".into() };
    Commit {
        actor: actor.clone(),
        at: Timestamp::from_unix_ms(0),
        environment: Some(EnvironmentWrite {
            name: Environment::default(),
            expected,
            cv: version,
            ep: 1,
            keyset_ver: 1,
            keyring: None,
            state: None,
            documents: Vec::new(),
            snapshot: Some(NewSnapshot { cv: version, token: "t".repeat(100_000) }),
            allocations: Vec::new(),
        }),
        tokens: Vec::new(),
        audit: vec![AuditEntry {
            at_ms: 0,
            actor,
            action: "snapshot.publish".into(),
            environment: None,
            kind: None,
            key: None,
            request: None,
            detail: Value::Null,
        }],
        idempotency: None,
        alerts: Vec::new(),
    }
}

async fn database() -> String {
    spawn_blocking(|| Postgres::shared().create_database()).await.unwrap()
}

async fn migrated() -> (String, PostgresStore) {
    let url = database().await;
    PostgresStore::migrate(&url).await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    (url, store)
}

async fn run(url: &str, statement: &'static str) -> Result<(), String> {
    let url = url.to_owned();
    spawn_blocking(move || try_execute(&url, statement)).await.unwrap()
}
