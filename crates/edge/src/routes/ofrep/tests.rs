//! OFREP over HTTP, as its clients see it.

use serde_json::{Value, json};

use crate::testing::{Reply, TestEdge};

const ALL: &str = "/ofrep/v1/evaluate/flags";

fn one(edge: &TestEdge, key: &str, context: Value) -> Reply {
    edge.post(&format!("{ALL}/{key}"), &json!({ "context": context }))
}

fn user() -> Value {
    json!({ "targetingKey": "user-1" })
}

#[test]
fn every_type_of_value_arrives_as_it_is() {
    let edge = TestEdge::new();
    for (key, value) in [
        ("typed-boolean", json!(true)),
        ("typed-string", json!("text")),
        ("typed-integer", json!(42)),
        ("typed-float", json!(0.5)),
        ("typed-object", json!({ "nested": [1, 2] })),
    ] {
        let reply = one(&edge, key, user());
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let body = reply.json();
        assert_eq!((&body["key"], &body["value"], &body["variant"]), (&json!(key), &value, &json!("on")));
        assert_eq!(body["reason"], "SPLIT");
        assert_eq!(
            body["metadata"],
            json!({ "edgesealReason": "split", "experimentVersion": 1, "snapshotVersion": 1 })
        );
    }
}

#[test]
fn a_variant_without_payload_is_its_own_value() {
    let edge = TestEdge::new();
    let body = one(&edge, "won", user()).json();
    assert_eq!(
        (&body["value"], &body["variant"], &body["reason"]),
        (&json!("b"), &json!("b"), &json!("STATIC"))
    );
}

#[test]
fn outside_an_experiment_the_client_takes_its_own_default() {
    let edge = TestEdge::new();
    for (key, reason, own) in [
        ("pricing", "DEFAULT", "audience"),
        ("resting", "DISABLED", "paused"),
        ("gates", "DEFAULT", "unit_type"),
    ] {
        let body = one(&edge, key, user()).json();
        assert_eq!((&body["reason"], &body["metadata"]["edgesealReason"]), (&json!(reason), &json!(own)));
        assert!(body.get("value").is_none() && body.get("variant").is_none(), "{body}");
    }
}

#[test]
fn the_context_is_what_the_audience_looks_at() {
    let edge = TestEdge::new();
    let pro = one(&edge, "pricing", json!({ "targetingKey": "user-1", "plan": "pro" })).json();
    assert!(["low", "high"].contains(&pro["value"].as_str().unwrap()));
    let device = one(&edge, "gates", json!({ "targetingKey": "device-1", "unitType": "device" })).json();
    assert_eq!(device["value"], "on");
}

#[test]
fn all_flags_come_at_once_and_agree_with_the_token() {
    let edge = TestEdge::new();
    let reply = edge.post(ALL, &json!({ "context": user() }));
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("private, no-cache")));
    let body = reply.json();
    let flags = body["flags"].as_array().unwrap();
    assert_eq!(flags.len(), edge.parts.ruleset.experiments().len());
    assert_eq!(body["metadata"], json!({ "snapshotVersion": 1, "statusEpoch": 0 }));
    let checkout = flags.iter().find(|flag| flag["key"] == "checkout").unwrap();
    let token = edge.get("/v1/assignments/user-1").text();
    assert_eq!(edge.variant(&token, "user-1", "checkout").as_deref(), checkout["variant"].as_str());
    assert_eq!(*checkout, one(&edge, "checkout", user()).json());
}

fn etag(edge: &TestEdge, context: Value) -> String {
    edge.post(ALL, &json!({ "context": context })).header("etag").unwrap().to_owned()
}

#[test]
fn held_flags_are_not_sent_again() {
    let edge = TestEdge::new();
    let context = json!({ "targetingKey": "user-1", "plan": "pro", "n": 1 });
    let held = etag(&edge, context.clone());
    let reply = edge.post_with(ALL, &[("if-none-match", &held)], &json!({ "context": context }));
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    assert_eq!(reply.header("etag"), Some(held.as_str()));
    assert_eq!(
        held,
        etag(&edge, json!({ "n": 1, "plan": "pro", "targetingKey": "user-1" })),
        "the order of members does not count"
    );
    for other in [
        json!({ "targetingKey": "user-2", "plan": "pro", "n": 1 }),
        json!({ "targetingKey": "user-1", "plan": "free", "n": 1 }),
        json!({ "targetingKey": "user-1", "plan": "pro", "n": 1, "unitType": "device" }),
        json!({ "targetingKey": "user-1" }),
        json!({ "targetingKey": "user-1", "plan": "pro", "n": 9_007_199_254_740_993_u64 }),
    ] {
        let reply = edge.post_with(ALL, &[("if-none-match", &held)], &json!({ "context": other }));
        assert_eq!(reply.status, 200, "{other}");
    }
}

/// An audience tells these two apart, so a held answer for one must not stand for the other.
#[test]
fn integers_that_round_to_the_same_float_have_different_tags() {
    let edge = TestEdge::new();
    let tag = |n: u64| etag(&edge, json!({ "targetingKey": "user-1", "account": { "id": n } }));
    assert_ne!(tag(9_007_199_254_740_992), tag(9_007_199_254_740_993));
}

#[test]
fn a_halt_changes_the_entity_tag_and_the_flag() {
    let edge = TestEdge::new();
    let held = etag(&edge, user());
    edge.publish_status(|status| {
        status.off.insert(edgeseal_core::ids::ExperimentKey::parse("checkout").unwrap());
    });
    let reply = edge.post_with(ALL, &[("if-none-match", &held)], &json!({ "context": user() }));
    assert_eq!(reply.status, 200);
    let body = one(&edge, "checkout", user()).json();
    assert_eq!((&body["reason"], body.get("value")), (&json!("DISABLED"), None));
}

#[test]
fn refusals_carry_the_protocols_codes() {
    let edge = TestEdge::new();
    for (body, code) in [
        (json!({}), "TARGETING_KEY_MISSING"),
        (json!({ "context": null }), "TARGETING_KEY_MISSING"),
        (json!({ "context": {} }), "TARGETING_KEY_MISSING"),
        (json!({ "context": { "targetingKey": "" } }), "TARGETING_KEY_MISSING"),
        (json!({ "context": { "targetingKey": null } }), "TARGETING_KEY_MISSING"),
        (json!({ "context": "user-1" }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": 1 } }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": "a\u{7}b" } }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": "u".repeat(257) } }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": "u", "unitType": 1 } }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": "u", "unitType": "a b" } }), "INVALID_CONTEXT"),
        (json!({ "context": { "targetingKey": "u", "a": "x".repeat(4_096) } }), "INVALID_CONTEXT"),
        (json!([]), "PARSE_ERROR"),
    ] {
        edge.post(ALL, &body).assert_ofrep(400, code);
        let single = edge.post(&format!("{ALL}/checkout"), &body);
        single.assert_ofrep(400, code);
        assert_eq!(single.json()["key"], "checkout");
    }
    let json = [("content-type", "application/json")];
    for body in [&b""[..], b"{", b"{\"context\":{\"a\":1,\"a\":2}}", b"{\"context\":{\"a\":\"\xff\"}}"] {
        edge.send("POST", ALL, &json, body).assert_ofrep(400, "PARSE_ERROR");
    }
}

#[test]
fn an_unknown_flag_is_not_found() {
    let edge = TestEdge::new();
    let reply = one(&edge, "nothing", user());
    reply.assert_ofrep(404, "FLAG_NOT_FOUND");
    assert_eq!(reply.json()["key"], "nothing");
    one(&edge, "%zz", user()).assert_ofrep(400, "GENERAL");
}

#[test]
fn members_of_newer_versions_of_the_protocol_are_left_alone() {
    let edge = TestEdge::new();
    let reply = edge.post(&format!("{ALL}?flagConfigEtag=x"), &json!({ "context": user(), "later": true }));
    assert_eq!(reply.status, 200);
}
