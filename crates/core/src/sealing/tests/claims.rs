//! Truly signed claims of the wrong shape, and times.

use serde_json::{Value, json};

use super::fixtures::{NOW, World, at};
use crate::sealing::{ClaimProblem, MAX_CLAIM_INTEGER, Malformation, TokenKind, VerifyError};

const TIMED: [TokenKind; 3] = [TokenKind::Assignment, TokenKind::Keyset, TokenKind::Status];

#[test]
fn every_claim_is_required() {
    let world = World::new();
    let required = [
        (TokenKind::Assignment, vec!["iss", "aud", "sub", "ut", "iat", "exp", "cv", "ep", "cd", "a"]),
        (TokenKind::Keyset, vec!["iss", "ver", "iat", "exp", "keys"]),
        (TokenKind::Snapshot, vec!["iss", "iat"]),
        (TokenKind::Status, vec!["iss", "ep", "cv", "off", "min", "rev", "iat", "exp"]),
    ];
    for (kind, names) in required {
        for name in names {
            let token = world.token_with(kind, name, json!(null));
            let problem = ClaimProblem::Missing;
            let refusal = Malformation::Claim { claim: name.to_owned(), problem };
            assert_eq!(world.open(kind, &token), Err(VerifyError::Malformed(refusal)), "{kind:?} {name}");
        }
    }
}

#[test]
fn claims_of_another_type_are_refused() {
    let world = World::new();
    let wrong = [
        (TokenKind::Assignment, "iss", json!(1)),
        (TokenKind::Assignment, "iss", json!("not a name")),
        (TokenKind::Assignment, "aud", json!(["edgeseal:production"])),
        (TokenKind::Assignment, "sub", json!("user-1")),
        (TokenKind::Assignment, "sub", json!("AAAAAAAAAAAAAAAAAAAAAA==")),
        (TokenKind::Assignment, "ut", json!("")),
        (TokenKind::Assignment, "cv", json!("13")),
        (TokenKind::Assignment, "ep", json!(-1)),
        (TokenKind::Assignment, "cd", json!(0)),
        (TokenKind::Assignment, "a", json!([])),
        (TokenKind::Assignment, "a", json!({"checkout": "treatment"})),
        (TokenKind::Assignment, "a", json!({"checkout": {"v": "treatment", "r": "split"}})),
        (TokenKind::Assignment, "a", json!({"checkout": {"v": "treatment", "xv": 1.5, "r": "split"}})),
        (TokenKind::Assignment, "a", json!({"checkout": {"v": "", "xv": 1, "r": "split"}})),
        (TokenKind::Assignment, "a", json!({"checkout": {"v": "treatment", "xv": 1, "r": null}})),
        (TokenKind::Assignment, "a", json!({"__proto__": {"v": "treatment", "xv": 1, "r": "split"}})),
        (TokenKind::Keyset, "ver", json!(1.5)),
        (TokenKind::Keyset, "keys", json!({})),
        (TokenKind::Keyset, "keys", json!([null])),
        (TokenKind::Status, "off", json!("checkout")),
        (TokenKind::Status, "off", json!([1])),
        (TokenKind::Status, "off", json!(["not a key"])),
        (TokenKind::Status, "min", json!([])),
        (TokenKind::Status, "min", json!({"checkout": "3"})),
        (TokenKind::Status, "min", json!({"not a key": 3})),
        (TokenKind::Status, "rev", json!(["short"])),
    ];
    for (kind, name, value) in wrong {
        let token = world.token_with(kind, name, value.clone());
        assert_eq!(world.code(kind, &token), "E_MALFORMED", "{kind:?} {name} {value}");
    }
}

#[test]
fn refusal_of_a_claim_names_its_path() {
    let world = World::new();
    let a = json!({"checkout": {"v": "treatment", "xv": "3", "r": "split"}});
    let error = world.verify(&world.token_with(TokenKind::Assignment, "a", a)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is not a well-formed token: its claim 'a/checkout/xv' is not an integer from 0 to 9007199254740991"
    );
}

#[test]
fn unknown_claims_are_ignored_so_that_older_clients_read_newer_edges() {
    let world = World::new();
    for kind in TokenKind::ALL {
        let token = world.token_with(kind, "new", json!({"anything": [1.5, null]}));
        assert_eq!(world.code(kind, &token), "ok", "{kind:?}");
    }
}

#[test]
fn unknown_reasons_are_kept_as_text() {
    let world = World::new();
    let a = json!({"checkout": {"v": "treatment", "xv": 3, "r": "of-tomorrow", "p": null, "z": 1}});
    let verified = world.verify(&world.token_with(TokenKind::Assignment, "a", a)).unwrap();
    let variant = verified.usable(&super::fixtures::experiment("checkout")).unwrap().unwrap();
    assert_eq!((variant.r.as_str(), &variant.p), ("of-tomorrow", &Some(Value::Null)));
}

/// Numbers are put into the text as written, because a JSON library would tidy them up.
fn with_literal(world: &World, kind: TokenKind, name: &str, literal: &str) -> String {
    let mut claims = world.claims(kind);
    claims[name] = json!("LITERAL");
    world.token_of(kind, &claims.to_string().replace("\"LITERAL\"", literal))
}

#[test]
fn times_that_are_no_plain_integers_are_refused() {
    let world = World::new();
    for literal in [
        "-1",
        "-0",
        "1800000000.0",
        "1800000000.5",
        "18e8",
        "1e400",
        "-1e400",
        "\"1800000000\"",
        "true",
        "[]",
        "0x1",
        "01800000000",
        "+1",
        "9007199254740992",
        "18446744073709551616",
        "NaN",
        "Infinity",
    ] {
        for kind in TokenKind::ALL {
            for name in ["iat", "exp", "nbf"] {
                if kind == TokenKind::Snapshot && name != "iat" {
                    continue;
                }
                let token = with_literal(&world, kind, name, literal);
                assert_eq!(world.code(kind, &token), "E_MALFORMED", "{kind:?} {name} {literal}");
            }
        }
    }
}

#[test]
fn expired_tokens_are_refused_from_sixty_seconds_after_their_end() {
    for kind in TIMED {
        let mut world = World::new();
        let token = world.token(kind);
        let end = world.claims(kind)["exp"].as_i64().unwrap();
        for (now, code) in
            [(end, "ok"), (end + 59, "ok"), (end + 60, "E_EXPIRED"), (end + 1_000_000, "E_EXPIRED")]
        {
            world.now = at(now);
            assert_eq!(world.code(kind, &token), code, "{kind:?} {}", now - end);
        }
    }
}

#[test]
fn tokens_of_the_future_are_refused_beyond_sixty_seconds() {
    for kind in TokenKind::ALL {
        let mut world = World::new();
        let token = world.token(kind);
        let start = world.claims(kind)["iat"].as_i64().unwrap();
        for (now, code) in
            [(start - 60, "ok"), (start - 61, "E_NOT_YET"), (0, "E_NOT_YET"), (-1, "E_NOT_YET")]
        {
            world.now = at(now);
            // A key is not valid before its own begin, which is told first.
            let code = if now <= 0 && kind != TokenKind::Keyset { "E_KEY" } else { code };
            assert_eq!(world.code(kind, &token), code, "{kind:?} {}", now - start);
        }
    }
}

#[test]
fn not_before_is_honoured_where_present() {
    for kind in TIMED {
        let world = World::new();
        assert_eq!(world.code(kind, &world.token_with(kind, "nbf", json!(NOW + 60))), "ok");
        assert_eq!(world.code(kind, &world.token_with(kind, "nbf", json!(NOW + 61))), "E_NOT_YET");
    }
}

#[test]
fn clock_skew_is_measured_in_milliseconds() {
    let mut world = World::new();
    let token = world.token(TokenKind::Assignment);
    world.now = crate::time::Timestamp::from_unix_ms((NOW + 900 + 60) * 1000 - 1);
    assert_eq!(world.code(TokenKind::Assignment, &token), "ok");
    world.now = crate::time::Timestamp::from_unix_ms((NOW + 900 + 60) * 1000);
    assert_eq!(world.code(TokenKind::Assignment, &token), "E_EXPIRED");
}

#[test]
fn far_ends_are_refused() {
    let world = World::new();
    for (kind, limit) in
        [(TokenKind::Assignment, 3600), (TokenKind::Keyset, 30 * 24 * 3600), (TokenKind::Status, 30)]
    {
        let iat = world.claims(kind)["iat"].as_i64().unwrap();
        assert_eq!(world.code(kind, &world.token_with(kind, "exp", json!(iat + limit))), "ok", "{kind:?}");
        for exp in [iat + limit + 1, iat + 100 * limit, MAX_CLAIM_INTEGER as i64] {
            assert_eq!(
                world.code(kind, &world.token_with(kind, "exp", json!(exp))),
                "E_MALFORMED",
                "{kind:?} {exp}"
            );
        }
    }
}

#[test]
fn ends_not_after_their_begin_are_refused() {
    let world = World::new();
    for kind in TIMED {
        let iat = world.claims(kind)["iat"].as_i64().unwrap();
        for exp in [iat, iat - 1, 0] {
            assert_eq!(
                world.code(kind, &world.token_with(kind, "exp", json!(exp))),
                "E_MALFORMED",
                "{kind:?} {exp}"
            );
        }
    }
}

#[test]
fn times_after_2038_and_2106_are_accepted() {
    for year_start in [2_147_483_647, 2_147_483_648, 4_294_967_296, 253_402_300_800] {
        let mut world = World::new();
        world.now = at(year_start);
        let mut claims = world.claims(TokenKind::Assignment);
        claims["iat"] = json!(year_start);
        claims["exp"] = json!(year_start + 900);
        let token = world.token_of(TokenKind::Assignment, &claims.to_string());
        assert_eq!(world.code(TokenKind::Assignment, &token), "ok", "{year_start}");
    }
}

#[test]
fn extreme_clocks_neither_panic_nor_accept() {
    let mut world = World::new();
    for now in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
        world.now = crate::time::Timestamp::from_unix_ms(now);
        for kind in TIMED {
            assert_ne!(world.code(kind, &world.token(kind)), "ok", "{kind:?} {now}");
        }
    }
}
