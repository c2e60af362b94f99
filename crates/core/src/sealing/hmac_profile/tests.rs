use serde_json::{Value, json};

use super::*;

const NOW_MS: i64 = 1_800_000_000_123;

fn secret(version: u32) -> HmacSecret {
    HmacSecret::new(version, vec![u8::try_from(version).unwrap(); 32]).unwrap()
}

fn secrets() -> HmacSecrets {
    HmacSecrets::new(secret(2), Some(secret(1))).unwrap()
}

fn signed_with(secrets: &HmacSecrets, unit: &str) -> HmacAssignment {
    sign(
        secrets,
        &ExperimentKey::parse("checkout").unwrap(),
        UnitId::parse(unit).unwrap(),
        &VariantKey::parse("treatment").unwrap(),
        3,
        Timestamp::from_unix_ms(NOW_MS),
    )
    .unwrap()
}

fn verify_at(json: &str, now_ms: i64) -> Result<HmacAssignment, VerifyError> {
    HmacAssignment::verify(json.as_bytes(), &secrets(), Timestamp::from_unix_ms(now_ms))
}

fn code(json: &str) -> &'static str {
    verify_at(json, NOW_MS).map_or_else(|error| error.code(), |_| "ok")
}

/// The wire form with one field replaced (`null`: removed).
fn with(name: &str, value: Value) -> String {
    let mut fields: Value = serde_json::from_str(&signed_with(&secrets(), "user-1").to_json()).unwrap();
    let members = fields.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    fields.to_string()
}

#[test]
fn message_and_signature_have_the_published_shape() {
    let assignment = signed_with(&secrets(), "user-1");
    assert_eq!(assignment.message(), "checkout|user-1|treatment|3|1800000000123");
    // printf 'checkout|user-1|treatment|3|1800000000123' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0202…02
    let expected = format!(
        "{{\"experimentId\":\"checkout\",\"userId\":\"user-1\",\"variant\":\"treatment\",\"version\":3,\
         \"timestamp\":1800000000123,\"secretVersion\":2,\"signature\":\"{OPENSSL}\"}}"
    );
    assert_eq!(assignment.to_json(), expected);
}
const OPENSSL: &str = "c38ad220d7e39595a568a314772468359dff26c087ef7c5fed9d4a7df55f19e1";

#[test]
fn what_was_signed_verifies() {
    for unit in ["user-1", "1", "用户", "a b/c", &"u".repeat(256)] {
        let assignment = signed_with(&secrets(), unit);
        assert_eq!(verify_at(&assignment.to_json(), NOW_MS), Ok(assignment.clone()));
        assert_eq!(assignment.user_id(), unit);
    }
}

#[test]
fn previous_secret_is_accepted_and_earlier_ones_are_not() {
    let old = signed_with(&HmacSecrets::new(secret(1), None).unwrap(), "user-1").to_json();
    assert_eq!(code(&old), "ok");
    let only_current = HmacSecrets::new(secret(2), None).unwrap();
    let refused = HmacAssignment::verify(old.as_bytes(), &only_current, Timestamp::from_unix_ms(NOW_MS));
    assert_eq!(refused.unwrap_err().code(), "E_KEY");
    let older = signed_with(&HmacSecrets::new(secret(7), None).unwrap(), "user-1").to_json();
    assert_eq!(code(&older), "E_KEY");
}

#[test]
fn secret_version_cannot_be_swapped() {
    assert_eq!(code(&with("secretVersion", json!(1))), "E_SIGNATURE");
    assert_eq!(code(&with("secretVersion", json!(4_294_967_298u64))), "E_KEY");
}

#[test]
fn every_signed_field_is_covered_by_the_signature() {
    for (name, value) in [
        ("experimentId", json!("search")),
        ("userId", json!("user-2")),
        ("variant", json!("control")),
        ("version", json!(4)),
        ("timestamp", json!(NOW_MS + 1)),
    ] {
        assert_eq!(code(&with(name, value)), "E_SIGNATURE", "{name}");
    }
}

#[test]
fn delimiter_in_a_field_is_refused_so_fields_cannot_shift() {
    // `a|b` + `c` and `a` + `b|c` share a message.
    for name in ["experimentId", "userId", "variant"] {
        assert_eq!(code(&with(name, json!("a|b"))), "E_MALFORMED", "{name}");
    }
    let unit = UnitId::parse("a|b").unwrap();
    let (experiment, variant) = (ExperimentKey::parse("e").unwrap(), VariantKey::parse("v").unwrap());
    let refused = sign(&secrets(), &experiment, unit, &variant, 1, Timestamp::from_unix_ms(NOW_MS));
    assert_eq!(refused, Err(HmacSignError::DelimiterInUnitId));
}

#[test]
fn control_characters_empty_and_long_fields_are_refused() {
    for bad in ["", "a\nb", "a\u{0}", "\u{7f}", "\u{85}", &"u".repeat(257)] {
        for name in ["experimentId", "userId", "variant"] {
            assert_eq!(code(&with(name, json!(bad))), "E_MALFORMED", "{name} {bad:?}");
        }
    }
}

#[test]
fn missing_and_mistyped_fields_are_refused() {
    for name in ["experimentId", "userId", "variant", "version", "timestamp", "secretVersion", "signature"] {
        for bad in [json!(null), json!({}), json!(true), json!(-1), json!(1.5)] {
            assert_eq!(code(&with(name, bad.clone())), "E_MALFORMED", "{name} {bad}");
        }
    }
    for name in ["version", "timestamp", "secretVersion"] {
        assert_eq!(code(&with(name, json!("3"))), "E_MALFORMED", "{name}");
    }
}

#[test]
fn duplicate_fields_and_other_documents_are_refused() {
    let good = signed_with(&secrets(), "user-1").to_json();
    let doubled = format!("{},\"userId\":\"user-1\"}}", &good[..good.len() - 1]);
    for bad in [doubled.as_str(), "", "[]", "null", "{", &format!("{good} {good}")] {
        assert_eq!(code(bad), "E_MALFORMED", "{bad}");
    }
    let large = with("extra", json!("x".repeat(MAX_HMAC_ASSIGNMENT_BYTES)));
    assert_eq!(code(&large), "E_MALFORMED");
}

#[test]
fn signatures_in_another_spelling_are_refused() {
    let good = signed_with(&secrets(), "user-1").signature().to_owned();
    for bad in [
        String::new(),
        good.to_uppercase(),
        good[..62].to_owned(),
        good[..63].to_owned(),
        format!("{good}00"),
        format!("0x{}", &good[2..]),
        format!(" {good}"),
        "zz".repeat(32),
        "0".repeat(64),
        "é".repeat(32),
    ] {
        assert_eq!(code(&with("signature", json!(bad))), "E_SIGNATURE", "{bad}");
    }
}

#[test]
fn window_is_an_hour_with_a_minute_of_skew_on_both_sides() {
    let json = signed_with(&secrets(), "user-1").to_json();
    let hour = HMAC_WINDOW_SECONDS * 1000;
    for (now, expected) in [
        (NOW_MS - 60_000, "ok"),
        (NOW_MS - 60_001, "E_NOT_YET"),
        (NOW_MS + hour + 59_999, "ok"),
        (NOW_MS + hour + 60_000, "E_EXPIRED"),
    ] {
        let got = verify_at(&json, now).map_or_else(|error| error.code(), |_| "ok");
        assert_eq!(got, expected, "{}", now - NOW_MS);
    }
}

#[test]
fn times_before_1970_and_huge_numbers_are_not_signed() {
    let (experiment, variant) = (ExperimentKey::parse("e").unwrap(), VariantKey::parse("v").unwrap());
    let unit = UnitId::parse("u").unwrap();
    for (version, ms) in [(1, -1), (MAX_CLAIM_INTEGER + 1, 0), (1, i64::MAX)] {
        let refused = sign(&secrets(), &experiment, unit, &variant, version, Timestamp::from_unix_ms(ms));
        assert_eq!(refused, Err(HmacSignError::NumberOutOfRange));
    }
}

#[test]
fn weak_and_ambiguous_secrets_are_refused() {
    assert_eq!(HmacSecret::new(1, vec![7; 31]).unwrap_err(), HmacSecretError::Length { bytes: 31 });
    assert_eq!(HmacSecret::new(1, vec![7; 1025]).unwrap_err(), HmacSecretError::Length { bytes: 1025 });
    let same = HmacSecrets::new(secret(2), Some(secret(2)));
    assert_eq!(same.unwrap_err(), HmacSecretError::SameVersion { version: 2 });
}

#[test]
fn debug_output_hides_secrets_units_and_signatures() {
    assert_eq!(format!("{:?}", secret(2)), "HmacSecret(version 2, redacted)");
    let told = format!("{:?}", signed_with(&secrets(), "user-1"));
    assert!(!told.contains("user-1") && !told.contains(OPENSSL), "{told}");
}
