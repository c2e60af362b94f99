use serde_json::{Value, json};

use super::*;
use crate::explain::explain;
use crate::sealing::Status;
use crate::testing::ruleset;

fn attributes(json: Value) -> Attributes {
    Attributes::parse(json.to_string().as_bytes()).unwrap()
}

fn outcome_with(
    ruleset: &Ruleset,
    halts: &Halts,
    key: &str,
    request: &Request<'_>,
) -> (Reason, Option<String>) {
    let experiment = ruleset.find(key).expect("the experiment exists");
    let outcome = evaluate(ruleset, halts, experiment, request);
    // The explanation comes from the same code: whatever is tested here holds for it too.
    let explanation = explain(ruleset, halts, experiment, request);
    let variant = outcome.variant.map(|variant| variant.key().to_string());
    assert_eq!(explanation.reason, outcome.reason.as_str());
    assert_eq!(explanation.variant, variant);
    (outcome.reason, variant)
}

fn outcome(ruleset: &Ruleset, key: &str, unit: &str, attributes: &Attributes) -> (Reason, Option<String>) {
    let request =
        Request { unit: UnitId::parse(unit).unwrap(), attributes, forced: Forced::none(), previous: None };
    outcome_with(ruleset, &Halts::none(), key, &request)
}

fn plain(ruleset: &Ruleset, key: &str, unit: &str) -> (Reason, Option<String>) {
    outcome(ruleset, key, unit, &Attributes::default())
}

fn share_in(ruleset: &Ruleset, key: &str, units: usize) -> usize {
    (0..units).filter(|n| plain(ruleset, key, &format!("user-{n}")).1.is_some()).count()
}

fn two_variants() -> Value {
    json!([{ "key": "control" }, { "key": "treatment" }])
}

fn one(experiment: Value) -> Ruleset {
    let mut experiment = experiment;
    let object = experiment.as_object_mut().unwrap();
    object.entry("key").or_insert(json!("e"));
    object.entry("state").or_insert(json!("running"));
    object.entry("variants").or_insert(two_variants());
    ruleset(json!({ "experiments": [experiment] }))
}

#[test]
fn a_running_experiment_splits_units_by_weight() {
    let ruleset = one(json!({ "variants": [{ "key": "a", "weight": 9 }, { "key": "b", "weight": 1 }] }));
    let b = (0..10_000)
        .filter(|n| plain(&ruleset, "e", &format!("user-{n}")) == (Reason::Split, Some("b".into())))
        .count();
    // 1000 expected, standard deviation 30.
    assert!((850..1150).contains(&b), "{b}");
}

#[test]
fn states_other_than_running_let_nobody_in() {
    for (state, reason) in
        [("draft", Reason::Draft), ("paused", Reason::Paused), ("stopped", Reason::Stopped)]
    {
        assert_eq!(plain(&one(json!({ "state": state })), "e", "u"), (reason, None));
    }
}

#[test]
fn a_winner_is_served_to_everyone_whatever_the_targeting() {
    let ruleset = one(json!({
        "state": "stopped", "winner": "treatment", "traffic": 0, "audience": { "country": "de" }
    }));
    assert_eq!(plain(&ruleset, "e", "anyone"), (Reason::Winner, Some("treatment".into())));
}

#[test]
fn the_status_document_halts_even_winners_and_forced_variants() {
    let ruleset = one(json!({ "state": "stopped", "winner": "treatment" }));
    let halts = |off: &[&str], min: &[(&str, u64)]| {
        let status = Status {
            iss: ruleset.environment().clone(),
            ep: 1,
            cv: 1,
            off: off.iter().map(|key| key.parse().unwrap()).collect(),
            min: min.iter().map(|(key, version)| (key.parse().unwrap(), *version)).collect(),
            rev: Default::default(),
            iat: crate::testing::NOW,
            exp: crate::testing::NOW.plus_seconds(30),
        };
        Halts::new(&ruleset, &status)
    };
    let treatment = "treatment".parse().unwrap();
    let forced = Forced::resolve(&ruleset, [("e", &treatment)]).unwrap();
    let request = Request {
        unit: UnitId::parse("u").unwrap(),
        attributes: &Attributes::default(),
        forced: &forced,
        previous: None,
    };
    assert_eq!(outcome_with(&ruleset, &halts(&["e"], &[]), "e", &request).0, Reason::Halted);
    assert_eq!(outcome_with(&ruleset, &halts(&[], &[("e", 2)]), "e", &request).0, Reason::Halted);
    assert_eq!(outcome_with(&ruleset, &halts(&["other"], &[("e", 1)]), "e", &request).0, Reason::Winner);
}

#[test]
fn qa_overrides_and_forced_variants_come_before_targeting() {
    let ruleset = one(json!({ "traffic": 0, "overrides": { "qa/1": "treatment" } }));
    assert_eq!(plain(&ruleset, "e", "qa/1"), (Reason::Forced, Some("treatment".into())));
    assert_eq!(plain(&ruleset, "e", "someone"), (Reason::Traffic, None));

    let control = "control".parse().unwrap();
    let forced = Forced::resolve(&ruleset, [("e", &control)]).unwrap();
    let request = Request {
        unit: UnitId::parse("qa/1").unwrap(),
        attributes: &Attributes::default(),
        forced: &forced,
        previous: None,
    };
    // What the request asks for wins over the file.
    let outcome = outcome_with(&ruleset, &Halts::none(), "e", &request);
    assert_eq!(outcome, (Reason::Forced, Some("control".into())));
}

#[test]
fn forcing_what_does_not_exist_is_refused() {
    let ruleset = one(json!({}));
    let key = "treatment".parse().unwrap();
    let unknown = "nope".parse().unwrap();
    assert_eq!(
        Forced::resolve(&ruleset, [("x", &key)]).unwrap_err(),
        ForceError::UnknownExperiment("x".into())
    );
    assert_eq!(
        Forced::resolve(&ruleset, [("e", &unknown)]).unwrap_err(),
        ForceError::UnknownVariant { experiment: "e".into(), variant: "nope".into() }
    );
}

#[test]
fn holdouts_keep_their_units_out_of_the_listed_experiments_only() {
    let ruleset = ruleset(json!({
        "experiments": [
            { "key": "in", "state": "running", "variants": two_variants() },
            { "key": "out", "state": "running", "variants": two_variants() }
        ],
        "holdouts": [{ "key": "h", "size": "10%", "experiments": ["in"] }]
    }));
    let held: Vec<String> = (0..5_000)
        .map(|n| format!("user-{n}"))
        .filter(|unit| plain(&ruleset, "in", unit).0 == Reason::Holdout)
        .collect();
    assert!((400..600).contains(&held.len()), "{}", held.len());
    assert!(held.iter().all(|unit| plain(&ruleset, "out", unit).0 == Reason::Split));
}

#[test]
fn a_holdout_without_a_list_covers_every_experiment() {
    let ruleset = ruleset(json!({
        "experiments": [{ "key": "e", "state": "running", "variants": two_variants() }],
        "holdouts": [{ "key": "h", "size": 100 }]
    }));
    assert_eq!(plain(&ruleset, "e", "u"), (Reason::Holdout, None));
}

#[test]
fn prerequisites_open_the_experiment_for_the_listed_variants() {
    let ruleset = ruleset(json!({ "experiments": [
        { "key": "a", "state": "running", "variants": two_variants() },
        { "key": "b", "state": "running", "variants": two_variants(),
          "prerequisites": [{ "experiment": "a", "variants": ["treatment"] }] }
    ] }));
    for n in 0..200 {
        let unit = format!("user-{n}");
        let opened = plain(&ruleset, "a", &unit).1.as_deref() == Some("treatment");
        let expected = if opened { Reason::Split } else { Reason::Prerequisite };
        assert_eq!(plain(&ruleset, "b", &unit).0, expected);
    }
}

#[test]
fn the_audience_decides_by_attributes() {
    let ruleset = one(json!({ "audience": { "country": { "$in": ["de", "at"] } } }));
    assert_eq!(outcome(&ruleset, "e", "u", &attributes(json!({ "country": "at" }))).0, Reason::Split);
    assert_eq!(outcome(&ruleset, "e", "u", &attributes(json!({ "country": "fr" }))).0, Reason::Audience);
    assert_eq!(plain(&ruleset, "e", "u").0, Reason::Audience);
}

#[test]
fn a_layer_lets_a_unit_into_at_most_one_of_its_experiments() {
    let ruleset = ruleset(json!({
        "layers": [{ "key": "page" }],
        "experiments": [
            { "key": "a", "state": "running", "variants": two_variants(), "layer": { "key": "page", "share": 40 } },
            { "key": "b", "state": "running", "variants": two_variants(), "layer": { "key": "page", "share": 40 } }
        ]
    }));
    let mut neither = 0;
    for n in 0..5_000 {
        let unit = format!("user-{n}");
        let both = [plain(&ruleset, "a", &unit).1, plain(&ruleset, "b", &unit).1];
        assert!(both.iter().flatten().count() <= 1);
        neither += usize::from(both.iter().flatten().count() == 0);
    }
    assert!((850..1150).contains(&neither), "{neither}");
}

#[test]
fn raising_traffic_only_adds_units_and_moves_none() {
    let at = |percent: u32| one(json!({ "traffic": percent }));
    let (low, high) = (at(20), at(60));
    for n in 0..2_000 {
        let unit = format!("user-{n}");
        if let (Reason::Split, variant) = plain(&low, "e", &unit) {
            assert_eq!(plain(&high, "e", &unit), (Reason::Split, variant));
        }
    }
    let (few, many) = (share_in(&low, "e", 2_000), share_in(&high, "e", 2_000));
    assert!((330..470).contains(&few) && (1110..1290).contains(&many), "{few} {many}");
}

#[test]
fn a_sticky_experiment_keeps_the_variant_of_the_previous_token() {
    let reasons = [("split", true), ("sticky", true), ("forced", false), ("winner", false)];
    for sticky in [true, false] {
        let ruleset = one(json!({
            "sticky": sticky, "variants": [{ "key": "a", "weight": 1 }, { "key": "b", "weight": 0 }]
        }));
        for (reason, keeps) in reasons {
            let previous = previous_claims("e", "b", reason);
            let request = Request {
                unit: UnitId::parse("u").unwrap(),
                attributes: &Attributes::default(),
                forced: Forced::none(),
                previous: Some(&previous),
            };
            let expected = if sticky && keeps { (Reason::Sticky, "b") } else { (Reason::Split, "a") };
            let (reason, variant) = outcome_with(&ruleset, &Halts::none(), "e", &request);
            assert_eq!((reason, variant.as_deref()), (expected.0, Some(expected.1)));
        }
    }
}

#[test]
fn a_sticky_variant_that_no_longer_exists_is_split_anew() {
    let ruleset = one(json!({ "sticky": true }));
    let previous = previous_claims("e", "gone", "split");
    let request = Request {
        unit: UnitId::parse("u").unwrap(),
        attributes: &Attributes::default(),
        forced: Forced::none(),
        previous: Some(&previous),
    };
    assert_eq!(outcome_with(&ruleset, &Halts::none(), "e", &request).0, Reason::Split);
}

#[test]
fn explanations_name_every_question_up_to_the_one_that_decided() {
    let ruleset = one(json!({ "audience": { "country": "de" } }));
    let request = Request {
        unit: UnitId::parse("u").unwrap(),
        attributes: &Attributes::default(),
        forced: Forced::none(),
        previous: None,
    };
    let explanation = explain(&ruleset, &Halts::none(), ruleset.find("e").unwrap(), &request);
    let questions: Vec<&str> = explanation.steps.iter().map(|step| step.question).collect();
    assert_eq!(questions, ["running", "forced", "holdout", "prerequisites", "audience"]);
    assert!(!explanation.steps.last().unwrap().answer);
}

fn previous_claims(experiment: &str, variant: &str, reason: &str) -> AssignmentClaims {
    use crate::sealing::{AssignedVariant, SubjectTag};
    let (environment, unit_type) = (crate::ids::Environment::default(), crate::ids::UnitType::default());
    let assigned = AssignedVariant { v: variant.parse().unwrap(), xv: 1, r: reason.into(), p: None };
    AssignmentClaims {
        sub: SubjectTag::of(&environment, &unit_type, UnitId::parse("u").unwrap()),
        aud: format!("edgeseal:{environment}"),
        iss: environment,
        ut: unit_type,
        nbf: None,
        iat: crate::testing::NOW,
        exp: crate::testing::NOW.plus_seconds(60),
        cv: 1,
        ep: 1,
        cd: Attributes::default().digest().to_string(),
        a: [(experiment.parse().unwrap(), assigned)].into(),
    }
}
