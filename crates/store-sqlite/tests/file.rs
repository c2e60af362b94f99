//! What is particular to a file: who may read it, who may open it, and what is in it after a crash.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use edgeseal_core::events::EventRecord;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::conformance::events::{batch, event};
use edgeseal_store::{
    Actor, AuditEntry, AuditLog as _, Commit, DocumentWrite, Documents as _, EnvironmentWrite,
    Environments as _, Events as _, KEPT_SNAPSHOTS, Kind, NewSnapshot, Store as _, StoreError, audit,
};
use edgeseal_store_sqlite::SqliteStore;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    store.commit(publication(None)).await.unwrap();
    let files: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 2, "no write-ahead log among {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_make_one_schema() {
    let (_folder, path) = place();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        tasks.spawn(async move { SqliteStore::open(&path).await.unwrap().check().await.unwrap() });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let (_folder, path) = place();
    SqliteStore::open(&path).await.unwrap().close().await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (99, 'of tomorrow', datetime(), TRUE, x'00', 1)";
    execute(&path, newer).await.unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema { found: 99, expected } if expected < 99), "{refused}");
}

#[tokio::test]
async fn a_schema_that_changes_while_it_is_open_fails_the_check() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    store.check().await.unwrap();
    execute(&path, "INSERT INTO _sqlx_migrations VALUES (99, '', datetime(), TRUE, x'00', 1)").await.unwrap();
    assert!(matches!(store.check().await, Err(StoreError::Schema { found: 99, .. })));
}

#[tokio::test]
async fn a_migration_that_was_altered_is_refused() {
    let (_folder, path) = place();
    SqliteStore::open(&path).await.unwrap().close().await;
    execute(&path, "UPDATE _sqlx_migrations SET checksum = x'00'").await.unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let (_folder, path) = place();
    let text = "environments:\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named_as_the_trouble() {
    let (folder, _) = place();
    let refused = SqliteStore::open(&folder.path().join("missing/edgeseal.db")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
}

#[tokio::test]
async fn the_audit_log_takes_nothing_back() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let mut commit = publication(None);
    commit.audit = vec![entry("first"), entry("second")];
    store.commit(commit).await.unwrap();
    for tampering in [
        "UPDATE audit SET entry = '{}' WHERE number = 1",
        "UPDATE audit SET number = 3 WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit",
        "REPLACE INTO audit (number, entry, previous, hash) SELECT 2, '{}', previous, hash FROM audit WHERE number = 2",
        "INSERT INTO audit (number, entry, previous, hash) SELECT 4, entry, previous, hash FROM audit WHERE number = 2",
        "INSERT INTO audit (number, entry, previous, hash, actor) SELECT 3, entry, previous, hash, 'me' FROM audit LIMIT 1",
    ] {
        assert!(execute(&path, tampering).await.is_err(), "{tampering}");
    }
    assert_eq!(audit::verify(audit::GENESIS, &store.audit_after(0, 9).await.unwrap()).unwrap().0, 2);
}

#[tokio::test]
async fn only_the_newest_snapshots_keep_their_tokens() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    store.commit(publication(None)).await.unwrap();
    let count = u64::from(KEPT_SNAPSHOTS) + 5;
    for sequence in 1..count {
        store.commit(publication(Some(sequence))).await.unwrap();
    }
    let kept: Vec<i64> = sqlx::query_scalar("SELECT cv FROM snapshots ORDER BY cv")
        .fetch_all(&mut connect(&path).await)
        .await
        .unwrap();
    assert_eq!(kept, (6..=count.cast_signed()).collect::<Vec<_>>());
    assert_eq!(store.publications(&Environment::default(), None, 99).await.unwrap().len() as u64, count);
}

/// What the child acknowledges before it is killed, at the least.
const COMMITS: usize = 9;

/// Names the file to the child that this test kills; the child is this test again.
const CHILD_VARIABLE: &str = "EDGESEAL_TEST_KILLED_CHILD";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_committing_loses_nothing_it_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD_VARIABLE) {
        return commit_until_killed(Path::new(&path)).await;
    }
    let (_folder, path) = place();
    let production = Environment::default();
    SqliteStore::open(&path).await.unwrap().commit(publication(None)).await.unwrap();
    let mut acknowledged = 1;
    for _ in 0..4 {
        let before = acknowledged;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("a_process_that_is_killed_while_committing_loses_nothing_it_acknowledged")
            .env(CHILD_VARIABLE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let sequences = lines.filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        for sequence in sequences.take(COMMITS) {
            acknowledged = sequence;
        }
        assert!(acknowledged >= before + COMMITS as u64, "the child ended after {acknowledged}");
        child.kill().unwrap();
        child.wait().unwrap();

        let store = SqliteStore::open(&path).await.unwrap();
        let head = store.head(&production).await.unwrap().unwrap();
        assert!(head.sequence >= acknowledged, "{} is older than {acknowledged}", head.sequence);
        assert_eq!(head.cv, head.sequence);
        let snapshot = store.snapshot(&production).await.unwrap().unwrap();
        assert_eq!((snapshot.cv, snapshot.token.len()), (head.cv, TOKEN_BYTES));
        let [document] = &store.documents_since(&production, 0).await.unwrap()[..] else { panic!() };
        assert_eq!((document.sequence, document.revision), (head.sequence, head.sequence));
        let history = store.revisions(&production, Kind::Experiment, "checkout", None, 1000).await.unwrap();
        assert_eq!(history.len() as u64, head.sequence);
        let records = store.audit_after(0, 1000).await.unwrap();
        assert_eq!(audit::verify(audit::GENESIS, &records).unwrap().0, head.sequence);
        assert_eq!(
            store.newest_event(&production).await.unwrap(),
            expected_events(&store, acknowledged).await
        );
    }
}

/// Every event of an acknowledged batch is there once, in its place, and batches are there as a whole.
async fn expected_events(store: &SqliteStore, acknowledged: u64) -> u64 {
    let events = store.events_after(&Environment::default(), 0, 10_000).await.unwrap();
    let ids: BTreeSet<_> = events.iter().map(|event| event.record.id).collect();
    assert!(events.iter().zip(1..).all(|(event, number)| event.number == number));
    for sequence in 2..=acknowledged {
        assert!(events_of(sequence).iter().all(|event| ids.contains(&event.id)), "a batch of {sequence}");
    }
    assert_eq!(ids.len() % EVENTS, 0);
    ids.len() as u64
}

/// How many come with each commit.
const EVENTS: usize = 20;

fn events_of(sequence: u64) -> Vec<EventRecord> {
    let first = u32::try_from(sequence).unwrap() * 100;
    (first..).take(EVENTS).map(|number| event(number, "ada")).collect()
}

async fn commit_until_killed(path: &Path) {
    let store = Arc::new(SqliteStore::open(path).await.unwrap());
    loop {
        let sequence = store.sequence(&Environment::default()).await.unwrap();
        let sequence = store.commit(publication(sequence)).await.unwrap();
        let events = batch(&events_of(sequence));
        // Delivered twice, as by an edge that heard nothing the first time.
        store.append_events(&Environment::default(), &events).await.unwrap();
        store.append_events(&Environment::default(), &events).await.unwrap();
        println!("committed {sequence}");
    }
}

const TOKEN_BYTES: usize = 300_000;

/// A publication with the version of its sequence, one document and one audit entry.
fn publication(expected: Option<u64>) -> Commit {
    let version = expected.map_or(1, |expected| expected + 1);
    Commit {
        actor: Actor { id: "system".into(), name: "system".into() },
        at: Timestamp::from_unix_ms(0),
        environment: Some(EnvironmentWrite {
            name: Environment::default(),
            expected,
            cv: version,
            ep: 1,
            keyset_ver: 1,
            keyring: None,
            state: None,
            documents: vec![DocumentWrite {
                kind: Kind::Experiment,
                key: "checkout".into(),
                body: Some(json!({ "version": version })),
                action: "experiment.update",
            }],
            snapshot: Some(NewSnapshot { cv: version, token: "t".repeat(TOKEN_BYTES) }),
            allocations: Vec::new(),
        }),
        tokens: Vec::new(),
        audit: vec![entry("experiment.update")],
        idempotency: None,
        alerts: Vec::new(),
    }
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        at_ms: 0,
        actor: Actor { id: "system".into(), name: "system".into() },
        action: action.to_owned(),
        environment: None,
        kind: None,
        key: None,
        request: None,
        detail: Value::Null,
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edgeseal.db");
    (folder, path)
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn execute(path: &Path, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(&mut connect(path).await).await.map(drop)
}
