use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::wire::{SpoolRecord, read_lines, write_lines};
use super::*;
use crate::ids::{Environment, ExperimentKey, UnitId, UnitType};
use crate::sealing::{
    KeyId, KeyUse, Keyset, RotationPolicy, SecretKey, Signer, Status, SubjectTag, TokenKind, VerifyError,
    rotation, seal,
};
use crate::time::Timestamp;

const NOW: i64 = 1_800_000_000;
const NOW_MS: i64 = NOW * 1000;

fn id(number: u64) -> String {
    format!("018f0000-0000-7000-8000-{number:012x}")
}

fn environment() -> Environment {
    Environment::parse("production").unwrap()
}

fn edge_key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn keyset() -> Keyset {
    let now = Timestamp::from_unix_seconds(NOW - 90 * 24 * 3600);
    let keys = [rotation::first(KeyUse::Edge, edge_key().public(), now)];
    rotation::keyset_from(&keys, &environment(), 1, now, &RotationPolicy::default())
}

fn status(revoked: &[KeyId]) -> Status {
    Status {
        iss: environment(),
        ep: 4,
        cv: 1,
        off: [ExperimentKey::parse("checkout").unwrap()].into(),
        min: BTreeMap::new(),
        rev: revoked.iter().cloned().collect(),
        iat: Timestamp::from_unix_seconds(NOW),
        exp: Timestamp::from_unix_seconds(NOW + 30),
    }
}

fn unit() -> SubjectTag {
    SubjectTag::of(&environment(), &UnitType::default(), UnitId::parse("user-1").unwrap())
}

fn token_of(issuer: &str, iat: i64) -> String {
    let claims = json!({
        "iss": issuer, "aud": format!("edgeseal:{issuer}"), "sub": unit(), "ut": "user",
        "iat": iat, "exp": iat + 3600, "cv": 1, "ep": 0, "cd": "",
        "a": {
            "checkout": { "v": "b", "xv": 3, "r": "split", "p": { "large": "x".repeat(500) } },
            "pricing": { "v": "low", "xv": 1, "r": "sticky" },
            "qa": { "v": "on", "xv": 1, "r": "forced" },
            "won": { "v": "a", "xv": 1, "r": "winner" },
            "strange": { "v": "a", "xv": 1, "r": "of-a-newer-edge" },
        },
    });
    seal(TokenKind::Assignment, claims.to_string().as_bytes(), &edge_key())
}

fn check(token: &str, status: Option<&Status>) -> Result<EventToken, &'static str> {
    let now = Timestamp::from_unix_seconds(NOW);
    verify_token(token, &keyset(), status, &environment(), now).map_err(|error| error.code())
}

fn token() -> EventToken {
    check(&token_of("production", NOW - 600), None).unwrap()
}

fn exposure(number: u64) -> Value {
    json!({ "id": id(number), "type": "exposure", "ts": NOW_MS - 5, "experiment": "checkout" })
}

fn metric(number: u64, value: &Value) -> Value {
    json!({ "id": id(number), "type": "metric", "ts": NOW_MS - 5, "metric": "revenue", "value": value })
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn read(text: &str) -> Result<Vec<Result<EventRecord, Rejected>>, BatchError> {
    let token = token();
    let received = Timestamp::from_unix_ms(NOW_MS);
    let batch = read_batch(text.as_bytes())?;
    let one =
        |event: Result<Event<'_>, Rejected>| event.and_then(|event| resolve(event, Some(&token), received));
    Ok(batch.events.into_iter().map(one).collect())
}

/// What becomes of one event between two good ones.
fn outcome(event: &str) -> Result<Happening, Rejection> {
    let text = format!(r#"{{"events":[{},{event},{}]}}"#, exposure(1), exposure(2));
    let mut events = read(&text).unwrap();
    assert_eq!(events.len(), 3, "{event}");
    assert!(events[0].is_ok() && events[2].is_ok(), "the rest of the batch is kept: {event}");
    match events.swap_remove(1) {
        Ok(record) => Ok(record.what),
        Err(rejected) => {
            assert_eq!(rejected.index, 1);
            Err(rejected.code)
        }
    }
}

fn key<K>(text: &str) -> crate::ids::Key<K> {
    crate::ids::Key::parse(text).unwrap()
}

#[test]
fn the_token_says_which_unit_and_which_variant() {
    let stated = with(with(exposure(9), "variant", json!("forged")), "version", json!(99));
    let text = json!({ "unit": "somebody-else", "events": [with(stated, "unit", json!("another"))] });
    let records = read(&text.to_string()).unwrap();
    let record = records[0].as_ref().unwrap();
    let expected = Happening::Exposure { experiment: key("checkout"), variant: key("b"), xv: 3 };
    assert_eq!((record.unit, &record.what), (Some(unit()), &expected));
    assert_eq!((record.at_ms, record.received_ms), (NOW_MS - 5, NOW_MS));
}

#[test]
fn every_type_of_event_is_read() {
    let sticky = outcome(&with(exposure(9), "experiment", json!("pricing")).to_string());
    assert!(matches!(sticky, Ok(Happening::Exposure { xv: 1, .. })));
    let amount = outcome(&metric(9, &json!(19.99)).to_string());
    assert_eq!(amount, Ok(Happening::Metric { metric: key("revenue"), amount: 19_990_000 }));
    let drift = json!({ "id": id(9), "type": "drift", "ts": NOW_MS, "experiment": "checkout", "from": "a", "to": null,
        "cause": "config_change" });
    let expected = Happening::Drift {
        experiment: key("checkout"),
        from: Some(key("a")),
        to: None,
        cause: DriftCause::ConfigChange,
    };
    assert_eq!(outcome(&drift.to_string()), Ok(expected));
    let leak = json!({ "id": id(9), "type": "leak", "ts": NOW_MS, "subject": unit(), "keyId": edge_key().kid(),
        "source": "network" });
    let expected =
        Happening::Leak { subject: unit(), key_id: edge_key().kid().clone(), source: LeakSource::Network };
    assert_eq!(outcome(&leak.to_string()), Ok(expected));
    let failed = json!({ "id": id(9), "type": "verification_failed", "ts": NOW_MS, "code": "E_SIGNATURE" });
    let code = FailureCode::parse("E_SIGNATURE").unwrap();
    assert_eq!(outcome(&failed.to_string()), Ok(Happening::VerificationFailed { code }));
}

#[test]
fn a_bad_value_spoils_its_own_event_only() {
    let event = |value: &str| {
        format!(r#"{{"id":"{}","type":"metric","ts":{NOW_MS},"metric":"revenue","value":{value}}}"#, id(9))
    };
    for (value, code) in [
        ("null", Rejection::NotFinite),
        (r#""NaN""#, Rejection::NotFinite),
        (r#""-Infinity""#, Rejection::NotFinite),
        ("1e400", Rejection::ValueTooLarge),
        ("-1e16", Rejection::ValueTooLarge),
        ("1000000000000001", Rejection::ValueTooLarge),
        (r#""12""#, Rejection::MalformedEvent),
        ("true", Rejection::MalformedEvent),
        ("[1]", Rejection::MalformedEvent),
        ("{}", Rejection::MalformedEvent),
    ] {
        assert_eq!(outcome(&event(value)), Err(code), "{value}");
    }
    assert!(
        outcome(&event("-3")).is_ok(),
        "whether a metric may be negative is for the control plane to say"
    );
    assert!(outcome(&event("1e15")).is_ok());
}

#[test]
fn a_bad_event_is_named_by_its_code() {
    let dated = |at: i64| with(exposure(9), "ts", json!(at)).to_string();
    for (event, code) in [
        ("7".to_owned(), Rejection::MalformedEvent),
        ("null".to_owned(), Rejection::MalformedEvent),
        ("[]".to_owned(), Rejection::MalformedEvent),
        (format!(r#"["{}","exposure",1]"#, id(9)), Rejection::MalformedEvent),
        ("{}".to_owned(), Rejection::MalformedEvent),
        (exposure(9).to_string().replace("{", r#"{"type":"exposure","#), Rejection::MalformedEvent),
        (exposure(9).to_string().replace("{", r#"{"\u0069d":"x","#), Rejection::MalformedEvent),
        (with(exposure(9), "type", json!("purchase")).to_string(), Rejection::UnknownType),
        (with(exposure(9), "type", json!(1)).to_string(), Rejection::MalformedEvent),
        (
            with(exposure(9), "id", json!("018F0000-0000-7000-8000-00000000000A")).to_string(),
            Rejection::BadId,
        ),
        (
            with(exposure(9), "id", json!("018f0000-0000-4000-8000-00000000000a")).to_string(),
            Rejection::BadId,
        ),
        (
            with(exposure(9), "id", json!("018f0000-0000-7000-c000-00000000000a")).to_string(),
            Rejection::BadId,
        ),
        (with(exposure(9), "id", json!(7)).to_string(), Rejection::BadId),
        (with(exposure(9), "ts", json!("now")).to_string(), Rejection::BadTime),
        (with(exposure(9), "ts", json!(1.5)).to_string(), Rejection::BadTime),
        (dated(NOW_MS).replace(&NOW_MS.to_string(), "1e400"), Rejection::BadTime),
        (dated(NOW_MS).replace(&NOW_MS.to_string(), "99999999999999999999"), Rejection::BadTime),
        (dated(NOW_MS - MAX_PAST_MS - 1), Rejection::TooOld),
        (dated(0), Rejection::TooOld),
        (dated(i64::MIN), Rejection::TooOld),
        (dated(NOW_MS + MAX_FUTURE_MS + 1), Rejection::InTheFuture),
        (dated(i64::MAX), Rejection::InTheFuture),
        (dated(NOW_MS - 600_000 - TOKEN_LIFE_SLACK_MS - 1), Rejection::OutsideTokenLife),
        (with(exposure(9), "experiment", json!("elsewhere")).to_string(), Rejection::UnknownExperiment),
        (with(exposure(9), "experiment", json!("no key")).to_string(), Rejection::MalformedEvent),
        (with(exposure(9), "experiment", json!("x".repeat(129))).to_string(), Rejection::MalformedEvent),
        (with(exposure(9), "experiment", json!("qa")).to_string(), Rejection::NotCounted),
        (with(exposure(9), "experiment", json!("won")).to_string(), Rejection::NotCounted),
        (with(exposure(9), "experiment", json!("strange")).to_string(), Rejection::NotCounted),
        (with(metric(9, &json!(1)), "metric", json!("")).to_string(), Rejection::MalformedEvent),
        (exposure(9).to_string().replace("checkout", r"\ud800"), Rejection::MalformedEvent),
    ] {
        assert_eq!(outcome(&event), Err(code), "{event}");
    }
}

#[test]
fn times_at_their_bounds_are_taken() {
    for at in [NOW_MS + MAX_FUTURE_MS, NOW_MS - 600_000 - TOKEN_LIFE_SLACK_MS] {
        assert!(outcome(&with(exposure(9), "ts", json!(at)).to_string()).is_ok(), "{at}");
    }
}

#[test]
fn members_that_are_not_ours_are_ignored_however_odd() {
    let event = exposure(9).to_string().replace('{', r#"{"extra":{"a":1,"a":[1e400,"\ud800"]},"#);
    assert!(outcome(&event).is_ok(), "{event}");
    assert!(read_batch(br#"{"sent":1e999,"sent":2,"events":[]}"#).is_ok());
}

#[test]
fn a_repeated_id_is_kept_once() {
    let text = json!({ "events": [exposure(1), metric(2, &json!(1)), metric(1, &json!(2)), exposure(2)] })
        .to_string();
    let batch = read_batch(text.as_bytes()).unwrap();
    let kept: Vec<_> = batch.events.iter().map(|event| event.as_ref().unwrap().index).collect();
    assert_eq!((kept, batch.repeated), (vec![0, 1], 2));

    let refused_first = json!({ "events": [with(exposure(1), "type", json!("x")), exposure(1)] }).to_string();
    let batch = read_batch(refused_first.as_bytes()).unwrap();
    assert!(batch.events[0].is_err() && batch.events[1].is_ok() && batch.repeated == 0);
}

#[test]
fn a_batch_is_refused_as_a_whole_only_when_it_is_none() {
    let code = |text: &[u8]| match read_batch(text) {
        Ok(_) => "taken",
        Err(BatchError::NotJson { .. }) => "not json",
        Err(BatchError::NotABatch) => "not a batch",
        Err(BatchError::TooManyEvents) => "too many",
        Err(BatchError::TooLarge { .. }) => "too large",
    };
    for (text, expected) in [
        (&b""[..], "not json"),
        (b"{", "not json"),
        (b"{\"events\":[]} x", "not json"),
        (b"{\"events\":[NaN]}", "not json"),
        (b"{\"events\":[{\"value\":01}]}", "not json"),
        (b"{\"events\":[\"\xff\"]}", "not json"),
        (b"\xef\xbb\xbf{\"events\":[]}", "not json"),
        (b"[]", "not a batch"),
        (b"[null,null,null,[]]", "not a batch"),
        (b"{}", "not a batch"),
        (b"{\"events\":{}}", "not a batch"),
        (b"{\"events\":null}", "not a batch"),
        (b"{\"events\":[],\"events\":[]}", "not a batch"),
        (b"{\"events\":[],\"token\":7}", "not a batch"),
        (b"{\"events\":[],\"token\":\"a\",\"\\u0074oken\":\"b\"}", "not a batch"),
        (b" {\"events\":[],\"token\":null} \n", "taken"),
        (b"{\"events\":[1,[],null]}", "taken"),
    ] {
        assert_eq!(code(text), expected, "{}", String::from_utf8_lossy(text));
    }
    let of = |count: usize| format!(r#"{{"events":[{}]}}"#, vec!["0"; count].join(","));
    assert_eq!(code(of(MAX_BATCH_EVENTS).as_bytes()), "taken");
    assert_eq!(code(of(MAX_BATCH_EVENTS + 1).as_bytes()), "too many");
    let padded = |bytes: usize| format!(r#"{{"events":[]{}}}"#, " ".repeat(bytes - 13));
    assert_eq!(code(padded(MAX_BATCH_BYTES).as_bytes()), "taken");
    assert_eq!(code(padded(MAX_BATCH_BYTES + 1).as_bytes()), "too large");
    assert_eq!(code(format!(r#"{{"events":[{}]}}"#, "[".repeat(100_000)).as_bytes()), "not json");
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(120_000), "]".repeat(120_000));
    let batch = format!(r#"{{"events":[{deep}]}}"#);
    assert!(read_batch(batch.as_bytes()).unwrap().events[0].is_err());
}

#[test]
fn what_is_kept_of_a_stranger_is_bounded_and_clean() {
    let long = format!("a\u{7}{}", "é".repeat(400));
    let text = json!({ "events": [with(exposure(1), "experiment", json!(long))] }).to_string();
    let rejected = read(&text).unwrap().swap_remove(0).unwrap_err();
    let note = quarantined(&rejected, Timestamp::from_unix_ms(NOW_MS));
    let about = note.about.unwrap();
    assert!(about.len() <= MAX_DETAIL_BYTES && about.starts_with("a\u{fffd}é"), "{about}");
    assert_eq!((note.code.as_str(), note.id.unwrap().to_string()), ("malformed_event", id(1)));
}

#[test]
fn without_a_token_only_a_failed_verification_is_taken() {
    let failed = json!({ "id": id(9), "type": "verification_failed", "ts": NOW_MS, "code": "E_KEY" });
    let text =
        json!({ "token": null, "unit": "user-1", "events": [failed, exposure(1), metric(2, &json!(1))] });
    let text = text.to_string();
    let received = Timestamp::from_unix_ms(NOW_MS);
    let batch = read_batch(text.as_bytes()).unwrap();
    let outcomes: Vec<_> =
        batch.events.into_iter().map(|event| resolve(event.unwrap(), None, received)).collect();
    assert_eq!(outcomes[0].as_ref().unwrap().unit, None);
    for refused in &outcomes[1..] {
        assert_eq!(refused.as_ref().unwrap_err().code, Rejection::NeedsToken);
    }
}

#[test]
fn who_may_speak_for_every_unit_names_unit_variant_and_version() {
    let stated = with(with(exposure(1), "variant", json!("b")), "version", json!(3));
    let other = with(with(metric(2, &json!(1)), "unit", json!("gate-7")), "unitType", json!("device"));
    let text = json!({ "unit": "user-1", "events": [stated, other, exposure(3)] }).to_string();
    let received = Timestamp::from_unix_ms(NOW_MS);
    let batch = read_batch(text.as_bytes()).unwrap();
    let outcomes: Vec<_> = batch
        .events
        .into_iter()
        .map(|event| resolve_named(event.unwrap(), &environment(), received))
        .collect();
    assert_eq!(outcomes[0].as_ref().unwrap().unit, Some(unit()));
    assert!(matches!(outcomes[0].as_ref().unwrap().what, Happening::Exposure { xv: 3, .. }));
    assert_eq!(outcomes[1].as_ref().unwrap().unit_type.as_str(), "device");
    assert_eq!(outcomes[2].as_ref().unwrap_err().code, Rejection::NeedsToken);

    let nobody = json!({ "events": [metric(1, &json!(1))] }).to_string();
    let event = read_batch(nobody.as_bytes()).unwrap().events.swap_remove(0).unwrap();
    assert_eq!(resolve_named(event, &environment(), received).unwrap_err().code, Rejection::NeedsToken);
    let bad = json!({ "unit": "", "events": [metric(1, &json!(1))] }).to_string();
    assert!(read_batch(bad.as_bytes()).unwrap().events[0].is_err());
}

#[test]
fn an_expired_token_vouches_for_a_month_and_a_foreign_or_revoked_one_never() {
    let month = MAX_PAST_MS / 1000;
    let revoked = edge_key().kid().clone();
    let fresh = token_of("production", NOW - 600);
    assert!(check(&fresh, Some(&status(&[]))).is_ok(), "what is halted since was still seen");
    assert_eq!(check(&fresh, Some(&status(&[revoked]))), Err("E_KEY"));
    assert!(check(&token_of("production", NOW - 3600 - month + 1), None).is_ok());
    assert_eq!(check(&token_of("production", NOW - 3600 - month), None), Err("E_EXPIRED"));
    assert_eq!(check(&token_of("production", NOW + 61), None), Err("E_NOT_YET"));
    assert_eq!(check(&token_of("staging", NOW), None), Err("E_AUDIENCE"));
    let (_, another) =
        token_of("production", NOW).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (signed, _) = fresh.rsplit_once('.').unwrap();
    assert_eq!(check(&format!("{signed}.{another}"), None), Err("E_SIGNATURE"));
    assert_eq!(check("", None), Err("E_MALFORMED"));
    let stranger = SecretKey::from_seed(&[8; 32]);
    let claims = b"{}";
    assert_eq!(check(&seal(TokenKind::Assignment, claims, &stranger), None), Err("E_KEY"));
    assert_eq!(check(&seal(TokenKind::Status, claims, &edge_key()), None), Err("E_TYPE"));
    assert_eq!(check(&seal(TokenKind::Assignment, claims, &edge_key()), None), Err("E_MALFORMED"));
}

#[test]
fn a_retired_key_counts_while_it_is_listed() {
    let mut keyset = keyset();
    keyset.keys[0].state = crate::sealing::KeyState::Retired;
    let now = Timestamp::from_unix_seconds(NOW);
    let token = token_of("production", NOW - 600);
    let vouched = verify_token(&token, &keyset, None, &environment(), now).unwrap();
    assert!(vouched.still_vouches(&keyset, None, now));
    assert!(!vouched.still_vouches(&keyset, Some(&status(&[edge_key().kid().clone()])), now));
    assert!(!vouched.still_vouches(&keyset, None, now.plus_seconds(MAX_PAST_MS / 1000 + 3600)));
    keyset.keys.clear();
    assert!(!vouched.still_vouches(&keyset, None, now));
    let refused = verify_token(&token, &keyset, None, &environment(), now);
    assert!(matches!(refused, Err(VerifyError::Key(_))));
}

#[test]
fn event_ids_have_one_text_form() {
    let text = "018f2b6c-1a2b-7c3d-9e4f-0123456789ab";
    let id = EventId::parse(text).unwrap();
    assert_eq!((id.to_string().as_str(), EventId::from_bytes(*id.as_bytes())), (text, Some(id)));
    for bad in [
        "",
        "018f2b6c1a2b7c3d9e4f0123456789ab",
        "{018f2b6c-1a2b-7c3d-9e4f-0123456789ab}",
        "018f2b6c-1a2b-7c3d-9e4f-0123456789a",
        "018f2b6c-1a2b-7c3d-9e4f-0123456789AB",
        "018f2b6c-1a2b-1c3d-9e4f-0123456789ab",
        "018f2b6c-1a2b-7c3d-1e4f-0123456789ab",
        "018f2b6c+1a2b-7c3d-9e4f-0123456789ab",
        "018f2b6c-1a2b-7c3d-9e4f-01234567é89",
        "00000000-0000-0000-0000-000000000000",
    ] {
        assert_eq!(EventId::parse(bad), None, "{bad}");
    }
}

#[test]
fn codes_are_the_same_in_both_directions() {
    for rejection in Rejection::ALL {
        assert_eq!(Rejection::parse(rejection.as_str()), Some(rejection));
    }
    assert_eq!(Rejection::parse("overslept"), None);
    assert_eq!(FailureCode::parse("E_NONE"), None);
}

fn records() -> Vec<SpoolRecord> {
    let event = |what| {
        SpoolRecord::Event(EventRecord {
            id: EventId::parse(&id(1)).unwrap(),
            at_ms: NOW_MS,
            received_ms: NOW_MS + 1,
            unit: Some(unit()),
            unit_type: UnitType::default(),
            what,
        })
    };
    let anonymous = EventRecord {
        id: EventId::parse(&id(2)).unwrap(),
        at_ms: -1,
        received_ms: 0,
        unit: None,
        unit_type: UnitType::default(),
        what: Happening::VerificationFailed { code: FailureCode::parse("E_EXPIRED").unwrap() },
    };
    let kid = edge_key().kid().clone();
    vec![
        event(Happening::Exposure { experiment: key("checkout"), variant: key("b"), xv: u64::MAX }),
        event(Happening::Metric { metric: key("revenue"), amount: -1_000_000_000_000_000_000_000 }),
        event(Happening::Drift {
            experiment: key("checkout"),
            from: None,
            to: Some(key("b")),
            cause: DriftCause::Unexplained,
        }),
        event(Happening::Leak { subject: unit(), key_id: kid, source: LeakSource::Embedded }),
        SpoolRecord::Event(anonymous),
        SpoolRecord::Quarantined(Quarantined {
            id: None,
            received_ms: NOW_MS,
            code: "of_a_newer_edge".into(),
            about: Some("line\u{2028}break \"quoted\"".into()),
        }),
    ]
}

#[test]
fn records_cross_the_wire_unchanged_one_a_line() {
    let lines = write_lines(&records());
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), records().len());
    let back: Vec<_> = read_lines(&lines).map(Result::unwrap).collect();
    assert_eq!(back, records());
}

#[test]
fn the_wire_form_is_as_documented() {
    let lines = write_lines(&records()[..2]);
    let text = String::from_utf8(lines).unwrap();
    let expected = format!(
        "{{\"format\":1,\"type\":\"exposure\",\"id\":\"{0}\",\"at\":1800000000000,\"received\":1800000000001,\
         \"unit\":\"{1}\",\"unit_type\":\"user\",\"experiment\":\"checkout\",\"variant\":\"b\",\"xv\":18446744073709551615}}\n\
         {{\"format\":1,\"type\":\"metric\",\"id\":\"{0}\",\"at\":1800000000000,\"received\":1800000000001,\
         \"unit\":\"{1}\",\"unit_type\":\"user\",\"metric\":\"revenue\",\"amount\":\"-1000000000000000000000\"}}\n",
        id(1),
        unit(),
    );
    assert_eq!(text, expected);
}

#[test]
fn an_unreadable_line_spoils_no_other() {
    let good = String::from_utf8(write_lines(&records()[..1])).unwrap();
    for bad in [
        "{}",
        "not json",
        &good.trim().replace("\"format\":1", "\"format\":2"),
        &good.trim().replace("\"exposure\"", "\"purchase\""),
        &good.trim().replace("\"xv\":18446744073709551615", "\"xv\":-1"),
        &good.trim().replace("\"variant\"", "\"varian\""),
        &good.trim().replace("{", "{\"xv\":1,"),
        &good.trim().replace("\"unit\"", "\"nobody\""),
        r#"{"format":1,"type":"metric","id":"018f0000-0000-7000-8000-000000000001","at":1,"received":1,"unit_type":"user","metric":"m","amount":"1000000000000000000001"}"#,
        r#"{"format":1,"type":"quarantined","received":1,"code":"NOT A CODE"}"#,
    ] {
        let lines = format!("{good}{bad}\n\n{good}");
        let read: Vec<_> =
            read_lines(lines.as_bytes()).map(|line| line.map_err(|error| error.line)).collect();
        assert!(
            read.len() == 3 && read[0].is_ok() && read[1] == Err(2) && read[2].is_ok(),
            "{bad}: {read:?}"
        );
    }
    let newer = good.replace("{", "{\"hint\":[{}],");
    assert!(read_lines(newer.as_bytes()).all(|line| line.is_ok()), "members of a newer version are ignored");
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_text(text in r#"[\[\]{}:,"0-9a\\ .e-]{0,80}"#) {
        let _ = read_batch(text.as_bytes());
        let _ = read_batch(format!(r#"{{"events":[{text}]}}"#).as_bytes());
        let _ = read_lines(text.as_bytes()).count();
    }

    #[test]
    fn a_flipped_byte_is_refused_or_another_batch(place in 0_usize..400, byte in any::<u8>()) {
        let text = json!({ "token": "x.y.z", "events": [exposure(1), metric(2, &json!(1.5))] }).to_string();
        let mut bytes = text.into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(batch) = read_batch(&bytes) {
            prop_assert!(batch.events.len() + batch.repeated <= 3);
        }
    }
}
