//! What an edge must keep secret: the key that signs tokens, and the secrets of the HMAC profile.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgeseal_core::sealing::{
    HmacSecret, HmacSecretError, HmacSecrets, KEY_BYTES, KeyId, KeyState, PublicKey, SecretKey, Signer,
};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{NativeSigner, SignerError};

/// Most bytes of the JSON form.
pub const MAX_EDGE_KEYS_BYTES: usize = 64 * 1024;
/// Most HMAC secrets: the one that signs and the one before it.
const MAX_HMAC_SECRETS: usize = 2;

/// The keys of an environment that its edges share. Wiped from memory when dropped; `Debug` hides them.
///
/// The JSON form, which only ever travels on an authenticated channel:
/// `{"root": <JWK>, "signer": {"kid", "seed"}, "hmac": [{"version", "state": "active"|"retiring", "secret"}]}`, secrets
/// in base64url.
pub struct EdgeKeys {
    root: PublicKey,
    secret: SecretKey,
    signer: Arc<dyn Signer>,
    stored: Vec<StoredSecret>,
    hmac: Option<Arc<HmacSecrets>>,
}

#[derive(PartialEq)]
struct StoredSecret {
    version: u32,
    state: KeyState,
    secret: Zeroizing<Vec<u8>>,
}

/// Why something is no set of edge keys. What it says is never quoted.
#[derive(Debug, thiserror::Error)]
pub enum EdgeKeysError {
    /// More than [`MAX_EDGE_KEYS_BYTES`].
    #[error("the edge keys have {bytes} bytes, more than the {MAX_EDGE_KEYS_BYTES} allowed")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not JSON, or a member is missing, foreign or of the wrong type.
    #[error("the edge keys are not of the form that this version knows (line {line}, column {column})")]
    Shape {
        /// Where, from 1; 0 when it is not about one place.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A member does not hold what its name says.
    #[error("'{member}' of the edge keys {problem}")]
    Member {
        /// Which one.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An HMAC secret that may not be used.
    #[error("an HMAC secret of the edge keys is refused: {0}")]
    Hmac(#[from] HmacSecretError),
    /// The signing library refused the key.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

// Secrets are borrowed from the text, so that parsing makes no copy that nobody wipes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    root: Value,
    #[serde(borrow)]
    signer: WireSigner<'a>,
    #[serde(borrow, default)]
    hmac: Vec<WireSecret<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSigner<'a> {
    kid: KeyId,
    seed: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSecret<'a> {
    version: u32,
    state: KeyState,
    secret: &'a str,
}

impl EdgeKeys {
    /// Reads the JSON form. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`EdgeKeysError`].
    pub fn from_json(json: &[u8]) -> Result<Self, EdgeKeysError> {
        if json.len() > MAX_EDGE_KEYS_BYTES {
            return Err(EdgeKeysError::TooLarge { bytes: json.len() });
        }
        // serde_json quotes values in its errors: only the place is kept.
        let shape =
            |error: serde_json::Error| EdgeKeysError::Shape { line: error.line(), column: error.column() };
        let wire: Wire<'_> = serde_json::from_slice(json).map_err(shape)?;
        let member = |member, problem| EdgeKeysError::Member { member, problem };

        let root = PublicKey::from_jwk(&wire.root).map_err(|_| member("root", "is no public key"))?;
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        decode(wire.signer.seed, seed.as_mut()).ok_or(member("signer", "has no seed of 32 bytes"))?;
        let secret = SecretKey::from_seed(&seed);
        if *secret.kid() != wire.signer.kid {
            return Err(member("signer", "has a kid that does not follow from its seed"));
        }

        if wire.hmac.len() > MAX_HMAC_SECRETS {
            return Err(member("hmac", "has more than two secrets"));
        }
        let mut stored = Vec::with_capacity(wire.hmac.len());
        for WireSecret { version, state, secret } in wire.hmac {
            let mut bytes = Zeroizing::new(vec![0; secret.len() * 3 / 4]);
            decode(secret, &mut bytes).ok_or(member("hmac", "has a secret that is not base64url"))?;
            stored.push(StoredSecret { version, state, secret: bytes });
        }
        let take = |state: KeyState| {
            let mut found = stored.iter().filter(|stored| stored.state == state);
            let first = found
                .next()
                .map(|stored| HmacSecret::new(stored.version, stored.secret.to_vec()))
                .transpose();
            first.map(|first| (first, found.next().is_some()))
        };
        let ((active, more_active), (retiring, more_retiring)) =
            (take(KeyState::Active)?, take(KeyState::Retiring)?);
        let known = |stored: &StoredSecret| matches!(stored.state, KeyState::Active | KeyState::Retiring);
        if more_active || more_retiring || !stored.iter().all(known) {
            return Err(member("hmac", "may have one active secret and one retiring"));
        }
        let hmac = match (active, retiring) {
            (Some(active), retiring) => Some(Arc::new(HmacSecrets::new(active, retiring)?)),
            (None, None) => None,
            (None, Some(_)) => return Err(member("hmac", "has a retiring secret and no active one")),
        };
        Ok(Self { root, signer: Arc::new(NativeSigner::new(&secret)?), secret, stored, hmac })
    }

    /// The JSON form, wiped from memory when dropped.
    pub fn to_json(&self) -> Zeroizing<String> {
        let mut json = Zeroizing::new(String::with_capacity(4 * 1024));
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.seed()));
        let root = self.root.jwk("sig");
        // Writing into a `String` cannot fail.
        let _written = write!(
            json,
            r#"{{"root":{root},"signer":{{"kid":"{}","seed":"{}"}},"hmac":["#,
            self.secret.kid(),
            *seed
        );
        for (place, StoredSecret { version, state, secret }) in self.stored.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
            let _written = write!(
                json,
                r#"{comma}{{"version":{version},"state":"{}","secret":"{}"}}"#,
                state.as_str(),
                *secret
            );
        }
        json.push_str("]}");
        json
    }

    /// The root key of the environment, as the control plane says.
    pub fn root(&self) -> &PublicKey {
        &self.root
    }

    /// The key that signs tokens.
    pub fn kid(&self) -> &KeyId {
        self.secret.kid()
    }

    pub(super) fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.signer)
    }

    pub(super) fn hmac(&self) -> Option<Arc<HmacSecrets>> {
        self.hmac.clone()
    }

    /// Whether both say the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        (self.kid(), &self.root, &self.stored) == (other.kid(), &other.root, &other.stored)
    }
}

/// Fills `bytes` exactly.
fn decode(text: &str, bytes: &mut [u8]) -> Option<()> {
    let written = URL_SAFE_NO_PAD.decode_slice(text, bytes).ok()?;
    (written == bytes.len()).then_some(())
}

impl fmt::Debug for EdgeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EdgeKeys(kid {}, {} HMAC secrets, redacted)", self.kid(), self.stored.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(version: u32, state: &str) -> Value {
        json!({ "version": version, "state": state, "secret": URL_SAFE_NO_PAD.encode([9; 32]) })
    }

    fn keys() -> Value {
        let signer = SecretKey::from_seed(&[7; 32]);
        json!({
            "root": SecretKey::from_seed(&[1; 32]).public().jwk("sig"),
            "signer": { "kid": signer.kid().as_str(), "seed": URL_SAFE_NO_PAD.encode([7; 32]) },
            "hmac": [secret(2, "active"), secret(1, "retiring")],
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        for hmac in [json!([]), json!([secret(1, "active")]), keys()["hmac"].clone()] {
            let mut json = keys();
            json["hmac"] = hmac;
            let read = EdgeKeys::from_json(json.to_string().as_bytes()).unwrap();
            let again = EdgeKeys::from_json(read.to_json().as_bytes()).unwrap();
            assert!(read.same(&again));
            assert_eq!(serde_json::from_str::<Value>(&read.to_json()).unwrap(), json);
            assert_eq!(read.hmac().is_some(), json["hmac"] != json!([]));
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let seed = URL_SAFE_NO_PAD.encode([7; 32]);
        let read = EdgeKeys::from_json(keys().to_string().as_bytes()).unwrap();
        assert!(!format!("{read:?}").contains(&seed));
        for (pointer, value) in [("/signer/kid", json!(seed)), ("/root", json!(seed)), ("/hmac", json!(seed))]
        {
            let mut json = keys();
            *json.pointer_mut(pointer).unwrap() = value;
            let error = EdgeKeys::from_json(json.to_string().as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&seed), "{error:?}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let cases = [
            ("/root", json!({ "kty": "RSA" })),
            ("/root/d", json!("x")),
            ("/signer/kid", json!(SecretKey::from_seed(&[8; 32]).kid().as_str())),
            ("/signer/seed", json!("AAAA")),
            ("/signer/seed", json!("not base64url!")),
            ("/hmac/0/secret", json!("AAAA")),
            ("/hmac/0/secret", json!("=")),
            ("/hmac/0/version", json!(1)),
            ("/hmac/0/version", json!(-1)),
            ("/hmac/0/state", json!("retiring")),
            ("/hmac/1/state", json!("active")),
            ("/hmac/1/state", json!("published")),
            ("/hmac/0/more", json!(1)),
            ("/hmac/2", secret(3, "retired")),
            ("/more", json!(1)),
        ];
        for (pointer, value) in cases {
            let mut json = keys();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            match json.pointer_mut(parent).unwrap() {
                Value::Object(members) => drop(members.insert(name.to_owned(), value)),
                Value::Array(items) if name == "2" => items.push(value),
                other => panic!("{other}"),
            }
            assert!(EdgeKeys::from_json(json.to_string().as_bytes()).is_err(), "{pointer}: {json}");
        }
        for text in ["", "{}", "[]", "null", "{\"signer\":"] {
            assert!(EdgeKeys::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(
            EdgeKeys::from_json(&vec![b' '; MAX_EDGE_KEYS_BYTES + 1]),
            Err(EdgeKeysError::TooLarge { .. })
        ));
    }
}
