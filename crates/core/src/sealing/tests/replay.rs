//! Genuine tokens in the wrong place: another environment, another unit, another time.

use serde_json::json;

use super::fixtures::{World, at, code, experiment};
use crate::ids::{Environment, UnitId, UnitType};
use crate::sealing::{Memory, RolledBack, Status, SubjectTag, TokenKind, VerifyError};

#[test]
fn tokens_of_another_environment_are_refused() {
    for foreign in ["staging", "Production", "production2", "p"] {
        World::new().refuses("E_AUDIENCE", |world, kind| world.token_with(kind, "iss", json!(foreign)));
    }
}

#[test]
fn tokens_for_another_audience_are_refused() {
    let world = World::new();
    for aud in
        ["edgeseal:staging", "edgeseal:", "production", "edgeseal:production ", "EDGESEAL:production", ""]
    {
        let token = world.token_with(TokenKind::Assignment, "aud", json!(aud));
        let error = world.verify(&token).unwrap_err();
        let expected = "edgeseal:production".to_owned();
        assert_eq!(error, VerifyError::Audience { claim: "aud", expected, found: aud.to_owned() });
    }
}

#[test]
fn token_of_another_unit_is_a_leak_and_is_refused() {
    let mut world = World::new();
    let token = world.token(TokenKind::Assignment);
    let own = world.subject;
    for (environment, unit_type, unit) in [
        ("production", "user", "user-2"),
        ("production", "device", "user-1"),
        ("staging", "user", "user-1"),
        ("production", "user", "User-1"),
        ("production", "user", "user-1 "),
    ] {
        world.subject = SubjectTag::of(
            &Environment::parse(environment).unwrap(),
            &UnitType::parse(unit_type).unwrap(),
            UnitId::parse(unit).unwrap(),
        );
        assert_eq!(world.verify(&token), Err(VerifyError::Subject { expected: world.subject, found: own }));
    }
}

#[test]
fn refusals_come_in_their_fixed_order() {
    // Everything is wrong at once; each repair brings out the next code.
    let mut world = World::new();
    world.memory = Some(Memory { cv: 99, ..Memory::default() });
    let mut claims = world.claims(TokenKind::Assignment);
    claims["iat"] = json!(super::fixtures::NOW - 5000);
    claims["exp"] = json!(super::fixtures::NOW - 4000);
    claims["iss"] = json!("staging");
    claims["sub"] = json!("AAAAAAAAAAAAAAAAAAAAAA");
    let mut codes = Vec::new();
    let mut look = |world: &World, claims: &serde_json::Value| {
        let token = world.token_of(TokenKind::Assignment, &claims.to_string());
        codes.push(world.code(TokenKind::Assignment, &token));
    };
    look(&world, &claims);
    claims["iat"] = json!(super::fixtures::NOW + 4000);
    claims["exp"] = json!(super::fixtures::NOW + 5000);
    look(&world, &claims);
    claims["iat"] = json!(super::fixtures::NOW);
    claims["exp"] = json!(super::fixtures::NOW + 900);
    look(&world, &claims);
    claims["iss"] = json!("production");
    look(&world, &claims);
    claims["sub"] = json!(world.subject.to_string());
    look(&world, &claims);
    world.memory = None;
    look(&world, &claims);
    assert_eq!(codes, ["E_EXPIRED", "E_NOT_YET", "E_AUDIENCE", "E_SUBJECT", "E_ROLLBACK", "ok"]);
}

#[test]
fn older_snapshot_version_than_seen_is_a_rollback() {
    let mut world = World::new();
    let token = world.token(TokenKind::Assignment);
    for (seen, result) in [(12, "ok"), (13, "ok"), (14, "E_ROLLBACK")] {
        world.memory = Some(Memory { cv: seen, ..Memory::default() });
        assert_eq!(world.code(TokenKind::Assignment, &token), result);
    }
    let what = RolledBack::SnapshotVersion;
    assert_eq!(world.verify(&token), Err(VerifyError::Rollback { what, found: 13, seen: 14 }));
}

#[test]
fn older_epoch_than_seen_in_a_token_is_a_rollback() {
    let mut world = World::new();
    let token = world.token(TokenKind::Assignment);
    world.memory = Some(Memory { ep: 5, ..Memory::default() });
    let what = RolledBack::TokenEpoch;
    assert_eq!(world.verify(&token), Err(VerifyError::Rollback { what, found: 4, seen: 5 }));
}

#[test]
fn newer_epoch_in_a_status_leaves_cached_tokens_usable() {
    let mut world = World::new();
    let mut memory = Memory::default();
    memory.remember_status(&Status { ep: 9, cv: 99, ..world.status() });
    world.memory = Some(memory);
    assert_eq!(world.code(TokenKind::Assignment, &world.token(TokenKind::Assignment)), "ok");
}

#[test]
fn older_version_of_one_experiment_is_a_rollback_of_that_experiment_only() {
    let mut world = World::new();
    let mut memory = Memory::default();
    memory.xv.insert(experiment("checkout"), 4);
    world.memory = Some(memory);
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    assert_eq!(code(&verified.usable(&experiment("checkout"))), "E_ROLLBACK");
    assert_eq!(code(&verified.usable(&experiment("search"))), "ok");
}

#[test]
fn memory_never_goes_backwards() {
    let world = World::new();
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    let mut memory = Memory { cv: 20, ep: 1, ..Memory::default() };
    memory.xv.insert(experiment("checkout"), 9);
    memory.remember_assignments(&verified);
    memory.remember_keyset(&world.keyset);
    memory.remember_status(&world.status());
    assert_eq!((memory.cv, memory.ep, memory.keyset_ver, memory.status_ep), (20, 4, 7, 4));
    assert_eq!(memory.xv[&experiment("checkout")], 9);
    assert_eq!(memory.xv[&experiment("search")], 1);
}

#[test]
fn replayed_older_keysets_and_status_documents_are_rollbacks() {
    let world = World::new();
    let memory = Memory { keyset_ver: 8, status_ep: 5, ..Memory::default() };
    assert_eq!(code(&memory.check_keyset(&world.keyset)), "E_ROLLBACK");
    assert_eq!(code(&memory.check_status(&world.status())), "E_ROLLBACK");
    let memory = Memory { keyset_ver: 7, status_ep: 4, ..Memory::default() };
    assert_eq!(code(&memory.check_keyset(&world.keyset)), "ok");
    assert_eq!(code(&memory.check_status(&world.status())), "ok");
}

#[test]
fn memory_is_bounded() {
    let mut memory = Memory::default();
    for n in 0..crate::sealing::MAX_REMEMBERED_EXPERIMENTS {
        memory.xv.insert(experiment(&format!("e{n}")), 1);
    }
    let mut world = World::new();
    let verified = world.verify(&world.token(TokenKind::Assignment)).unwrap();
    memory.remember_assignments(&verified);
    assert_eq!(memory.xv.len(), crate::sealing::MAX_REMEMBERED_EXPERIMENTS);
    world.now = at(super::fixtures::NOW);
}

#[test]
fn memory_reads_back_from_json() {
    let memory: Memory = serde_json::from_value(json!({"cv": 3, "xv": {"checkout": 2}})).unwrap();
    assert_eq!((memory.cv, memory.ep, memory.xv[&experiment("checkout")]), (3, 0, 2));
    let text = serde_json::to_string(&memory).unwrap();
    assert_eq!(text, r#"{"cv":3,"ep":0,"statusEp":0,"keysetVer":0,"xv":{"checkout":2}}"#);
    assert!(serde_json::from_value::<Memory>(json!({"cv": -1})).is_err());
    assert!(serde_json::from_value::<Memory>(json!({"vc": 1})).is_err());
}
