//! Core agrees with the language-neutral vectors, as every other implementation must.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::sync::Arc;

use edgeseal_core::answer::{AnswerContext, answer};
use edgeseal_core::attributes::Attributes;
use edgeseal_core::bucket::{BucketKey, Purpose};
use edgeseal_core::definition::Definition;
use edgeseal_core::evaluate::{Forced, Request, evaluate};
use edgeseal_core::ids::{UnitId, UnitType, VariantKey};
use edgeseal_core::ruleset::Halts;
use edgeseal_core::sealing::{Sealer, SecretKey, Status, TokenKind};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use serde_json::Value;

#[test]
fn bucketing() {
    let file: Value = serde_json::from_str(include_str!("../../../vectors/bucketing.json")).unwrap();
    let mut count = 0;
    for key in file["keys"].as_array().unwrap() {
        let purpose = match key["purpose"].as_str().unwrap() {
            "traffic" => Purpose::Traffic,
            "variant" => Purpose::Variant,
            "layer" => Purpose::Layer,
            "holdout" => Purpose::Holdout,
            other => panic!("unknown purpose {other}"),
        };
        let bucket_key =
            BucketKey::derive(purpose, key["owner"].as_str().unwrap(), key["salt"].as_str().unwrap());
        for (unit, bucket) in key["buckets"].as_object().unwrap() {
            let unit = UnitId::parse(unit).unwrap();
            assert_eq!(u64::from(bucket_key.bucket(unit)), bucket.as_u64().unwrap(), "{}", unit.as_str());
            count += 1;
        }
    }
    assert!(count >= 10_000, "only {count} bucketing vectors");
}

#[test]
fn evaluation() {
    let file: Value = serde_json::from_str(include_str!("../../../vectors/evaluation.json")).unwrap();
    let (mut count, mut tokens) = (0, 0);
    for scenario in file["scenarios"].as_array().unwrap() {
        let definition: Definition = serde_json::from_value(scenario["definition"].clone()).unwrap();
        let built = definition.build(None, Timestamp::from_unix_seconds(1_800_000_000)).unwrap();
        let snapshot: Snapshot = serde_json::from_value(scenario["snapshot"].clone()).unwrap();
        assert_eq!(built, snapshot, "{}", scenario["name"]);
        let ruleset = snapshot.compile().unwrap();
        let halted: Vec<&str> =
            scenario["halted"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        let status = Status {
            iss: snapshot.iss.clone(),
            ep: 1,
            cv: snapshot.cv,
            off: halted.iter().map(|key| key.parse().unwrap()).collect(),
            min: Default::default(),
            rev: Default::default(),
            iat: Timestamp::from_unix_seconds(1_800_000_000),
            exp: Timestamp::from_unix_seconds(1_800_000_030),
        };
        let halts = Halts::new(&ruleset, &status);
        for case in scenario["cases"].as_array().unwrap() {
            let forced: Vec<(String, VariantKey)> = case["force"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, variant)| (key.clone(), variant.as_str().unwrap().parse().unwrap()))
                .collect();
            let forced =
                Forced::resolve(&ruleset, forced.iter().map(|(key, variant)| (key.as_str(), variant)))
                    .unwrap();
            let attributes = Attributes::parse(case["attributes"].to_string().as_bytes()).unwrap();
            let request = Request {
                unit: UnitId::parse(case["unit"].as_str().unwrap()).unwrap(),
                attributes: &attributes,
                forced: &forced,
                previous: None,
            };
            if let Some(token) = case.get("token") {
                let edge_key = SecretKey::from_seed(&[2; 32]);
                let sealer = Sealer::new(TokenKind::Assignment, Arc::new(edge_key));
                let now = Timestamp::from_unix_seconds(1_800_000_000);
                let context = AnswerContext { now, life_seconds: 3600, epoch: 1, sealer: &sealer };
                let answer = answer(&ruleset, &halts, &UnitType::default(), &request, &context, |_, _| {});
                assert_eq!(token, &answer.token);
                tokens += 1;
            }
            for (key, expected) in case["expected"].as_object().unwrap() {
                let outcome = evaluate(&ruleset, &halts, ruleset.find(key).unwrap(), &request);
                assert_eq!(expected["reason"], outcome.reason.as_str(), "{key} of {}", case["unit"]);
                let variant = outcome.variant.map(|variant| variant.key().as_str());
                assert_eq!(expected.get("variant").and_then(Value::as_str), variant);
                count += 1;
            }
        }
    }
    assert!(count >= 3_000 && tokens >= 20, "only {count} evaluation vectors and {tokens} tokens");
}

/// The reference vectors of SipHash-2-4 (Aumasson and Bernstein, appendix A): the hash under the buckets is the hash
/// it claims to be, whatever library computes it.
#[test]
fn the_hash_is_siphash_2_4() {
    let key: [u8; 16] = std::array::from_fn(|n| n as u8);
    let input: [u8; 15] = std::array::from_fn(|n| n as u8);
    let hasher = siphasher::sip::SipHasher24::new_with_key(&key);
    assert_eq!(hasher.hash(&input), 0xa129_ca61_49be_45e5);
}
