//! Evaluation vectors: a definition, the snapshot that it builds, and what units get from it.

use std::sync::Arc;

use edgeseal_core::answer::{AnswerContext, answer};
use edgeseal_core::attributes::Attributes;
use edgeseal_core::definition::Definition;
use edgeseal_core::evaluate::{Forced, Request, evaluate};
use edgeseal_core::ids::{UnitId, UnitType, VariantKey};
use edgeseal_core::ruleset::{Halts, Ruleset};
use edgeseal_core::sealing::{Sealer, SecretKey, Status, TokenKind};
use edgeseal_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::bucketing::SplitMix64;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const UNITS_PER_SCENARIO: usize = 200;
/// The first few units of a scenario come with their token.
const TOKENS_PER_SCENARIO: usize = 5;
const EDGE_SEED: [u8; 32] = [2; 32];

/// The vectors, for `vectors/evaluation.json`.
///
/// # Panics
/// When a scenario below is itself malformed: a mistake in this file.
#[allow(
    clippy::expect_used,
    reason = "the scenarios are constants of this file; a bad one must stop the generator"
)]
pub fn generate() -> Value {
    let mut random = SplitMix64(0x0ed6_e5ea_1000_0002);
    let scenarios: Vec<Value> = scenarios()
        .into_iter()
        .map(|(name, definition, halted)| {
            let parsed: Definition = serde_json::from_value(definition.clone()).expect("a definition");
            let snapshot = parsed.build(None, NOW).expect("a definition that builds");
            let ruleset = snapshot.compile().expect("a snapshot that compiles");
            let halts = Halts::new(&ruleset, &status(&ruleset, halted));
            let cases: Vec<Value> =
                (0..UNITS_PER_SCENARIO).map(|n| case(&ruleset, &halts, n, &mut random)).collect();
            json!({
                "name": name,
                "definition": definition,
                "snapshot": serde_json::to_value(&snapshot).expect("a snapshot is JSON"),
                "halted": halted,
                "cases": cases,
            })
        })
        .collect();
    json!({
        "description": "Per scenario: a definition, the snapshot it builds (first build, iat 1800000000), the \
            experiments halted by the status document, and the outcome of every experiment per unit: a reason, \
            and a variant when the unit is in. 'force' maps experiments to variants asked for by the request. \
            'token' is the whole answer, signed by the edge key whose seed is 32 bytes of 0x02, at 1800000000, living \
            3600 s, at status epoch 1.",
        "scenarios": scenarios,
    })
}

#[allow(clippy::expect_used, reason = "see generate")]
fn case(ruleset: &Ruleset, halts: &Halts, n: usize, random: &mut SplitMix64) -> Value {
    let unit = match n {
        0 => "1".to_owned(),
        1 => "é".repeat(128),
        2 => "qa-1".to_owned(),
        _ => format!("user-{}", random.next() % 1_000_000),
    };
    let pick = |choices: &[Value], roll: u64| {
        let index = usize::try_from(roll % choices.len() as u64).unwrap_or(0);
        choices.get(index).cloned().unwrap_or(Value::Null)
    };
    let mut attributes = Map::new();
    let countries = [json!("de"), json!("at"), json!("fr"), json!("us"), Value::Null];
    attributes.insert("country".into(), pick(&countries, random.next()));
    if random.next().is_multiple_of(2) {
        let plans = [json!("free"), json!("pro"), json!("enterprise")];
        let age = random.next() % 400;
        attributes.insert("account".into(), json!({ "plan": pick(&plans, random.next()), "age_days": age }));
    }
    if random.next().is_multiple_of(3) {
        let versions = [json!("1.9.0"), json!("1.10.0-rc.1"), json!("1.10.0"), json!("2.0")];
        attributes.insert("appVersion".into(), pick(&versions, random.next()));
    }
    let forced = n % 20 == 7;
    let force: Vec<(String, VariantKey)> = ruleset
        .experiments()
        .iter()
        .filter(|_| forced)
        .filter_map(|experiment| {
            Some((experiment.key().to_string(), experiment.variants().last()?.key().clone()))
        })
        .collect();
    let wanted = force.iter().map(|(experiment, variant)| (experiment.as_str(), variant));
    let resolved = Forced::resolve(ruleset, wanted).expect("it names what exists");
    let parsed = Attributes::from_object(attributes.clone()).expect("attributes within bounds");
    let request = Request {
        unit: UnitId::parse(&unit).expect("a unit id"),
        attributes: &parsed,
        forced: &resolved,
        previous: None,
    };
    let outcomes: Map<String, Value> = ruleset
        .experiments()
        .iter()
        .map(|experiment| {
            let outcome = evaluate(ruleset, halts, experiment, &request);
            let mut expected = json!({ "reason": outcome.reason.as_str() });
            if let (Some(variant), Some(object)) = (outcome.variant, expected.as_object_mut()) {
                object.insert("variant".into(), json!(variant.key()));
            }
            (experiment.key().to_string(), expected)
        })
        .collect();
    let mut case = json!({ "unit": unit, "attributes": attributes, "expected": outcomes });
    if let Some(object) = case.as_object_mut().filter(|_| n < TOKENS_PER_SCENARIO) {
        object.insert("token".into(), json!(token(ruleset, halts, &request)));
    }
    if let Some(object) = case.as_object_mut().filter(|_| forced) {
        object
            .insert("force".into(), force.into_iter().map(|(key, variant)| (key, json!(variant))).collect());
    }
    case
}

/// The token for unit type `user`: every implementation of the answer gives these bytes.
fn token(ruleset: &Ruleset, halts: &Halts, request: &Request<'_>) -> String {
    let sealer = Sealer::new(TokenKind::Assignment, Arc::new(SecretKey::from_seed(&EDGE_SEED)));
    let context = AnswerContext { now: NOW, life_seconds: 3600, epoch: 1, sealer: &sealer };
    answer(ruleset, halts, &UnitType::default(), request, &context, |_, _| {}).token
}

fn status(ruleset: &Ruleset, halted: &[&str]) -> Status {
    let off = ruleset.experiments().iter().map(|experiment| experiment.key());
    Status {
        iss: ruleset.environment().clone(),
        ep: 1,
        cv: ruleset.version(),
        off: off.filter(|key| halted.contains(&key.as_str())).cloned().collect(),
        min: Default::default(),
        rev: Default::default(),
        iat: NOW,
        exp: NOW.plus_seconds(30),
    }
}

fn scenarios() -> Vec<(&'static str, Value, &'static [&'static str])> {
    let halves = || json!([{ "key": "control" }, { "key": "treatment" }]);
    let user = UnitType::default();
    vec![
        (
            "weights and traffic",
            json!({ "experiments": [
                { "key": "halves", "state": "running", "variants": halves() },
                { "key": "uneven", "state": "running", "unit_type": user, "variants":
                    [{ "key": "a", "weight": 70 }, { "key": "b", "weight": 20 }, { "key": "c", "weight": 10 }] },
                { "key": "tenth", "state": "running", "traffic": "10%", "variants": halves() },
                { "key": "nobody", "state": "running", "traffic": 0, "variants": halves() },
                { "key": "salted", "state": "running", "salt": "again", "variants": halves() },
                { "key": "thirds", "state": "running", "variants":
                    [{ "key": "a" }, { "key": "b" }, { "key": "never", "weight": 0 }, { "key": "c" }] }
            ] }),
            &[],
        ),
        (
            "states, winners and halts",
            json!({ "experiments": [
                { "key": "draft", "state": "draft", "variants": halves() },
                { "key": "paused", "state": "paused", "variants": halves() },
                { "key": "stopped", "state": "stopped", "variants": halves() },
                { "key": "won", "state": "stopped", "winner": "treatment", "traffic": 1, "variants": halves() },
                { "key": "won-halted", "state": "stopped", "winner": "treatment", "variants": halves() },
                { "key": "halted", "state": "running", "variants": halves() },
                { "key": "running", "state": "running", "overrides": { "qa-1": "treatment" }, "variants": halves() }
            ] }),
            &["halted", "won-halted"],
        ),
        (
            "audiences, groups and prerequisites",
            json!({
                "groups": { "dach": ["de", "at", "ch"] },
                "experiments": [
                    { "key": "dach", "state": "running", "audience": { "country": { "$inGroup": "dach" } },
                      "variants": halves() },
                    { "key": "paying", "state": "running", "variants": halves(),
                      "audience": { "account.plan": { "$in": ["pro", "enterprise"] }, "account.age_days": { "$gte": 30 } } },
                    { "key": "new-app", "state": "running", "audience": { "appVersion": { "$vgte": "1.10.0" } },
                      "variants": halves() },
                    { "key": "follow-up", "state": "running", "variants": halves(),
                      "prerequisites": [{ "experiment": "dach", "variants": ["treatment"] }] }
                ]
            }),
            &[],
        ),
        (
            "layers and holdouts",
            json!({
                "layers": [{ "key": "page" }, { "key": "other", "salt": "s" }],
                "holdouts": [
                    { "key": "global", "size": "5%" },
                    { "key": "pricing", "size": 20, "experiments": ["price-a", "price-b"] }
                ],
                "experiments": [
                    { "key": "price-a", "state": "running", "layer": { "key": "page", "share": "33.3333%" },
                      "variants": halves() },
                    { "key": "price-b", "state": "running", "layer": { "key": "page", "share": 50 },
                      "traffic": 80, "variants": halves() },
                    { "key": "search", "state": "running", "layer": { "key": "other", "share": 100 },
                      "variants": halves() }
                ]
            }),
            &[],
        ),
    ]
}
