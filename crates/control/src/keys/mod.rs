//! The key ring of an environment: the root key, the keys that rotate, the HMAC secrets.
//!
//! What the keys may do next is decided by the core's state machine ([`edgeseal_core::sealing::rotation`]); this
//! keeps its records, each beside its private half, which rests encrypted under the [`MasterKey`].

mod decisions;
mod edge_keys;
mod error;
mod hmac;
mod master;
mod rotating;
mod steps;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{
    KeyId, KeyRecord, KeyState, KeyUse, Keyset, PublicKey, RotationPolicy, SecretKey, Signer, rotation,
};
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use edge_keys::EdgeSecret;

pub use decisions::{Rotating, list, retire, revoke, rotate};
pub use edge_keys::EdgeKeys;
pub use error::{HmacRotateError, KeyringError};
pub use hmac::StoredSecret;
pub use master::{MASTER_KEY_BYTES, MasterKey, Purpose, random_bytes};
pub use steps::{HmacStep, KeyList, KeyListed, KeyStep, RootListed, SecretListed, Step};

/// Version of the key ring's JSON.
const KEYRING_FORMAT: u32 = 1;
/// Most keys that are not retired; beyond it nothing rotates until some are. A keyset has room for all of them.
pub const MAX_ALIVE_KEYS: usize = 32;

/// The key ring, private halves still encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Keyring {
    format: u32,
    environment: Environment,
    root: RootKey,
    keys: Vec<StoredKey>,
    hmac: Vec<StoredSecret>,
    /// Keys that were retired before their time: the status document names them.
    revoked: Vec<RevokedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootKey {
    public: PublicKey,
    private: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    record: KeyRecord,
    private: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedKey {
    kid: KeyId,
    at: i64,
}

/// The private halves that publishing needs.
#[derive(Debug)]
pub struct Secrets {
    /// Signs keysets.
    pub root: SecretKey,
    /// Signs snapshots and status documents.
    pub control: SecretKey,
}

/// An HMAC secret in the clear. Wiped when dropped; it has no `Debug`.
pub struct ExportedSecret {
    /// Its version.
    pub version: u32,
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// A new key ring: one root key, one active key of each use, one HMAC secret.
    ///
    /// # Errors
    /// [`KeyringError::Crypto`] when no randomness is to be had.
    pub fn generate(
        environment: &Environment,
        master: &MasterKey,
        now: Timestamp,
    ) -> Result<Self, KeyringError> {
        let (public, private) = new_key("root", master)?;
        let mut keyring = Self {
            format: KEYRING_FORMAT,
            environment: environment.clone(),
            root: RootKey { public, private },
            keys: Vec::new(),
            hmac: vec![StoredSecret::generate(1, KeyState::Active, master, now)?],
            revoked: Vec::new(),
        };
        for use_ in [KeyUse::Edge, KeyUse::Control] {
            let (public, private) = new_key(use_.as_str(), master)?;
            // Active at once: nobody holds an older keyset.
            keyring.keys.push(StoredKey { record: rotation::first(use_, public, now), private });
        }
        Ok(keyring)
    }

    /// Reads a key ring from its JSON.
    ///
    /// # Errors
    /// [`KeyringError`] for text that is none, of a newer format, or of another environment.
    pub fn parse(json: &str, environment: &Environment) -> Result<Self, KeyringError> {
        let unreadable = |error: serde_json::Error| KeyringError::Unreadable { detail: error.to_string() };
        let keyring: Self = serde_json::from_str(json).map_err(unreadable)?;
        if keyring.format != KEYRING_FORMAT {
            return Err(KeyringError::Format { found: keyring.format, known: KEYRING_FORMAT });
        }
        if keyring.environment != *environment {
            let (ours, theirs) = (environment.clone(), keyring.environment);
            return Err(KeyringError::OtherEnvironment { ours, theirs });
        }
        Ok(keyring)
    }

    /// The key ring as JSON. Its private halves are encrypted; even so it is for the store only.
    ///
    /// # Errors
    /// [`KeyringError::Unreadable`]; never in practice.
    pub fn to_json(&self) -> Result<String, KeyringError> {
        serde_json::to_string(self).map_err(|error| KeyringError::Unreadable { detail: error.to_string() })
    }

    /// The environment whose keys these are.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The root key, public half.
    pub fn root(&self) -> &PublicKey {
        &self.root.public
    }

    /// What the state machine knows of each key.
    pub fn records(&self) -> Vec<KeyRecord> {
        self.keys.iter().map(|key| key.record.clone()).collect()
    }

    /// The HMAC secrets, still encrypted.
    pub fn hmac_secrets(&self) -> &[StoredSecret] {
        &self.hmac
    }

    /// One HMAC secret in the clear, for the servers that verify: a version, or else the one that signs.
    ///
    /// # Errors
    /// [`KeyringError`] when it does not open; `None` when there is no such version.
    pub fn export_hmac(
        &self,
        version: Option<u32>,
        master: &MasterKey,
    ) -> Result<Option<ExportedSecret>, KeyringError> {
        let wanted = self.hmac.iter().find(|secret| match version {
            Some(version) => secret.version == version,
            None => secret.state == KeyState::Active,
        });
        let export = |it: &StoredSecret| Ok(ExportedSecret { version: it.version, secret: it.open(master)? });
        wanted.map(export).transpose()
    }

    /// The keyset to publish.
    pub fn keyset(&self, version: u64, now: Timestamp, policy: &RotationPolicy) -> Keyset {
        rotation::keyset_from(&self.records(), &self.environment, version, now, policy)
    }

    /// Tells two lists of keys apart: which keys there are, and the state of each.
    pub(crate) fn fingerprint(&self) -> String {
        let keys = self.keys.iter().map(|key| format!("{} {}", key.record.kid, key.record.state.as_str()));
        keys.collect::<Vec<_>>().join(", ")
    }

    /// A keyset that also accepts retired keys, to read back what is our own: it stays so after a key was retired.
    pub(crate) fn own_keyset(&self, now: Timestamp) -> Keyset {
        let mut keyset = self.keyset(0, now, &RotationPolicy::default());
        for key in &mut keyset.keys {
            key.state = KeyState::Retiring;
            key.exp = None;
        }
        keyset
    }

    /// Kids for the `rev` of status documents.
    pub fn revoked(&self) -> impl Iterator<Item = &KeyId> {
        self.revoked.iter().map(|key| &key.kid)
    }

    /// The kid of the key that signs for a use.
    pub(crate) fn active_kid(&self, use_: KeyUse) -> Option<&KeyId> {
        self.active(use_).map(|key| &key.record.kid)
    }

    fn active(&self, use_: KeyUse) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.record.use_ == use_ && key.record.state == KeyState::Active)
    }

    /// Decrypts what publishing needs.
    ///
    /// # Errors
    /// [`KeyringError`] under another master key, or when the key ring was altered.
    pub fn secrets(&self, master: &MasterKey) -> Result<Secrets, KeyringError> {
        Ok(Secrets {
            root: open_key("root", &self.root.public, &self.root.private, master)?,
            control: self.open_active(KeyUse::Control, "control key", master)?,
        })
    }

    /// Decrypts what edges need.
    ///
    /// # Errors
    /// As [`Keyring::secrets`].
    pub fn edge_keys(&self, master: &MasterKey) -> Result<EdgeKeys, KeyringError> {
        // Checks that there is an active one, and that versions differ.
        hmac::open_all(&self.hmac, master)?;
        let accepted = self.hmac.iter().filter(|secret| secret.state != KeyState::Published);
        let open = |secret: &StoredSecret| {
            let StoredSecret { version, state, .. } = *secret;
            Ok(EdgeSecret { version, state, secret: secret.open(master)? })
        };
        Ok(EdgeKeys {
            root: self.root.public,
            signer: self.open_active(KeyUse::Edge, "edge key", master)?,
            hmac: accepted.map(open).collect::<Result<_, KeyringError>>()?,
        })
    }

    fn open_active(
        &self,
        use_: KeyUse,
        what: &'static str,
        master: &MasterKey,
    ) -> Result<SecretKey, KeyringError> {
        let key = self.active(use_).ok_or(KeyringError::NothingActive { what })?;
        open_key(use_.as_str(), &key.record.public, &key.private, master)
    }
}

/// Draws a key: its public half, and its private half encrypted.
fn new_key(label: &str, master: &MasterKey) -> Result<(PublicKey, String), KeyringError> {
    let secret = SecretKey::from_seed(&*random_bytes()?);
    let private = master.wrap(&key_label(label, secret.kid()), secret.seed())?;
    Ok((secret.public(), private))
}

fn open_key(
    label: &str,
    public: &PublicKey,
    private: &str,
    master: &MasterKey,
) -> Result<SecretKey, KeyringError> {
    let kid = public.kid();
    let refusal = || KeyringError::Undecryptable { what: format!("{label} key {kid}") };
    let seed = master.unwrap(&key_label(label, &kid), private).ok_or_else(refusal)?;
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_slice()).map_err(|_| refusal())?);
    let secret = SecretKey::from_seed(&seed);
    if secret.public() == *public { Ok(secret) } else { Err(refusal()) }
}

fn key_label(use_: &str, kid: &KeyId) -> String {
    format!("{use_}/{kid}")
}

#[cfg(test)]
mod tests;
