//! The environment that the vectors play in: its keys, keysets and status documents, and how cases are written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgeseal_core::sealing::{SecretKey, Signer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ENVIRONMENT: &str = "production";
pub(crate) const UNIT: &str = "user-1";

pub(crate) const ASSIGNMENT: &str = "assignment";
pub(crate) const KEYSET: &str = "keyset";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const STATUS: &str = "status";
pub(crate) const KINDS: [&str; 4] = [ASSIGNMENT, KEYSET, SNAPSHOT, STATUS];

pub(crate) struct World {
    pub(crate) root: SecretKey,
    pub(crate) edge: SecretKey,
    pub(crate) next_edge: SecretKey,
    pub(crate) last_edge: SecretKey,
    pub(crate) retired_edge: SecretKey,
    pub(crate) expired_edge: SecretKey,
    pub(crate) control: SecretKey,
    pub(crate) stranger: SecretKey,
}

impl World {
    pub(crate) fn new() -> Self {
        let key = |n: u8| SecretKey::from_seed(&[n; 32]);
        Self {
            root: key(1),
            edge: key(2),
            next_edge: key(3),
            last_edge: key(4),
            retired_edge: key(5),
            expired_edge: key(6),
            control: key(7),
            stranger: key(8),
        }
    }

    fn named_keys(&self) -> [(&'static str, &SecretKey); 8] {
        [
            ("root", &self.root),
            ("edge", &self.edge),
            ("edge_published", &self.next_edge),
            ("edge_retiring", &self.last_edge),
            ("edge_retired", &self.retired_edge),
            ("edge_expired", &self.expired_edge),
            ("control", &self.control),
            ("stranger", &self.stranger),
        ]
    }

    pub(crate) fn describe_keys(&self) -> Value {
        let describe = |(name, key): (&str, &SecretKey)| {
            let public = key.public().to_string();
            (
                name.to_owned(),
                json!({ "seed": b64(key.seed()), "public_key": public, "kid": key.kid().as_str() }),
            )
        };
        Value::Object(self.named_keys().into_iter().map(describe).collect())
    }

    /// RFC 7638 over RFC 8037 keys: whole thumbprints, and the first 16 bytes that a `kid` keeps.
    pub(crate) fn thumbprints(&self) -> Vec<Value> {
        let describe = |(_, key): (&str, &SecretKey)| {
            let x = b64(key.public().as_bytes());
            let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
            json!({ "x": x, "thumbprint": b64(thumbprint), "kid": key.kid().as_str() })
        };
        self.named_keys().into_iter().map(describe).collect()
    }

    /// The key that may sign a kind.
    pub(crate) fn signer(&self, kind: &str) -> &SecretKey {
        match kind {
            ASSIGNMENT => &self.edge,
            KEYSET => &self.root,
            _ => &self.control,
        }
    }

    pub(crate) fn keyset_claims(&self) -> Value {
        json!({
            "iss": ENVIRONMENT, "ver": 7, "iat": NOW - 100, "exp": NOW + 3500,
            "keys": [
                jwk(&self.edge, "edge", "active"),
                jwk(&self.next_edge, "edge", "published"),
                jwk(&self.last_edge, "edge", "retiring"),
                jwk(&self.retired_edge, "edge", "retired"),
                with(jwk(&self.expired_edge, "edge", "retiring"), "exp", json!(NOW - 60)),
                jwk(&self.control, "control", "active"),
            ],
        })
    }

    pub(crate) fn keysets(&self) -> Value {
        let staging = with(self.keyset_claims(), "iss", json!("staging"));
        json!({
            "current": self.sealed(KEYSET, &self.keyset_claims()),
            "staging": self.sealed(KEYSET, &staging),
        })
    }

    pub(crate) fn status_claims(&self) -> Value {
        json!({
            "iss": ENVIRONMENT, "ep": 4, "cv": 13, "off": [], "min": {}, "rev": [], "iat": NOW, "exp": NOW + 30,
        })
    }

    pub(crate) fn statuses(&self) -> Value {
        let status = |name: &str, value: Value| self.sealed(STATUS, &with(self.status_claims(), name, value));
        json!({
            "quiet": self.sealed(STATUS, &self.status_claims()),
            "checkout_off": status("off", json!(["checkout"])),
            "checkout_from_4": status("min", json!({ "checkout": 4 })),
            "checkout_from_3": status("min", json!({ "checkout": 3 })),
            "edge_revoked": status("rev", json!([self.edge.kid().as_str()])),
            "stranger_revoked": status("rev", json!([self.stranger.kid().as_str()])),
        })
    }

    /// Good claims of a kind.
    pub(crate) fn claims(&self, kind: &str) -> Value {
        match kind {
            ASSIGNMENT => json!({
                "iss": ENVIRONMENT, "aud": "edgeseal:production", "sub": tag(ENVIRONMENT, "user", UNIT), "ut": "user",
                "iat": NOW, "exp": NOW + 900, "cv": 13, "ep": 4, "cd": "vtIy7YcQQZIJvDZoT5lxhg",
                "a": {
                    "checkout": { "v": "treatment", "xv": 3, "r": "split", "p": { "button": "green" } },
                    "search": { "v": "control", "xv": 1, "r": "sticky" },
                },
            }),
            KEYSET => self.keyset_claims(),
            SNAPSHOT => json!({
                "iss": ENVIRONMENT, "iat": NOW, "cv": 13, "experiments": [], "layers": [], "holdouts": [], "groups": [],
            }),
            _ => self.status_claims(),
        }
    }

    /// The proper header of a kind.
    pub(crate) fn header(&self, kind: &str) -> Value {
        json!({ "alg": "EdDSA", "kid": self.signer(kind).kid().as_str(), "typ": typ(kind) })
    }

    /// Claims, properly signed.
    pub(crate) fn sealed(&self, kind: &str, claims: &Value) -> String {
        self.sealed_text(kind, &claims.to_string())
    }

    /// Claims as text, which may be no proper JSON, properly signed.
    pub(crate) fn sealed_text(&self, kind: &str, claims: &str) -> String {
        signed_by(self.signer(kind), &proper_header(kind, self.signer(kind)), claims)
    }

    /// Good claims but for one, properly signed.
    pub(crate) fn sealed_with(&self, kind: &str, claim: &str, value: Value) -> String {
        self.sealed(kind, &with(self.claims(kind), claim, value))
    }

    /// Good claims, one of them as it is written (`1e400`), properly signed.
    pub(crate) fn sealed_literal(&self, kind: &str, claim: &str, literal: &str) -> String {
        let claims = with(self.claims(kind), claim, json!("LITERAL")).to_string();
        self.sealed_text(kind, &claims.replace("\"LITERAL\"", literal))
    }

    /// Good claims under another header, truly signed by the right key.
    pub(crate) fn sealed_under(&self, kind: &str, header: &Value) -> String {
        signed_by(self.signer(kind), &header.to_string(), &self.claims(kind).to_string())
    }

    /// What every case carries; `change` overrides it.
    pub(crate) fn case(&self, name: &str, kind: &str, token: String, changes: &[(&str, Value)]) -> Value {
        let mut case = json!({
            "name": name,
            "kind": kind,
            "environment": ENVIRONMENT,
            "root_public_key": self.root.public().to_string(),
            "keyset": if kind == KEYSET { Value::Null } else { json!("current") },
            "status": null,
            "unit": UNIT,
            "unit_type": "user",
            "now": NOW,
            "memory": null,
            "token": token,
        });
        for (field, value) in changes {
            case = with(case, field, value.clone());
        }
        case
    }
}

fn jwk(key: &SecretKey, use_: &str, state: &str) -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "x": key.public().to_string(), "kid": key.kid().as_str(), "alg": "EdDSA",
        "use": use_, "state": state, "nbf": NOW - 10_000,
    })
}

pub(crate) fn typ(kind: &str) -> String {
    format!("edgeseal-{kind}+jwt")
}

pub(crate) fn proper_header(kind: &str, signer: &SecretKey) -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"{}"}}"#, signer.kid(), typ(kind))
}

pub(crate) fn signed_by(signer: &SecretKey, header: &str, claims: &str) -> String {
    compact(header, claims, |message| signer.sign(message).to_vec())
}

/// Any header and claims, signed by any means.
pub(crate) fn compact(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

/// The object with one member set.
pub(crate) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(name.to_owned(), value);
    }
    object
}

/// The object without one member.
pub(crate) fn without(mut object: Value, name: &str) -> Value {
    if let Value::Object(members) = &mut object {
        members.remove(name);
    }
    object
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The subject tag, from the words of the protocol rather than by the library.
pub(crate) fn tag(environment: &str, unit_type: &str, unit: &str) -> String {
    let input = ["edgeseal/sub/1", environment, unit_type, unit].join("\0");
    b64(Sha256::digest(input).iter().take(16).copied().collect::<Vec<u8>>())
}

/// The order of the group (RFC 8032 §5.1), little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with the group order added to `s`.
pub(crate) fn with_unreduced_s(mut signature: [u8; 64]) -> Vec<u8> {
    let mut carry = 0u16;
    for (byte, order) in signature.iter_mut().skip(32).zip(ORDER) {
        let [low, high] = (u16::from(*byte) + u16::from(order) + carry).to_le_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    signature.to_vec()
}

/// Points of small order: the eight canonical encodings, then the six that are not canonical.
pub(crate) fn small_order_points() -> Vec<[u8; 32]> {
    let ends = |first: u8, fill: u8, last: u8| {
        let mut point = [fill; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    let order_8 = [
        *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    ];
    let negative = |mut point: [u8; 32]| {
        point[31] |= 0x80;
        point
    };
    let rational = [ends(1, 0, 0), ends(0xec, 0xff, 0x7f), ends(0, 0, 0), ends(0, 0, 0x80)];
    let not_canonical = [
        ends(1, 0, 0x80),
        ends(0xec, 0xff, 0xff),
        ends(0xee, 0xff, 0x7f),
        ends(0xee, 0xff, 0xff),
        ends(0xed, 0xff, 0x7f),
        ends(0xed, 0xff, 0xff),
    ];
    rational.into_iter().chain(order_8).chain(order_8.map(negative)).chain(not_canonical).collect()
}
