//! Ed25519 keys (RFC 8032) as JOSE sees them (RFC 8037), and the seam at which something else may sign.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of a public key and of a seed.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of the RFC 7638 thumbprint that a `kid` keeps.
const KEY_ID_BYTES: usize = 16;

/// Whatever can sign for one key: [`SecretKey`] here, a faster native library in the edge.
pub trait Signer: Send + Sync {
    /// The `kid` of the key that signs.
    fn kid(&self) -> &KeyId;

    /// The Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES];
}

/// The `kid` of a key: the first 16 bytes of its RFC 7638 thumbprint (SHA-256) in base64url, 22 characters.
///
/// A `kid` follows from the key, so nobody can give a key the name of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Reads a `kid`; `None` unless it is the base64url of exactly 16 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == KEY_ID_BYTES).then(|| Self(Arc::from(text)))
    }

    /// The `kid` as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key that can be trusted to bind: canonical, on the curve, not of small order.
///
/// Keys of small order accept one signature for many messages (RFC 8032 §8.4, "Taming the many EdDSAs"), and a
/// non-canonical encoding would give one key two names; both are refused here, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why something is not a usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not 32 bytes of canonical base64url.
    #[error("is not 32 bytes in unpadded base64url")]
    Encoding,
    /// The 32 bytes are no point of the curve, or not the canonical encoding of one.
    #[error("is not the canonical encoding of an Ed25519 public key")]
    NotAPoint,
    /// A key that would accept the same signature for many messages.
    #[error("is a key of small order, which accepts forged signatures")]
    SmallOrder,
    /// A JWK of another kind of key (RFC 8037 asks for `kty` `OKP` and `crv` `Ed25519`).
    #[error("is a key of another kind: 'kty' must be 'OKP' and 'crv' must be 'Ed25519'")]
    OtherKind,
    /// A JWK with the member `d`: a private key where a public one belongs.
    #[error("holds the private part 'd': publish the public part only, and replace this key")]
    Private,
}

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032 §5.1.5.
    ///
    /// # Errors
    /// [`PublicKeyError`] for bytes that are no canonical point, and for the points of small order.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, PublicKeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError::NotAPoint)?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(PublicKeyError::NotAPoint);
        }
        if key.is_weak() {
            return Err(PublicKeyError::SmallOrder);
        }
        Ok(Self(key))
    }

    /// Reads the base64url form, the `x` of a JWK.
    ///
    /// # Errors
    /// [`PublicKeyError`], as for [`PublicKey::from_bytes`], and for other text.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PublicKeyError::Encoding)?;
        Self::from_bytes(&bytes.try_into().map_err(|_| PublicKeyError::Encoding)?)
    }

    /// Reads `kty`, `crv` and `x` of a JWK (RFC 8037 §2) and ignores its other public members.
    ///
    /// # Errors
    /// [`PublicKeyError`] for another kind of key, a private key, or an unusable `x`.
    pub fn from_jwk(jwk: &Value) -> Result<Self, PublicKeyError> {
        let member = |name| jwk.get(name).and_then(Value::as_str);
        if member("kty") != Some("OKP") || member("crv") != Some("Ed25519") {
            return Err(PublicKeyError::OtherKind);
        }
        if jwk.get("d").is_some() {
            return Err(PublicKeyError::Private);
        }
        Self::parse(member("x").ok_or(PublicKeyError::Encoding)?)
    }

    /// The key as a JWK with the given `use`: `sig` for strangers, `edge` or `control` inside a keyset.
    pub fn jwk(&self, use_: &str) -> Value {
        json!({
            "alg": "EdDSA",
            "crv": "Ed25519",
            "kid": self.kid().as_str(),
            "kty": "OKP",
            "use": use_,
            "x": self.to_string(),
        })
    }

    /// The key's RFC 7638 thumbprint, whole.
    pub fn thumbprint(&self) -> [u8; 32] {
        // The required members of RFC 8037 §2 in lexicographic order, without white space.
        Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{self}"}}"#)).into()
    }

    /// The key's `kid`.
    pub fn kid(&self) -> KeyId {
        let thumbprint = self.thumbprint();
        let (kept, _) = thumbprint.split_at(KEY_ID_BYTES);
        KeyId(URL_SAFE_NO_PAD.encode(kept).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.as_bytes()
    }

    /// Whether `signature` is this key's over `message`.
    ///
    /// Strict: wrong lengths, an `s` that is not reduced, and an `R` of small order are all refused.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(format_args!("key '{text}' {error}")))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("'{text}' is not a key id: 22 characters of base64url"))
        })
    }
}

/// A private key. Wiped from memory when dropped; `Debug` names the key and hides it.
pub struct SecretKey {
    key: SigningKey,
    kid: KeyId,
}

impl SecretKey {
    /// The key that grows from 32 secret bytes (RFC 8032 §5.1.5). The caller wipes its own copy.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let kid = PublicKey(key.verifying_key()).kid();
        Self { key, kid }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The secret bytes, to be encrypted and stored, or handed to another signer.
    pub fn seed(&self) -> &[u8; KEY_BYTES] {
        self.key.as_bytes()
    }
}

impl Signer for SecretKey {
    fn kid(&self) -> &KeyId {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(kid {}, redacted)", self.kid)
    }
}

#[cfg(test)]
mod tests;
