use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::attributes::Attributes;
use crate::evaluate::Forced;
use crate::ids::UnitId;
use crate::sealing::{
    Expected, KeyUse, Keyset, SecretKey, TokenKind, VerifiedAssignments, rotation, verify_assignment,
};
use crate::testing::{NOW, ruleset};

fn edge_key() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn sample() -> Ruleset {
    ruleset(json!({ "experiments": [
        { "key": "a", "state": "running", "variants": [{ "key": "on", "payload": { "q\"\\": [1, null, "é"] } }] },
        { "key": "b", "state": "paused", "variants": [{ "key": "on" }] },
        { "key": "c", "state": "stopped", "winner": "on", "variants": [{ "key": "on", "payload": null }] },
        { "key": "d", "state": "running", "unit_type": "device", "variants": [{ "key": "on" }] }
    ] }))
}

fn ask(ruleset: &Ruleset, unit: &str, unit_type: &str, now: Timestamp) -> (Answer, Vec<String>) {
    let sealer = Sealer::new(TokenKind::Assignment, Arc::new(edge_key()));
    let attributes = Attributes::parse(br#"{"country":"de"}"#).unwrap();
    let request = Request {
        unit: UnitId::parse(unit).unwrap(),
        attributes: &attributes,
        forced: Forced::none(),
        previous: None,
    };
    let context = AnswerContext { now, life_seconds: 600, epoch: 7, sealer: &sealer };
    let mut seen = Vec::new();
    let unit_type = UnitType::parse(unit_type).unwrap();
    let answer = answer(ruleset, &Halts::none(), &unit_type, &request, &context, |experiment, outcome| {
        seen.push(format!("{} {}", experiment.key(), outcome.reason.as_str()));
    });
    (answer, seen)
}

fn verified(answer: &Answer, ruleset: &Ruleset, unit: &str, unit_type: &str) -> VerifiedAssignments {
    let records = [rotation::first(KeyUse::Edge, edge_key().public(), NOW)];
    let environment = ruleset.environment();
    let keyset: Keyset = rotation::keyset_from(&records, environment, 1, NOW, &Default::default());
    let unit_type = UnitType::parse(unit_type).unwrap();
    let subject = SubjectTag::of(environment, &unit_type, UnitId::parse(unit).unwrap());
    let expected = Expected { environment, subject, now: NOW, status: None, memory: None };
    verify_assignment(&answer.token, &keyset, &expected).unwrap()
}

#[test]
fn the_hand_written_claims_are_what_a_verifier_reads() {
    let ruleset = sample();
    for unit in ["user-1", "quote\"d\\", "用户", "é"] {
        let (answer, _) = ask(&ruleset, unit, "user", NOW);
        let verified = verified(&answer, &ruleset, unit, "user");
        let claims = verified.claims();
        assert_eq!(claims.exp, answer.expires_at);
        assert_eq!((claims.cv, claims.ep), (1, 7));
        assert_eq!(claims.cd, Attributes::parse(br#"{"country":"de"}"#).unwrap().digest().to_string());
        let assigned: Vec<_> = claims
            .a
            .iter()
            .map(|(key, variant)| (key.as_str(), variant.r.as_str(), variant.p.clone()))
            .collect();
        let payload = json!({ "q\"\\": [1, null, "é"] });
        assert_eq!(assigned, [("a", "split", Some(payload)), ("c", "winner", Some(json!(null)))]);
    }
}

#[test]
fn only_experiments_of_the_unit_type_are_asked_and_each_is_observed() {
    let ruleset = sample();
    assert_eq!(ask(&ruleset, "u", "user", NOW).1, ["a split", "b paused", "c winner"]);
    assert_eq!(ask(&ruleset, "u", "device", NOW).1, ["d split"]);
    let (answer, seen) = ask(&ruleset, "u", "session", NOW);
    assert!(seen.is_empty());
    assert!(verified(&answer, &ruleset, "u", "session").claims().a.is_empty());
}

#[test]
fn equal_requests_within_a_window_give_equal_bytes() {
    let ruleset = sample();
    let start = NOW.floor_to_seconds(TOKEN_WINDOW_SECONDS);
    let first = ask(&ruleset, "u", "user", start).0;
    assert_eq!(ask(&ruleset, "u", "user", start.plus_seconds(59)).0, first);
    assert_ne!(ask(&ruleset, "u", "user", start.plus_seconds(60)).0, first);
    assert_ne!(ask(&ruleset, "v", "user", start).0, first);
}

#[test]
fn the_life_of_a_token_is_clamped_to_what_verifiers_accept() {
    let ruleset = sample();
    let sealer = Sealer::new(TokenKind::Assignment, Arc::new(edge_key()));
    let attributes = Attributes::default();
    let request = Request {
        unit: UnitId::parse("u").unwrap(),
        attributes: &attributes,
        forced: Forced::none(),
        previous: None,
    };
    for (asked, given) in [(0, 60), (600, 600), (i64::MAX, MAX_TOKEN_LIFE_SECONDS)] {
        let context = AnswerContext { now: NOW, life_seconds: asked, epoch: 1, sealer: &sealer };
        let unit_type = UnitType::default();
        let answer = answer(&ruleset, &Halts::none(), &unit_type, &request, &context, |_, _| {});
        let issued = NOW.floor_to_seconds(TOKEN_WINDOW_SECONDS);
        assert_eq!(answer.expires_at.seconds_since(issued), given);
    }
}
