//! What may be published, and that no verification fails while keys change.

use std::sync::Arc;

use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{
    Expected, KeyRecord, KeyUse, Keyset, RotateStep, RotationPolicy, SubjectTag, TokenKind, rotation, seal,
    verify_assignment,
};
use edgeseal_core::time::Timestamp;

use crate::testing::{
    CONTROL, EDGE, ROOT, START, TestEdge, config, environment, key, keyset, sample, status,
};
use crate::{NativeSigner, PublishError, Published};

const SUCCESSOR: u8 = 4;

fn start() -> Timestamp {
    Timestamp::from_unix_seconds(START)
}

#[test]
fn parts_of_different_environments_are_refused() {
    let mut parts = sample(start());
    parts.status.iss = Environment::parse("staging").unwrap();
    let error = Published::new(parts).err().unwrap();
    assert!(matches!(error, PublishError::OtherEnvironment { part: "status document", .. }), "{error}");
    let mut parts = sample(start());
    parts.keyset.iss = Environment::parse("staging").unwrap();
    let error = Published::new(parts).err().unwrap();
    assert!(matches!(error, PublishError::OtherEnvironment { part: "keyset", .. }), "{error}");
}

#[test]
fn a_key_that_verifiers_would_refuse_may_not_sign() {
    let signing_with = |seed| {
        let mut parts = sample(start());
        parts.signer = Arc::new(key(seed));
        Published::new(parts).err().unwrap()
    };
    assert!(matches!(signing_with(SUCCESSOR), PublishError::UnknownSigner { .. }));
    assert!(
        matches!(signing_with(CONTROL), PublishError::UnknownSigner { .. }),
        "a control key is no edge key"
    );

    let mut parts = sample(start());
    parts.keyset.keys[0].state = edgeseal_core::sealing::KeyState::Retiring;
    assert!(matches!(
        Published::new(parts).err().unwrap(),
        PublishError::InactiveSigner { state: "retiring", .. }
    ));

    let mut parts = sample(start());
    parts.status.rev.insert(key(EDGE).public().kid());
    assert!(matches!(Published::new(parts).err().unwrap(), PublishError::RevokedSigner { .. }));
}

#[test]
fn nothing_goes_backwards() {
    let edge = TestEdge::new();
    edge.publish_status(|status| status.ep = 7);
    let before = edge.get("/v1/status").text();
    let error = edge.edge.publish(Published::new(edge.parts.clone()).unwrap()).err().unwrap();
    assert_eq!(error, PublishError::Older { part: "status document", found: 0, current: 7 });
    assert_eq!(edge.get("/v1/status").text(), before, "the edge keeps what it has");

    let mut parts = edge.parts.clone();
    parts.status = status(7, start());
    parts.keyset.ver = 0;
    let error = edge.edge.publish(Published::new(parts).unwrap()).err().unwrap();
    assert_eq!(error, PublishError::Older { part: "keyset", found: 0, current: 1 });
}

#[test]
fn signed_documents_are_served_as_they_are() {
    let edge = TestEdge::new();
    for (path, body, content_type, cache_control) in [
        ("/v1/status", &edge.parts.status_token, "application/jwt", "public, max-age=1, s-maxage=1"),
        ("/v1/keyset", &edge.parts.keyset_token, "application/jwt", "public, max-age=300, s-maxage=300"),
        (
            "/.well-known/jwks.json",
            &edge.parts.keyset.jwks().to_string(),
            "application/jwk-set+json",
            "public, max-age=300, s-maxage=300",
        ),
    ] {
        let reply = edge.get(path);
        assert_eq!((reply.status, &reply.text()), (200, body), "{path}");
        assert_eq!(reply.header("content-type"), Some(content_type));
        assert_eq!(reply.header("cache-control"), Some(cache_control));
        let held = edge.get_with(path, &[("if-none-match", reply.header("etag").unwrap())]);
        assert_eq!(held.status, 304, "{path}");
    }
    assert!(
        Keyset::verify(&edge.get("/v1/keyset").text(), &key(ROOT).public(), &environment(), start()).is_ok()
    );
}

#[test]
fn a_keyset_is_cached_no_longer_than_it_lives() {
    let edge = TestEdge::new();
    edge.advance(edge.parts.keyset.exp.seconds_since(edge.parts.keyset.iat) - 10);
    assert_eq!(edge.get("/v1/keyset").header("cache-control"), Some("public, max-age=10, s-maxage=10"));
    edge.advance(10);
    assert_eq!(edge.get("/v1/keyset").header("cache-control"), Some("no-store"));
}

/// One environment whose operator rotates its edge key.
struct Operator {
    edge: TestEdge,
    records: Vec<KeyRecord>,
    policy: RotationPolicy,
    version: u64,
    signing: u8,
}

impl Operator {
    /// Publishes the keys as they are, with a fresh keyset and status.
    fn publish(&mut self) {
        let now = self.edge.clock.now();
        self.version += 1;
        let keyset = rotation::keyset_from(&self.records, &environment(), self.version, now, &self.policy);
        let status = status(0, now);
        let mut parts = self.edge.parts.clone();
        parts.status_token = seal(TokenKind::Status, &status.claims_json(), &key(CONTROL));
        parts.keyset_token = seal(TokenKind::Keyset, &keyset.claims_json(), &key(ROOT));
        (parts.status, parts.keyset) = (status, keyset);
        parts.signer = Arc::new(NativeSigner::new(&key(self.signing)).unwrap());
        self.edge.publish(parts);
    }
}

#[test]
fn no_verification_fails_from_publishing_a_key_to_retiring_the_old_one() {
    let policy = RotationPolicy { keyset_lifetime_seconds: 600, longest_token_life_seconds: 3600 };
    let edge = TestEdge::unpublished(config());
    let records = vec![
        rotation::first(KeyUse::Edge, key(EDGE).public(), start()),
        rotation::first(KeyUse::Control, key(CONTROL).public(), start()),
    ];
    let mut operator = Operator { edge, records, policy, version: 0, signing: EDGE };
    let mut keysets_served: Vec<Keyset> = Vec::new();
    let mut tokens_served: Vec<(Timestamp, String)> = Vec::new();
    let (mut activated, mut retired) = (false, false);
    let subject =
        SubjectTag::of(&environment(), &UnitType::parse("user").unwrap(), UnitId::parse("user-1").unwrap());
    let verifies = |token: &str, keyset: &Keyset, now: Timestamp| {
        let expected = Expected { environment: &environment(), subject, now, status: None, memory: None };
        verify_assignment(token, keyset, &expected).map(|_| ()).map_err(|error| error.code())
    };

    // Two and a half hours in steps of five minutes; the operator takes each step as early as the tool lets him.
    for step in 0..30 {
        let now = operator.edge.clock.now();
        if step == 2 {
            let fresh = Some(key(SUCCESSOR).public());
            rotation::rotate(&mut operator.records, KeyUse::Edge, fresh, now, &policy, false).unwrap();
        } else if step > 2 && !activated {
            let step = rotation::rotate(&mut operator.records, KeyUse::Edge, None, now, &policy, false);
            activated = matches!(step, Ok(RotateStep::Activated { .. }));
            operator.signing = if activated { SUCCESSOR } else { EDGE };
        } else if activated && !retired {
            retired = rotation::retire(&mut operator.records, None, now, &policy, false).is_ok();
        }
        operator.publish();

        let keyset_token = operator.edge.get("/v1/keyset").text();
        keysets_served.push(Keyset::verify(&keyset_token, &key(ROOT).public(), &environment(), now).unwrap());
        tokens_served.push((now, operator.edge.get("/v1/assignments/user-1").text()));

        let newest = keysets_served.last().unwrap();
        // A client may hold the keyset of one keyset lifetime ago, and a cache the token of one token life ago.
        let held = keysets_served.iter().filter(|keyset| now.seconds_since(keyset.iat) <= 600);
        for keyset in held {
            assert_eq!(
                verifies(&tokens_served.last().unwrap().1, keyset, now),
                Ok(()),
                "step {step}, keyset {}",
                keyset.ver
            );
        }
        for (issued, token) in tokens_served.iter().filter(|(issued, _)| now.seconds_since(*issued) < 3600) {
            assert_eq!(verifies(token, newest, now), Ok(()), "step {step}, token of {issued:?}");
        }
        operator.edge.advance(300);
    }
    assert!(activated && retired, "the whole rotation happened");
    assert_eq!(operator.edge.get("/.well-known/jwks.json").json()["keys"].as_array().unwrap().len(), 1);
    let first = &tokens_served.first().unwrap().1;
    assert_eq!(
        verifies(first, keysets_served.last().unwrap(), start()),
        Err("E_KEY"),
        "the old key counts no more"
    );
    assert_eq!(keyset(start()).keys.len(), 2);
}
