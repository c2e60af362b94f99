//! Every verifier takes any text and never panics; and nothing but a vector's own token is ever accepted.
#![no_main]

use std::sync::LazyLock;

use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{
    AssignmentClaims, Expected, HmacAssignment, HmacSecret, HmacSecrets, KeyUse, Keyset, PublicKey, SecretKey, Signer,
    Status, SubjectTag, TokenKind, rotation, seal, verify_assignment, verify_snapshot,
};
use edgeseal_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

struct World {
    environment: Environment,
    root: PublicKey,
    edge: SecretKey,
    keyset: Keyset,
    secrets: HmacSecrets,
    subject: SubjectTag,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let environment = Environment::default();
    let edge = SecretKey::from_seed(&[2; 32]);
    let control = SecretKey::from_seed(&[3; 32]);
    let records = [
        rotation::first(KeyUse::Edge, edge.public(), NOW),
        rotation::first(KeyUse::Control, control.public(), NOW),
    ];
    let keyset = rotation::keyset_from(&records, &environment, 1, NOW, &Default::default());
    let secret = HmacSecret::new(1, vec![7; 32]).expect("long enough");
    World {
        subject: SubjectTag::of(&environment, &UnitType::default(), UnitId::parse("u").expect("a unit id")),
        environment,
        root: SecretKey::from_seed(&[1; 32]).public(),
        edge,
        keyset,
        secrets: HmacSecrets::new(secret, None).expect("one secret"),
    }
});

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    let expected = Expected {
        environment: &world.environment,
        subject: world.subject,
        now: NOW,
        status: None,
        memory: None,
    };
    if let Ok(text) = std::str::from_utf8(data) {
        // No fuzzer signs: whatever comes in as it is must be refused.
        assert!(verify_assignment(text, &world.keyset, &expected).is_err());
        assert!(Keyset::verify(text, &world.root, &world.environment, NOW).is_err());
        assert!(Status::verify(text, &world.keyset, &world.environment, NOW).is_err());
        assert!(verify_snapshot(text, &world.keyset, &world.environment, NOW).is_err());
        let _ = HmacAssignment::verify(data, &world.secrets, NOW);
    }
    // Behind the signature, where only a compromised edge could put it: still no panic.
    let _ = AssignmentClaims::parse(data);
    let sealed = seal(TokenKind::Assignment, data, &world.edge as &dyn Signer);
    let _ = verify_assignment(&sealed, &world.keyset, &expected);
});
