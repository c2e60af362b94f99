//! Tokens that are truly signed, by the wrong key, with the wrong claims, or for another place and time.

use edgeseal_core::sealing::Signer;
use serde_json::{Value, json};

use super::super::world::{
    ASSIGNMENT, ENVIRONMENT, KEYSET, KINDS, NOW, SNAPSHOT, STATUS, UNIT, b64, proper_header, signed_by,
    small_order_points, tag, with, without,
};
use super::{Bad, FORGED};

pub(super) fn keys(bad: &mut Bad<'_>) {
    let world = bad.world;
    let claims = |kind: &str| world.claims(kind).to_string();
    let by = |kind: &str, key| signed_by(key, &proper_header(kind, key), &claims(kind));
    bad.add("signed by a stranger", ASSIGNMENT, by(ASSIGNMENT, &world.stranger), "E_KEY", FORGED);
    let gone = "a key that was given up, perhaps because it leaked, would live on";
    bad.add("signed by a retired key", ASSIGNMENT, by(ASSIGNMENT, &world.retired_edge), "E_KEY", gone);
    bad.add("signed by a key past its end", ASSIGNMENT, by(ASSIGNMENT, &world.expired_edge), "E_KEY", gone);
    let escalated = "a stolen key of one use would do the work of the others";
    bad.add(
        "assignment signed by a control key",
        ASSIGNMENT,
        by(ASSIGNMENT, &world.control),
        "E_KEY",
        escalated,
    );
    bad.add("assignment signed by the root key", ASSIGNMENT, by(ASSIGNMENT, &world.root), "E_KEY", escalated);
    bad.add("status signed by an edge key", STATUS, by(STATUS, &world.edge), "E_KEY", escalated);
    bad.add("snapshot signed by an edge key", SNAPSHOT, by(SNAPSHOT, &world.edge), "E_KEY", escalated);
    bad.add("keyset signed by its own edge key", KEYSET, by(KEYSET, &world.edge), "E_KEY", escalated);
    bad.add("keyset signed by its own control key", KEYSET, by(KEYSET, &world.control), "E_KEY", escalated);
    let own = "the attacker would be the root of trust";
    bad.add("keyset signed by a foreign root", KEYSET, by(KEYSET, &world.stranger), "E_KEY", own);
    let token = world.sealed(ASSIGNMENT, &world.claims(ASSIGNMENT));
    let revoked = [("status", json!("edge_revoked"))];
    bad.add_where("signed by a revoked key", ASSIGNMENT, token.clone(), "E_KEY", gone, &revoked);
    let foreign = [("keyset", json!("staging"))];
    let crossed = "whoever can sign for a test environment could sign for production";
    bad.add_where(
        "checked with the keyset of another environment",
        ASSIGNMENT,
        token,
        "E_KEY",
        crossed,
        &foreign,
    );

    let mut spoiled = |name: &str, member: &str, value: Value, cost: &str| {
        let mut claims = world.claims(KEYSET);
        if let Some(key) = claims.pointer_mut("/keys/0") {
            *key = with(key.take(), member, value);
        }
        bad.add(name, KEYSET, world.sealed(KEYSET, &claims), "E_MALFORMED", cost);
    };
    let weak = "a key of small order accepts one signature for many messages";
    for (place, point) in small_order_points().into_iter().enumerate() {
        spoiled(&format!("keyset with a key of small order ({place})"), "x", json!(b64(point)), weak);
    }
    let named = "a key under another's name takes its place";
    spoiled(
        "keyset with a kid that is not the thumbprint",
        "kid",
        json!(world.control.kid().as_str()),
        named,
    );
    spoiled(
        "keyset with a symmetric key",
        "kty",
        json!("oct"),
        "a secret for HMAC would be published to everyone",
    );
    spoiled(
        "keyset with a private key",
        "d",
        json!(b64(world.edge.seed())),
        "a private key out in the open would be used on",
    );
    spoiled(
        "keyset with a key for another algorithm",
        "alg",
        json!("HS256"),
        "the algorithm of a key would be open to choice",
    );
    spoiled("keyset with an unknown use", "use", json!("sig"), "a key without a purpose could sign anything");
    spoiled(
        "keyset with an unknown state",
        "state",
        json!("Active"),
        "a key in no known state would be taken as good",
    );
    let mut claims = world.claims(KEYSET);
    if let Some(Value::Array(keys)) = claims.get_mut("keys") {
        let again = keys.first().cloned().map(|key| with(key, "use", json!("control")));
        keys.extend(again);
    }
    let twice = "one reader finds the first key, the next one the last, with another use";
    bad.add("keyset with one kid twice", KEYSET, world.sealed(KEYSET, &claims), "E_MALFORMED", twice);
}

pub(super) fn claims(bad: &mut Bad<'_>) {
    let world = bad.world;
    let twice = "one reader takes the first member, the next one the last: two meanings under one signature";
    for kind in KINDS {
        let doubled = world.claims(kind).to_string().replacen('{', "{\"iss\":\"staging\",", 1);
        bad.add(
            &format!("{kind} with iss twice"),
            kind,
            world.sealed_text(kind, &doubled),
            "E_MALFORMED",
            twice,
        );
    }
    let nested = world.claims(ASSIGNMENT).to_string().replacen("\"xv\":3", "\"xv\":3,\"xv\":4", 1);
    bad.add(
        "xv twice inside an experiment",
        ASSIGNMENT,
        world.sealed_text(ASSIGNMENT, &nested),
        "E_MALFORMED",
        twice,
    );
    for text in ["", "null", "[]", "{", "{} {}"] {
        let token = world.sealed_text(ASSIGNMENT, text);
        let cost = "a verifier that goes on without claims has checked nothing";
        bad.add(&format!("claims '{text}'"), ASSIGNMENT, token, "E_MALFORMED", cost);
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let token = world.sealed_literal(ASSIGNMENT, "x", &deep);
    bad.add("claims nested 200 deep", ASSIGNMENT, token, "E_MALFORMED", "a stranger could exhaust the stack");
    for name in ["iss", "aud", "sub", "ut", "iat", "exp", "cv", "ep", "a"] {
        let token = world.sealed(ASSIGNMENT, &without(world.claims(ASSIGNMENT), name));
        let cost = format!("without '{name}' its check would pass by default");
        bad.add(&format!("without {name}"), ASSIGNMENT, token, "E_MALFORMED", &cost);
    }
    let loose = "two readers that convert types differently disagree about what was signed";
    for (name, value) in [
        ("aud", json!(["edgeseal:production", "edgeseal:staging"])),
        ("cv", json!("13")),
        ("ep", json!(-1)),
        ("sub", json!(UNIT)),
        ("a", json!([])),
        ("a", json!({ "checkout": "treatment" })),
        ("a", json!({ "checkout": { "v": "treatment", "xv": "3", "r": "split" } })),
        ("a", json!({ "__proto__": { "v": "treatment", "xv": 3, "r": "split" } })),
    ] {
        let token = world.sealed_with(ASSIGNMENT, name, value.clone());
        bad.add(&format!("{name} as {value}"), ASSIGNMENT, token, "E_MALFORMED", loose);
    }
}

pub(super) fn times(bad: &mut Bad<'_>) {
    let world = bad.world;
    let forever = "a time that is misread, as zero or as never, makes a token that does not end";
    for literal in
        ["-1", "1800000000.0", "1800000000.5", "18e8", "1e400", "\"1800000900\"", "9007199254740992", "true"]
    {
        for claim in ["iat", "exp"] {
            let token = world.sealed_literal(ASSIGNMENT, claim, literal);
            bad.add(&format!("{claim} as {literal}"), ASSIGNMENT, token, "E_MALFORMED", forever);
        }
    }
    let long = "a variant that was paused would live on in caches beyond the hour that was promised";
    bad.add(
        "life of 3601 s",
        ASSIGNMENT,
        world.sealed_with(ASSIGNMENT, "exp", json!(NOW + 3601)),
        "E_MALFORMED",
        long,
    );
    bad.add(
        "end in the year 9999",
        ASSIGNMENT,
        world.sealed_with(ASSIGNMENT, "exp", json!(253_402_300_799i64)),
        "E_MALFORMED",
        long,
    );
    bad.add(
        "end at its begin",
        ASSIGNMENT,
        world.sealed_with(ASSIGNMENT, "exp", json!(NOW)),
        "E_MALFORMED",
        forever,
    );
    let frozen = "an attacker could freeze clients on a status from before a pause";
    bad.add(
        "status with a life of 31 s",
        STATUS,
        world.sealed_with(STATUS, "exp", json!(NOW + 31)),
        "E_MALFORMED",
        frozen,
    );
    let month = "a keyset from before a key was withdrawn would be good for ever";
    let token = world.sealed_with(KEYSET, "exp", json!(NOW - 100 + 30 * 24 * 3600 + 1));
    bad.add("keyset with a life of more than 30 days", KEYSET, token, "E_MALFORMED", month);

    let stale = "what was ended, changed or paused since would still be shown";
    for (kind, end) in [(ASSIGNMENT, NOW + 900), (KEYSET, NOW + 3500), (STATUS, NOW + 30)] {
        let token = world.sealed(kind, &world.claims(kind));
        bad.add_where(
            &format!("expired {kind}"),
            kind,
            token,
            "E_EXPIRED",
            stale,
            &[("now", json!(end + 60))],
        );
    }
    let ahead = "a token dated ahead outlives the limit on its life by as much";
    for kind in KINDS {
        let claims = with(world.claims(kind), "iat", json!(NOW + 61));
        let claims = match kind {
            SNAPSHOT => claims,
            STATUS => with(claims, "exp", json!(NOW + 91)),
            _ => with(claims, "exp", json!(NOW + 961)),
        };
        bad.add(&format!("{kind} from the future"), kind, world.sealed(kind, &claims), "E_NOT_YET", ahead);
    }
    let token = world.sealed_with(ASSIGNMENT, "nbf", json!(NOW + 61));
    bad.add("nbf in the future", ASSIGNMENT, token, "E_NOT_YET", "a launch would be seen before its hour");
}

pub(super) fn replays(bad: &mut Bad<'_>) {
    let world = bad.world;
    let crossed = "whoever can sign for a test environment could decide in production";
    for kind in KINDS {
        let token = world.sealed_with(kind, "iss", json!("staging"));
        bad.add(&format!("{kind} of another environment"), kind, token, "E_AUDIENCE", crossed);
    }
    for aud in ["edgeseal:staging", "production", "edgeseal:production2"] {
        let token = world.sealed_with(ASSIGNMENT, "aud", json!(aud));
        bad.add(&format!("aud {aud}"), ASSIGNMENT, token, "E_AUDIENCE", crossed);
    }
    let token = world.sealed(ASSIGNMENT, &world.claims(ASSIGNMENT));
    let leak = "a shared cache that mixes users up would show one user the variant of another";
    let composed = world.sealed_with(ASSIGNMENT, "sub", json!(tag(ENVIRONMENT, "user", "zoë")));
    bad.add_where(
        "token of another unit",
        ASSIGNMENT,
        token.clone(),
        "E_SUBJECT",
        leak,
        &[("unit", json!("user-2"))],
    );
    bad.add_where(
        "token of another unit type",
        ASSIGNMENT,
        token.clone(),
        "E_SUBJECT",
        leak,
        &[("unit_type", json!("device"))],
    );
    bad.add_where(
        "ids that differ in case",
        ASSIGNMENT,
        token.clone(),
        "E_SUBJECT",
        leak,
        &[("unit", json!("USER-1"))],
    );
    let other_form = [("unit", json!("zoe\u{308}"))];
    bad.add_where("ids that differ in Unicode form", ASSIGNMENT, composed, "E_SUBJECT", leak, &other_form);

    let back = "an attacker, or a lagging cache, could undo a pause by showing the client the past";
    for (name, memory) in [("cv", json!({ "cv": 14 })), ("ep", json!({ "ep": 5 }))] {
        let name = format!("{name} older than seen");
        bad.add_where(&name, ASSIGNMENT, token.clone(), "E_ROLLBACK", back, &[("memory", memory)]);
    }
    let shown = "a variant known to do harm would be shown until caches forget it";
    for (name, code, cost, field, value) in [
        ("xv older than seen", "E_ROLLBACK", back, "memory", json!({ "xv": { "checkout": 4 } })),
        ("experiment switched off", "E_HALTED", shown, "status", json!("checkout_off")),
        ("version below the minimum", "E_HALTED", shown, "status", json!("checkout_from_4")),
    ] {
        let changes = [("experiment", json!("checkout")), (field, value)];
        bad.add_where(name, ASSIGNMENT, token.clone(), code, cost, &changes);
    }
}
