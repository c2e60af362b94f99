use serde_json::json;

use super::*;
use crate::testing::{World, editor};

fn running(key: &str) -> Value {
    json!({ "key": key, "state": "running", "variants": [{ "key": "a" }, { "key": "b" }] })
}

fn told(plan: &Plan) -> Vec<(&str, &str)> {
    plan.changes.iter().map(|change| (change.action, change.key.as_str())).collect()
}

async fn refused(world: &World, file: Value) -> ControlError {
    let definition: Definition = serde_json::from_value(file).unwrap();
    world.control.apply(&world.environment, &Context::system(), &definition, false).await.unwrap_err()
}

fn faults(error: ControlError) -> Vec<(String, String)> {
    match error {
        ControlError::Invalid { faults } => faults.into_iter().map(|it| (it.pointer, it.detail)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_taken_over_whole_and_a_second_time_changes_nothing() {
    let world = World::new().await;
    let file = json!({
        "experiments": [running("one"), { "key": "two", "variants": [{ "key": "a" }] }],
        "layers": [{ "key": "l" }],
        "holdouts": [{ "key": "h", "size": 1 }],
        "groups": { "g": ["x", 1, true] },
        "metrics": [{ "key": "m", "kind": "conversion" }],
    });
    let first = world.apply(file.clone()).await;
    assert!(first.changed && first.published);
    assert_eq!(
        told(&first.reply),
        [
            ("create", "one"),
            ("create", "two"),
            ("create", "l"),
            ("create", "h"),
            ("create", "g"),
            ("create", "m")
        ]
    );
    let again = world.apply(file.clone()).await;
    assert!(!again.changed && !again.published && again.reply.changes.is_empty());
    assert_eq!(again.state.head.sequence, first.state.head.sequence);
    let definition: Definition = serde_json::from_value(file).unwrap();
    assert_eq!(world.state().await.definition(), definition);
}

#[tokio::test]
async fn states_follow_the_file_and_unusual_steps_are_noted() {
    let world = World::new().await;
    let states = |states: [&str; 4]| {
        let experiments: Vec<_> = ["e1", "e2", "e3", "e4"]
            .iter()
            .zip(states)
            .map(|(key, state)| json!({ "key": key, "state": state, "variants": [{ "key": "a" }] }))
            .collect();
        json!({ "experiments": experiments })
    };
    world.apply(states(["draft", "running", "paused", "stopped"])).await;
    let changed = world.apply(states(["running", "draft", "running", "running"])).await;
    assert_eq!(
        told(&changed.reply),
        [("start", "e1"), ("withdraw", "e2"), ("resume", "e3"), ("start", "e4")]
    );
    assert_eq!(
        changed.reply.notes,
        ["experiment 'e2' goes from running to draft", "experiment 'e4' goes from stopped to running"]
    );
    let change = &changed.reply.changes[0].changes;
    assert_eq!((change.len(), change[0].pointer.as_str()), (1, "/state"));
    assert_eq!(changed.state.counters.halted[0].as_str(), "e2", "withdrawn");
}

#[tokio::test]
async fn what_the_file_does_not_name_stays_unless_pruned() {
    let world = World::new().await;
    world.apply(json!({ "experiments": [running("kept"), running("gone")] })).await;
    let file: Definition = serde_json::from_value(json!({ "experiments": [running("kept")] })).unwrap();
    let context = Context::system();
    let kept = world.control.apply(&world.environment, &context, &file, false).await.unwrap();
    assert!(!kept.changed);
    assert_eq!(kept.reply.notes, ["1 thing is not in the file and stays; prune to delete it"]);
    let pruned = world.control.apply(&world.environment, &context, &file, true).await.unwrap();
    assert_eq!(told(&pruned.reply), [("delete", "gone")]);
    assert_eq!(pruned.reply.notes, ["experiment 'gone' is running and will be deleted"]);
    assert_eq!(pruned.state.counters.halted[0].as_str(), "gone");
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_changes_nothing() {
    let world = World::new().await;
    let file: Definition = serde_json::from_value(json!({ "experiments": [running("e")] })).unwrap();
    let context = Context { dry_run: true, ..Context::system() };
    let told_only = world.control.apply(&world.environment, &context, &file, true).await.unwrap();
    assert!(told_only.changed && told_only.published);
    assert_eq!(told_only.state.head.cv, 2, "as it would be");
    assert_eq!(world.state().await.head.sequence, 1);
    let editors = Context { dry_run: true, ..editor() };
    let refused = world.control.apply(&world.environment, &editors, &file, true).await;
    assert!(matches!(refused, Err(ControlError::PublisherNeeded)));
}

#[tokio::test]
async fn a_file_of_another_environment_is_refused() {
    let world = World::new().await;
    let error = refused(&world, json!({ "environment": "staging" })).await;
    assert!(matches!(error, ControlError::OtherEnvironment { .. }));
}

#[tokio::test]
async fn pointers_lead_into_the_file_whatever_the_order_of_its_keys() {
    let world = World::new().await;
    let twice = json!({ "experiments": [running("e"), running("f"), running("e")] });
    assert_eq!(faults(refused(&world, twice).await)[0].0, "/experiments/2/key");

    let weightless = json!({ "key": "a-first", "variants": [{ "key": "a", "weight": 0 }] });
    let file = json!({ "experiments": [running("z"), running("m"), weightless] });
    assert_eq!(faults(refused(&world, file).await)[0].0, "/experiments/2/variants");

    let group = json!({ "groups": { "g": ["fine", { "not": "a scalar" }] } });
    let pointer = faults(refused(&world, group).await)[0].0.clone();
    assert!(pointer.starts_with("/groups/g") && !pointer.contains("values"), "{pointer}");
}

#[tokio::test]
async fn a_misfit_with_what_the_file_does_not_name_is_told_in_words() {
    let world = World::new().await;
    let needed = json!({ "key": "needed", "unit_type": "user", "variants": [{ "key": "a" }] });
    let needing = json!({
        "key": "needing", "variants": [{ "key": "a" }],
        "prerequisites": [{ "experiment": "needed", "variants": ["a"] }]
    });
    world.apply(json!({ "experiments": [needed, needing] })).await;
    let file = json!({ "experiments": [
        { "key": "needed", "unit_type": "device", "variants": [{ "key": "a" }] }
    ] });
    let found = faults(refused(&world, file).await);
    assert_eq!(found[0].0, "");
    assert!(found[0].1.starts_with("experiment 'needing' at /prerequisites/0"), "{}", found[0].1);
}
