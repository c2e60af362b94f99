//! Tokens that nobody entitled signed, or that are spelled wrongly.

use edgeseal_core::sealing::Signer;
use serde_json::{Value, json};

use super::super::hmac_profile::mac_bytes;
use super::super::world::{
    ASSIGNMENT, ENVIRONMENT, KEYSET, KINDS, STATUS, b64, compact, signed_by, small_order_points, tag, typ,
    with, with_unreduced_s, without,
};
use super::{Bad, FORGED};

pub(super) fn algorithms(bad: &mut Bad<'_>) {
    let world = bad.world;
    for alg in ["none", "None", "nOnE"] {
        let header = with(world.header(ASSIGNMENT), "alg", json!(alg)).to_string();
        let token = compact(&header, &world.claims(ASSIGNMENT).to_string(), |_| Vec::new());
        bad.add(&format!("alg {alg} with an empty signature"), ASSIGNMENT, token, "E_KEY", FORGED);
    }
    let header = with(world.header(ASSIGNMENT), "alg", json!("none"));
    let trusted = "who lets the header choose the algorithm lets the attacker choose it";
    bad.add(
        "alg none over a true signature",
        ASSIGNMENT,
        world.sealed_under(ASSIGNMENT, &header),
        "E_KEY",
        trusted,
    );
    for alg in ["ES256", "RS256", "Ed448", "eddsa", ""] {
        let header = with(world.header(ASSIGNMENT), "alg", json!(alg));
        let token = world.sealed_under(ASSIGNMENT, &header);
        bad.add(&format!("alg '{alg}' over a true signature"), ASSIGNMENT, token, "E_KEY", trusted);
    }
    for (alg, code) in [("HS256", "E_KEY"), ("EdDSA", "E_SIGNATURE")] {
        for kind in KINDS {
            let public = world.signer(kind).public();
            let header = with(world.header(kind), "alg", json!(alg)).to_string();
            let token =
                compact(&header, &world.claims(kind).to_string(), |m| mac_bytes(public.as_bytes(), m));
            let name = format!("{kind} with an HMAC keyed by the public key, alg {alg}");
            bad.add(&name, kind, token, code, "everybody knows the public key, so everybody could sign");
        }
    }
}

pub(super) fn signatures(bad: &mut Bad<'_>) {
    let world = bad.world;
    let (header, claims) = (world.header(ASSIGNMENT).to_string(), world.claims(ASSIGNMENT).to_string());
    let mut spoil = |name: &str, cost: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        bad.add(name, ASSIGNMENT, compact(&header, &claims, sign), "E_SIGNATURE", cost);
    };
    let sign = |message: &[u8]| world.edge.sign(message);
    spoil("empty signature", FORGED, &|_| Vec::new());
    spoil("signature of zeros", FORGED, &|_| vec![0; 64]);
    spoil("signature of a stranger", FORGED, &|m| world.stranger.sign(m).to_vec());
    spoil("truncated signature", FORGED, &|m| sign(m).iter().take(63).copied().collect());
    let second = "one token with two signatures defeats caches and replay lists keyed by the token";
    spoil("signature with a trailing byte", second, &|m| [sign(m).as_slice(), &[0]].concat());
    spoil("unreduced s", second, &|m| with_unreduced_s(sign(m)));
    spoil("signature over the claims without the header", FORGED, &|_| {
        sign(b64(&claims).as_bytes()).to_vec()
    });
    for (place, point) in small_order_points().into_iter().enumerate() {
        let name = format!("R of small order ({place}) and s of zero");
        spoil(&name, "a signature that needs no private key", &|_| [point, [0; 32]].concat());
    }
    let swapped = |kind: &str, other: Value| {
        let (good, other) = (world.sealed(kind, &world.claims(kind)), world.sealed(kind, &other));
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        match (parts(&good).as_slice(), parts(&other).as_slice()) {
            ([header, _, signature], [_, claims, _]) => format!("{header}.{claims}.{signature}"),
            _ => String::new(),
        }
    };
    let other = with(world.claims(ASSIGNMENT), "sub", json!(tag(ENVIRONMENT, "user", "user-2")));
    let token = swapped(ASSIGNMENT, other);
    bad.add_where(
        "claims of another unit under this signature",
        ASSIGNMENT,
        token,
        "E_SIGNATURE",
        FORGED,
        &[("unit", json!("user-2"))],
    );
    let token = swapped(KEYSET, with(world.claims(KEYSET), "ver", json!(8)));
    bad.add(
        "keyset with changed claims",
        KEYSET,
        token,
        "E_SIGNATURE",
        "an attacker's keys would be trusted",
    );
    let token = swapped(STATUS, with(world.claims(STATUS), "off", json!(["checkout"])));
    let paused = "anyone could halt, or un-halt, any experiment";
    bad.add("status with changed claims", STATUS, token, "E_SIGNATURE", paused);
}

pub(super) fn headers(bad: &mut Bad<'_>) {
    let world = bad.world;
    let fetched = "the attacker would bring the key along, or make the verifier fetch it";
    for (name, value) in [
        ("jku", json!("https://attacker.example/keys.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": world.stranger.public().to_string() })),
    ] {
        let header = with(world.header(ASSIGNMENT), name, value);
        bad.add(
            &format!("header with {name}"),
            ASSIGNMENT,
            world.sealed_under(ASSIGNMENT, &header),
            "E_MALFORMED",
            fetched,
        );
    }
    let crit = with(world.header(ASSIGNMENT), "crit", json!(["exp"]));
    let ignored = "a rule that the signer marked as critical would be ignored";
    bad.add("header with crit", ASSIGNMENT, world.sealed_under(ASSIGNMENT, &crit), "E_MALFORMED", ignored);
    let b64_false = with(world.header(ASSIGNMENT), "b64", json!(false));
    let read = "the same bytes would be read as two different payloads (RFC 7797)";
    bad.add(
        "header with b64 false",
        ASSIGNMENT,
        world.sealed_under(ASSIGNMENT, &b64_false),
        "E_MALFORMED",
        read,
    );
    for name in ["alg", "kid", "typ"] {
        let token = world.sealed_under(ASSIGNMENT, &without(world.header(ASSIGNMENT), name));
        bad.add(
            &format!("header without {name}"),
            ASSIGNMENT,
            token,
            "E_MALFORMED",
            "the verifier would have to guess",
        );
        let doubled = world.header(ASSIGNMENT).to_string().replacen('{', &format!("{{\"{name}\":\"x\","), 1);
        let token = signed_by(&world.edge, &doubled, &world.claims(ASSIGNMENT).to_string());
        let cost = "one reader takes the first member, the next one the last";
        bad.add(&format!("header with {name} twice"), ASSIGNMENT, token, "E_MALFORMED", cost);
    }
    for (name, kid) in [
        ("path", "../../../../dev/null"),
        ("SQL", "' OR '1'='1"),
        ("NUL", "\0"),
        ("prototype", "__proto__"),
        ("constructor", "constructor"),
        ("empty", ""),
        ("4 KiB", &"A".repeat(4096)),
    ] {
        let header = with(world.header(ASSIGNMENT), "kid", json!(kid));
        let token = world.sealed_under(ASSIGNMENT, &header);
        let cost = "looking a key up by a stranger's text reaches files, tables or object prototypes";
        bad.add(&format!("kid trick: {name}"), ASSIGNMENT, token, "E_KEY", cost);
    }
    for is in KINDS {
        for expected in KINDS.into_iter().filter(|expected| *expected != is) {
            let token = world.sealed(is, &world.claims(is));
            let cost = format!("a {is} would act as a {expected}, under rules it was never signed for");
            bad.add(&format!("{is} as {expected}"), expected, token, "E_TYPE", &cost);
        }
    }
    for typ in ["JWT", "", &format!("application/{}", typ(ASSIGNMENT)), &typ(ASSIGNMENT).to_uppercase()] {
        let header = with(world.header(ASSIGNMENT), "typ", json!(typ));
        let token = world.sealed_under(ASSIGNMENT, &header);
        let cost = "a lenient type lets tokens of other systems with the same key in";
        bad.add(&format!("typ '{typ}'"), ASSIGNMENT, token, "E_TYPE", cost);
    }
}

pub(super) fn encodings(bad: &mut Bad<'_>) {
    let world = bad.world;
    let token = world.sealed(ASSIGNMENT, &world.claims(ASSIGNMENT));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return };
    let mut add = |name: &str, token: String| {
        let cost =
            "tokens with many spellings slip past caches, logs and deny lists, and readers disagree on them";
        bad.add(name, ASSIGNMENT, token, "E_MALFORMED", cost);
    };
    // 64 bytes leave four unused bits in the last of 86 characters: 'A', 'Q', 'g' and 'w' are canonical.
    let stray: String = match signature.char_indices().last() {
        Some((place, last)) => {
            let next = char::from_u32(u32::from(last) + 1).unwrap_or('B');
            signature.chars().take(place).chain([next]).collect()
        }
        None => String::new(),
    };
    add("stray bits in the signature", format!("{header}.{claims}.{stray}"));
    add("padding", format!("{token}=="));
    add("plain base64 alphabet", format!("{header}.{claims}.{}", "+/".repeat(43)));
    add("leading space", format!(" {token}"));
    add("trailing line end", format!("{token}\n"));
    add("line end inside", format!("{header}.\n{claims}.{signature}"));
    add("one part", (*header).to_owned());
    add("two parts", format!("{header}.{claims}"));
    add("four parts", format!("{token}.{signature}"));
    add("five parts, as in a JWE", format!("{header}.{claims}.{claims}.{claims}.{signature}"));
    add("trailing dot", format!("{token}."));
    add("empty", String::new());
    add("no header", format!(".{claims}.{signature}"));
    add(
        "JSON serialisation",
        json!({ "protected": header, "payload": claims, "signature": signature }).to_string(),
    );
    let large = world.sealed_with(ASSIGNMENT, "x", json!("x".repeat(200_000)));
    let cost = "unbounded tokens let a stranger decide how much memory a check takes";
    bad.add("more than 256 KiB", ASSIGNMENT, large, "E_MALFORMED", cost);
}
