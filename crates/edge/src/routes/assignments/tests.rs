//! Tokens over HTTP: what they say, what caches may do with them, and everything that is refused.

use std::sync::{Arc, Barrier};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::testing::{EDGE, START, TestEdge, config, environment, key, ruleset};
use crate::{CdnProfile, Config, MIN_TOKEN_LIFE_SECONDS};

fn attrs(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[test]
fn a_unit_gets_a_token_that_verifies_for_it_and_for_nobody_else() {
    let edge = TestEdge::new();
    let reply = edge.get("/v1/assignments/user-1");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/jwt"));
    let verified = edge.verify(&reply.text(), "user-1").unwrap();
    let claims = verified.claims();
    assert_eq!((claims.cv, claims.ep, claims.iat.unix_seconds()), (1, 0, START));
    let keys: Vec<_> = claims.a.keys().map(|key| key.as_str()).collect();
    assert_eq!(
        keys,
        ["checkout", "typed-boolean", "typed-float", "typed-integer", "typed-object", "typed-string", "won"]
    );
    assert_eq!(edge.verify(&reply.text(), "user-2").unwrap_err().code(), "E_SUBJECT");
}

#[test]
fn any_text_can_be_a_unit_id() {
    let edge = TestEdge::new();
    for (path, unit) in [
        ("zo%C3%AB", "zoë"),
        ("%E7%94%A8%E6%88%B7", "用户"),
        ("a%2Fb", "a/b"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%7Cb", "a|b"),
        ("x", "x"),
        ("a:b@c,d;e=f", "a:b@c,d;e=f"),
    ] {
        let reply = edge.get(&format!("/v1/assignments/{path}"));
        assert_eq!(reply.status, 200, "{path}");
        assert!(edge.verify(&reply.text(), unit).is_ok(), "{path}");
    }
    let longest = "u".repeat(256);
    assert!(edge.verify(&edge.get(&format!("/v1/assignments/{longest}")).text(), &longest).is_ok());
}

#[test]
fn unit_ids_that_cannot_be_are_refused() {
    let edge = TestEdge::new();
    for (path, code) in [
        ("%zz", "malformed_path"),
        ("a%", "malformed_path"),
        ("%ff", "malformed_path"),
        ("%00", "invalid_unit"),
        ("a%0Ab", "invalid_unit"),
        ("a%7F", "invalid_unit"),
        ("a%C2%85", "invalid_unit"),
        ("%2e%2e", "invalid_unit"),
        ("%2E", "invalid_unit"),
        (&"u".repeat(257), "invalid_unit"),
        (&"%C3%A9".repeat(129), "invalid_unit"),
    ] {
        edge.get(&format!("/v1/assignments/{path}")).assert_problem(400, code);
    }
}

#[test]
fn queries_are_refused_unless_they_are_exact() {
    let edge = TestEdge::new();
    let large = attrs(&json!({ "a": "x".repeat(4_096) }));
    let deep =
        attrs(&json!({ "a": { "a": { "a": { "a": { "a": { "a": { "a": { "a": { "a": 1 } } } } } } } } }));
    for (query, code) in [
        ("x=1", "unknown_parameter"),
        ("ut=user&ut=user", "repeated_parameter"),
        ("ut", "malformed_query"),
        ("ut=", "invalid_unit_type"),
        ("ut=a/b", "invalid_unit_type"),
        ("ut=us%65r", "invalid_unit_type"),
        ("cv=01", "invalid_version"),
        ("cv=-1", "invalid_version"),
        ("attrs=%7B%7D", "invalid_attributes"),
        ("attrs=e30=", "invalid_attributes"),
        ("attrs=W10", "invalid_attributes"),
        (&format!("attrs={large}"), "attributes_too_large"),
        (&format!("attrs={deep}"), "invalid_attributes"),
    ] {
        edge.get(&format!("/v1/assignments/user-1?{query}")).assert_problem(400, code);
        // A remembered token for the same unit changes nothing.
        edge.get("/v1/assignments/user-1");
        edge.get(&format!("/v1/assignments/user-1?{query}")).assert_problem(400, code);
    }
}

#[test]
fn attributes_and_unit_type_decide_by_get_as_by_post() {
    let edge = TestEdge::new();
    let pro = json!({ "plan": "pro" });
    let by_get = edge.get(&format!("/v1/assignments/user-1?attrs={}", attrs(&pro))).text();
    assert!(edge.variant(&by_get, "user-1", "pricing").is_some());
    let by_post = edge.post("/v1/assignments", &json!({ "unit": "user-1", "attributes": pro })).text();
    assert_eq!(by_get, by_post);
    let device = edge.get("/v1/assignments/user-1?ut=device").text();
    assert_eq!(
        edge.verify(&device, "user-1").unwrap_err().code(),
        "E_SUBJECT",
        "another unit type, another subject"
    );
    let unheard_of = edge.get("/v1/assignments/user-1?ut=household");
    assert_eq!(unheard_of.status, 200, "a unit type without experiments has an empty answer");
}

#[test]
fn caches_may_keep_a_token_until_it_expires_and_no_longer() {
    let edge = TestEdge::with(Config { token_life_seconds: MIN_TOKEN_LIFE_SECONDS, ..config() });
    let cache_control = || {
        let reply = edge.get("/v1/assignments/user-1");
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("timing-allow-origin"), Some("*"));
        assert_eq!(reply.header("cache-tag"), None);
        reply.header("cache-control").unwrap().to_owned()
    };
    assert_eq!(cache_control(), "public, max-age=30, s-maxage=120");
    edge.advance(59);
    assert_eq!(cache_control(), "public, max-age=30, s-maxage=61");
    edge.advance(1);
    assert_eq!(cache_control(), "public, max-age=30, s-maxage=120", "a new minute, a new token");
}

#[test]
fn a_held_token_is_not_sent_again() {
    let edge = TestEdge::new();
    let full = edge.get("/v1/assignments/user-1");
    let etag = full.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 24, "{etag}");
    for sent in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
        let reply = edge.get_with("/v1/assignments/user-1", &[("if-none-match", &sent)]);
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{sent}");
        for name in ["etag", "cache-control", "vary", "access-control-allow-origin"] {
            assert_eq!(reply.header(name), full.header(name), "{name}");
        }
    }
    let other_unit = edge.get_with("/v1/assignments/user-2", &[("if-none-match", etag)]);
    assert_eq!(other_unit.status, 200, "an entity tag of another unit's token matches nothing");
    edge.advance(60);
    assert_eq!(edge.get_with("/v1/assignments/user-1", &[("if-none-match", etag)]).status, 200);
}

#[test]
fn a_fresh_answer_is_the_same_and_kept_by_nobody() {
    let edge = TestEdge::new();
    let usual = edge.get("/v1/assignments/user-1");
    let fresh = edge.get("/v1/assignments/user-1?fresh=0f4e-9a");
    assert_eq!(fresh.status, 200);
    assert_eq!(fresh.text(), usual.text());
    assert_eq!(fresh.header("cache-control"), Some("no-store"));
}

#[test]
fn an_edge_that_is_behind_is_not_cached_at_the_newer_url() {
    let edge = TestEdge::new();
    for version in [0, 1] {
        let reply = edge.get(&format!("/v1/assignments/user-1?cv={version}"));
        assert!(reply.header("cache-control").unwrap().starts_with("public"), "{version}");
    }
    let newer = edge.get("/v1/assignments/user-1?cv=2");
    assert_eq!((newer.status, newer.header("cache-control")), (200, Some("no-store")));
    assert!(edge.verify(&newer.text(), "user-1").is_ok());
}

#[test]
fn cache_tags_follow_the_profile() {
    let tagged = |profile, header: &str| {
        let edge = TestEdge::with(Config { cdn_profile: profile, ..config() });
        let reply = edge.get("/v1/assignments/user-1");
        assert_eq!(reply.header("surrogate-control"), None);
        reply.header(header).unwrap().to_owned()
    };
    let all = "env-production,exp-checkout,exp-gates,exp-pricing,exp-resting,exp-typed-boolean,exp-typed-float,\
               exp-typed-integer,exp-typed-object,exp-typed-string,exp-won";
    assert_eq!(tagged(CdnProfile::Cloudflare, "cache-tag"), all);
    assert_eq!(tagged(CdnProfile::Fastly, "surrogate-key"), all.replace(',', " "));
}

#[test]
fn timing_is_told_on_request_only() {
    let edge = TestEdge::new();
    assert_eq!(edge.get("/v1/assignments/user-1").header("server-timing"), None);
    let asked = |target: &str| {
        let reply = edge.get_with(target, &[("x-edgeseal-timing", "1")]);
        reply.header("server-timing").unwrap().to_owned()
    };
    assert_eq!(asked("/v1/assignments/user-1"), "memo;desc=hit");
    let fresh = asked("/v1/assignments/user-2");
    assert!(
        fresh.starts_with("eval;dur=") && fresh.contains(", sign;dur=") && fresh.ends_with("memo;desc=miss")
    );
}

#[test]
fn two_hundred_equal_requests_at_once_cost_one_signature() {
    const CLIENTS: usize = 200;
    let edge = Arc::new(TestEdge::new());
    let together = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (edge, together) = (Arc::clone(&edge), Arc::clone(&together));
            std::thread::spawn(move || {
                together.wait();
                edge.get("/v1/assignments/user-1").body
            })
        })
        .collect();
    let mut answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    answers.dedup();
    assert_eq!(answers.len(), 1, "equal bytes for all");
    assert_eq!(edge.metric("edgeseal_sign_duration_seconds_count"), 1.0);
    assert_eq!(edge.metric("edgeseal_memo_misses_total"), 1.0);
    assert_eq!(edge.metric("edgeseal_memo_hits_total"), CLIENTS as f64 - 1.0);
}

#[test]
fn equal_requests_get_equal_bytes_within_a_minute_also_without_memory() {
    let edge = TestEdge::with(Config { memo_bytes: 0, ..config() });
    let first = edge.get("/v1/assignments/user-1").text();
    edge.advance(59);
    assert_eq!(edge.get("/v1/assignments/user-1").text(), first);
    assert_eq!(edge.metric("edgeseal_sign_duration_seconds_count"), 2.0);
    edge.advance(1);
    assert_ne!(edge.get("/v1/assignments/user-1").text(), first);
}

#[test]
fn a_status_that_says_nothing_new_keeps_remembered_tokens() {
    let edge = TestEdge::new();
    edge.get("/v1/assignments/user-1");
    edge.advance(10);
    edge.publish_status(|status| status.ep = 0);
    edge.get("/v1/assignments/user-1");
    assert_eq!(edge.metric("edgeseal_sign_duration_seconds_count"), 1.0);
}

#[test]
fn a_halt_takes_effect_on_remembered_tokens_too() {
    let edge = TestEdge::new();
    let before = edge.get("/v1/assignments/user-1").text();
    assert!(edge.variant(&before, "user-1", "checkout").is_some());
    edge.publish_status(|status| {
        status.off.insert(edgeseal_core::ids::ExperimentKey::parse("checkout").unwrap());
    });
    let after = edge.get("/v1/assignments/user-1").text();
    assert_eq!(edge.variant(&after, "user-1", "checkout"), None);
    assert_eq!(edge.verify(&after, "user-1").unwrap().claims().ep, 1);
}

#[test]
fn a_new_ruleset_takes_effect_at_once() {
    let edge = TestEdge::new();
    edge.get("/v1/assignments/user-1");
    let definition = json!({ "environment": environment().as_str(), "experiments": [
        { "key": "fresh", "state": "running", "variants": [{ "key": "on" }] } ] });
    let mut parts = edge.parts.clone();
    parts.ruleset = ruleset(definition);
    edge.publish(parts);
    let token = edge.get("/v1/assignments/user-1").text();
    assert_eq!(edge.variant(&token, "user-1", "fresh").as_deref(), Some("on"));
}

#[test]
fn a_post_is_kept_by_nobody() {
    let edge = TestEdge::new();
    let reply = edge.post("/v1/assignments", &json!({ "unit": "user-1" }));
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
    assert_eq!(reply.header("content-type"), Some("application/jwt"));
    assert_eq!(reply.header("etag"), None);
    assert!(edge.verify(&reply.text(), "user-1").is_ok());
    assert!(
        edge.post("/v1/assignments", &json!({ "unit": ".." })).status == 200,
        "dot segments are for POST"
    );
}

#[test]
fn a_forced_variant_is_served_and_marked() {
    let edge = TestEdge::new();
    for variant in ["control", "treatment"] {
        let body = json!({ "unit": "user-1", "force": { "checkout": variant } });
        let token = edge.post("/v1/assignments", &body).text();
        assert_eq!(edge.variant(&token, "user-1", "checkout").as_deref(), Some(variant));
        let claims = edge.verify(&token, "user-1").unwrap().into_claims();
        assert!(claims.a.iter().any(|(key, assigned)| key.as_str() == "checkout" && assigned.r == "forced"));
    }
}

#[test]
fn a_sticky_unit_keeps_its_previous_variant() {
    let edge = TestEdge::new();
    // A token that says the other variant than the buckets would: as if the weights had changed since.
    let now = edge.get("/v1/assignments/user-1").text();
    let (given, other) = match edge.variant(&now, "user-1", "checkout").as_deref() {
        Some("control") => ("control", "treatment"),
        _ => ("treatment", "control"),
    };
    let claims = URL_SAFE_NO_PAD.decode(now.split('.').nth(1).unwrap()).unwrap();
    let claims = String::from_utf8(claims).unwrap();
    let changed = claims.replace(&format!(r#""v":"{given}""#), &format!(r#""v":"{other}""#));
    assert_ne!(claims, changed);
    let previous = edgeseal_core::sealing::seal(
        edgeseal_core::sealing::TokenKind::Assignment,
        changed.as_bytes(),
        &key(EDGE),
    );
    let reply = edge.post("/v1/assignments", &json!({ "unit": "user-1", "previous": previous }));
    assert_eq!(reply.header("x-edgeseal-previous"), None);
    assert_eq!(edge.variant(&reply.text(), "user-1", "checkout").as_deref(), Some(other));

    let stranger = edge.post("/v1/assignments", &json!({ "unit": "user-2", "previous": previous }));
    assert_eq!((stranger.status, stranger.header("x-edgeseal-previous")), (200, Some("E_SUBJECT")));
}

#[test]
fn a_previous_token_that_does_not_verify_is_ignored_and_named() {
    let edge = TestEdge::new();
    let token = edge.get("/v1/assignments/user-1").text();
    let code = |previous: &str| {
        let reply = edge.post("/v1/assignments", &json!({ "unit": "user-1", "previous": previous }));
        assert_eq!(reply.status, 200);
        assert!(edge.verify(&reply.text(), "user-1").is_ok());
        reply.header("x-edgeseal-previous").map(str::to_owned)
    };
    assert_eq!(code(&token), None);
    assert_eq!(code("").as_deref(), Some("E_MALFORMED"));
    assert_eq!(code("a.b.c").as_deref(), Some("E_MALFORMED"));
    assert_eq!(code(&edge.parts.keyset_token).as_deref(), Some("E_TYPE"));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    assert_eq!(code(&forged).as_deref(), Some("E_SIGNATURE"));
    edge.advance(3_661);
    assert_eq!(code(&token).as_deref(), Some("E_EXPIRED"));
}

#[test]
fn bodies_are_refused_unless_they_are_exact() {
    let edge = TestEdge::new();
    let too_large = "x".repeat(4_096);
    for (body, code) in [
        (json!({}), "malformed_body"),
        (json!([]), "malformed_body"),
        (json!({ "unit": 1 }), "malformed_body"),
        (json!({ "unit": null }), "malformed_body"),
        (json!({ "unit": "" }), "invalid_unit"),
        (json!({ "unit": "a\u{0}b" }), "invalid_unit"),
        (json!({ "unit": "u".repeat(257) }), "invalid_unit"),
        (json!({ "unit": "u", "unitType": "a b" }), "invalid_unit_type"),
        (json!({ "unit": "u", "unitType": 1 }), "malformed_body"),
        (json!({ "unit": "u", "attributes": [] }), "malformed_body"),
        (json!({ "unit": "u", "attributes": { "a": too_large } }), "attributes_too_large"),
        (json!({ "unit": "u", "previous": 1 }), "malformed_body"),
        (json!({ "unit": "u", "force": "checkout" }), "malformed_body"),
        (json!({ "unit": "u", "force": { "checkout": 1 } }), "malformed_body"),
        (json!({ "unit": "u", "force": { "nothing": "a" } }), "unknown_experiment"),
        (json!({ "unit": "u", "force": { "a b": "a" } }), "unknown_experiment"),
        (json!({ "unit": "u", "force": { "checkout": "nothing" } }), "unknown_variant"),
        (json!({ "unit": "u", "force": { "checkout": "a b" } }), "unknown_variant"),
        (json!({ "unit": "u", "units": [] }), "unknown_member"),
    ] {
        edge.post("/v1/assignments", &body).assert_problem(400, code);
    }
    let json = [("content-type", "application/json")];
    for body in [
        &b""[..],
        b"{",
        b"{\"unit\":\"u\"} x",
        b"{\"unit\":\"u\",\"unit\":\"v\"}",
        b"{\"unit\":\"u\",\"attributes\":{\"a\":1,\"a\":2}}",
        b"{\"unit\":\"u\",\"attributes\":{\"a\":1e400}}",
        b"{\"unit\":\"\xff\"}",
        b"{\"unit\":\"\\ud800\"}",
        "[".repeat(60_000).as_bytes(),
    ] {
        edge.send("POST", "/v1/assignments", &json, body).assert_problem(400, "malformed_body");
    }
}
