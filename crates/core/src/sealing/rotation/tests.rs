use proptest::prelude::*;

use super::*;
use crate::sealing::{SecretKey, Signer, TokenKind};

const T0: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
/// Waits of two hours and of one: short enough to walk through.
const POLICY: RotationPolicy =
    RotationPolicy { keyset_lifetime_seconds: HOUR, longest_token_life_seconds: HOUR };

fn at(unix_seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(unix_seconds)
}

fn public(n: u8) -> PublicKey {
    SecretKey::from_seed(&[n; 32]).public()
}

fn environment() -> Environment {
    Environment::parse("production").unwrap()
}

/// Records under one policy, with shorter names for the calls.
struct Keys(Vec<KeyRecord>);

impl Keys {
    fn begun() -> Self {
        Self(vec![first(KeyUse::Edge, public(1), at(T0))])
    }

    fn rotate(&mut self, fresh: Option<u8>, now: i64) -> Result<RotateStep, RotationError> {
        let policy = POLICY;
        rotate(&mut self.0, KeyUse::Edge, fresh.map(public), at(now), &policy, false)
    }

    fn retire(&mut self, kid: Option<u8>, now: i64) -> Result<RetireStep, RotationError> {
        let kid = kid.map(|n| public(n).kid());
        retire(&mut self.0, kid.as_ref(), at(now), &POLICY, false)
    }

    fn states(&self) -> Vec<KeyState> {
        self.0.iter().map(|record| record.state).collect()
    }
}

#[test]
fn first_key_is_active_at_once() {
    assert_eq!(Keys::begun().states(), [KeyState::Active]);
}

#[test]
fn key_goes_from_published_to_active_to_retiring_to_retired_at_its_times() {
    use KeyState::{Active, Published, Retired, Retiring};
    let mut keys = Keys::begun();

    let activates_after = at(T0 + 10 + 2 * HOUR);
    let step = keys.rotate(Some(2), T0 + 10);
    assert_eq!(step, Ok(RotateStep::Published { kid: public(2).kid(), activates_after }));
    assert_eq!(keys.states(), [Active, Published]);

    let step = keys.rotate(None, T0 + 10 + 2 * HOUR);
    assert_eq!(step, Ok(RotateStep::Activated { new: public(2).kid(), old: public(1).kid() }));
    assert_eq!(keys.states(), [Retiring, Active]);

    let step = keys.retire(None, T0 + 10 + 3 * HOUR + 60);
    assert_eq!(step, Ok(RetireStep { retired: vec![public(1).kid()] }));
    assert_eq!(keys.states(), [Retired, Active]);

    let old = &keys.0[0];
    assert_eq!(old.activated_at, Some(at(T0)));
    assert_eq!(old.retiring_at, Some(at(T0 + 10 + 2 * HOUR)));
    assert_eq!(old.retired_at, Some(at(T0 + 10 + 3 * HOUR + 60)));
}

#[test]
fn activating_too_early_is_refused_with_the_seconds_left_and_changes_nothing() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    let before = keys.0.clone();
    for (now, left) in [(T0, 7200), (T0 + 1, 7199), (T0 + 7199, 1), (T0 - 100, 7300)] {
        match keys.rotate(None, now) {
            Err(RotationError::TooEarly { kid, wait_seconds, .. }) => {
                assert_eq!((kid, wait_seconds), (public(2).kid(), left));
            }
            other => unreachable!("{other:?}"),
        }
        assert_eq!(keys.0, before);
    }
}

#[test]
fn retiring_too_early_is_refused_with_the_seconds_left_and_changes_nothing() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    keys.rotate(None, T0 + 2 * HOUR).unwrap();
    let before = keys.0.clone();
    for kid in [None, Some(1)] {
        for (now, left) in [(T0 + 2 * HOUR, 3660), (T0 + 3 * HOUR, 60), (T0 + 3 * HOUR + 59, 1)] {
            match keys.retire(kid, now) {
                Err(RotationError::TooEarly { kid, wait_seconds, .. }) => {
                    assert_eq!((kid, wait_seconds), (public(1).kid(), left));
                }
                other => unreachable!("{other:?}"),
            }
            assert_eq!(keys.0, before);
        }
    }
}

#[test]
fn force_skips_one_wait_but_makes_no_two_steps_of_one() {
    let policy = POLICY;
    let mut keys = Keys::begun();
    let forced = |keys: &mut Keys, fresh: Option<u8>| {
        rotate(&mut keys.0, KeyUse::Edge, fresh.map(public), at(T0), &policy, true)
    };
    assert!(matches!(forced(&mut keys, Some(2)), Ok(RotateStep::Published { .. })));
    assert!(matches!(forced(&mut keys, Some(3)), Ok(RotateStep::Activated { .. })));
    assert_eq!(keys.states(), [KeyState::Retiring, KeyState::Active], "key 3 was not needed");
    let gone = retire(&mut keys.0, None, at(T0), &policy, true);
    assert_eq!(gone, Ok(RetireStep { retired: vec![public(1).kid()] }));
}

#[test]
fn second_successor_is_never_published() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    assert!(matches!(keys.rotate(Some(3), T0 + 1), Err(RotationError::TooEarly { .. })));
    assert_eq!(keys.0.len(), 2);
}

#[test]
fn rotating_without_a_fresh_key_is_refused() {
    let refused = Keys::begun().rotate(None, T0);
    assert_eq!(refused, Err(RotationError::NoFreshKey { use_: KeyUse::Edge }));
}

#[test]
fn rotating_to_a_known_key_is_refused() {
    assert_eq!(Keys::begun().rotate(Some(1), T0), Err(RotationError::KnownKey { kid: public(1).kid() }));
}

#[test]
fn rotating_without_an_active_key_of_that_use_is_refused() {
    let refused = Err(RotationError::NoActiveKey { use_: KeyUse::Edge });
    assert_eq!(Keys(vec![]).rotate(Some(2), T0), refused);
    let mut control = Keys(vec![first(KeyUse::Control, public(9), at(T0))]);
    assert_eq!(control.rotate(Some(2), T0), refused);
}

#[test]
fn active_key_is_never_retired_not_even_by_force() {
    let mut keys = Keys::begun();
    let kid = public(1).kid();
    let refused = Err(RotationError::StillActive { kid: kid.clone() });
    assert_eq!(keys.retire(Some(1), T0 + 1_000_000), refused);
    assert_eq!(retire(&mut keys.0, Some(&kid), at(T0), &POLICY, true), refused);
}

#[test]
fn retiring_what_is_unknown_gone_or_not_retiring_is_refused() {
    let mut keys = Keys::begun();
    assert_eq!(keys.retire(Some(7), T0), Err(RotationError::UnknownKey { kid: public(7).kid() }));
    assert_eq!(keys.retire(None, T0), Err(RotationError::NothingToRetire));
    keys.rotate(Some(2), T0).unwrap();
    keys.rotate(None, T0 + 2 * HOUR).unwrap();
    keys.retire(None, T0 + 4 * HOUR).unwrap();
    assert_eq!(
        keys.retire(Some(1), T0 + 5 * HOUR),
        Err(RotationError::AlreadyRetired { kid: public(1).kid() })
    );
}

#[test]
fn successor_that_never_signed_may_be_given_up_at_once() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    assert!(keys.retire(Some(2), T0 + 1).is_ok());
    assert_eq!(keys.states(), [KeyState::Active, KeyState::Retired]);
    assert!(matches!(keys.rotate(Some(3), T0 + 2), Ok(RotateStep::Published { .. })));
}

#[test]
fn uses_rotate_independently() {
    let mut keys = Keys::begun();
    keys.0.push(first(KeyUse::Control, public(9), at(T0)));
    keys.rotate(Some(2), T0).unwrap();
    keys.rotate(None, T0 + 2 * HOUR).unwrap();
    assert_eq!(keys.states(), [KeyState::Retiring, KeyState::Active, KeyState::Active]);
}

#[test]
fn retiring_takes_every_key_whose_wait_is_over_and_no_other() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    keys.rotate(None, T0 + 2 * HOUR).unwrap();
    keys.rotate(Some(3), T0 + 2 * HOUR).unwrap();
    keys.rotate(None, T0 + 4 * HOUR).unwrap();
    let step = keys.retire(None, T0 + 4 * HOUR).unwrap();
    assert_eq!(step.retired, [public(1).kid()]);
    assert_eq!(keys.states(), [KeyState::Retired, KeyState::Retiring, KeyState::Active]);
}

#[test]
fn waits_follow_the_policy_and_cover_the_clock_skew() {
    let policy = RotationPolicy { keyset_lifetime_seconds: 600, longest_token_life_seconds: 900 };
    assert_eq!((policy.publish_wait_seconds(), policy.retire_wait_seconds()), (1200, 960));
    let short = RotationPolicy { keyset_lifetime_seconds: 10, longest_token_life_seconds: 0 };
    assert_eq!((short.publish_wait_seconds(), short.retire_wait_seconds()), (70, 60));
}

#[test]
fn keyset_lists_the_living_and_the_latest_of_the_retired() {
    let mut records: Vec<_> = (1..=20)
        .map(|n| KeyRecord {
            state: KeyState::Retired,
            retired_at: Some(at(T0 + i64::from(n))),
            ..first(KeyUse::Edge, public(n), at(T0))
        })
        .collect();
    records.push(first(KeyUse::Edge, public(100), at(T0)));
    let keyset = keyset_from(&records, &environment(), 3, at(T0 + 100), &POLICY);
    assert_eq!(keyset.keys.len(), 1 + MAX_RETIRED_KEYS_LISTED);
    assert_eq!(keyset.keys[0].kid, public(100).kid());
    assert_eq!(keyset.keys[1].kid, public(20).kid());
    assert_eq!((keyset.ver, keyset.exp), (3, at(T0 + 100 + HOUR)));
}

#[test]
fn records_survive_their_stored_form() {
    let mut keys = Keys::begun();
    keys.rotate(Some(2), T0).unwrap();
    keys.rotate(None, T0 + 2 * HOUR).unwrap();
    let text = serde_json::to_string(&keys.0).unwrap();
    assert!(text.contains(r#""use":"edge","state":"retiring","createdAt":1800000000"#), "{text}");
    assert_eq!(serde_json::from_str::<Vec<KeyRecord>>(&text).unwrap(), keys.0);
}

/// What may happen to one environment's edge keys.
#[derive(Clone, Copy, Debug)]
enum Act {
    Wait(i64),
    Rotate,
    Retire,
    GiveUp,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1i64..5000).prop_map(Act::Wait),
        2 => (1i64..100).prop_map(Act::Wait),
        4 => Just(Act::Rotate),
        2 => Just(Act::Retire),
        1 => Just(Act::GiveUp),
    ]
}

proptest! {
    /// The promise of the module: in any legal sequence, a token that is still alive verifies against every
    /// keyset that is itself still accepted.
    #[test]
    fn no_living_token_ever_fails_against_a_living_keyset(
        acts in proptest::collection::vec(act(), 1..60),
        keyset_lifetime_seconds in 1i64..4000,
        token_life in 1i64..=3600,
    ) {
        let policy = RotationPolicy { keyset_lifetime_seconds, longest_token_life_seconds: token_life };
        let mut records = vec![first(KeyUse::Edge, public(1), at(T0))];
        let (mut now, mut next) = (T0, 2u8);
        let mut keysets = vec![keyset_from(&records, &environment(), 0, at(now), &policy)];
        let mut tokens: Vec<(KeyId, i64)> = Vec::new();
        for act in acts {
            match act {
                Act::Wait(seconds) => now += seconds,
                Act::Rotate => {
                    let fresh = Some(public(next));
                    next += 1;
                    let _refused = rotate(&mut records, KeyUse::Edge, fresh, at(now), &policy, false);
                }
                Act::Retire => {
                    let _refused = retire(&mut records, None, at(now), &policy, false);
                }
                Act::GiveUp => {
                    let kid = records.iter().find(|key| key.state == KeyState::Published).map(|key| key.kid.clone());
                    if let Some(kid) = kid {
                        prop_assert!(retire(&mut records, Some(&kid), at(now), &policy, false).is_ok());
                    }
                }
            }
            let active: Vec<_> = records.iter().filter(|record| record.state == KeyState::Active).collect();
            prop_assert_eq!(active.len(), 1);
            tokens.push((active[0].kid.clone(), now + token_life));
            keysets.push(keyset_from(&records, &environment(), 0, at(now), &policy));
            // Both ends with the clock skew that a verifier allows.
            tokens.retain(|(_, exp)| now < exp + CLOCK_SKEW_SECONDS);
            keysets.retain(|keyset| at(now) < keyset.exp.plus_seconds(CLOCK_SKEW_SECONDS));
            for keyset in &keysets {
                for (kid, _) in &tokens {
                    let key = keyset.key_for(kid.as_str(), TokenKind::Assignment, at(now));
                    prop_assert!(key.is_ok(), "{:?} at {}", key, now - T0);
                }
            }
        }
    }
}

#[test]
fn skipping_the_publish_wait_by_force_does_fail_verifications() {
    // What the property above would miss if it could not fail.
    let policy = POLICY;
    let mut keys = Keys::begun();
    let before = keyset_from(&keys.0, &environment(), 0, at(T0), &policy);
    keys.rotate(Some(2), T0).unwrap();
    rotate(&mut keys.0, KeyUse::Edge, None, at(T0), &policy, true).unwrap();
    let kid = SecretKey::from_seed(&[2; 32]).kid().clone();
    assert!(before.key_for(kid.as_str(), TokenKind::Assignment, at(T0)).is_err());
}
