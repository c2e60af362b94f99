//! The HMAC profile over HTTP.

use edgeseal_core::sealing::HmacAssignment;
use serde_json::json;

use crate::Config;
use crate::testing::{Reply, START, TestEdge, config, hmac_secrets};

fn get(edge: &TestEdge, key: &str, unit: &str) -> Reply {
    edge.get_with(&format!("/v1/experiments/{key}"), &[("x-user-id", unit)])
}

#[test]
fn a_server_gets_an_assignment_that_verifies_with_the_shared_secret() {
    let edge = TestEdge::new();
    let reply = get(&edge, "checkout", "user-1");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("vary"), Some("x-user-id"));
    let assignment = HmacAssignment::verify(&reply.body, &hmac_secrets(), edge.clock.now()).unwrap();
    assert_eq!((assignment.experiment_id(), assignment.user_id()), ("checkout", "user-1"));
    assert_eq!(assignment.issued_at().unix_seconds(), START);
    assert_eq!(reply.header("x-experiment-signature"), Some(assignment.signature()));
    let token = edge.get("/v1/assignments/user-1").text();
    assert_eq!(edge.variant(&token, "user-1", "checkout").as_deref(), Some(assignment.variant()));
}

#[test]
fn shared_caches_keep_it_only_if_that_was_configured() {
    let edge = TestEdge::new();
    assert_eq!(get(&edge, "checkout", "user-1").header("cache-control"), Some("private, max-age=30"));
    let edge = TestEdge::with(Config { hmac_public: true, ..config() });
    let cache_control = || get(&edge, "checkout", "user-1").header("cache-control").unwrap().to_owned();
    assert_eq!(cache_control(), "public, max-age=30, s-maxage=3600");
    edge.advance(59);
    assert_eq!(cache_control(), "public, max-age=30, s-maxage=3541");
}

#[test]
fn equal_requests_get_equal_bytes_and_are_revalidated() {
    let edge = TestEdge::new();
    let first = get(&edge, "checkout", "user-1");
    edge.advance(59);
    let second = get(&edge, "checkout", "user-1");
    assert_eq!(first.body, second.body);
    let held = [("x-user-id", "user-1"), ("if-none-match", first.header("etag").unwrap())];
    assert_eq!(edge.get_with("/v1/experiments/checkout", &held).status, 304);
    let held = [("x-user-id", "user-2"), ("if-none-match", first.header("etag").unwrap())];
    assert_eq!(edge.get_with("/v1/experiments/checkout", &held).status, 200);
}

#[test]
fn identity_is_required_once_and_plain() {
    let edge = TestEdge::new();
    edge.get("/v1/experiments/checkout").assert_problem(401, "identity_missing");
    for headers in [
        &[("x-user-id", "a"), ("x-user-id", "b")][..],
        &[("x-user-id", "a"), ("X-User-Id", "a")],
        &[("x-user-id", "a, b")],
        &[("x-user-id", "a,")],
    ] {
        edge.get_with("/v1/experiments/checkout", headers).assert_problem(400, "identity_repeated");
    }
    for bad in ["", "a\tb", &"u".repeat(257)] {
        get(&edge, "checkout", bad).assert_problem(400, "identity_invalid");
    }
    let latin_1 =
        b"GET /v1/experiments/checkout HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-user-id: zo\xeb\r\n\r\n";
    edge.raw(latin_1).assert_problem(400, "identity_invalid");
    assert_eq!(get(&edge, "checkout", "zoë").status, 200);
    get(&edge, "checkout", "a|b").assert_problem(400, "identity_invalid");
}

#[test]
fn an_unknown_experiment_is_named() {
    let edge = TestEdge::new();
    let reply = get(&edge, "nothing", "user-1");
    reply.assert_problem(404, "unknown_experiment");
    assert!(reply.json()["detail"].as_str().unwrap().contains("'nothing'"));
    get(&edge, "a%20b", "user-1").assert_problem(404, "unknown_experiment");
    get(&edge, "%zz", "user-1").assert_problem(400, "malformed_path");
}

#[test]
fn a_unit_outside_the_experiment_is_told_why() {
    let edge = TestEdge::new();
    for (key, reason) in [("pricing", "audience"), ("resting", "paused"), ("gates", "unit_type")] {
        let reply = get(&edge, key, "user-1");
        reply.assert_problem(404, "not_assigned");
        assert_eq!(reply.json()["reason"], reason, "{key}");
    }
    let pro = "/v1/experiments/pricing?attrs=eyJwbGFuIjoicHJvIn0";
    assert_eq!(edge.get_with(pro, &[("x-user-id", "user-1")]).status, 200);
    let device = "/v1/experiments/gates?ut=device";
    assert_eq!(edge.get_with(device, &[("x-user-id", "device-1")]).status, 200);
}

#[test]
fn queries_are_refused_unless_they_are_exact() {
    let edge = TestEdge::new();
    for (query, code) in [
        ("cv=1", "unknown_parameter"),
        ("ut=user&ut=user", "repeated_parameter"),
        ("attrs=!", "invalid_attributes"),
        ("ut=!", "invalid_unit_type"),
    ] {
        let target = format!("/v1/experiments/checkout?{query}");
        edge.get_with(&target, &[("x-user-id", "user-1")]).assert_problem(400, code);
    }
}

#[test]
fn without_a_secret_the_profile_is_off() {
    let edge = TestEdge::new();
    let mut parts = edge.parts.clone();
    parts.hmac = None;
    edge.publish(parts);
    get(&edge, "checkout", "user-1").assert_problem(404, "profile_disabled");
    assert_eq!(edge.post("/v1/assignments", &json!({ "unit": "user-1" })).status, 200);
}
