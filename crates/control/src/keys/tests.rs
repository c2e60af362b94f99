use edgeseal_core::sealing::RotationError;
use serde_json::{Value, json};

use super::*;
use crate::error::ControlError;

const POLICY: RotationPolicy =
    RotationPolicy { keyset_lifetime_seconds: 3_600, longest_token_life_seconds: 3_600 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

fn master() -> MasterKey {
    MasterKey::from_bytes(&[7; 32]).unwrap()
}

fn keyring() -> Keyring {
    Keyring::generate(&Environment::default(), &master(), at(0)).unwrap()
}

fn active(keyring: &Keyring, use_: KeyUse) -> KeyId {
    keyring.active_kid(use_).unwrap().clone()
}

fn state_of(keyring: &Keyring, kid: &KeyId) -> KeyState {
    keyring.records().into_iter().find(|record| record.kid == *kid).unwrap().state
}

#[test]
fn a_keyring_survives_its_json_and_opens_under_its_own_master_key_only() {
    let keyring = keyring();
    let json = keyring.to_json().unwrap();
    let read = Keyring::parse(&json, &Environment::default()).unwrap();
    assert_eq!(read, keyring);
    assert_eq!(read.secrets(&master()).unwrap().root.public(), *keyring.root());

    let other = MasterKey::from_bytes(&[8; 32]).unwrap();
    assert!(matches!(keyring.secrets(&other), Err(KeyringError::Undecryptable { .. })));
    assert!(matches!(keyring.edge_keys(&other), Err(KeyringError::Undecryptable { .. })));
}

#[test]
fn foreign_and_damaged_keyrings_are_refused() {
    let json = keyring().to_json().unwrap();
    let here = Environment::default();
    let staging = Environment::parse("staging").unwrap();
    assert!(matches!(Keyring::parse(&json, &staging), Err(KeyringError::OtherEnvironment { .. })));
    assert!(matches!(Keyring::parse("{}", &here), Err(KeyringError::Unreadable { .. })));
    let newer = json.replace("\"format\":1", "\"format\":2");
    assert!(matches!(Keyring::parse(&newer, &here), Err(KeyringError::Format { found: 2, .. })));
    assert!(Keyring::parse(&json.replace("\"hmac\"", "\"hnac\""), &here).is_err(), "unknown members");
}

#[test]
fn swapped_private_halves_do_not_open() {
    let mut keyring = keyring();
    let [edge, control] = keyring.keys.as_mut_slice() else { panic!("two keys") };
    std::mem::swap(&mut edge.private, &mut control.private);
    assert!(matches!(keyring.secrets(&master()), Err(KeyringError::Undecryptable { .. })));
}

#[test]
fn debug_output_hides_every_secret() {
    let keyring = keyring();
    let keys = keyring.edge_keys(&master()).unwrap();
    let handed_over: Value = serde_json::from_str(&keys.to_json().unwrap()).unwrap();
    let shown = format!("{keys:?} {:?} {:?}", keyring.secrets(&master()).unwrap(), master());
    for secret in [&handed_over["signer"]["seed"], &handed_over["hmac"][0]["secret"]] {
        assert!(!shown.contains(secret.as_str().unwrap()), "{shown}");
    }
}

#[test]
fn edges_get_the_keys_that_sign_and_nothing_that_is_only_published() {
    let mut keyring = keyring();
    keyring.rotate(KeyUse::Edge, &master(), at(1), &POLICY, false).unwrap();
    keyring.rotate_hmac(&master(), at(1), &POLICY, false).unwrap();
    let keys = keyring.edge_keys(&master()).unwrap();
    let json: Value = serde_json::from_str(&keys.to_json().unwrap()).unwrap();
    assert_eq!(json["root"], keyring.root().jwk("root"));
    assert_eq!(json["signer"]["kid"], json!(active(&keyring, KeyUse::Edge)));
    assert_eq!(json["hmac"].as_array().unwrap().len(), 1);
    assert_eq!(json["hmac"][0]["state"], "active");
    let exported = keyring.export_hmac(None, &master()).unwrap().unwrap();
    assert_eq!((exported.version, exported.secret.len()), (1, 32));
}

#[test]
fn a_rotation_takes_its_waits_and_tells_its_steps_as_the_command_line_does() {
    let mut keyring = keyring();
    let old = active(&keyring, KeyUse::Edge);
    let published = keyring.rotate(KeyUse::Edge, &master(), at(0), &POLICY, false).unwrap();
    let told = serde_json::to_value(&published).unwrap();
    assert_eq!((&told["step"], &told["waitSeconds"]), (&json!("published"), &json!(7_200)));
    let early = keyring.rotate(KeyUse::Edge, &master(), at(1), &POLICY, false);
    assert!(matches!(early, Err(ControlError::Rotation(RotationError::TooEarly { .. }))));
    let activated = keyring.rotate(KeyUse::Edge, &master(), at(7_200), &POLICY, false).unwrap();
    let told = serde_json::to_value(&activated).unwrap();
    assert_eq!((&told["step"], &told["retiring"]), (&json!("activated"), &json!(old)));

    let early = keyring.retire(None, at(7_300), &POLICY, false);
    assert!(matches!(early, Err(ControlError::Rotation(RotationError::TooEarly { .. }))));
    let retired = keyring.retire(None, at(7_200 + 3_660), &POLICY, false).unwrap();
    assert_eq!(serde_json::to_value(&retired).unwrap(), json!({ "step": "retired", "kids": [old] }));
    assert_eq!(keyring.revoked().count(), 0, "it took its time");
}

#[test]
fn retiring_by_force_revokes_what_may_still_be_alive_and_nothing_else() {
    let mut keyring = keyring();
    let old = active(&keyring, KeyUse::Edge);
    for _ in 0..2 {
        keyring.rotate(KeyUse::Edge, &master(), at(0), &POLICY, true).unwrap();
    }
    keyring.retire(None, at(1), &POLICY, true).unwrap();
    assert_eq!(keyring.revoked().collect::<Vec<_>>(), [&old]);
}

#[test]
fn a_revoked_key_that_signs_is_succeeded_at_once_by_a_fresh_one() {
    for use_ in [KeyUse::Edge, KeyUse::Control] {
        let mut keyring = keyring();
        let leaked = active(&keyring, use_);
        // A successor is waiting already. It may have leaked as well.
        let waiting = match keyring.rotate(use_, &master(), at(0), &POLICY, false).unwrap() {
            KeyStep::Published { kid, .. } => kid,
            other => panic!("{other:?}"),
        };
        let step = keyring.revoke(&leaked, &master(), at(10), &POLICY).unwrap();
        let fresh = active(&keyring, use_);
        assert_eq!(step, KeyStep::Revoked { kid: leaked.clone(), successor: Some(fresh.clone()) });
        assert!(fresh != leaked && fresh != waiting);
        assert_eq!(state_of(&keyring, &leaked), KeyState::Retired);
        assert_eq!(state_of(&keyring, &waiting), KeyState::Retired);
        let revoked: Vec<_> = keyring.revoked().cloned().collect();
        assert!(revoked.contains(&leaked) && revoked.contains(&waiting));
        keyring.secrets(&master()).unwrap();
        keyring.edge_keys(&master()).unwrap();
        assert!(keyring.revoke(&leaked, &master(), at(11), &POLICY).is_err(), "once is enough");
    }
}

#[test]
fn a_key_that_was_retired_in_time_can_still_be_revoked() {
    let mut keyring = keyring();
    let old = active(&keyring, KeyUse::Edge);
    keyring.rotate(KeyUse::Edge, &master(), at(0), &POLICY, false).unwrap();
    keyring.rotate(KeyUse::Edge, &master(), at(7_200), &POLICY, false).unwrap();
    keyring.retire(Some(&old), at(20_000), &POLICY, false).unwrap();
    let step = keyring.revoke(&old, &master(), at(20_001), &POLICY).unwrap();
    assert_eq!(step, KeyStep::Revoked { kid: old, successor: None });
    let unknown = KeyId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(matches!(
        keyring.revoke(&unknown, &master(), at(1), &POLICY),
        Err(ControlError::Rotation(RotationError::UnknownKey { .. }))
    ));
}

#[test]
fn a_keyset_never_outgrows_what_verifiers_accept() {
    let mut keyring = keyring();
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = keyring.rotate(KeyUse::Edge, &master(), at(0), &POLICY, true) {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(ControlError::Keyring(KeyringError::TooManyKeys { .. }))));
    let keyset = keyring.keyset(1, at(0), &POLICY);
    assert!(keyset.keys.len() <= edgeseal_core::sealing::MAX_KEYSET_KEYS);
}

#[test]
fn the_list_tells_waits_and_revocations() {
    let mut keyring = keyring();
    keyring.rotate(KeyUse::Edge, &master(), at(0), &POLICY, false).unwrap();
    let leaked = active(&keyring, KeyUse::Control);
    keyring.revoke(&leaked, &master(), at(0), &POLICY).unwrap();
    let list = serde_json::to_value(KeyList::of(&keyring, &POLICY, at(200))).unwrap();
    assert_eq!(list["environment"], "production");
    assert_eq!(list["root"]["jwk"]["kid"], list["root"]["kid"]);
    let keys = list["keys"].as_array().unwrap();
    let waits: Vec<_> = keys.iter().filter_map(|key| key["waitSeconds"].as_i64()).collect();
    assert_eq!(waits, [7_000]);
    let revoked: Vec<_> = keys.iter().filter(|key| key["revoked"] == true).collect();
    assert_eq!((revoked.len(), &revoked[0]["kid"]), (1, &json!(leaked)));
    assert_eq!(list["hmac"][0], json!({ "version": 1, "state": "active", "since": 1_800_000_000 }));
}
