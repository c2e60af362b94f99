//! Which keys may sign: the list that the pinned root key vouches for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::claims::{self, Claims, Lifetime, When, expected, join};
use super::error::{ClaimProblem, KeyRefusal, Malformation, VerifyError, shorten};
use super::jws::Parts;
use super::keys::{KeyId, PublicKey};
use super::verify::{check_algorithm, check_kind};
use super::{CLOCK_SKEW_SECONDS, MAX_KEYSET_KEYS, MAX_KEYSET_LIFE_SECONDS, TokenKind};
use crate::ids::Environment;
use crate::time::Timestamp;

/// The keys of one environment: the claims of `edgeseal-keyset+jwt`. Field names are the claims' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyset {
    /// Environment whose keys these are.
    pub iss: Environment,
    /// Version, raised with every change.
    pub ver: u64,
    /// When it was signed.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// The keys, at most [`MAX_KEYSET_KEYS`], each `kid` once.
    pub keys: Vec<KeysetKey>,
}

/// One key of a keyset.
#[derive(Clone, Debug, PartialEq)]
pub struct KeysetKey {
    /// The key.
    pub public: PublicKey,
    /// Its `kid`, which follows from the key.
    pub kid: KeyId,
    /// What it may sign.
    pub use_: KeyUse,
    /// Where it is in its life.
    pub state: KeyState,
    /// From when it may vouch.
    pub nbf: Timestamp,
    /// Until when, if that is known.
    pub exp: Option<Timestamp>,
}

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyUse {
    /// Assignment tokens.
    Edge,
    /// Snapshots and status documents.
    Control,
}

/// Where a key is in its life; it only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Known to verifiers, signs nothing yet.
    Published,
    /// Signs.
    Active,
    /// Signs no more; what it signed is still alive.
    Retiring,
    /// Nothing it signed is valid any more.
    Retired,
}

impl KeyUse {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Control => "control",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Edge, Self::Control].into_iter().find(|use_| use_.as_str() == text)
    }
}

impl KeyState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Published, Self::Active, Self::Retiring, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether signatures of a key in this state count. A *published* one's do: whoever holds a keyset from just
    /// before the key became active must already accept it.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retiring)
    }
}

impl Keyset {
    /// Checks a keyset token against the pinned root key.
    ///
    /// A replayed older keyset is for [`Memory::check_keyset`](super::Memory::check_keyset) to find.
    ///
    /// # Errors
    /// [`VerifyError`], as ordered there: shape, type, root key, signature, time, environment.
    pub fn verify(
        token: &str,
        root: &PublicKey,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        Self::check(token, root, environment, When::Now(now))
    }

    /// Checks a keyset token that was read back from one's own disk: as [`Keyset::verify`], but whatever the time.
    ///
    /// Only for what one's own process verified before it wrote it. Whoever can write to that disk can bring an older
    /// keyset back.
    ///
    /// # Errors
    /// [`VerifyError`], as for [`Keyset::verify`]; never `E_EXPIRED` or `E_NOT_YET`.
    pub fn verify_at_rest(
        token: &str,
        root: &PublicKey,
        environment: &Environment,
    ) -> Result<Self, VerifyError> {
        Self::check(token, root, environment, When::AtRest)
    }

    fn check(
        token: &str,
        root: &PublicKey,
        environment: &Environment,
        when: When,
    ) -> Result<Self, VerifyError> {
        let parts = Parts::parse(token, TokenKind::Keyset.max_bytes()).map_err(VerifyError::Malformed)?;
        check_kind(&parts, TokenKind::Keyset)?;
        check_algorithm(&parts)?;
        let pinned = root.kid();
        if parts.header.kid != pinned.as_str() {
            let kid = shorten(&parts.header.kid);
            return Err(VerifyError::Key(KeyRefusal::ForeignRoot { kid, pinned }));
        }
        if !root.verifies(parts.signed.as_bytes(), &parts.signature) {
            return Err(VerifyError::Signature);
        }
        let (keyset, life) = Self::parse(&parts.claims).map_err(VerifyError::Malformed)?;
        life.holds(when)?;
        claims::issued_by(&keyset.iss, environment)?;
        Ok(keyset)
    }

    fn parse(json: &[u8]) -> Result<(Self, Lifetime), Malformation> {
        let mut claims = Claims::parse(json)?;
        let life = Lifetime::read(&mut claims, MAX_KEYSET_LIFE_SECONDS)?;
        let list = claims.list("keys")?;
        if list.len() > MAX_KEYSET_KEYS {
            let problem = ClaimProblem::TooMany { found: list.len(), limit: MAX_KEYSET_KEYS };
            return Err(claims.problem("keys", problem));
        }
        let mut keys: Vec<KeysetKey> = Vec::with_capacity(list.len());
        for (place, jwk) in list.into_iter().enumerate() {
            let path = join("keys", &place.to_string());
            let key = KeysetKey::read(jwk, path)?;
            if keys.iter().any(|earlier| earlier.kid == key.kid) {
                return Err(claims.problem("keys", ClaimProblem::Repeated(key.kid)));
            }
            keys.push(key);
        }
        let keyset = Self {
            iss: claims.environment()?,
            ver: claims.integer("ver")?,
            iat: life.iat,
            exp: life.exp,
            keys,
        };
        Ok((keyset, life))
    }

    /// The claims as JSON, to be sealed with the root key.
    pub fn claims_json(&self) -> Vec<u8> {
        claims::to_json(&json!({
            "exp": self.exp.unix_seconds(),
            "iat": self.iat.unix_seconds(),
            "iss": self.iss.as_str(),
            "keys": self.keys.iter().map(KeysetKey::jwk).collect::<Vec<_>>(),
            "ver": self.ver,
        }))
    }

    /// The edge keys whose signatures count, as a plain JWK set (RFC 7517) for strangers' JOSE libraries.
    ///
    /// Nobody signs this list: it is as good as the connection it came over. SDKs use the signed keyset.
    pub fn jwks(&self) -> Value {
        let keys =
            self.keys.iter().filter(|key| key.use_ == KeyUse::Edge && key.state.verifies()).map(|key| {
                let mut jwk = key.public.jwk("sig");
                if let Value::Object(members) = &mut jwk {
                    members.insert("key_ops".to_owned(), json!(["verify"]));
                }
                jwk
            });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    /// The key with this `kid`, whatever its state.
    pub fn find(&self, kid: &str) -> Option<&KeysetKey> {
        self.keys.iter().find(|key| key.kid.as_str() == kid)
    }

    /// The key that is for tokens of `kind`, whatever its state.
    pub(super) fn key_of_use(&self, kid: &str, kind: TokenKind) -> Result<&KeysetKey, KeyRefusal> {
        let Some(key) = self.find(kid) else { return Err(KeyRefusal::Unknown { kid: shorten(kid) }) };
        if kind.signed_by() != Some(key.use_) {
            let kid = key.kid.clone();
            return Err(KeyRefusal::WrongUse { kid, use_: key.use_, kind });
        }
        Ok(key)
    }

    /// The key that may vouch for a token of `kind` at `now`.
    pub(super) fn key_for(
        &self,
        kid: &str,
        kind: TokenKind,
        now: Timestamp,
    ) -> Result<&KeysetKey, KeyRefusal> {
        let key = self.key_of_use(kid, kind)?;
        let kid = key.kid.clone();
        if !key.state.verifies() {
            return Err(KeyRefusal::Retired { kid });
        }
        if key.nbf > now.plus_seconds(CLOCK_SKEW_SECONDS) {
            return Err(KeyRefusal::NotYetValid { kid, nbf: key.nbf });
        }
        match key.exp {
            Some(exp) if now >= exp.plus_seconds(CLOCK_SKEW_SECONDS) => {
                Err(KeyRefusal::NoLongerValid { kid, exp })
            }
            _ => Ok(key),
        }
    }
}

impl KeysetKey {
    fn read(jwk: Value, path: String) -> Result<Self, Malformation> {
        let public = PublicKey::from_jwk(&jwk).map_err(|error| Malformation::Claim {
            claim: path.clone(),
            problem: ClaimProblem::Key(error),
        })?;
        let mut members = Claims::nested(jwk, path)?;
        let kid = public.kid();
        if members.text("kid")? != kid.as_str() {
            return Err(members.problem("kid", ClaimProblem::NotTheThumbprint(kid)));
        }
        if members.optional("alg").is_some_and(|alg| alg != "EdDSA" && alg != "Ed25519") {
            return Err(members.problem("alg", expected("'EdDSA' or 'Ed25519'")));
        }
        Ok(Self {
            public,
            kid,
            use_: members.read("use", "'edge' or 'control'", KeyUse::parse)?,
            state: members.read("state", "a state of a key", KeyState::parse)?,
            nbf: members.time("nbf")?,
            exp: members.optional_time("exp")?,
        })
    }

    fn jwk(&self) -> Value {
        let Value::Object(plain) = self.public.jwk(self.use_.as_str()) else { return Value::Null };
        let mut members: Map<String, Value> = Map::new();
        let exp = self.exp.map(|exp| ("exp".to_owned(), Value::from(exp.unix_seconds())));
        let own = [
            ("nbf".to_owned(), Value::from(self.nbf.unix_seconds())),
            ("state".to_owned(), Value::from(self.state.as_str())),
        ];
        let mut all: Vec<_> = plain.into_iter().chain(exp).chain(own).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        members.extend(all);
        Value::Object(members)
    }
}
