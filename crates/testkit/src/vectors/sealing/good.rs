//! Tokens that every verifier must accept.

use serde_json::{Map, Value, json};

use super::world::{
    ASSIGNMENT, ENVIRONMENT, KEYSET, KINDS, NOW, SNAPSHOT, STATUS, World, proper_header, signed_by, tag, with,
};

pub(super) fn cases(world: &World) -> Vec<Value> {
    let mut cases = Vec::new();
    let mut add = |name: &str, kind: &str, token: String, changes: &[(&str, Value)]| {
        cases.push(world.case(name, kind, token, changes));
    };

    for kind in KINDS {
        let token = world.sealed(kind, &world.claims(kind));
        add(&format!("plain {kind}"), kind, token.clone(), &[("claims", world.claims(kind))]);
        let header = with(world.header(kind), "alg", json!("Ed25519"));
        add(
            &format!("{kind} with the algorithm name of RFC 9864"),
            kind,
            world.sealed_under(kind, &header),
            &[],
        );
        let newer = world.sealed_with(kind, "newer", json!({ "nested": [1.5, null, "x"] }));
        add(&format!("{kind} with a claim of a newer version"), kind, newer, &[]);
        let start = if kind == KEYSET { NOW - 100 } else { NOW };
        add(&format!("{kind} from a clock 60 s ahead"), kind, token.clone(), &[("now", json!(start - 60))]);
        let end = match kind {
            ASSIGNMENT => NOW + 900,
            KEYSET => NOW + 3500,
            STATUS => NOW + 30,
            _ => NOW + 1_000_000_000,
        };
        add(&format!("{kind} 59 s after its end"), kind, token, &[("now", json!(end + 59))]);
    }

    let units = [
        ("1-byte unit id", "1".to_owned()),
        ("256-byte unit id", "u".repeat(256)),
        ("256-byte unit id of two-byte characters", "é".repeat(128)),
        ("256-byte unit id of four-byte characters", "😀".repeat(64)),
        ("non-ASCII unit id", "用户-42".to_owned()),
        ("unit id with a composed accent", "zoë".to_owned()),
        ("unit id with a combining accent", "zoe\u{308}".to_owned()),
        ("unit id with a joined emoji", "👩‍💻".to_owned()),
        ("unit id with delimiters", "a|b/c?d=e&f#g%20h\\\"'".to_owned()),
    ];
    for (name, unit) in units {
        let token = world.sealed_with(ASSIGNMENT, "sub", json!(tag(ENVIRONMENT, "user", &unit)));
        add(name, ASSIGNMENT, token, &[("unit", json!(unit))]);
    }
    let device = world.claims(ASSIGNMENT);
    let device = with(device, "sub", json!(tag(ENVIRONMENT, "device", "d-1")));
    let token = world.sealed(ASSIGNMENT, &with(device, "ut", json!("device")));
    add("another unit type", ASSIGNMENT, token, &[("unit", json!("d-1")), ("unit_type", json!("device"))]);

    let payloads = [
        ("null", json!(null)),
        ("true", json!(true)),
        ("integer", json!(-42)),
        ("large integer", json!(9_007_199_254_740_991u64)),
        ("fraction", json!(0.1)),
        ("text", json!("grün 🟢 \"quoted\" \\ \u{2028}")),
        ("empty text", json!("")),
        ("list", json!([1, "two", null, [3]])),
        ("empty list", json!([])),
        ("object", json!({ "b": 1, "a": { "z": [], "y": {} } })),
        ("empty object", json!({})),
    ];
    for (name, payload) in payloads {
        let a = json!({ "checkout": { "v": "treatment", "xv": 3, "r": "split", "p": payload } });
        let token = world.sealed_with(ASSIGNMENT, "a", a.clone());
        let claims = with(world.claims(ASSIGNMENT), "a", a);
        add(&format!("payload: {name}"), ASSIGNMENT, token, &[("claims", claims)]);
    }

    for count in [0, 1, 5, 20] {
        let a: Map<String, Value> = (0..count).map(|n| (format!("experiment-{n}"), variant(n))).collect();
        let claims = with(world.claims(ASSIGNMENT), "a", Value::Object(a));
        let name = format!("{count} experiments");
        add(&name, ASSIGNMENT, world.sealed(ASSIGNMENT, &claims), &[("claims", claims)]);
    }

    for (name, key) in [("published", &world.next_edge), ("retiring", &world.last_edge)] {
        let claims = world.claims(ASSIGNMENT).to_string();
        let token = signed_by(key, &proper_header(ASSIGNMENT, key), &claims);
        add(&format!("signed by a {name} key"), ASSIGNMENT, token, &[]);
    }

    let plain = world.sealed(ASSIGNMENT, &world.claims(ASSIGNMENT));
    let spaced = serde_json::to_string_pretty(&world.claims(ASSIGNMENT)).unwrap_or_default();
    add("white space inside the claims", ASSIGNMENT, world.sealed_text(ASSIGNMENT, &spaced), &[]);
    let escaped = world.claims(ASSIGNMENT).to_string().replace("\"iss\"", "\"\\u0069ss\"");
    add("a claim's name in escapes", ASSIGNMENT, world.sealed_text(ASSIGNMENT, &escaped), &[]);
    add("nbf within the skew", ASSIGNMENT, world.sealed_with(ASSIGNMENT, "nbf", json!(NOW + 60)), &[]);
    add("the longest life", ASSIGNMENT, world.sealed_with(ASSIGNMENT, "exp", json!(NOW + 3600)), &[]);
    add(
        "an unknown reason",
        ASSIGNMENT,
        {
            let a = json!({ "checkout": { "v": "treatment", "xv": 3, "r": "of-tomorrow" } });
            world.sealed_with(ASSIGNMENT, "a", a)
        },
        &[],
    );
    let later = with(world.claims(ASSIGNMENT), "iat", json!(4_294_967_296i64));
    let later = with(later, "exp", json!(4_294_967_296i64 + 900));
    add("after 2106", ASSIGNMENT, world.sealed(ASSIGNMENT, &later), &[("now", json!(4_294_967_296i64))]);

    let same =
        json!({ "cv": 13, "ep": 4, "statusEp": 9, "keysetVer": 7, "xv": { "checkout": 3, "gone": 8 } });
    add("what was seen before is not newer", ASSIGNMENT, plain.clone(), &[("memory", same)]);
    for (status, checkout) in [
        ("quiet", "ok"),
        ("stranger_revoked", "ok"),
        ("checkout_from_3", "ok"),
        ("checkout_off", "E_HALTED"),
        ("checkout_from_4", "E_HALTED"),
    ] {
        let usable = json!({ "checkout": checkout, "search": "ok", "elsewhere": "absent" });
        let changes = [("status", json!(status)), ("usable", usable)];
        add(&format!("under the status '{status}'"), ASSIGNMENT, plain.clone(), &changes);
    }
    let halting = json!({ "iss": ENVIRONMENT, "ep": 5, "cv": 14, "off": ["checkout", "search"], "min": { "a.b": 7 },
        "rev": [edgeseal_core::sealing::Signer::kid(&world.edge).as_str()], "iat": NOW, "exp": NOW + 30 });
    add("status that halts and revokes", STATUS, world.sealed(STATUS, &halting), &[("claims", halting)]);
    add("snapshot of long ago", SNAPSHOT, world.sealed_with(SNAPSHOT, "iat", json!(0)), &[]);
    cases
}

fn variant(n: u32) -> Value {
    let reason = ["split", "sticky", "forced", "winner"][n as usize % 4];
    let plain = json!({ "v": format!("variant-{}", n % 3), "xv": n + 1, "r": reason });
    if n.is_multiple_of(2) { plain } else { with(plain, "p", json!({ "n": n })) }
}
