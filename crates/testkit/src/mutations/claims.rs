//! Documents that are well-formed JSON and say something at the edge of a rule, or past it.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use crate::vectors::sealing::world::{
    ASSIGNMENT, ENVIRONMENT, KEYSET, NOW, STATUS, UNIT, World, b64, small_order_points, tag, with, without,
};
use edgeseal_core::sealing::{SecretKey, Signer};
use sha2::{Digest, Sha256};

/// How far from the usual: around the minute that clocks may differ, and the ends of tokens.
pub(super) const SECONDS: [i64; 22] = [
    -3661, -3600, -121, -120, -61, -60, -59, -1, 0, 1, 29, 30, 31, 59, 60, 61, 89, 90, 959, 960, 3660,
    100_000,
];

pub(super) const STATUSES: [&str; 7] =
    ["quiet", "checkout_off", "checkout_from_4", "edge_revoked", "control_revoked", "odd_off", "odd_min"];

/// Experiments with names that JavaScript's objects have already.
const ODD: [&str; 6] = ["constructor", "toString", "hasOwnProperty", "valueOf", "length", "then"];
const EXPERIMENTS: [&str; 9] = [
    "checkout",
    "search",
    "constructor",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "length",
    "then",
    "9-a.b_C",
];

pub(super) fn statuses(world: &World) -> Value {
    let status = |name: &str, value: Value| world.sealed(STATUS, &with(world.status_claims(), name, value));
    let min: Map<String, Value> = ODD.iter().map(|name| ((*name).to_owned(), json!(3))).collect();
    json!({
        "quiet": world.sealed(STATUS, &world.status_claims()),
        "checkout_off": status("off", json!(["checkout"])),
        "checkout_from_4": status("min", json!({ "checkout": 4 })),
        "edge_revoked": status("rev", json!([world.edge.kid().as_str()])),
        "control_revoked": status("rev", json!([world.control.kid().as_str()])),
        "odd_off": status("off", json!(ODD)),
        "odd_min": status("min", Value::Object(min)),
    })
}

/// What a client may have seen.
pub(super) fn memory(dice: &mut Dice) -> Value {
    let mut xv = Map::new();
    for _ in 0..dice.below(4) {
        xv.insert((*dice.pick(&EXPERIMENTS)).to_owned(), json!(dice.below(6)));
    }
    json!({ "cv": *dice.pick(&[0, 12, 13, 13, 13, 14]), "ep": *dice.pick(&[0, 4, 4, 5]), "xv": xv })
}

/// Claims of a kind, and what is particular about them.
pub(super) fn document(dice: &mut Dice, world: &World, kind: &str) -> (Option<String>, Value) {
    let mut claims = match kind {
        ASSIGNMENT => assignment(dice),
        KEYSET => keyset(dice, world),
        _ => world.status_claims(),
    };
    if dice.one_in(2) {
        return (None, claims);
    }
    let how = match kind {
        _ if dice.one_in(3) => common(dice, &mut claims),
        ASSIGNMENT => spoil_assignment(dice, &mut claims),
        KEYSET => spoil_keyset(dice, world, &mut claims),
        _ => spoil_status(dice, world, &mut claims),
    };
    (Some(how), claims)
}

fn assignment(dice: &mut Dice) -> Value {
    let payloads = [
        json!(null),
        json!(true),
        json!(-7),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!("zoë 😀 \u{2028}"),
        json!([]),
        json!({}),
        json!({ "button": { "label": "Buy", "size": [1, 2.25, -0.0] } }),
        json!(1e-7),
        json!(1e21),
    ];
    let mut a = Map::new();
    for _ in 0..dice.below(5) {
        let reason = *dice.pick(&["split", "split", "sticky", "forced", "winner", "newer"]);
        let mut entry =
            json!({ "v": *dice.pick(&["treatment", "control", "a"]), "xv": dice.below(6), "r": reason });
        if dice.one_in(2) {
            entry = with(entry, "p", dice.pick(&payloads).clone());
        }
        a.insert((*dice.pick(&EXPERIMENTS)).to_owned(), entry);
    }
    json!({
        "iss": ENVIRONMENT, "aud": "edgeseal:production", "sub": tag(ENVIRONMENT, "user", UNIT), "ut": "user",
        "iat": NOW, "exp": NOW + 900, "cv": 13, "ep": 4, "cd": "vtIy7YcQQZIJvDZoT5lxhg", "a": a,
    })
}

fn jwk(key: &SecretKey, use_: &str, state: &str) -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "x": key.public().to_string(), "kid": key.kid().as_str(), "alg": "EdDSA",
        "use": use_, "state": state, "nbf": NOW - 10_000,
    })
}

fn keyset(dice: &mut Dice, world: &World) -> Value {
    let state = *dice.pick(&["published", "active", "retiring", "retired"]);
    let mut keys = vec![jwk(&world.edge, "edge", state)];
    if dice.one_in(2) {
        keys.push(jwk(&world.control, "control", "active"));
    }
    json!({ "iss": ENVIRONMENT, "ver": 7, "iat": NOW - 100, "exp": NOW + 3500, "keys": keys })
}

/// Spoils what every kind has.
fn common(dice: &mut Dice, claims: &mut Value) -> String {
    let second = NOW + dice.pick(&SECONDS);
    let (name, value) = match dice.below(8) {
        0 => ("iat", json!(second)),
        1 => ("exp", json!(second)),
        2 => ("nbf", json!(second)),
        3 => (
            "nbf",
            dice.pick(&[json!(null), json!(1.0), json!("1"), json!(0), json!(9_007_199_254_740_991u64)])
                .clone(),
        ),
        4 => ("exp", json!(NOW + dice.pick(&[3600, 3601, 30 * 24 * 3600 - 100, 30 * 24 * 3600 - 99, 30]))),
        5 => {
            let odd = [
                "staging",
                "",
                "production2",
                "Production",
                "-a",
                &"p".repeat(64),
                &"p".repeat(65),
                "p\n",
                "é",
            ];
            ("iss", json!(*dice.pick(&odd)))
        }
        6 => {
            let names: Vec<String> = claims.as_object().into_iter().flat_map(Map::keys).cloned().collect();
            let name = dice.pick(&names);
            *claims = without(claims.take(), name);
            return format!("without {name}");
        }
        _ => {
            let names: Vec<String> = claims.as_object().into_iter().flat_map(Map::keys).cloned().collect();
            let name = dice.pick(&names).clone();
            *claims = with(claims.take(), &name, odd_value(dice));
            return format!("{name} is another");
        }
    };
    *claims = with(claims.take(), name, value);
    format!("{name} is another")
}

fn odd_value(dice: &mut Dice) -> Value {
    let values = [
        json!(null),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("3"),
        json!(""),
        json!([]),
        json!({}),
        json!(["edge"]),
        json!({ "length": 0 }),
        json!(true),
        json!(9_007_199_254_740_992u64),
        json!(u64::MAX),
        json!([[]]),
    ];
    dice.pick(&values).clone()
}

fn odd_key(dice: &mut Dice) -> String {
    let keys = [
        "__proto__",
        "constructor",
        "prototype",
        "",
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        "é",
        "a\n",
        "\u{212a}",
        "A",
        "9",
        &"k".repeat(128),
        &"k".repeat(129),
    ];
    (*dice.pick(&keys)).to_owned()
}

fn spoil_assignment(dice: &mut Dice, claims: &mut Value) -> String {
    let (name, value) = match dice.below(8) {
        0 => ("sub", json!(tag(ENVIRONMENT, "user", dice.pick::<&str>(&["user-2", "USER-1", "user-1 "])))),
        1 => {
            let own = tag(ENVIRONMENT, "user", UNIT);
            let odd = [
                own[..21].to_owned(),
                format!("{own}="),
                format!("{own}A"),
                "!".repeat(22),
                "A".repeat(21) + "B",
            ];
            ("sub", json!(dice.pick(&odd)))
        }
        2 => (
            "aud",
            json!(*dice.pick(&["edgeseal:staging", "edgeseal:", "production", "edgeseal:production "])),
        ),
        3 => ("ut", json!(odd_key(dice))),
        4 => ("cv", json!(*dice.pick(&[0, 12, 14]))),
        5 => ("ep", json!(*dice.pick(&[0, 3, 5]))),
        6 => {
            let entry = json!({ "v": "a", "xv": 3, "r": "split" });
            ("a", Value::Object(Map::from_iter([(odd_key(dice), entry)])))
        }
        _ => {
            let member = *dice.pick(&["v", "xv", "r", "p"]);
            let entry = json!({ "v": "a", "xv": 3, "r": "split" });
            let entry = match dice.below(4) {
                0 => without(entry, member),
                1 => with(entry, "v", json!(odd_key(dice))),
                2 => odd_value(dice),
                _ => with(entry, member, odd_value(dice)),
            };
            ("a", json!({ "checkout": entry }))
        }
    };
    *claims = with(claims.take(), name, value);
    format!("{name} is another")
}

fn spoil_status(dice: &mut Dice, world: &World, claims: &mut Value) -> String {
    let kid = world.control.kid().to_string();
    let (name, value) = match dice.below(6) {
        0 => ("rev", json!([kid])),
        1 => (
            "rev",
            json!([world.edge.kid().as_str(), dice.pick(&[&kid[..21], "", "A", "AAAAAAAAAAAAAAAAAAAAAB"])]),
        ),
        2 => ("off", json!(["checkout", odd_key(dice), "checkout"])),
        3 => ("off", json!(["checkout", odd_value(dice)])),
        4 => ("min", Value::Object(Map::from_iter([(odd_key(dice), json!(3))]))),
        _ => ("min", json!({ "checkout": odd_value(dice) })),
    };
    *claims = with(claims.take(), name, value);
    format!("{name} is another")
}

fn spoil_keyset(dice: &mut Dice, world: &World, claims: &mut Value) -> String {
    let Some(Value::Array(keys)) = claims.get_mut("keys") else { return "no keys".to_owned() };
    let Some(first) = keys.first().cloned() else { return "no keys".to_owned() };
    let mut how = String::new();
    let mut set = |name: &str, value: Value| {
        how = format!("{name} of a key is another");
        with(first.clone(), name, value)
    };
    let key = match dice.below(12) {
        0 => set("use", json!(*dice.pick(&["control", "root", "sig", "Edge", ""]))),
        1 => set("state", json!(*dice.pick(&["Active", "revoked", "published,active", ""]))),
        2 => set("alg", json!(*dice.pick(&["Ed25519", "HS256", "none", "EdDSA,edge", ""]))),
        3 => set("kty", json!(*dice.pick(&["oct", "okp", "EC"]))),
        4 => set("crv", json!(*dice.pick(&["X25519", "ed25519", "P-256"]))),
        5 => set("d", odd_value(dice)),
        6 => set("kid", json!(*dice.pick(&[world.control.kid().as_str(), "", "__proto__"]))),
        7 => set("exp", json!(NOW + dice.pick(&SECONDS))),
        8 => {
            let name = *dice.pick(&["kty", "crv", "x", "kid", "alg", "use", "state", "nbf", "exp"]);
            set(name, odd_value(dice))
        }
        9 => {
            let name = *dice.pick(&["kty", "crv", "x", "kid", "alg", "use", "state", "nbf"]);
            without(set(name, Value::Null), name)
        }
        10 => {
            let count = *dice.pick(&[2, 64, 65]);
            how = format!("{count} keys");
            let more = (0..count - 1).map(|n| {
                let key = SecretKey::from_seed(&[u8::try_from(100 + n).unwrap_or(0); 32]);
                jwk(&key, "edge", "active")
            });
            let mut all = vec![first.clone()];
            all.extend(more);
            if count == 2 && dice.one_in(2) {
                all = vec![first.clone(), first.clone()];
            }
            *keys = all;
            return how;
        }
        _ => {
            let point = point(dice);
            how = "another point".to_owned();
            let x = b64(point);
            let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
            let kid = b64(thumbprint.iter().take(16).copied().collect::<Vec<u8>>());
            with(with(first, "x", json!(x)), "kid", json!(kid))
        }
    };
    if let Some(place) = keys.first_mut() {
        *place = key;
    }
    how
}

/// 32 bytes that may be a public key: half of all are points.
fn point(dice: &mut Dice) -> [u8; 32] {
    let mut point = match dice.below(4) {
        0 => *dice.pick(&small_order_points()),
        // From p to 2^255 - 1: not canonical.
        1 => {
            let mut point = [0xff; 32];
            (point[0], point[31]) = (0xed + u8::try_from(dice.below(19)).unwrap_or(0), 0x7f);
            point
        }
        2 => {
            let mut point = [0; 32];
            point[0] = u8::try_from(dice.below(40)).unwrap_or(0);
            point
        }
        _ => dice.bytes(),
    };
    if dice.one_in(3) {
        point[31] |= 0x80;
    }
    point
}
