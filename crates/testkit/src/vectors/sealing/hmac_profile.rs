//! The HMAC profile: assignments with a shared secret, good and bad.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::world::{b64, with, without};

const NOW_MS: i64 = 1_800_000_000_123;
const CURRENT: [u8; 32] = [0xc2; 32];
const PREVIOUS: [u8; 32] = [0xb1; 32];

pub(super) fn generate() -> Value {
    json!({
        "description": "HMAC-SHA256, lower-case hex, over experimentId|userId|variant|version|timestamp. `json` is the \
            document as received, `now_ms` Unix milliseconds. Accepted for 3600 s, clocks may be 60 s apart. \
            Secrets are base64url.",
        "secrets": {
            "current": { "version": 2, "secret": b64(CURRENT) },
            "previous": { "version": 1, "secret": b64(PREVIOUS) },
        },
        "good": good(),
        "bad": bad(),
    })
}

fn good() -> Vec<Value> {
    let case = |name: &str, document: &Value, now_ms: i64| json!({ "name": name, "json": document.to_string(), "now_ms": now_ms, "message": message(document) });
    let plain = signed("checkout", "user-1", 2, &CURRENT);
    let mut cases = vec![
        case("current secret", &plain, NOW_MS),
        case("previous secret", &signed("checkout", "user-1", 1, &PREVIOUS), NOW_MS),
        case("from a clock 60 s ahead", &plain, NOW_MS - 60_000),
        case("just before it ends", &plain, NOW_MS + 3_660_000 - 1),
        case("a field of a newer version", &with(plain.clone(), "newer", json!(1)), NOW_MS),
    ];
    for unit in ["1", "用户-42", "zoe\u{308}", "a b/c\"\\", &"u".repeat(256), &"é".repeat(128)] {
        cases.push(case("unit id", &signed("checkout", unit, 2, &CURRENT), NOW_MS));
    }
    cases
}

fn bad() -> Vec<Value> {
    let plain = || signed("checkout", "user-1", 2, &CURRENT);
    let mut cases = Vec::new();
    let mut at = |now_ms: i64, name: &str, json: String, code: &str, cost: &str| {
        cases.push(
            json!({ "name": name, "json": json, "now_ms": now_ms, "expected_error": code, "cost": cost }),
        );
    };
    let old = "a replayed answer would freeze the user in a variant that was ended";
    at(NOW_MS + 3_660_000, "expired", plain().to_string(), "E_EXPIRED", old);
    let early = "an answer dated ahead would outlive its window by as much";
    at(NOW_MS - 60_001, "from the future", plain().to_string(), "E_NOT_YET", early);

    let mut add = |name: &str, json: String, code: &str, cost: &str| at(NOW_MS, name, json, code, cost);
    let forged = "anyone could write assignments for anyone";
    for (field, value) in [
        ("experimentId", json!("search")),
        ("userId", json!("user-2")),
        ("variant", json!("control")),
        ("version", json!(4)),
        ("timestamp", json!(NOW_MS + 1)),
        ("secretVersion", json!(1)),
        ("signature", json!("0".repeat(64))),
        ("signature", json!("")),
    ] {
        let name = format!("changed {field} {value}");
        add(&name, with(plain(), field, value).to_string(), "E_SIGNATURE", forged);
    }
    let signature = plain().get("signature").and_then(Value::as_str).unwrap_or_default().to_owned();
    let spelled = "one signature with several spellings defeats replay lists and caches keyed by it";
    add(
        "capital hex",
        with(plain(), "signature", json!(signature.to_uppercase())).to_string(),
        "E_SIGNATURE",
        spelled,
    );
    let longer = format!("{signature}00");
    add("trailing bytes", with(plain(), "signature", json!(longer)).to_string(), "E_SIGNATURE", spelled);
    let shorter: String = signature.chars().take(32).collect();
    let guessed = "a shorter tag is easier to guess, byte by byte in the end";
    add("truncated tag", with(plain(), "signature", json!(shorter)).to_string(), "E_SIGNATURE", guessed);

    let gone = "a secret that was taken away because it leaked would keep on signing";
    add("unknown secret version", signed("checkout", "user-1", 3, &[0xd3; 32]).to_string(), "E_KEY", gone);

    let shifted = "fields could be shifted across the delimiter: one signature, two meanings";
    add(
        "delimiter in the unit id",
        signed("checkout", "a|b", 2, &CURRENT).to_string(),
        "E_MALFORMED",
        shifted,
    );
    add(
        "delimiter in the experiment",
        signed("check|out", "b", 2, &CURRENT).to_string(),
        "E_MALFORMED",
        shifted,
    );
    let lines = "a line break in a field splits log lines and headers";
    add("control character", signed("checkout", "a\nb", 2, &CURRENT).to_string(), "E_MALFORMED", lines);
    add(
        "empty unit id",
        signed("checkout", "", 2, &CURRENT).to_string(),
        "E_MALFORMED",
        "nobody's answer fits everybody",
    );
    let huge = "unbounded fields let a stranger decide how much memory a check takes";
    add(
        "unit id of 257 bytes",
        signed("checkout", &"u".repeat(257), 2, &CURRENT).to_string(),
        "E_MALFORMED",
        huge,
    );
    add("more than 4096 bytes", with(plain(), "x", json!("x".repeat(4096))).to_string(), "E_MALFORMED", huge);

    let typed = "two readers that convert types differently disagree about what was signed";
    for (field, value) in [
        ("version", json!("3")),
        ("version", json!(-3)),
        ("version", json!(3.5)),
        ("timestamp", json!("1800000000123")),
        ("timestamp", json!(-1)),
        ("secretVersion", json!("2")),
        ("userId", json!(1)),
    ] {
        let name = format!("{field} as {value}");
        add(&name, with(plain(), field, value).to_string(), "E_MALFORMED", typed);
    }
    for field in ["experimentId", "userId", "variant", "version", "timestamp", "secretVersion", "signature"] {
        add(&format!("missing {field}"), without(plain(), field).to_string(), "E_MALFORMED", forged);
    }
    let doubled = plain().to_string().replacen('{', "{\"userId\":\"user-2\",", 1);
    let twice = "one reader takes the first member, the next one the last: two users from one signature";
    add("userId twice", doubled, "E_MALFORMED", twice);
    for text in ["", "[]", "null", "{"] {
        add(&format!("no object: '{text}'"), text.to_owned(), "E_MALFORMED", forged);
    }
    cases
}

fn signed(experiment: &str, unit: &str, secret_version: u32, secret: &[u8]) -> Value {
    let fields = json!({
        "experimentId": experiment, "userId": unit, "variant": "treatment", "version": 3, "timestamp": NOW_MS,
        "secretVersion": secret_version,
    });
    let signature = mac(secret, message(&fields).as_bytes());
    with(fields, "signature", json!(signature))
}

fn message(document: &Value) -> String {
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| document.get(name).map(Value::to_string).unwrap_or_default();
    [text("experimentId"), text("userId"), text("variant"), number("version"), number("timestamp")].join("|")
}

pub(super) fn mac_bytes(secret: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so there is always a result.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn mac(secret: &[u8], message: &[u8]) -> String {
    mac_bytes(secret, message).iter().map(|byte| format!("{byte:02x}")).collect()
}
