//! Sealing vectors: tokens that every verifier must accept, and tokens that every verifier must refuse.
//!
//! Tokens are put together by hand here, so that the file also checks the writer in `edgeseal-core`; only the
//! Ed25519 primitive is shared.

mod bad;
mod good;
mod hmac_profile;
pub(crate) mod world;

use serde_json::{Value, json};

use world::{World, tag};

/// The vectors, for `vectors/sealing.json`.
pub fn generate() -> Value {
    let world = World::new();
    json!({
        "description": "Compact JWS with Ed25519. Times are Unix seconds. Each token case names its keyset and status \
            by their key in `keysets` and `statuses`; verify the keyset against `root_public_key` only where `kind` \
            is `keyset`, otherwise take it as already verified. `memory` is what the client has seen. \
            `expected_error` is the stable code; where `experiment` is given the token itself is good and the code \
            is for that experiment. `usable` says the same of good tokens: `ok`, `absent` or the code. Clocks may be 60 seconds apart. The seeds are public: never use them.",
        "keys": world.describe_keys(),
        "keysets": world.keysets(),
        "statuses": world.statuses(),
        "good": good::cases(&world),
        "bad": bad::cases(&world),
        "hmac": hmac_profile::generate(),
        "subject_tags": subject_tags(),
        "rfc8037": rfc8037(),
        "thumbprints": world.thumbprints(),
        "bad_public_keys": bad_public_keys(),
    })
}

fn subject_tags() -> Vec<Value> {
    let units = [
        ("production", "user", "user-1"),
        ("production", "user", "1"),
        ("production", "user", " "),
        ("production", "device", "user-1"),
        ("staging", "user", "user-1"),
        ("production", "user", "zoë"),
        ("production", "user", "zoe\u{308}"),
        ("production", "user", "用户-42"),
        ("production", "user", "👩‍💻"),
        ("production", "user", "a|b/c?d=e&f#g%20h\\\"'"),
        ("p", "u", "x"),
        ("eu.prod_2", "account-id", "00000000-0000-7000-8000-000000000000"),
    ];
    let long = ["u".repeat(256), "é".repeat(128), "😀".repeat(64)];
    let long = long.iter().map(|unit| ("production", "user", unit.as_str()));
    let describe = |(environment, unit_type, unit): (&str, &str, &str)| {
        let sub = tag(environment, unit_type, unit);
        json!({ "environment": environment, "unit_type": unit_type, "unit": unit, "tag": sub })
    };
    units.into_iter().chain(long).map(describe).collect()
}

/// RFC 8037, Appendix A.1 to A.4.
fn rfc8037() -> Value {
    json!({
        "seed": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "thumbprint": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "kid": "kPrK_qmxVWaYVA9wwBF6Ig",
        "signed": "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "signature": "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    })
}

fn bad_public_keys() -> Vec<Value> {
    let bad = world::small_order_points()
        .into_iter()
        .map(|point| (point, "a point of small order accepts forgeries"));
    let off_curve = ([[2; 1].as_slice(), &[0; 31]].concat(), "no point of the curve");
    let bad = bad.map(|(point, why)| (point.to_vec(), why)).chain([off_curve]);
    bad.map(|(point, why)| json!({ "x": world::b64(point), "why": why })).collect()
}
