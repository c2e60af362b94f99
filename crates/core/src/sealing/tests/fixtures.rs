//! One environment with its keys, and tools to forge tokens against it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::ids::{Environment, ExperimentKey, UnitId, UnitType};
use crate::sealing::{
    Expected, KeyState, KeyUse, Keyset, KeysetKey, Memory, SecretKey, Signer, Status, SubjectTag, TokenKind,
    VerifiedAssignments, VerifyError, seal, verify_assignment, verify_snapshot,
};
use crate::time::Timestamp;

pub(in crate::sealing) const NOW: i64 = 1_800_000_000;

pub(in crate::sealing) struct World {
    pub(in crate::sealing) environment: Environment,
    pub(in crate::sealing) root: SecretKey,
    pub(in crate::sealing) edge: SecretKey,
    pub(in crate::sealing) control: SecretKey,
    pub(in crate::sealing) keyset: Keyset,
    pub(in crate::sealing) subject: SubjectTag,
    pub(in crate::sealing) now: Timestamp,
    pub(in crate::sealing) status: Option<Status>,
    pub(in crate::sealing) memory: Option<Memory>,
}

impl World {
    pub(in crate::sealing) fn new() -> Self {
        let environment = Environment::parse("production").unwrap();
        let (root, edge, control) =
            (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]), SecretKey::from_seed(&[3; 32]));
        let keyset = Keyset {
            iss: environment.clone(),
            ver: 7,
            iat: at(NOW - 100),
            exp: at(NOW + 3500),
            keys: vec![key(&edge, KeyUse::Edge), key(&control, KeyUse::Control)],
        };
        let subject =
            SubjectTag::of(&environment, &UnitType::parse("user").unwrap(), UnitId::parse("user-1").unwrap());
        Self { environment, root, edge, control, keyset, subject, now: at(NOW), status: None, memory: None }
    }

    /// The key that may sign this kind.
    pub(in crate::sealing) fn signer(&self, kind: TokenKind) -> &SecretKey {
        match kind {
            TokenKind::Assignment => &self.edge,
            TokenKind::Keyset => &self.root,
            TokenKind::Snapshot | TokenKind::Status => &self.control,
        }
    }

    /// Good claims of this kind.
    pub(in crate::sealing) fn claims(&self, kind: TokenKind) -> Value {
        match kind {
            TokenKind::Assignment => json!({
                "iss": "production", "aud": "edgeseal:production", "sub": self.subject.to_string(), "ut": "user",
                "iat": NOW, "exp": NOW + 900, "cv": 13, "ep": 4, "cd": "47DEQpj8HBSa-_TImW-5JA",
                "a": {
                    "checkout": {"v": "treatment", "xv": 3, "r": "split", "p": {"button": "green"}},
                    "search": {"v": "control", "xv": 1, "r": "sticky"},
                },
            }),
            TokenKind::Keyset => serde_json::from_slice(&self.keyset.claims_json()).unwrap(),
            TokenKind::Snapshot => json!({"iss": "production", "iat": NOW, "cv": 13, "experiments": []}),
            TokenKind::Status => serde_json::from_slice(&self.status().claims_json()).unwrap(),
        }
    }

    /// A status document that halts nothing.
    pub(in crate::sealing) fn status(&self) -> Status {
        Status {
            iss: self.environment.clone(),
            ep: 4,
            cv: 13,
            off: BTreeSet::new(),
            min: BTreeMap::new(),
            rev: BTreeSet::new(),
            iat: at(NOW),
            exp: at(NOW + 30),
        }
    }

    /// A good token of this kind.
    pub(in crate::sealing) fn token(&self, kind: TokenKind) -> String {
        self.token_of(kind, &self.claims(kind).to_string())
    }

    /// These claims, properly signed as this kind.
    pub(in crate::sealing) fn token_of(&self, kind: TokenKind, claims: &str) -> String {
        seal(kind, claims.as_bytes(), self.signer(kind))
    }

    /// A good token but for one claim (`null`: left out), properly signed.
    pub(in crate::sealing) fn token_with(&self, kind: TokenKind, claim: &str, value: Value) -> String {
        let mut claims = self.claims(kind);
        let members = claims.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(claim)
        } else {
            members.insert(claim.to_owned(), value)
        };
        self.token_of(kind, &claims.to_string())
    }

    /// Good claims under any header, truly signed by the right key.
    pub(in crate::sealing) fn token_under(&self, kind: TokenKind, header: &str) -> String {
        let signer = self.signer(kind);
        compact(header, &self.claims(kind).to_string(), |message| signer.sign(message).to_vec())
    }

    /// The proper header of this kind, to be spoiled.
    pub(in crate::sealing) fn header(&self, kind: TokenKind) -> Value {
        json!({"alg": "EdDSA", "kid": self.signer(kind).kid().as_str(), "typ": kind.typ()})
    }

    /// Checks a token as the kind that is expected.
    pub(in crate::sealing) fn open(&self, kind: TokenKind, token: &str) -> Result<(), VerifyError> {
        let Self { keyset, environment, now, .. } = self;
        match kind {
            TokenKind::Assignment => self.verify(token).map(|_| ()),
            TokenKind::Keyset => Keyset::verify(token, &self.root.public(), environment, *now).map(|_| ()),
            TokenKind::Snapshot => verify_snapshot(token, keyset, environment, *now).map(|_| ()),
            TokenKind::Status => Status::verify(token, keyset, environment, *now).map(|_| ()),
        }
    }

    pub(in crate::sealing) fn expected(&self) -> Expected<'_> {
        Expected {
            environment: &self.environment,
            subject: self.subject,
            now: self.now,
            status: self.status.as_ref(),
            memory: self.memory.as_ref(),
        }
    }

    pub(in crate::sealing) fn verify(&self, token: &str) -> Result<VerifiedAssignments, VerifyError> {
        verify_assignment(token, &self.keyset, &self.expected())
    }

    /// The stable code of the refusal, or `ok`.
    pub(in crate::sealing) fn code(&self, kind: TokenKind, token: &str) -> &'static str {
        code(&self.open(kind, token))
    }

    /// Asserts that every kind refuses what `spoil` makes of it, with this code.
    pub(in crate::sealing) fn refuses(&self, code: &str, mut spoil: impl FnMut(&Self, TokenKind) -> String) {
        for kind in TokenKind::ALL {
            assert_eq!(self.code(kind, &self.token(kind)), "ok", "the unspoiled {kind:?}");
            let token = spoil(self, kind);
            assert_eq!(self.code(kind, &token), code, "{kind:?}: {}", &token[..token.len().min(200)]);
        }
    }
}

pub(in crate::sealing) fn code<T>(result: &Result<T, VerifyError>) -> &'static str {
    result.as_ref().map_or_else(VerifyError::code, |_| "ok")
}

pub(in crate::sealing) fn at(unix_seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(unix_seconds)
}

pub(in crate::sealing) fn experiment(key: &str) -> ExperimentKey {
    ExperimentKey::parse(key).unwrap()
}

pub(in crate::sealing) fn key(secret: &SecretKey, use_: KeyUse) -> KeysetKey {
    KeysetKey {
        public: secret.public(),
        kid: secret.kid().clone(),
        use_,
        state: KeyState::Active,
        nbf: at(NOW - 10_000),
        exp: None,
    }
}

/// Any header and claims, signed by any means.
pub(in crate::sealing) fn compact(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

pub(in crate::sealing) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(in crate::sealing) fn split(token: &str) -> [String; 3] {
    token.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

/// The order of the group (RFC 8032 §5.1), little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with the group order added to `s`: what a lax verifier takes for a second, different one.
pub(in crate::sealing) fn with_unreduced_s(mut signature: [u8; 64]) -> [u8; 64] {
    let mut carry = 0u16;
    for (byte, order) in signature.iter_mut().skip(32).zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    signature
}

/// Encodings of the points of small order: the canonical ones, then the non-canonical ones.
pub(in crate::sealing) fn small_order_points() -> Vec<[u8; 32]> {
    let ends = |first: u8, fill: u8, last: u8| {
        let mut point = [fill; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    let order_8_a = *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";
    let order_8_b = *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a";
    let negative = |mut point: [u8; 32]| {
        point[31] |= 0x80;
        point
    };
    let canonical = [
        ends(1, 0, 0),
        ends(0xec, 0xff, 0x7f),
        ends(0, 0, 0),
        ends(0, 0, 0x80),
        order_8_a,
        negative(order_8_a),
        order_8_b,
        negative(order_8_b),
    ];
    let not_canonical = [
        ends(1, 0, 0x80),
        ends(0xec, 0xff, 0xff),
        ends(0xee, 0xff, 0x7f),
        ends(0xee, 0xff, 0xff),
        ends(0xed, 0xff, 0x7f),
        ends(0xed, 0xff, 0xff),
    ];
    canonical.into_iter().chain(not_canonical).collect()
}
