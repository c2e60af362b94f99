//! Tokens that are not quite tokens.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use serde_json::json;

use super::fixtures::{World, b64, split};
use crate::sealing::{MAX_SNAPSHOT_TOKEN_BYTES, MAX_TOKEN_BYTES, Malformation, TokenKind, VerifyError};

#[test]
fn foreign_header_members_are_refused_whatever_they_say() {
    let attacks = [
        ("jku", json!("https://attacker.example/keys.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("__proto__", json!({"alg": "none"})),
        ("", json!(1)),
    ];
    for (name, value) in attacks {
        World::new().refuses("E_MALFORMED", |world, kind| {
            let mut header = world.header(kind);
            header[name] = value.clone();
            world.token_under(kind, &header.to_string())
        });
    }
}

#[test]
fn missing_or_mistyped_header_members_are_refused() {
    for name in ["alg", "kid", "typ"] {
        for value in [None, Some(json!(null)), Some(json!(1)), Some(json!(["EdDSA"])), Some(json!({}))] {
            World::new().refuses("E_MALFORMED", |world, kind| {
                let mut header = world.header(kind);
                match &value {
                    None => drop(header.as_object_mut().unwrap().remove(name)),
                    Some(value) => header[name] = value.clone(),
                }
                world.token_under(kind, &header.to_string())
            });
        }
    }
}

#[test]
fn header_that_is_no_json_object_is_refused() {
    for header in ["", "null", "[]", "\"EdDSA\"", "{", "{}{}", "\u{feff}{}", "{'alg':'EdDSA'}"] {
        World::new().refuses("E_MALFORMED", |world, kind| world.token_under(kind, header));
    }
}

#[test]
fn duplicate_members_in_the_header_are_refused() {
    for name in ["alg", "kid", "typ"] {
        World::new().refuses("E_MALFORMED", |world, kind| {
            let header = world.header(kind);
            let text = header.to_string();
            let doubled = format!("{},\"{name}\":{}}}", text.trim_end_matches('}'), header[name]);
            world.token_under(kind, &doubled)
        });
    }
    World::new().refuses("E_MALFORMED", |world, kind| {
        // The same name in an escaped spelling.
        let text = world.header(kind).to_string();
        world.token_under(kind, &format!("{},\"\\u0061lg\":\"none\"}}", text.trim_end_matches('}')))
    });
}

#[test]
fn duplicate_members_in_signed_claims_are_refused_at_any_depth() {
    World::new().refuses("E_MALFORMED", |world, kind| {
        let claims = world.claims(kind).to_string();
        world.token_of(kind, &format!("{},\"iss\":\"production\"}}", &claims[..claims.len() - 1]))
    });
    World::new().refuses("E_MALFORMED", |world, kind| {
        let claims = world.claims(kind).to_string();
        world.token_of(kind, &format!("{},\"x\":[{{\"y\":1,\"y\":2}}]}}", &claims[..claims.len() - 1]))
    });
}

#[test]
fn signed_claims_that_are_no_strict_json_object_are_refused() {
    for claims in
        ["", "null", "[]", "7", "{", "{} {}", "{\"a\":1,}", "\u{0}", "{\"a\":\"\u{1}\"}", "{\"a\":NaN}"]
    {
        World::new().refuses("E_MALFORMED", |world, kind| world.token_of(kind, claims));
    }
    World::new().refuses("E_MALFORMED", |world, kind| {
        crate::sealing::seal(kind, b"{\"iss\":\"\xff\"}", world.signer(kind))
    });
}

#[test]
fn claims_nested_beyond_the_bound_are_refused() {
    for depth in [63, 64, 200, 30_000] {
        let world = World::new();
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for kind in TokenKind::ALL {
            let claims = world.claims(kind).to_string();
            // The claims object is one level itself.
            let claims = format!("{},\"x\":{nested}}}", &claims[..claims.len() - 1]);
            if depth < 30_000 || kind == TokenKind::Snapshot {
                let code = if depth == 63 { "ok" } else { "E_MALFORMED" };
                assert_eq!(world.code(kind, &world.token_of(kind, &claims)), code, "{kind:?} {depth}");
            }
        }
    }
}

#[test]
fn unsigned_claims_are_never_read() {
    World::new().refuses("E_SIGNATURE", |world, kind| {
        let [header, _, signature] = split(&world.token(kind));
        format!("{header}.{}.{signature}", b64("{"))
    });
}

#[test]
fn stray_bits_after_the_last_byte_are_refused() {
    // Of the last character of a part only some bits count; a lax decoder gives one token several spellings.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let world = World::new();
    let mut spoiled = 0;
    for kind in TokenKind::ALL {
        for place in 0..3 {
            let mut parts = split(&world.token(kind));
            if parts[place].len().is_multiple_of(4) {
                continue;
            }
            let last = parts[place].pop().unwrap();
            let index = ALPHABET.iter().position(|c| char::from(*c) == last).unwrap();
            parts[place].push(char::from(ALPHABET[index | 1]));
            assert_ne!(index & 1, 1, "canonical");
            spoiled += 1;
            assert_eq!(world.code(kind, &parts.join(".")), "E_MALFORMED", "{kind:?} {place}");
        }
    }
    assert!(spoiled >= 4, "at least every signature, 64 bytes in 86 characters");
}

#[test]
fn padding_is_refused() {
    for place in 0..3 {
        World::new().refuses("E_MALFORMED", |world, kind| {
            let mut parts = split(&world.token(kind));
            parts[place].push('=');
            parts.join(".")
        });
    }
    World::new().refuses("E_MALFORMED", |world, kind| {
        let [header, claims, _] = split(&world.token(kind));
        format!("{header}.{claims}.{}", URL_SAFE.encode([7; 64]))
    });
}

#[test]
fn plain_base64_is_refused() {
    World::new().refuses("E_MALFORMED", |world, kind| {
        let [header, claims, _] = split(&world.token(kind));
        format!("{header}.{claims}.{}", STANDARD_NO_PAD.encode([0xff; 64]))
    });
}

#[test]
fn white_space_and_line_ends_are_refused_anywhere() {
    for space in [" ", "\n", "\r\n", "\t", "\u{a0}", "\u{0}"] {
        World::new().refuses("E_MALFORMED", |world, kind| format!("{space}{}", world.token(kind)));
        World::new().refuses("E_MALFORMED", |world, kind| format!("{}{space}", world.token(kind)));
        World::new()
            .refuses("E_MALFORMED", |world, kind| world.token(kind).replacen('.', &format!("{space}."), 1));
        World::new().refuses("E_MALFORMED", |world, kind| {
            let token = world.token(kind);
            format!("{}{space}{}", &token[..20], &token[20..])
        });
    }
}

#[test]
fn other_numbers_of_parts_are_refused() {
    let found = |token: &str| match World::new().verify(token) {
        Err(VerifyError::Malformed(Malformation::Parts { found })) => found,
        other => unreachable!("{other:?}"),
    };
    let token = World::new().token(TokenKind::Assignment);
    let [header, claims, signature] = split(&token);
    assert_eq!(found(""), 1);
    assert_eq!(found(&header), 1);
    assert_eq!(found(&format!("{header}.{claims}")), 2);
    assert_eq!(found(&format!("{token}.")), 4);
    assert_eq!(found(&format!("{token}.{signature}")), 4);
    assert_eq!(found(&format!("{header}.{claims}.{claims}.{claims}.{signature}")), 5);
    assert_eq!(found(&".".repeat(60_000)), 60_001);
}

#[test]
fn json_serialisation_of_a_jws_is_refused() {
    World::new().refuses("E_MALFORMED", |world, kind| {
        let [header, claims, signature] = split(&world.token(kind));
        json!({"protected": header, "payload": claims, "signature": signature}).to_string()
    });
}

/// The JWS cases of Wycheproof (`json_web_signature`) are for keys that we do not have; these are its mutations,
/// by its names, on our own tokens.
#[test]
fn mutations_of_the_wycheproof_jws_cases_are_refused() {
    for kind in TokenKind::ALL {
        let world = World::new();
        let [header, claims, signature] = split(&world.token(kind));
        let cases = [
            ("modified header", format!("X{}.{claims}.{signature}", &header[1..])),
            ("modified payload", format!("{header}.X{}.{signature}", &claims[1..])),
            ("missing signature", format!("{header}.{claims}.")),
            ("missing signature and separator", format!("{header}.{claims}")),
            ("missing payload", format!("{header}..{signature}")),
            ("missing payload and separator", format!("{header}.{signature}")),
            ("missing header", format!(".{claims}.{signature}")),
            ("missing header and separator", format!("{claims}.{signature}")),
            ("missing header and signature", format!(".{claims}.")),
            ("missing header, signature and separators", claims.clone()),
            ("empty string", String::new()),
            ("extra empty component", format!("{header}.{claims}.{signature}.")),
            ("extra component", format!("{header}.{claims}.{signature}.foo")),
            ("only separators", "..".to_owned()),
        ];
        for (name, token) in cases {
            assert_ne!(world.code(kind, &token), "ok", "{kind:?}: {name}");
        }
    }
}

#[test]
fn oversize_tokens_are_refused_unread() {
    let world = World::new();
    for kind in [TokenKind::Assignment, TokenKind::Keyset, TokenKind::Status] {
        let token = world.token_with(kind, "x", json!("x".repeat(MAX_TOKEN_BYTES)));
        let refusal = Malformation::TooLarge { bytes: token.len(), limit: MAX_TOKEN_BYTES };
        assert_eq!(world.open(kind, &token), Err(VerifyError::Malformed(refusal)), "{kind:?}");
    }
    let large = world.token_with(TokenKind::Snapshot, "x", json!("x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(world.code(TokenKind::Snapshot, &large), "ok");
    let larger = "x".repeat(MAX_SNAPSHOT_TOKEN_BYTES + 1);
    assert_eq!(world.code(TokenKind::Snapshot, &larger), "E_MALFORMED");
}

#[test]
fn token_of_exactly_the_bound_is_read() {
    let world = World::new();
    let padded = |n: usize| world.token_with(TokenKind::Assignment, "x", json!("x".repeat(n)));
    let short = padded(0).len();
    let sizes: Vec<usize> = (0..)
        .map(|n| (MAX_TOKEN_BYTES - short) * 3 / 4 - 4 + n)
        .take(12)
        .filter(|n| padded(*n).len() <= MAX_TOKEN_BYTES)
        .collect();
    let longest = padded(*sizes.last().unwrap());
    assert!(longest.len() >= MAX_TOKEN_BYTES - 1);
    assert_eq!(world.code(TokenKind::Assignment, &longest), "ok");
    assert_eq!(world.code(TokenKind::Assignment, &padded(sizes.last().unwrap() + 1)), "E_MALFORMED");
}
