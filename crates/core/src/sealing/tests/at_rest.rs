//! Documents read back from one's own disk: time does not count, everything else does.

use super::fixtures::{NOW, World, at, code, compact};
use crate::ids::Environment;
use crate::sealing::{
    KeyRefusal, KeyState, Keyset, SecretKey, Signer, Status, TokenKind, VerifyError, check_signer, seal,
    verify_snapshot_at_rest,
};

/// The kinds that are kept on disk.
const KINDS: [TokenKind; 3] = [TokenKind::Keyset, TokenKind::Snapshot, TokenKind::Status];

fn open_at_rest(world: &World, kind: TokenKind, token: &str) -> Result<(), VerifyError> {
    let World { keyset, environment, status, .. } = world;
    match kind {
        TokenKind::Keyset => Keyset::verify_at_rest(token, &world.root.public(), environment).map(|_| ()),
        TokenKind::Status => Status::verify_at_rest(token, keyset, environment).map(|_| ()),
        _ => verify_snapshot_at_rest(token, keyset, environment, status.as_ref()).map(|_| ()),
    }
}

#[test]
fn time_does_not_count() {
    let mut world = World::new();
    let tokens = KINDS.map(|kind| (kind, world.token(kind)));
    for (key, shift) in [(0, -3_600), (1, 3_600)] {
        world.keyset.keys[key].nbf = at(NOW + shift);
    }
    world.keyset.keys[1].exp = Some(at(NOW - 1_000_000));
    for (kind, token) in tokens {
        assert_eq!(code(&open_at_rest(&world, kind, &token)), "ok", "{kind:?}");
        let from_the_future = world.token_with(kind, "iat", (NOW + 3_600).into());
        let shifted = match kind {
            TokenKind::Snapshot => from_the_future,
            _ => {
                let mut claims = world.claims(kind);
                claims["iat"] = (NOW + 3_600).into();
                claims["exp"] = (NOW + 3_620).into();
                world.token_of(kind, &claims.to_string())
            }
        };
        assert_eq!(code(&open_at_rest(&world, kind, &shifted)), "ok", "{kind:?}");
    }
}

#[test]
fn a_retired_control_key_vouches_for_what_it_signed_and_a_revoked_one_does_not() {
    let mut world = World::new();
    world.keyset.keys[1].state = KeyState::Retired;
    for kind in [TokenKind::Snapshot, TokenKind::Status] {
        let token = world.token(kind);
        assert_eq!(world.code(kind, &token), "E_KEY", "{kind:?} on its way in");
        assert_eq!(code(&open_at_rest(&world, kind, &token)), "ok", "{kind:?}");
    }

    let mut status = world.status();
    status.rev.insert(world.control.kid().clone());
    let revoked = VerifyError::Key(KeyRefusal::Revoked { kid: world.control.kid().clone(), ep: 4 });
    let own = seal(TokenKind::Status, &status.claims_json(), &world.control);
    assert_eq!(open_at_rest(&world, TokenKind::Status, &own), Err(revoked.clone()));
    world.status = Some(status);
    let snapshot = world.token(TokenKind::Snapshot);
    assert_eq!(open_at_rest(&world, TokenKind::Snapshot, &snapshot), Err(revoked));
}

#[test]
fn everything_else_is_as_strict_as_on_the_way_in() {
    let mut world = World::new();
    let stranger = SecretKey::from_seed(&[9; 32]);
    for kind in KINDS {
        let token = world.token(kind);
        let claims = world.claims(kind).to_string();
        let code = |token: &str| code(&open_at_rest(&world, kind, token));
        assert_eq!(code(&token[..token.len() - 1]), "E_MALFORMED", "{kind:?} truncated");
        assert_eq!(code(""), "E_MALFORMED");
        assert_eq!(code(&seal(kind, claims.as_bytes(), &stranger)), "E_KEY", "{kind:?} of a stranger");
        let header = world.header(kind).to_string();
        let forged = compact(&header, &claims, |message| stranger.sign(message).to_vec());
        assert_eq!(code(&forged), "E_SIGNATURE", "{kind:?} forged");
        let foreign = world.token_with(kind, "iss", "staging".into());
        assert_eq!(code(&foreign), "E_AUDIENCE", "{kind:?} of another environment");
        assert_eq!(code(&world.token_with(kind, "iss", ().into())), "E_MALFORMED");
        for other in TokenKind::ALL.into_iter().filter(|other| *other != kind) {
            assert_eq!(code(&world.token(other)), "E_TYPE", "{other:?} instead of {kind:?}");
        }
    }
    let by_an_edge_key = seal(TokenKind::Status, &world.status().claims_json(), &world.edge);
    assert_eq!(code(&open_at_rest(&world, TokenKind::Status, &by_an_edge_key)), "E_KEY");
    let status = world.token(TokenKind::Status);
    world.keyset.iss = Environment::parse("staging").unwrap();
    assert_eq!(code(&open_at_rest(&world, TokenKind::Status, &status)), "E_KEY", "a foreign keyset");
}

#[test]
fn every_flipped_bit_is_found() {
    let world = World::new();
    for kind in KINDS {
        let token = world.token(kind);
        for (place, bit) in (0..token.len()).zip([0, 1, 2, 3, 4, 5, 6].into_iter().cycle()) {
            let mut bytes = token.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(open_at_rest(&world, kind, &flipped).is_err(), "{kind:?}, byte {place}, bit {bit}");
        }
    }
}

#[test]
fn the_signer_of_any_token_can_be_asked_for() {
    let world = World::new();
    let mut status = world.status();
    let snapshot = world.token(TokenKind::Snapshot);
    assert_eq!(check_signer(&snapshot, &status), Ok(()));
    status.rev.insert(world.edge.kid().clone());
    assert_eq!(check_signer(&snapshot, &status), Ok(()), "another key");
    status.rev.insert(world.control.kid().clone());
    assert_eq!(code(&check_signer(&snapshot, &status)), "E_KEY");
    assert_eq!(code(&check_signer("no token", &status)), "E_MALFORMED");
}
