use edgeseal_core::definition::{ExperimentDefinition, HoldoutDefinition, LayerDefinition};
use edgeseal_core::sealing::RotationPolicy;
use edgeseal_store::Kind;
use serde_json::json;

use super::*;
use crate::environment::DocumentBody;
use crate::testing::{START, experiment, master};
use crate::{keys, lifecycle};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(START + seconds)
}

fn actor() -> Actor {
    Actor { id: "someone".into(), name: "someone".into() }
}

fn empty() -> EnvironmentState {
    plan_new(&Environment::default(), at(0), &master()).unwrap().0
}

fn try_plan(before: &EnvironmentState, documents: Vec<DocumentChange>) -> Result<Option<Planned>, Refused> {
    plan(before, Wanted { documents, ..Wanted::default() }, &actor(), at(10), &master())
}

fn planned(before: &EnvironmentState, documents: Vec<DocumentChange>) -> Planned {
    match try_plan(before, documents) {
        Ok(Some(planned)) => planned,
        Ok(None) => panic!("nothing changes"),
        Err(refused) => panic!("{refused:?}"),
    }
}

fn put(body: impl Into<DocumentBody>) -> DocumentChange {
    DocumentChange::put(body, "test")
}

fn read(body: Value) -> ExperimentDefinition {
    serde_json::from_value(body).unwrap()
}

fn keys(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.experiments.iter().map(|record| record.key.as_str()).collect()
}

fn misfit(before: &EnvironmentState, documents: Vec<DocumentChange>) -> Misfit {
    match try_plan(before, documents) {
        Err(Refused::Misfit(misfit)) => misfit,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn a_new_environment_begins_with_the_first_version_of_everything() {
    let (state, write) = plan_new(&Environment::default(), at(0), &master()).unwrap();
    assert_eq!((write.expected, write.cv, write.ep, write.keyset_ver), (None, 1, 1, 1));
    assert_eq!(state.head.sequence, 1);
    assert!(state.snapshot.experiments.is_empty());
}

#[test]
fn drafts_and_words_for_people_reach_no_edge() {
    let drafted = planned(&empty(), vec![put(experiment("e", "draft"))]);
    assert!(!drafted.published && !drafted.altered && drafted.write.snapshot.is_none());
    assert_eq!((drafted.write.cv, drafted.write.documents.len()), (1, 1));

    let running = planned(&drafted.after, vec![put(experiment("e", "running"))]);
    assert!(running.published && running.altered);
    assert_eq!((running.write.cv, running.write.ep), (2, 1));
    let described = read(json!({
        "key": "e", "state": "running", "owner": "growth", "tags": ["checkout"],
        "variants": [{ "key": "a" }, { "key": "b" }]
    }));
    let told = planned(&running.after, vec![put(described)]);
    assert!(!told.published && !told.altered);
    assert_eq!(told.after.find(Kind::Experiment, "e").unwrap().revision, 3);
}

#[test]
fn what_changes_nothing_is_nothing() {
    let state = planned(&empty(), vec![put(experiment("e", "running"))]).after;
    assert!(try_plan(&state, Vec::new()).unwrap().is_none());
    assert!(try_plan(&state, vec![put(experiment("e", "running"))]).unwrap().is_none());
    let missing = DocumentChange::delete(Kind::Layer, "none", "layer.delete");
    assert!(try_plan(&state, vec![missing]).unwrap().is_none());
    let same_keys = Wanted { keyring: Some(Keyring::clone(&state.keyring)), ..Wanted::default() };
    assert!(plan(&state, same_keys, &actor(), at(10), &master()).unwrap().is_none());
}

#[test]
fn a_pause_raises_the_epoch_and_the_version() {
    let state = planned(&empty(), vec![put(experiment("e", "running"))]).after;
    let paused = planned(&state, vec![put(experiment("e", "paused"))]);
    assert_eq!((paused.write.cv, paused.write.ep), (3, 2));
    assert_eq!(paused.after.counters.halted[0].as_str(), "e");
    let resumed = planned(&paused.after, vec![put(experiment("e", "running"))]);
    assert_eq!((resumed.write.cv, resumed.write.ep), (4, 3));
    assert!(resumed.after.counters.halted.is_empty());
}

#[test]
fn a_draft_is_published_as_far_as_something_published_names_it() {
    let needs = |key: &str, state: &str, other: &str| {
        read(json!({
            "key": key, "state": state, "variants": [{ "key": "a" }],
            "prerequisites": [{ "experiment": other, "variants": ["a"] }]
        }))
    };
    let holdout: HoldoutDefinition =
        serde_json::from_value(json!({ "key": "h", "size": 5, "experiments": ["far", "idle", "runs"] }))
            .unwrap();
    let state = planned(
        &empty(),
        vec![
            put(needs("runs", "running", "near")),
            put(needs("near", "draft", "far")),
            put(experiment("far", "draft")),
            put(experiment("idle", "draft")),
            put(holdout),
        ],
    )
    .after;
    assert_eq!(keys(&state.snapshot), ["far", "near", "runs"]);
    let listed = state.snapshot.holdouts[0].experiments.as_ref().unwrap();
    assert_eq!(listed.iter().map(|key| key.as_str()).collect::<Vec<_>>(), ["far", "runs"]);
    state.snapshot.compile().unwrap();
}

#[test]
fn an_experiment_that_returns_is_never_taken_for_the_one_that_left() {
    let state = planned(&empty(), vec![put(experiment("e", "running"))]).after;
    let gone = DocumentChange::delete(Kind::Experiment, "e", "experiment.delete");
    let removed = planned(&state, vec![gone]);
    assert_eq!(removed.after.counters.halted[0].as_str(), "e", "its tokens are still in caches");
    assert!(removed.after.find(Kind::Experiment, "e").is_none());
    let back = planned(&removed.after, vec![put(experiment("e", "running"))]);
    assert_eq!(back.after.snapshot.experiments[0].xv, 2);
    assert_eq!(back.after.find(Kind::Experiment, "e").unwrap().revision, 3, "history goes on");
    assert!(back.after.counters.halted.is_empty());
}

#[test]
fn revision_sequence_and_times_are_known_beforehand() {
    let planned = planned(&empty(), vec![put(experiment("e", "draft"))]);
    let document = planned.after.find(Kind::Experiment, "e").unwrap();
    assert_eq!((document.revision, document.sequence), (1, 2));
    assert_eq!((document.created_at, document.updated_at), (at(10), at(10)));
    assert_eq!((planned.write.expected, planned.after.head.sequence), (Some(1), 2));
    assert_eq!(planned.written[0].revision, 1);
}

#[test]
fn another_control_key_signs_the_same_version_anew() {
    let state = planned(&empty(), vec![put(experiment("e", "running"))]).after;
    let mut keyring = Keyring::clone(&state.keyring);
    let leaked = keyring.active_kid(KeyUse::Control).unwrap().clone();
    keyring.revoke(&leaked, &master(), at(20), &RotationPolicy::default()).unwrap();
    let wanted = Wanted { keyring: Some(keyring), ..Wanted::default() };
    let planned = plan(&state, wanted, &actor(), at(20), &master()).unwrap().unwrap();
    assert!(!planned.published && planned.altered, "the revocation is news");
    assert_eq!((planned.write.cv, planned.write.ep, planned.write.keyset_ver), (2, 2, 2));
    let snapshot = planned.write.snapshot.unwrap();
    assert_eq!(snapshot.cv, 2);
    assert_ne!(snapshot.token, *state.snapshot_token);
    assert_eq!(planned.after.snapshot.experiments, state.snapshot.experiments);
}

#[test]
fn a_published_key_is_a_new_keyset_and_nothing_else() {
    let state = empty();
    let decision =
        keys::rotate(&state, keys::Rotating::Edge, &master(), at(1), &RotationPolicy::default(), false)
            .unwrap();
    let wanted = Wanted { keyring: decision.keyring, ..Wanted::default() };
    let planned = plan(&state, wanted, &actor(), at(1), &master()).unwrap().unwrap();
    assert_eq!((planned.write.cv, planned.write.ep, planned.write.keyset_ver), (1, 1, 2));
    assert!(planned.write.snapshot.is_none() && !planned.altered);
}

#[test]
fn what_a_clock_signed_that_was_ahead_is_signed_anew_under_its_version() {
    let state = planned(&empty(), vec![put(experiment("e", "running"))]).after;
    let back = at(10 - 3_600);
    assert!(!is_due(&state, at(10)) && is_due(&state, back));
    assert!(plan(&state, Wanted::default(), &actor(), back, &master()).unwrap().is_none(), "only if asked");
    let wanted = Wanted { housekeeping: true, ..Wanted::default() };
    let planned = plan(&state, wanted, &actor(), back, &master()).unwrap().unwrap();
    assert!(!planned.published);
    assert_eq!(planned.write.snapshot.as_ref().unwrap().cv, 2);
    assert_eq!(planned.after.snapshot.iat, back.unix_seconds());
    assert_ne!(planned.after.head.state, state.head.state, "other processes notice");
    assert!(!is_due(&planned.after, back));
}

#[test]
fn the_document_at_fault_is_named_with_a_pointer_into_it() {
    let bad = read(json!({ "key": "bad", "variants": [{ "key": "a", "weight": 0 }] }));
    let found = misfit(&empty(), vec![put(experiment("aaa", "draft")), put(bad)]);
    assert_eq!(found.document, Some((Kind::Experiment, "bad".into())));
    assert_eq!(found.pointer, "/variants");
    let alone = found.among(&[(Kind::Experiment, "bad".into())]);
    assert_eq!(alone.pointer, "/variants");
    let elsewhere = found.among(&[(Kind::Layer, "l".into())]);
    assert_eq!(elsewhere.pointer, "");
    assert!(elsewhere.detail.starts_with("experiment 'bad' at /variants: "), "{}", elsewhere.detail);
}

#[test]
fn whoever_asks_for_too_much_of_a_layer_is_at_fault() {
    let share = |key: &str, share: u32| {
        read(json!({
            "key": key, "state": "running", "variants": [{ "key": "a" }],
            "layer": { "key": "l", "share": share }
        }))
    };
    let layer: LayerDefinition = serde_json::from_value(json!({ "key": "l" })).unwrap();
    let state = planned(&empty(), vec![put(layer), put(share("zzz", 60))]).after;
    let found = misfit(&state, vec![put(share("aaa", 60))]);
    assert_eq!(found.document, Some((Kind::Experiment, "aaa".into())));
    assert_eq!(found.pointer, "/layer/share");
    let capacity = serde_json::to_value(state.layer_capacity("l")).unwrap();
    let expected = json!({
        "usedPercent": 60.0, "freePercent": 40.0,
        "members": [{ "experiment": "zzz", "sharePercent": 60.0 }]
    });
    assert_eq!(capacity, expected);
}

#[test]
fn what_others_name_cannot_be_deleted() {
    let needing = read(json!({
        "key": "needing", "variants": [{ "key": "a" }],
        "prerequisites": [{ "experiment": "needed", "variants": ["a"] }]
    }));
    let state = planned(&empty(), vec![put(needing), put(experiment("needed", "draft"))]).after;
    let decision = lifecycle::delete(&state, Kind::Experiment, "needed", 1).unwrap();
    let found = misfit(&state, decision.documents);
    assert_eq!(found.document, Some((Kind::Experiment, "needing".into())));
    assert!(found.pointer.starts_with("/prerequisites/0"), "{}", found.pointer);
}

#[test]
fn a_snapshot_that_edges_would_refuse_is_refused_here() {
    let payload = "x".repeat(4_000);
    let large = |place: usize| {
        let variants: Vec<_> =
            (0..64).map(|variant| json!({ "key": format!("v{variant}"), "payload": payload })).collect();
        put(read(json!({ "key": format!("e{place}"), "state": "paused", "variants": variants })))
    };
    let refused = try_plan(&empty(), (0..56).map(large).collect());
    assert!(matches!(refused, Err(Refused::Other(ControlError::TooLarge { what: "snapshot", .. }))));
}

#[test]
fn a_status_document_that_clients_would_refuse_is_refused_here() {
    let mut counters = Counters::new();
    let key = |place: usize| ExperimentKey::parse(&format!("{place:0>120}")).unwrap();
    counters.halted = (0..1_000).map(key).collect();
    assert!(check_status_size(&counters).is_ok());
    counters.halted = (0..1_600).map(key).collect();
    assert!(matches!(check_status_size(&counters), Err(ControlError::TooLarge { .. })));
}

/// Experiment, epoch, and the buckets of its variants.
fn allocated(planned: &Planned) -> Vec<(&str, u64, Vec<u32>)> {
    let told = |it: &'_ AllocationWrite| it.shares.iter().map(|(_, buckets)| *buckets).collect();
    planned.write.allocations.iter().map(|it| (it.experiment.as_str(), it.xv, told(it))).collect()
}

#[test]
fn what_is_served_for_the_first_time_is_written_down_as_it_is_divided_up() {
    let weights = |key: &str, state: &str, a: u32| {
        put(read(json!({
            "key": key, "state": state, "unit_type": "device",
            "variants": [{ "key": "a", "weight": a }, { "key": "b", "weight": 3 }],
        })))
    };
    let drafted = planned(&empty(), vec![weights("e", "draft", 1)]);
    assert_eq!(allocated(&drafted), []);
    let running = planned(&drafted.after, vec![weights("e", "running", 1), weights("f", "running", 3)]);
    let (quarter, half) = (vec![250_000, 750_000], vec![500_000, 500_000]);
    assert_eq!(allocated(&running), [("e", 1, quarter.clone()), ("f", 1, half.clone())]);
    assert_eq!(running.write.allocations[0].unit_type.as_str(), "device");
    assert_eq!(running.write.allocations[0].at, at(10));
    let paused = planned(&running.after, vec![weights("e", "paused", 1)]);
    assert_eq!(allocated(&paused), []);
    // What goes on after a pause is an epoch of its own.
    let resumed = planned(&paused.after, vec![weights("e", "running", 1)]);
    assert_eq!(allocated(&resumed), [("e", 2, quarter)]);
    let even = planned(&resumed.after, vec![weights("e", "running", 3)]);
    assert_eq!(allocated(&even), [("e", 3, half)]);
}
