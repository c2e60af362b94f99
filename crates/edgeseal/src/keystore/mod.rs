//! The keyring of a data directory: the root key, the keys that rotate, the HMAC secrets.
//!
//! What the keys may do next is decided by the core's state machine ([`edgeseal_core::sealing::rotation`]); this
//! stores its records, each beside its private half, which rests encrypted under the master key.

mod hmac;
mod master;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{
    HmacSecrets, KeyId, KeyRecord, KeyState, KeyUse, Keyset, PublicKey, RetireStep, RotateStep,
    RotationError, RotationPolicy, SecretKey, Signer, rotation,
};
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, OrExit, Outcome};

pub(crate) use hmac::{HmacRotateError, HmacStep, StoredSecret};
pub(crate) use master::{MasterKey, random_bytes};

/// Version of `keyring.json`.
const KEYRING_FORMAT: u32 = 1;

/// The keyring, private halves still encrypted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Keyring {
    format: u32,
    environment: Environment,
    root: RootKey,
    keys: Vec<StoredKey>,
    hmac: Vec<StoredSecret>,
    /// Keys that were retired before their time: the status document names them.
    revoked: Vec<RevokedKey>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootKey {
    public: PublicKey,
    private: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    record: KeyRecord,
    private: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedKey {
    kid: KeyId,
    at: i64,
}

/// The private halves that serving needs.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// Signs keysets.
    pub(crate) root: SecretKey,
    /// Signs tokens.
    pub(crate) edge: SecretKey,
    /// Signs snapshots and status documents.
    pub(crate) control: SecretKey,
    /// Signs answers of the HMAC profile.
    pub(crate) hmac: HmacSecrets,
}

impl Keyring {
    /// A new keyring: one root key, one active key of each use, one HMAC secret.
    pub(crate) fn generate(environment: &Environment, master: &MasterKey, now: Timestamp) -> Outcome<Self> {
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

    /// Reads the keyring of a data directory; `None` before the first start.
    pub(crate) fn load(data_dir: &DataDir) -> Outcome<Option<Self>> {
        let Some(bytes) = data_dir.read(file::KEYRING)? else { return Ok(None) };
        let attempt = || {
            format!(
                "'{}' is not a keyring; restore it from a backup",
                data_dir.path_of(file::KEYRING).display()
            )
        };
        let keyring: Self = serde_json::from_slice(&bytes).or_no(attempt)?;
        if keyring.format != KEYRING_FORMAT {
            return Err(Failure::no(format_args!(
                "'{}' has format {}, and this version reads {KEYRING_FORMAT}: use a newer edgeseal",
                data_dir.path_of(file::KEYRING).display(),
                keyring.format
            )));
        }
        Ok(Some(keyring))
    }

    /// Writes the keyring, and the public root key beside it.
    pub(crate) fn save(&self, data_dir: &DataDir) -> Outcome<()> {
        let text = serde_json::to_string_pretty(self).map_err(anyhow::Error::from)?;
        data_dir.write(file::KEYRING, format!("{text}\n").as_bytes(), 0o600)?;
        self.save_root(data_dir)
    }

    /// Writes `root.jwk` unless it is right already.
    pub(crate) fn save_root(&self, data_dir: &DataDir) -> Outcome<()> {
        let text =
            serde_json::to_string_pretty(&self.root.public.jwk("root")).map_err(anyhow::Error::from)? + "\n";
        if data_dir.read(file::ROOT)?.is_some_and(|bytes| bytes == text.as_bytes()) {
            return Ok(());
        }
        data_dir.write(file::ROOT, text.as_bytes(), 0o644)
    }

    /// The environment whose keys these are.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The root key, public half.
    pub(crate) fn root(&self) -> &PublicKey {
        &self.root.public
    }

    /// What the state machine knows of each key.
    pub(crate) fn records(&self) -> Vec<KeyRecord> {
        self.keys.iter().map(|key| key.record.clone()).collect()
    }

    /// The HMAC secrets, still encrypted.
    pub(crate) fn hmac_secrets(&self) -> &[StoredSecret] {
        &self.hmac
    }

    /// The keyset to publish.
    pub(crate) fn keyset(&self, version: u64, now: Timestamp, policy: &RotationPolicy) -> Keyset {
        rotation::keyset_from(&self.records(), &self.environment, version, now, policy)
    }

    /// Tells two lists of keys apart: which keys there are, and the state of each.
    pub(crate) fn fingerprint(&self) -> String {
        let keys = self.keys.iter().map(|key| format!("{} {}", key.record.kid, key.record.state.as_str()));
        keys.collect::<Vec<_>>().join(", ")
    }

    /// A keyset that also accepts retired keys, to read back one's own files: what was signed before a key was retired
    /// is still our own.
    pub(crate) fn own_keyset(&self, now: Timestamp) -> Keyset {
        let mut keyset = self.keyset(0, now, &RotationPolicy::default());
        for key in &mut keyset.keys {
            key.state = KeyState::Retiring;
            key.exp = None;
        }
        keyset
    }

    /// Kids for the `rev` of status documents.
    pub(crate) fn revoked(&self) -> impl Iterator<Item = &KeyId> {
        self.revoked.iter().map(|key| &key.kid)
    }

    /// Decrypts what serving needs.
    pub(crate) fn secrets(&self, master: &MasterKey) -> Outcome<Secrets> {
        Ok(Secrets {
            root: open_key("root", &self.root.public, &self.root.private, master)?,
            edge: self.active(KeyUse::Edge, master)?,
            control: self.active(KeyUse::Control, master)?,
            hmac: hmac::open_all(&self.hmac, master)?,
        })
    }

    fn active(&self, use_: KeyUse, master: &MasterKey) -> Outcome<SecretKey> {
        let active =
            self.keys.iter().find(|key| key.record.use_ == use_ && key.record.state == KeyState::Active);
        match active {
            Some(key) => open_key(use_.as_str(), &key.record.public, &key.private, master),
            None => Err(Failure::no(format_args!(
                "the keyring has no active {} key: restore keyring.json from a backup",
                use_.as_str()
            ))),
        }
    }

    /// Takes the next step of a rotation: publishes a successor, or activates the published one.
    pub(crate) fn rotate(
        &mut self,
        use_: KeyUse,
        master: &MasterKey,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Outcome<Result<RotateStep, RotationError>> {
        let (public, private) = new_key(use_.as_str(), master)?;
        let mut records = self.records();
        let step = match rotation::rotate(&mut records, use_, Some(public), now, policy, force) {
            Ok(step) => step,
            Err(error) => return Ok(Err(error)),
        };
        self.take_records(records, Some((public, private)))?;
        Ok(Ok(step))
    }

    /// Retires a retiring key. One that is retired before its time is revoked as well: clients may hold a keyset that
    /// still trusts it.
    pub(crate) fn retire(
        &mut self,
        kid: Option<&KeyId>,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Outcome<Result<RetireStep, RotationError>> {
        let mut records = self.records();
        let early = force && rotation::retire(&mut records.clone(), kid, now, policy, false).is_err();
        let step = match rotation::retire(&mut records, kid, now, policy, force) {
            Ok(step) => step,
            Err(error) => return Ok(Err(error)),
        };
        if early {
            let newly = records.iter().zip(&self.keys).filter(|(new, old)| new.state != old.record.state);
            let at = now.unix_seconds();
            self.revoked.extend(newly.map(|(new, _)| RevokedKey { kid: new.kid.clone(), at }));
        }
        self.take_records(records, None)?;
        Ok(Ok(step))
    }

    fn take_records(&mut self, records: Vec<KeyRecord>, fresh: Option<(PublicKey, String)>) -> Outcome<()> {
        let mut keys = Vec::with_capacity(records.len());
        for record in records {
            let known =
                self.keys.iter().find(|key| key.record.kid == record.kid).map(|key| key.private.clone());
            let new = || {
                fresh
                    .as_ref()
                    .filter(|(public, _)| *public == record.public)
                    .map(|(_, private)| private.clone())
            };
            let private = known
                .or_else(new)
                .ok_or_else(|| anyhow::anyhow!("key {} has no private half", record.kid))?;
            keys.push(StoredKey { record, private });
        }
        self.keys = keys;
        Ok(())
    }

    /// Takes the next step of an HMAC secret's rotation.
    pub(crate) fn rotate_hmac(
        &mut self,
        master: &MasterKey,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Outcome<Result<HmacStep, HmacRotateError>> {
        hmac::rotate(&mut self.hmac, master, now, policy, force)
    }

    /// Forgets the previous HMAC secret.
    pub(crate) fn retire_hmac(&mut self, now: Timestamp, force: bool) -> Result<HmacStep, HmacRotateError> {
        hmac::retire(&mut self.hmac, now, force)
    }
}

/// Draws a key: its public half, and its private half encrypted.
fn new_key(label: &str, master: &MasterKey) -> Outcome<(PublicKey, String)> {
    let secret = SecretKey::from_seed(&*random_bytes()?);
    let private = master.wrap(&key_label(label, secret.kid()), secret.seed())?;
    Ok((secret.public(), private))
}

fn open_key(label: &str, public: &PublicKey, private: &str, master: &MasterKey) -> Outcome<SecretKey> {
    let kid = public.kid();
    let refusal = || {
        Failure::no(format_args!(
            "the private half of {label} key {kid} cannot be decrypted: this master key is not the one that encrypted \
             it, or keyring.json was altered; restore the matching pair from a backup"
        ))
    };
    let seed = master.unwrap(&key_label(label, &kid), private).ok_or_else(refusal)?;
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_slice()).map_err(|_| refusal())?);
    let secret = SecretKey::from_seed(&seed);
    if secret.public() == *public { Ok(secret) } else { Err(refusal()) }
}

fn key_label(use_: &str, kid: &KeyId) -> String {
    format!("{use_}/{kid}")
}
