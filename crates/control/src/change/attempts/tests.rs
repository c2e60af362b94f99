use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use edgeseal_store::audit::{GENESIS, verify};
use edgeseal_store::{ApiToken, AuditLog, Documents, Kind, TokenWrite, Tokens};
use serde_json::json;

use super::*;
use crate::lifecycle::{self, Transition};
use crate::testing::{START, World, editor, experiment};
use crate::{DocumentBody, DocumentChange, IdempotencyKey};

fn body(key: &str, state: &str) -> DocumentBody {
    experiment(key, state).into()
}

async fn create(world: &World, key: &str) -> Changed<()> {
    let decide = |state: &EnvironmentState, _| lifecycle::create(state, body(key, "draft"));
    world.control.change(&world.environment, &Context::system(), decide).await.unwrap()
}

async fn step(
    world: &World,
    context: &Context,
    key: &str,
    step: Transition,
) -> Result<Changed<()>, ControlError> {
    let decide =
        |state: &EnvironmentState, _| lifecycle::transition(state, key, &step, Some("testing"), None);
    world.control.change(&world.environment, context, decide).await
}

fn idempotent(fingerprint: u8) -> Context {
    let idempotency = Some(IdempotencyKey { key: "once".into(), fingerprint: [fingerprint; 32] });
    Context { idempotency, ..Context::system() }
}

async fn create_answered(world: &World, context: &Context, key: &str) -> Result<Answer, ControlError> {
    let decide = |state: &EnvironmentState, _| lifecycle::create(state, body(key, "draft"));
    let answer = |changed: &Changed<()>| {
        let revision = changed.state.find(Kind::Experiment, key).unwrap().revision;
        Answer {
            status: 201,
            etag: Some(format!("\"{revision}\"")),
            location: None,
            body: json!({ "sequence": changed.state.head.sequence }),
        }
    };
    world.control.change_answered(&world.environment, context, decide, answer).await
}

#[tokio::test]
async fn an_experiment_lives_from_draft_to_stopped_and_leaves_its_traces() {
    let world = World::new().await;
    create(&world, "e").await;
    let system = Context::system();
    for (taken, cv, ep) in [(Transition::Start, 2, 1), (Transition::Pause, 3, 2), (Transition::Resume, 4, 3)]
    {
        let changed = step(&world, &system, "e", taken).await.unwrap();
        assert!(changed.changed && changed.published);
        assert_eq!((changed.state.head.cv, changed.state.head.ep), (cv, ep));
    }
    let again = step(&world, &system, "e", Transition::Resume).await.unwrap();
    assert!(!again.changed, "once is enough");
    step(&world, &system, "e", Transition::Stop { winner: None }).await.unwrap();

    let history = world.store.revisions(&world.environment, Kind::Experiment, "e", None, 10).await.unwrap();
    let actions: Vec<_> = history.iter().rev().map(|it| it.action.as_str()).collect();
    assert_eq!(
        actions,
        ["experiment.create", "experiment.start", "experiment.pause", "experiment.resume", "experiment.stop"]
    );
    let told = world.store.actions();
    assert_eq!(told[0], "environment.create");
    assert_eq!(told.iter().filter(|action| *action == "snapshot.publish").count(), 5);
    assert!(told.contains(&"experiment.pause".to_owned()));
    let records = world.store.audit_after(0, 100).await.unwrap();
    verify(GENESIS, &records).unwrap();
    let paused = records.iter().find(|it| it.entry.contains("experiment.pause")).unwrap();
    assert!(paused.entry.contains("testing"), "the reason");
}

#[tokio::test]
async fn reading_what_did_not_change_costs_one_sequence() {
    let world = World::new().await;
    create(&world, "e").await;
    world.state().await;
    let before = world.store.reads.load(Ordering::SeqCst);
    for _ in 0..5 {
        world.state().await;
    }
    assert_eq!(world.store.reads.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn another_process_sees_what_changed_and_what_was_signed_anew() {
    let here = World::new().await;
    let there = World::on(here.store.clone());
    assert_eq!(there.state().await.head.sequence, 1);
    create(&here, "e").await;
    step(&here, &Context::system(), "e", Transition::Start).await.unwrap();
    let (ours, theirs) = (here.state().await, there.state().await);
    assert_eq!(ours.head, theirs.head);
    assert_eq!(ours.documents, theirs.documents);
    assert_eq!((&ours.snapshot, &ours.snapshot_token), (&theirs.snapshot, &theirs.snapshot_token));
    assert_eq!(ours.counters, theirs.counters);

    // The clock was an hour ahead when this was published, and is right again.
    here.advance(-3_600);
    here.control.housekeep(&here.environment).await.unwrap();
    let (ours, healed) = (here.state().await, there.state().await);
    assert_eq!(healed.head.cv, theirs.head.cv);
    assert_ne!(healed.snapshot_token, theirs.snapshot_token);
    assert_eq!(healed.snapshot_token, ours.snapshot_token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_publish_at_the_same_time_and_lose_nothing() {
    const EACH: usize = 25;
    let here = World::new().await;
    let there = World::on(here.store.clone());
    let mut running = tokio::task::JoinSet::new();
    for (process, world) in [&here, &there].into_iter().enumerate() {
        for number in 0..EACH {
            let (control, environment) = (Arc::clone(&world.control), world.environment.clone());
            running.spawn(async move {
                let key = format!("e-{process}-{number}");
                let decide = |_: &EnvironmentState, _| {
                    Ok(Decision::one(DocumentChange::put(body(&key, "running"), "test"), ()))
                };
                // Being told to try again is fair; losing a change is not.
                loop {
                    match control.change(&environment, &Context::system(), decide).await {
                        Ok(changed) => return changed.state.head.cv,
                        Err(ControlError::Busy) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(cv) = running.join_next().await {
        assert!(seen.insert(cv.unwrap()), "a version was given out twice");
    }
    let versions = here.store.versions(&here.environment);
    assert_eq!(versions, (1..=2 * EACH as u64 + 1).collect::<Vec<_>>());
    let (ours, theirs) = (here.state().await, there.state().await);
    assert_eq!(ours.count(Kind::Experiment), 2 * EACH);
    assert_eq!(ours.documents, theirs.documents);
    assert_eq!(ours.snapshot.experiments.len(), 2 * EACH);
    verify(GENESIS, &here.store.audit_after(0, 1_000).await.unwrap()).unwrap();
}

#[tokio::test]
async fn a_commit_that_may_have_happened_is_found_out_before_the_next_one() {
    let world = World::new().await;
    create(&world, "e").await;
    world.store.loses_next_commit.store(true, Ordering::SeqCst);
    let lost = step(&world, &Context::system(), "e", Transition::Start).await;
    assert!(matches!(lost, Err(ControlError::Store(_))));
    let after = step(&world, &Context::system(), "e", Transition::Pause).await.unwrap();
    assert_eq!(after.state.head.cv, 3, "the start was applied after all");
    assert_eq!(world.store.versions(&world.environment), [1, 2, 3]);
}

#[tokio::test]
async fn a_store_that_is_down_is_said_to_be_down() {
    let world = World::new().await;
    world.store.is_down.store(true, Ordering::SeqCst);
    assert!(matches!(world.control.state(&world.environment).await, Err(ControlError::Store(_))));
    let refused = step(&world, &Context::system(), "e", Transition::Start).await;
    assert!(matches!(refused, Err(ControlError::Store(_))));
    world.store.is_down.store(false, Ordering::SeqCst);
    create(&world, "e").await;
}

#[tokio::test]
async fn editors_prepare_and_publishers_publish() {
    let world = World::new().await;
    let decide = |state: &EnvironmentState, _| lifecycle::create(state, body("e", "draft"));
    world.control.change(&world.environment, &editor(), decide).await.unwrap();
    let refused = step(&world, &editor(), "e", Transition::Start).await;
    assert!(matches!(refused, Err(ControlError::PublisherNeeded)));
    assert_eq!(world.state().await.head.sequence, 2, "nothing was written");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let world = World::new().await;
    create(&world, "e").await;
    let dry = Context { dry_run: true, ..Context::system() };
    let would = step(&world, &dry, "e", Transition::Start).await.unwrap();
    assert!(would.changed && would.published);
    assert_eq!(would.state.head.cv, 2);
    assert_eq!(world.state().await.head.cv, 1);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_does_nothing_twice() {
    let world = World::new().await;
    let first = create_answered(&world, &idempotent(1), "e").await.unwrap();
    let again = create_answered(&world, &idempotent(1), "e").await.unwrap();
    assert_eq!(first, again, "and not 'exists already'");
    assert_eq!(world.state().await.head.sequence, 2);
    let other = create_answered(&world, &idempotent(2), "f").await;
    assert!(matches!(other, Err(ControlError::IdempotencyMismatch)));

    let elsewhere = World::on(world.store.clone());
    assert_eq!(create_answered(&elsewhere, &idempotent(1), "e").await.unwrap(), first);
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_is_there_for_the_repetition() {
    let world = World::new().await;
    world.store.loses_next_commit.store(true, Ordering::SeqCst);
    let lost = create_answered(&world, &idempotent(1), "e").await;
    assert!(matches!(lost, Err(ControlError::Store(_))));
    let answer = create_answered(&world, &idempotent(1), "e").await.unwrap();
    assert_eq!((answer.status, answer.body), (201, json!({ "sequence": 2 })));
}

#[tokio::test]
async fn even_an_answer_about_nothing_is_kept() {
    let world = World::new().await;
    create(&world, "e").await;
    step(&world, &Context::system(), "e", Transition::Start).await.unwrap();
    let start = |context: Context| {
        let world = &world;
        async move {
            let decide = |state: &EnvironmentState, _| {
                lifecycle::transition(state, "e", &Transition::Start, None, None)
            };
            let answer = |changed: &Changed<()>| Answer {
                status: 200,
                etag: None,
                location: None,
                body: json!({ "changed": changed.changed }),
            };
            world.control.change_answered(&world.environment, &context, decide, answer).await
        }
    };
    let first = start(idempotent(1)).await.unwrap();
    assert_eq!(first.body, json!({ "changed": false }));
    step(&world, &Context::system(), "e", Transition::Pause).await.unwrap();
    assert_eq!(start(idempotent(1)).await.unwrap(), first, "it does not resume, nor complain");
}

#[tokio::test]
async fn an_environment_is_made_once_with_its_own_keys() {
    let world = World::new().await;
    let staging = Environment::parse("staging").unwrap();
    let context = Context::system();
    let made = world.control.create_environment(&context, &staging).await.unwrap();
    let production = world.state().await;
    assert_ne!(made.state.keyring.root(), production.keyring.root());
    let again = world.control.create_environment(&context, &staging).await;
    assert!(matches!(again, Err(ControlError::EnvironmentExists { .. })));
    let missing = world.control.state(&Environment::parse("missing").unwrap()).await;
    assert!(matches!(missing, Err(ControlError::NoEnvironment { .. })));
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let world = World::new().await;
    let master = crate::MasterKey::from_bytes(&[8; 32]).unwrap();
    let stranger = Control::new(crate::Config::default(), world.store.clone(), master, Vec::new());
    assert!(matches!(stranger.state(&world.environment).await, Err(ControlError::Keyring(_))));
}

#[tokio::test]
async fn a_snapshot_that_somebody_changed_in_the_database_is_refused() {
    let world = World::new().await;
    world.store.tamper(&world.environment, |snapshot| {
        // Another claim under the old signature.
        let claims = snapshot.token.find('.').unwrap() + 10;
        let other = if snapshot.token.as_bytes()[claims] == b'A' { "B" } else { "A" };
        snapshot.token.replace_range(claims..=claims, other);
    });
    let stranger = World::on(world.store.clone());
    let refused = stranger.control.state(&world.environment).await;
    assert!(matches!(refused, Err(ControlError::Store(edgeseal_store::StoreError::Corrupt { .. }))));
    assert_eq!(world.state().await.head.cv, 1, "who knew it goes on");
}

#[tokio::test]
async fn tokens_change_with_audit_and_a_hint_for_open_streams() {
    let world = World::new().await;
    let mut hints = world.control.tokens_changed();
    let token = ApiToken {
        id: "abcdefgh01234567".into(),
        name: "ci".into(),
        scope: "publisher".into(),
        environment: None,
        hash: [1; 32],
        created_at: Timestamp::from_unix_seconds(START),
        created_by: Context::system().actor,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    let note = AuditNote {
        action: "token.create".into(),
        kind: Some("token".into()),
        key: Some(token.id.clone()),
        detail: json!({ "scope": "publisher" }),
    };
    let answer = Answer { status: 201, etag: None, location: None, body: json!({ "token": "edgeseal_x_y" }) };
    let create = |fingerprint| {
        let (writes, notes) = (vec![TokenWrite::Create(token.clone())], vec![note.clone()]);
        let (world, answer) = (&world, answer.clone());
        async move { world.control.change_tokens(&idempotent(fingerprint), writes, notes, answer).await }
    };
    assert_eq!(create(1).await.unwrap(), answer);
    assert_eq!(create(1).await.unwrap(), answer, "repeated, not created again");
    assert_eq!(world.store.tokens().await.unwrap().len(), 1);
    assert_eq!(world.store.actions().iter().filter(|it| *it == "token.create").count(), 1);
    assert!(hints.has_changed().unwrap());
    hints.mark_unchanged();
    assert!(matches!(create(2).await, Err(ControlError::IdempotencyMismatch)));
}

#[tokio::test]
async fn too_many_changes_at_the_same_time_are_refused_at_once() {
    let world = World::new().await;
    let slot = world.control.slot(&world.environment).unwrap();
    let all = u32::try_from(crate::hub::MAX_WAITING_CHANGES).unwrap();
    let _taken = slot.waiting.try_acquire_many(all).unwrap();
    let refused = step(&world, &Context::system(), "e", Transition::Start).await;
    assert!(matches!(refused, Err(ControlError::Busy)));
}

#[tokio::test]
async fn a_stale_revision_is_refused_with_the_newest() {
    let world = World::new().await;
    create(&world, "e").await;
    let mut other = experiment("e", "draft");
    other.owner = Some("growth".into());
    for (expected, fits) in [(1, true), (1, false), (2, true)] {
        other.description = Some(format!("from {expected} {fits}"));
        let decide = |state: &EnvironmentState, _| lifecycle::update(state, other.clone().into(), expected);
        let result = world.control.change(&world.environment, &editor(), decide).await;
        match result {
            Ok(_) => assert!(fits),
            Err(ControlError::Stale { current: 2, .. }) => assert!(!fits),
            Err(other) => panic!("{other:?}"),
        }
    }
}
