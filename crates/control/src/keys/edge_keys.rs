//! What edges need to sign: handed over on an authenticated channel only, never through a shared cache.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use edgeseal_core::sealing::{KeyId, KeyState, PublicKey, SecretKey};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use zeroize::Zeroizing;

/// The secrets of one environment's edges. Wiped when dropped; `Debug` hides them, `Serialize` does not.
///
/// As JSON: `{"root": <JWK>, "signer": {"kid", "seed"}, "hmac": [{"version", "state", "secret"}]}`, secrets in base64url.
pub struct EdgeKeys {
    pub(super) root: PublicKey,
    pub(super) signer: SecretKey,
    pub(super) hmac: Vec<EdgeSecret>,
}

/// One HMAC secret that edges accept; the active one they also sign with.
pub(super) struct EdgeSecret {
    pub(super) version: u32,
    pub(super) state: KeyState,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl EdgeKeys {
    /// The root key's public half.
    pub fn root(&self) -> &PublicKey {
        &self.root
    }

    /// The edge key that signs.
    pub fn signer(&self) -> &SecretKey {
        &self.signer
    }

    /// Which keys these are, without any secret: equal names mean equal keys.
    pub fn name(&self) -> String {
        let hmac = self.hmac.iter().map(|secret| format!("{} {}", secret.version, secret.state.as_str()));
        format!("{}, hmac {}", self.signer_kid(), hmac.collect::<Vec<_>>().join(", "))
    }

    /// The JSON for edges; wiped when dropped.
    ///
    /// # Errors
    /// Never in practice: every member has a JSON form.
    pub fn to_json(&self) -> Result<Zeroizing<String>, serde_json::Error> {
        serde_json::to_string(self).map(Zeroizing::new)
    }

    fn signer_kid(&self) -> &KeyId {
        edgeseal_core::sealing::Signer::kid(&self.signer)
    }
}

impl fmt::Debug for EdgeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EdgeKeys(kid {}, rest redacted)", self.signer_kid())
    }
}

impl Serialize for EdgeKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("EdgeKeys", 3)?;
        members.serialize_field("root", &self.root.jwk("root"))?;
        members.serialize_field("signer", &SignerJson(&self.signer))?;
        members.serialize_field("hmac", &self.hmac)?;
        members.end()
    }
}

struct SignerJson<'k>(&'k SecretKey);

impl Serialize for SignerJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seed = Zeroizing::new(BASE64URL.encode(self.0.seed()));
        let mut members = serializer.serialize_struct("Signer", 2)?;
        members.serialize_field("kid", edgeseal_core::sealing::Signer::kid(self.0))?;
        members.serialize_field("seed", seed.as_str())?;
        members.end()
    }
}

impl Serialize for EdgeSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let secret = Zeroizing::new(BASE64URL.encode(self.secret.as_slice()));
        let mut members = serializer.serialize_struct("Secret", 3)?;
        members.serialize_field("version", &self.version)?;
        members.serialize_field("state", self.state.as_str())?;
        members.serialize_field("secret", secret.as_str())?;
        members.end()
    }
}
