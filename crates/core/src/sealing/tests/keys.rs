//! Which key may vouch: tricks with `kid`, with the keyset, and with a key's place in its life.

use serde_json::json;

use super::fixtures::{NOW, World, at, b64, key};
use crate::sealing::{
    ClaimProblem, KeyRefusal, KeyState, KeyUse, MAX_KEYSET_KEYS, Malformation, SecretKey, Signer, TokenKind,
    VerifyError, seal,
};

#[test]
fn kid_tricks_find_no_key_and_are_quoted_safely() {
    let long = "A".repeat(4096);
    let tricks = [
        "../../../../dev/null",
        "/proc/self/environ",
        "file:///etc/passwd",
        "' OR '1'='1",
        "x'; DROP TABLE keys; --",
        "\u{0}",
        "key\u{0}.pem",
        "__proto__",
        "constructor",
        "toString",
        "0",
        "-1",
        "*",
        "%00",
        "",
        " ",
        "\n",
        "\u{1b}[2J",
        &long,
    ];
    for trick in tricks {
        World::new().refuses("E_KEY", |world, kind| {
            let mut header = world.header(kind);
            header["kid"] = json!(trick);
            let token = world.token_under(kind, &header.to_string());
            let told = world.open(kind, &token).unwrap_err().to_string();
            assert!(told.len() < 400 && !told.contains(char::is_control), "{told:?}");
            token
        });
    }
}

#[test]
fn kid_with_stray_characters_is_another_kid() {
    for (before, after) in [(" ", ""), ("", " "), ("", "="), ("", "\u{0}"), ("./", "")] {
        World::new().refuses("E_KEY", |world, kind| {
            let mut header = world.header(kind);
            header["kid"] = json!(format!("{before}{}{after}", world.signer(kind).kid()));
            world.token_under(kind, &header.to_string())
        });
    }
}

#[test]
fn key_that_is_not_in_the_keyset_is_refused() {
    let stranger = SecretKey::from_seed(&[99; 32]);
    World::new()
        .refuses("E_KEY", |world, kind| seal(kind, world.claims(kind).to_string().as_bytes(), &stranger));
}

#[test]
fn keyset_signed_by_a_foreign_root_is_refused_and_names_the_pinned_one() {
    let world = World::new();
    let foreign = SecretKey::from_seed(&[99; 32]);
    let token = seal(TokenKind::Keyset, &world.keyset.claims_json(), &foreign);
    let refusal =
        KeyRefusal::ForeignRoot { kid: foreign.kid().to_string(), pinned: world.root.kid().clone() };
    assert_eq!(world.open(TokenKind::Keyset, &token), Err(VerifyError::Key(refusal)));
}

#[test]
fn keyset_signed_by_one_of_its_own_keys_is_refused() {
    let world = World::new();
    for own in [&world.edge, &world.control] {
        let token = seal(TokenKind::Keyset, &world.keyset.claims_json(), own);
        assert_eq!(world.code(TokenKind::Keyset, &token), "E_KEY");
    }
}

#[test]
fn edge_key_may_sign_neither_status_nor_snapshot() {
    let world = World::new();
    for kind in [TokenKind::Status, TokenKind::Snapshot] {
        let token = seal(kind, world.claims(kind).to_string().as_bytes(), &world.edge);
        let refusal = KeyRefusal::WrongUse { kid: world.edge.kid().clone(), use_: KeyUse::Edge, kind };
        assert_eq!(world.open(kind, &token), Err(VerifyError::Key(refusal)));
    }
}

#[test]
fn control_key_may_not_sign_assignments_and_the_root_signs_keysets_only() {
    let world = World::new();
    let claims = world.claims(TokenKind::Assignment).to_string();
    for signer in [&world.control, &world.root] {
        let token = seal(TokenKind::Assignment, claims.as_bytes(), signer);
        assert_eq!(world.code(TokenKind::Assignment, &token), "E_KEY");
    }
    for kind in [TokenKind::Status, TokenKind::Snapshot] {
        let token = seal(kind, world.claims(kind).to_string().as_bytes(), &world.root);
        assert_eq!(world.code(kind, &token), "E_KEY");
    }
}

#[test]
fn published_active_and_retiring_keys_verify_and_retired_ones_do_not() {
    for (state, code) in [
        (KeyState::Published, "ok"),
        (KeyState::Active, "ok"),
        (KeyState::Retiring, "ok"),
        (KeyState::Retired, "E_KEY"),
    ] {
        let mut world = World::new();
        world.keyset.keys.iter_mut().for_each(|key| key.state = state);
        for kind in [TokenKind::Assignment, TokenKind::Snapshot, TokenKind::Status] {
            assert_eq!(world.code(kind, &world.token(kind)), code, "{kind:?} {state:?}");
        }
    }
}

#[test]
fn keys_vouch_only_between_their_begin_and_end() {
    for (nbf, exp, code) in [
        (NOW + 60, None, "ok"),
        (NOW + 61, None, "E_KEY"),
        (NOW - 100, Some(NOW - 59), "ok"),
        (NOW - 100, Some(NOW - 60), "E_KEY"),
    ] {
        let mut world = World::new();
        for key in &mut world.keyset.keys {
            (key.nbf, key.exp) = (at(nbf), exp.map(at));
        }
        for kind in [TokenKind::Assignment, TokenKind::Snapshot, TokenKind::Status] {
            assert_eq!(world.code(kind, &world.token(kind)), code, "{kind:?} {nbf} {exp:?}");
        }
    }
}

#[test]
fn keyset_of_another_environment_vouches_for_nothing() {
    let mut world = World::new();
    world.keyset.iss = crate::ids::Environment::parse("staging").unwrap();
    for kind in [TokenKind::Assignment, TokenKind::Snapshot, TokenKind::Status] {
        assert_eq!(world.code(kind, &world.token(kind)), "E_KEY");
    }
}

#[test]
fn keyset_survives_its_own_wire_form() {
    let mut world = World::new();
    world.keyset.keys[0].state = KeyState::Retired;
    world.keyset.keys[0].exp = Some(at(NOW));
    let token = world.token(TokenKind::Keyset);
    let read = crate::sealing::Keyset::verify(&token, &world.root.public(), &world.environment, world.now);
    assert_eq!(read, Ok(world.keyset));
}

#[test]
fn keyset_that_repeats_a_kid_is_refused() {
    let mut world = World::new();
    let mut again = world.keyset.keys[0].clone();
    again.use_ = KeyUse::Control;
    world.keyset.keys.push(again);
    let problem = ClaimProblem::Repeated(world.edge.kid().clone());
    let refusal = Malformation::Claim { claim: "keys".to_owned(), problem };
    assert_eq!(
        world.open(TokenKind::Keyset, &world.token(TokenKind::Keyset)),
        Err(VerifyError::Malformed(refusal))
    );
}

#[test]
fn keyset_with_too_many_keys_is_refused() {
    let mut world = World::new();
    world.keyset.keys = (0..=MAX_KEYSET_KEYS)
        .map(|n| key(&SecretKey::from_seed(&[u8::try_from(n).unwrap(); 32]), KeyUse::Edge))
        .collect();
    assert_eq!(world.code(TokenKind::Keyset, &world.token(TokenKind::Keyset)), "E_MALFORMED");
    world.keyset.keys.pop();
    assert_eq!(world.code(TokenKind::Keyset, &world.token(TokenKind::Keyset)), "ok");
}

#[test]
fn keys_that_say_something_else_than_they_are_are_refused() {
    let world = World::new();
    let changes = [
        ("kid", json!(world.control.kid().as_str())),
        ("kid", json!("key-1")),
        ("kty", json!("oct")),
        ("kty", json!("EC")),
        ("crv", json!("X25519")),
        ("crv", json!("P-256")),
        ("x", json!(b64([7; 31]))),
        ("x", json!(format!("{}=", world.edge.public()))),
        ("x", json!(null)),
        ("d", json!(b64([2; 32]))),
        ("alg", json!("HS256")),
        ("use", json!("sig")),
        ("use", json!("root")),
        ("state", json!("Active")),
        ("state", json!(null)),
        ("nbf", json!(-1)),
        ("exp", json!("never")),
    ];
    for (name, value) in changes {
        let mut claims = world.claims(TokenKind::Keyset);
        claims["keys"][0][name] = value.clone();
        let token = world.token_of(TokenKind::Keyset, &claims.to_string());
        assert_eq!(world.code(TokenKind::Keyset, &token), "E_MALFORMED", "{name} {value}");
    }
}

#[test]
fn jwks_for_strangers_lists_the_edge_keys_that_count_and_no_others() {
    let mut world = World::new();
    let (next, last, gone) =
        (SecretKey::from_seed(&[4; 32]), SecretKey::from_seed(&[5; 32]), SecretKey::from_seed(&[6; 32]));
    for (secret, state) in
        [(&next, KeyState::Published), (&last, KeyState::Retiring), (&gone, KeyState::Retired)]
    {
        let mut key = key(secret, KeyUse::Edge);
        key.state = state;
        world.keyset.keys.push(key);
    }
    let jwks = world.keyset.jwks();
    let listed: Vec<&str> =
        jwks["keys"].as_array().unwrap().iter().map(|jwk| jwk["kid"].as_str().unwrap()).collect();
    assert_eq!(listed, [&world.edge, &next, &last].map(|key| key.kid().as_str()));
    assert_eq!(
        jwks["keys"][0],
        json!({
            "kty": "OKP", "crv": "Ed25519", "x": world.edge.public().to_string(), "kid": world.edge.kid().as_str(),
            "alg": "EdDSA", "use": "sig", "key_ops": ["verify"],
        })
    );
}
