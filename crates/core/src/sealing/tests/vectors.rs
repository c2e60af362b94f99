//! `vectors/sealing.json`, which every implementation reads.

use serde_json::Value;

use crate::ids::{Environment, ExperimentKey, UnitId, UnitType};
use crate::sealing::{
    AssignmentClaims, Expected, HmacAssignment, HmacSecret, HmacSecrets, Keyset, Memory, PublicKey,
    SecretKey, Signer, Status, SubjectTag, VerifyError, verify_assignment, verify_snapshot,
};
use crate::time::Timestamp;

const FILE: &str = include_str!("../../../../../vectors/sealing.json");

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).unwrap()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| unreachable!("{name} in {value}"))
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text(value, name)).unwrap()
}

/// Checks a case's token as what it claims to be; what becomes of each experiment for good assignments.
fn check(file: &Value, case: &Value) -> Result<Value, VerifyError> {
    let token = text(case, "token");
    let environment = Environment::parse(text(case, "environment")).unwrap();
    let now = Timestamp::from_unix_seconds(case["now"].as_i64().unwrap());
    let root = PublicKey::parse(text(case, "root_public_key")).unwrap();
    if case["kind"] == "keyset" {
        let keyset = Keyset::verify(token, &root, &environment, now)?;
        return Ok(serde_json::from_slice(&keyset.claims_json()).unwrap());
    }
    let keyset = &file["keysets"][text(case, "keyset")];
    let theirs =
        Environment::parse(if case["keyset"] == "staging" { "staging" } else { "production" }).unwrap();
    let signed_at = Timestamp::from_unix_seconds(super::fixtures::NOW);
    let keyset = Keyset::verify(keyset.as_str().unwrap(), &root, &theirs, signed_at).unwrap();
    match text(case, "kind") {
        "snapshot" => verify_snapshot(token, &keyset, &environment, now),
        "status" => {
            let status = Status::verify(token, &keyset, &environment, now)?;
            Ok(serde_json::from_slice(&status.claims_json()).unwrap())
        }
        "assignment" => {
            let status = case["status"].as_str().map(|name| {
                let token = file["statuses"][name].as_str().unwrap();
                Status::verify(token, &keyset, &environment, signed_at).unwrap()
            });
            let memory: Option<Memory> = serde_json::from_value(case["memory"].clone()).unwrap();
            let unit_type = UnitType::parse(text(case, "unit_type")).unwrap();
            let unit = UnitId::parse(text(case, "unit")).unwrap();
            let expected = Expected {
                environment: &environment,
                subject: SubjectTag::of(&environment, &unit_type, unit),
                now,
                status: status.as_ref(),
                memory: memory.as_ref(),
            };
            let verified = verify_assignment(token, &keyset, &expected)?;
            if let Some(experiment) = case["experiment"].as_str() {
                verified.usable(&ExperimentKey::parse(experiment).unwrap())?;
            }
            for (experiment, outcome) in case["usable"].as_object().into_iter().flatten() {
                let usable = match verified.usable(&ExperimentKey::parse(experiment).unwrap()) {
                    Ok(Some(_)) => "ok",
                    Ok(None) => "absent",
                    Err(error) => error.code(),
                };
                assert_eq!(usable, outcome, "{experiment} in {}", case["name"]);
            }
            Ok(as_json(verified.claims()))
        }
        other => unreachable!("{other}"),
    }
}

fn as_json(claims: &AssignmentClaims) -> Value {
    let a = claims.a.iter().map(|(key, variant)| {
        let mut value =
            serde_json::json!({ "v": variant.v.as_str(), "xv": variant.xv, "r": variant.r.as_str() });
        if let Some(payload) = &variant.p {
            value["p"] = payload.clone();
        }
        (key.as_str().to_owned(), value)
    });
    serde_json::json!({
        "iss": claims.iss.as_str(), "aud": claims.aud, "sub": claims.sub.to_string(), "ut": claims.ut.as_str(),
        "iat": claims.iat.unix_seconds(), "exp": claims.exp.unix_seconds(), "cv": claims.cv, "ep": claims.ep,
        "cd": claims.cd, "a": a.collect::<serde_json::Map<_, _>>(),
    })
}

#[test]
fn good_tokens_are_accepted_and_say_what_they_should() {
    let file = file();
    let cases = list(&file, "/good");
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in cases {
        let claims = check(&file, case).unwrap_or_else(|error| unreachable!("{}: {error}", case["name"]));
        if let Some(expected) = case.get("claims") {
            assert_eq!(&claims, expected, "{}", case["name"]);
        }
    }
}

#[test]
fn bad_tokens_are_refused_with_their_code() {
    let file = file();
    let cases = list(&file, "/bad");
    assert!(cases.len() >= 190, "{}", cases.len());
    for case in cases {
        let refusal = check(&file, case).map_or_else(|error| error.code(), |_| "accepted");
        assert_eq!(refusal, text(case, "expected_error"), "{}", case["name"]);
        assert!(text(case, "cost").len() > 10, "{}", case["name"]);
    }
}

#[test]
fn bad_tokens_show_every_code_and_have_distinct_names() {
    let file = file();
    let values = |name: &'static str| list(&file, "/bad").iter().map(move |case| text(case, name).to_owned());
    let codes: std::collections::BTreeSet<_> = values("expected_error").collect();
    let all = [
        "E_AUDIENCE",
        "E_EXPIRED",
        "E_HALTED",
        "E_KEY",
        "E_MALFORMED",
        "E_NOT_YET",
        "E_ROLLBACK",
        "E_SIGNATURE",
        "E_SUBJECT",
        "E_TYPE",
    ];
    assert!(codes.iter().eq(all), "{codes:?}");
    let names: std::collections::BTreeSet<_> = values("name").collect();
    assert_eq!(names.len(), list(&file, "/bad").len());
}

#[test]
fn hmac_assignments_are_decided_as_written() {
    let file = file();
    let secret = |name: &str| {
        let secret = &file["hmac"]["secrets"][name];
        HmacSecret::new(secret["version"].as_u64().unwrap().try_into().unwrap(), bytes(secret, "secret"))
            .unwrap()
    };
    let secrets = HmacSecrets::new(secret("current"), Some(secret("previous"))).unwrap();
    let check = |case: &Value| {
        let now = Timestamp::from_unix_ms(case["now_ms"].as_i64().unwrap());
        HmacAssignment::verify(text(case, "json").as_bytes(), &secrets, now)
    };
    for case in list(&file, "/hmac/good") {
        let assignment = check(case).unwrap_or_else(|error| unreachable!("{}: {error}", case["name"]));
        let message = [
            assignment.experiment_id(),
            assignment.user_id(),
            assignment.variant(),
            &assignment.version().to_string(),
            &assignment.issued_at().unix_ms().to_string(),
        ];
        assert_eq!(message.join("|"), text(case, "message"));
    }
    for case in list(&file, "/hmac/bad") {
        let refusal = check(case).map_or_else(|error| error.code(), |_| "accepted");
        assert_eq!(refusal, text(case, "expected_error"), "{}", case["name"]);
    }
    assert!(list(&file, "/hmac/good").len() >= 10 && list(&file, "/hmac/bad").len() >= 30);
}

#[test]
fn subject_tags_and_thumbprints_are_as_written() {
    let file = file();
    for case in list(&file, "/subject_tags") {
        let tag = SubjectTag::of(
            &Environment::parse(text(case, "environment")).unwrap(),
            &UnitType::parse(text(case, "unit_type")).unwrap(),
            UnitId::parse(text(case, "unit")).unwrap(),
        );
        assert_eq!(tag.to_string(), text(case, "tag"));
    }
    for case in list(&file, "/thumbprints").iter().chain([&rfc8037(&file)]) {
        let key = PublicKey::parse(text(case, "x")).unwrap();
        assert_eq!(key.thumbprint().as_slice(), bytes(case, "thumbprint"));
        assert_eq!(key.kid().as_str(), text(case, "kid"));
    }
    assert!(list(&file, "/subject_tags").len() >= 15 && list(&file, "/thumbprints").len() >= 8);
}

fn rfc8037(file: &Value) -> Value {
    let mut case = file["rfc8037"].clone();
    case["x"] = case["public_key"].clone();
    case
}

#[test]
fn rfc_8037_example_signs_and_verifies_as_written() {
    let file = file();
    let case = &file["rfc8037"];
    let secret = SecretKey::from_seed(&bytes(case, "seed").try_into().unwrap());
    assert_eq!(secret.public().to_string(), text(case, "public_key"));
    assert_eq!(secret.sign(text(case, "signed").as_bytes()).as_slice(), bytes(case, "signature"));
}

#[test]
fn bad_public_keys_are_refused() {
    let file = file();
    let cases = list(&file, "/bad_public_keys");
    assert_eq!(cases.len(), 15);
    for case in cases {
        assert!(PublicKey::parse(text(case, "x")).is_err(), "{}", case["why"]);
    }
}
