//! The story that every backend passes.
//!
//! Each case gets an empty database. A backend runs all of them as its own tests:
//!
//! ```ignore
//! use edgeseal_store::conformance::Database;
//!
//! edgeseal_store::conformance_story!(empty_database);
//!
//! async fn empty_database() -> impl Database { … }
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a panic is how a case reports")]

pub mod audit;
pub mod changes;
pub mod concurrency;
pub mod documents;
pub mod durability;
pub mod edges;
pub mod environments;
pub mod events;
pub mod guardrail;
pub mod idempotency;
pub mod rollups;
pub mod snapshots;
pub mod text;
pub mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use serde_json::Value;

use crate::{
    Actor, ApiToken, AuditEntry, Commit, CommitError, DocumentWrite, EnvironmentWrite, IdempotencyRecord,
    Kind, NewSnapshot, Store, StoreError, TokenWrite,
};

/// An empty database that a case may do with as it likes.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens it; every call gives another handle on the same data, as another process would have.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of every case; a macro, so that each of them passes and fails on its own. Takes the name of an async
/// function that gives an empty [`Database`](crate::conformance::Database).
#[macro_export]
macro_rules! conformance_story {
    ($empty_database:ident) => {
        $crate::conformance_story! { $empty_database:
            environments {
                a_new_one_holds_what_it_was_given,
                one_is_created_once,
                whoever_read_an_older_sequence_gets_a_conflict_and_writes_nothing,
                a_write_leaves_what_it_does_not_name,
                versions_do_not_go_back,
                they_do_not_mix,
            }
            documents {
                revisions_grow_and_keep_what_was,
                a_deleted_one_leaves_a_tombstone_and_returns_with_the_next_revision,
                history_is_paged_newest_first,
                what_changed_since_a_sequence_is_told_with_tombstones,
                they_come_by_kind_and_key,
                one_is_not_written_twice_in_a_commit,
            }
            snapshots {
                the_newest_is_served_and_all_are_listed,
                one_that_is_signed_anew_replaces_its_token_only,
                only_the_version_of_its_environment_is_published,
                the_largest_survives,
            }
            tokens {
                one_is_found_by_its_id_and_listed_oldest_first,
                an_id_is_taken_once,
                the_first_revocation_counts,
                the_last_use_is_noted_and_never_goes_back,
            }
            audit {
                records_are_numbered_and_chained,
                the_canonical_entry_is_kept_to_the_byte,
                every_filter_filters,
                concurrent_commits_leave_one_unbroken_chain,
            }
            idempotency {
                an_answer_is_found_by_caller_and_key,
                a_key_is_answered_once,
                of_concurrent_duplicates_exactly_one_writes,
                old_answers_are_forgotten,
            }
            edges {
                the_newest_report_of_an_edge_counts,
                silent_ones_are_forgotten,
            }
            changes {
                own_commits_are_hinted_at,
                commits_of_another_handle_are_hinted_at,
                a_failed_commit_is_not_hinted_at,
                closing_ends_the_stream,
            }
            concurrency {
                none_of_many_committers_is_lost,
                two_handles_never_publish_one_version_twice,
                environments_do_not_hinder_one_another,
            }
            text {
                odd_text_survives_everywhere,
                nul_is_refused_in_plain_text_and_survives_in_json,
                extreme_numbers_survive_and_larger_ones_are_refused,
                a_large_document_survives,
            }
            events {
                they_come_back_as_they_were,
                one_id_counts_once,
                concurrent_batches_leave_no_gap_and_no_double,
                environments_have_numbers_of_their_own,
                a_batch_is_kept_as_a_whole_or_not_at_all,
                a_large_batch_is_kept_and_read_in_pages,
                a_units_events_come_in_order,
                a_refused_event_is_noted_and_counted_once,
                concurrent_notes_are_counted_once,
            }
            rollups {
                a_step_is_taken_once,
                of_concurrent_steps_one_is_taken,
                aggregates_are_exact_to_the_last_of_128_bits,
                sums_beyond_their_bits_are_refused,
                the_cursor_stays_within_the_events,
                contributions_are_replaced_and_read_both_ways,
                health_adds_up,
                settings_and_notes_are_written_with_their_step,
            }
            guardrail {
                alarms_and_evidence_stay,
                states_are_told_apart,
                alerts_are_written_with_their_commit,
                an_alert_is_taken_by_one_until_its_lease_ends,
                a_failed_alert_is_due_again,
                allocations_are_written_with_their_commit,
                intervals_are_kept_over_time,
            }
            durability {
                another_handle_sees_everything,
                everything_is_there_after_closing,
            }
        }
    };
    ($empty_database:ident: $($chapter:ident { $($case:ident,)+ })+) => {
        $(mod $chapter {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let database = super::$empty_database().await;
                $crate::conformance::$chapter::$case(&database).await;
            })+
        })+
    };
}

const MINUTE_MS: i64 = 60_000;

/// A point in time of the story.
fn minute(number: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + number * MINUTE_MS)
}

fn production() -> Environment {
    Environment::default()
}

fn ada() -> Actor {
    Actor { id: "tokenofada".into(), name: "Ada".into() }
}

/// A change that does nothing yet.
fn nothing() -> Commit {
    Commit {
        actor: ada(),
        at: minute(0),
        environment: None,
        tokens: Vec::new(),
        audit: Vec::new(),
        idempotency: None,
        alerts: Vec::new(),
    }
}

fn creation(name: &Environment) -> Commit {
    let mut commit = writing(name, 0);
    let environment = commit.environment.as_mut().unwrap();
    environment.expected = None;
    environment.keyring = Some("the first key ring".into());
    environment.state = Some("the first state".into());
    commit
}

/// A change to an environment whose sequence was `expected`; versions stay at 1.
fn writing(name: &Environment, expected: u64) -> Commit {
    let environment = EnvironmentWrite {
        name: name.clone(),
        expected: Some(expected),
        cv: 1,
        ep: 1,
        keyset_ver: 1,
        keyring: None,
        state: None,
        documents: Vec::new(),
        snapshot: None,
        allocations: Vec::new(),
    };
    Commit { environment: Some(environment), ..nothing() }
}

fn writing_documents(name: &Environment, expected: u64, documents: Vec<DocumentWrite>) -> Commit {
    let mut commit = writing(name, expected);
    commit.environment.as_mut().unwrap().documents = documents;
    commit
}

fn publishing(name: &Environment, expected: u64, cv: u64, token: &str) -> Commit {
    let mut commit = writing(name, expected);
    let environment = commit.environment.as_mut().unwrap();
    environment.cv = cv;
    environment.snapshot = Some(NewSnapshot { cv, token: token.to_owned() });
    commit
}

fn document(kind: Kind, key: &str, body: Value) -> DocumentWrite {
    DocumentWrite { kind, key: key.to_owned(), body: Some(body), action: "experiment.update" }
}

fn deletion(kind: Kind, key: &str) -> DocumentWrite {
    DocumentWrite { kind, key: key.to_owned(), body: None, action: "experiment.delete" }
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        at_ms: minute(0).unix_ms(),
        actor: ada(),
        action: action.to_owned(),
        environment: None,
        kind: None,
        key: None,
        request: None,
        detail: Value::Null,
    }
}

fn api_token(id: &str) -> ApiToken {
    ApiToken {
        id: id.to_owned(),
        name: format!("token {id}"),
        scope: "editor".into(),
        environment: None,
        hash: [7; 32],
        created_at: minute(0),
        created_by: ada(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn creating_token(token: ApiToken) -> Commit {
    Commit { tokens: vec![TokenWrite::Create(token)], ..nothing() }
}

fn answer(key: &str, at: Timestamp) -> IdempotencyRecord {
    IdempotencyRecord {
        token_id: "tokenofada".into(),
        key: key.to_owned(),
        fingerprint: [9; 32],
        status: 201,
        sealed_body: "sealed".into(),
        at,
    }
}

/// A store with the environment `production` at sequence 1.
async fn with_production(database: &impl Database) -> Arc<dyn Store> {
    let store = database.open().await;
    assert_eq!(store.commit(creation(&production())).await.unwrap(), 1);
    store
}

#[track_caller]
fn assert_conflict(outcome: Result<u64, CommitError>) {
    assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?} instead of a conflict");
}

#[track_caller]
fn assert_refused(outcome: Result<u64, CommitError>) {
    let refused = matches!(outcome, Err(CommitError::Store(StoreError::Refused { .. })));
    assert!(refused, "{outcome:?} instead of a refusal");
}
