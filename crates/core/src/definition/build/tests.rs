use serde_json::{Value, json};

use super::*;
use crate::testing::{NOW, definition};

fn halves() -> Value {
    json!([{ "key": "control", "weight": 50 }, { "key": "treatment", "weight": 50 }])
}

fn first(experiment: Value) -> Snapshot {
    next(experiment, None)
}

fn next(experiment: Value, previous: Option<&Snapshot>) -> Snapshot {
    definition(json!({ "experiments": [experiment] })).build(previous, NOW).unwrap()
}

fn refusal(file: Value) -> (String, String) {
    let error = definition(file).build(None, NOW).unwrap_err();
    (error.path.clone(), error.to_string())
}

#[test]
fn an_unchanged_definition_gives_the_very_same_snapshot() {
    let file = json!({ "key": "e", "variants": halves() });
    let one = first(file.clone());
    let two = definition(json!({ "experiments": [file] })).build(Some(&one), NOW.plus_seconds(100)).unwrap();
    assert_eq!(one, two);
    assert_eq!((one.cv, one.experiments[0].xv), (1, 1));
}

#[test]
fn the_order_of_the_file_is_no_change() {
    let a = json!({ "key": "a", "variants": halves() });
    let b = json!({ "key": "b", "variants": halves() });
    let one = definition(json!({ "experiments": [a, b] })).build(None, NOW).unwrap();
    let two = definition(json!({ "experiments": [b, a] })).build(Some(&one), NOW).unwrap();
    assert_eq!(one, two);
}

#[test]
fn versions_grow_when_assignments_could_change() {
    let base = json!({ "key": "e", "variants": halves(), "traffic": 50 });
    let one = first(base.clone());
    let changed = |member: &str, value: Value| {
        let mut file = base.clone();
        file[member] = value;
        let two = next(file, Some(&one));
        (two.cv, two.experiments[0].xv)
    };
    // The snapshot is new, the experiment's version stays.
    assert_eq!(changed("state", json!("running")), (2, 1));
    assert_eq!(changed("traffic", json!(60)), (2, 1));
    assert_eq!(changed("overrides", json!({ "qa": "control" })), (2, 1));
    // Both grow.
    assert_eq!(changed("traffic", json!(40)), (2, 2));
    assert_eq!(changed("salt", json!("again")), (2, 2));
    assert_eq!(changed("audience", json!({ "country": "de" })), (2, 2));
    assert_eq!(changed("variants", json!([{ "key": "control" }, { "key": "other" }])), (2, 2));
    // Names and descriptions are for people: edges never see them.
    assert_eq!(changed("description", json!("words")), (1, 1));
}

#[test]
fn going_on_after_a_pause_begins_a_version() {
    let in_state = |state: &str| json!({ "key": "e", "variants": halves(), "state": state });
    let running = first(in_state("running"));
    let paused = next(in_state("paused"), Some(&running));
    assert_eq!(paused.experiments[0].xv, 1, "a pause assigns nothing new");
    let again = next(in_state("running"), Some(&paused));
    assert_eq!((again.cv, again.experiments[0].xv), (3, 2));
    assert_eq!(again.experiments[0].variants, running.experiments[0].variants, "and nobody moves");
}

#[test]
fn reweighting_moves_the_minimum_and_removing_a_variant_moves_only_its_units() {
    let one = first(json!({ "key": "e", "variants": halves() }));
    let two = next(
        json!({ "key": "e", "variants": [{ "key": "control", "weight": 60 }, { "key": "treatment", "weight": 40 }] }),
        Some(&one),
    );
    let ranges = |snapshot: &Snapshot, variant: usize| {
        let ranges = &snapshot.experiments[0].variants[variant].ranges;
        ranges.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
    };
    assert_eq!(ranges(&two, 0), [(0, 500_000), (900_000, 1_000_000)]);
    assert_eq!(ranges(&two, 1), [(500_000, 900_000)]);
    let three = next(json!({ "key": "e", "variants": [{ "key": "control" }] }), Some(&two));
    assert_eq!(ranges(&three, 0), [(0, 1_000_000)]);
    assert_eq!((three.cv, three.experiments[0].xv), (3, 3));
}

#[test]
fn layer_slots_stay_where_they_are_when_a_neighbour_comes() {
    let member = |key: &str, share: u32| json!({ "key": key, "variants": halves(), "layer": { "key": "l", "share": share } });
    let file = |experiments: Vec<Value>| {
        definition(json!({ "layers": [{ "key": "l" }], "experiments": experiments }))
    };
    let one = file(vec![member("m", 30)]).build(None, NOW).unwrap();
    let two = file(vec![member("a", 30), member("m", 30)]).build(Some(&one), NOW).unwrap();
    assert_eq!(two.experiments[1].layer, one.experiments[0].layer);
    assert_eq!(two.experiments[1].xv, 1);
}

#[test]
fn refusals_name_the_place_in_the_file_and_the_way_out() {
    let e = |member: &str, value: Value| {
        let mut experiment = json!({ "key": "e", "variants": halves() });
        experiment[member] = value;
        // A second experiment with a smaller key: places in the file and in the snapshot differ.
        json!({ "experiments": [experiment, { "key": "a", "variants": halves() }] })
    };
    let cases = [
        (e("winner", json!("nope")), "/experiments/0/winner", "variant 'nope' does not exist"),
        (e("winner", json!("control")), "/experiments/0/winner", "only a stopped experiment serves a winner"),
        (e("variants", json!([])), "/experiments/0/variants", "has no variants"),
        (
            e("variants", json!([{ "key": "a", "weight": 0 }])),
            "/experiments/0/variants",
            "all weights are zero",
        ),
        (
            e("variants", json!([{ "key": "a" }, { "key": "a" }])),
            "/experiments/0/variants/1/key",
            "defined twice",
        ),
        (e("key", json!("a")), "/experiments/1/key", "experiment 'a' is defined twice"),
        (
            e("layer", json!({ "key": "l", "share": 1 })),
            "/experiments/0/layer/key",
            "layer 'l' does not exist",
        ),
        (e("overrides", json!({ "u/1": "nope" })), "/experiments/0/overrides/u~11", "variant 'nope'"),
        (e("overrides", json!({ "u\n": "control" })), "/experiments/0/overrides/u\n", "control character"),
        (e("audience", json!({ "x": { "$foo": 1 } })), "/experiments/0/audience/x/$foo", "$foo"),
        (
            e("prerequisites", json!([{ "experiment": "z", "variants": ["control"] }])),
            "/experiments/0/prerequisites/0/experiment",
            "experiment 'z' does not exist",
        ),
        (
            e("prerequisites", json!([{ "experiment": "a", "variants": ["z"] }])),
            "/experiments/0/prerequisites/0/variants/0",
            "variant 'z' does not exist",
        ),
        (
            e("prerequisites", json!([{ "experiment": "e", "variants": ["control"] }])),
            "/experiments/0/prerequisites",
            "form a loop",
        ),
        (
            e("prerequisites", json!([{ "experiment": "a", "variants": [] }])),
            "/experiments/0/prerequisites/0/variants",
            "names no variants",
        ),
        (
            e("variants", json!([{ "key": "a", "payload": "x".repeat(5_000) }])),
            "/experiments/0/variants/0/payload",
            "5002 bytes, more than the 4096 allowed",
        ),
        (e("salt", json!("s".repeat(300))), "/experiments/0/salt", "300 bytes"),
        (
            json!({ "experiments": [], "holdouts": [{ "key": "h", "size": 1, "experiments": ["x"] }] }),
            "/holdouts/0/experiments/0",
            "experiment 'x' does not exist",
        ),
        (json!({ "experiments": [], "groups": { "g": [["nested"]] } }), "/groups/g/0", ""),
    ];
    for (file, path, words) in cases {
        let (at, why) = refusal(file);
        assert_eq!(at, path, "{why}");
        assert!(why.contains(words), "'{why}' lacks '{words}'");
    }
}

#[test]
fn a_full_layer_says_how_full() {
    let member =
        |key: &str| json!({ "key": key, "variants": halves(), "layer": { "key": "l", "share": 60 } });
    let (path, why) =
        refusal(json!({ "layers": [{ "key": "l" }], "experiments": [member("b"), member("a")] }));
    assert_eq!(path, "/experiments/0/layer");
    assert!(why.contains("together take 120.0000%"), "{why}");
}

#[test]
fn long_chains_of_prerequisites_are_refused() {
    let experiments: Vec<Value> = (0..6)
        .map(|n| {
            let mut experiment = json!({ "key": format!("e{n}"), "variants": halves() });
            if n > 0 {
                experiment["prerequisites"] =
                    json!([{ "experiment": format!("e{}", n - 1), "variants": ["control"] }]);
            }
            experiment
        })
        .collect();
    assert!(definition(json!({ "experiments": experiments[..5] })).build(None, NOW).is_ok());
    let (path, why) = refusal(json!({ "experiments": experiments }));
    assert_eq!(path, "/experiments/5/prerequisites");
    assert!(why.contains("longer than 4"), "{why}");
}

#[test]
fn the_environment_cannot_change_under_a_data_directory() {
    let one = first(json!({ "key": "e", "variants": halves() }));
    let other = definition(json!({ "environment": "staging" }));
    assert_eq!(other.build(Some(&one), NOW).unwrap_err().path, "/environment");
}

#[test]
fn assignments_that_could_outgrow_a_token_are_refused() {
    let payload = "x".repeat(4_000);
    let experiments: Vec<Value> = (0..50)
        .map(|n| {
            json!({ "key": format!("e{n}"), "state": "running",
                    "variants": [{ "key": "a", "payload": payload }] })
        })
        .collect();
    let (path, why) = refusal(json!({ "experiments": experiments }));
    assert_eq!(path, "/experiments");
    assert!(why.contains("stop finished experiments or shorten payloads"), "{why}");
}
