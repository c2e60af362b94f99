//! The master key, and the encryption of private keys at rest under it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use crate::data_dir::{DataDir, file, read_bounded};
use crate::exit::{Failure, OrExit, Outcome};

/// Bytes of the master key (AES-256).
const MASTER_KEY_BYTES: usize = 32;
/// Bound of a master key file; it holds 43 characters and perhaps a newline.
const MAX_MASTER_KEY_FILE_BYTES: u64 = 1_024;

/// The key that private keys rest encrypted under.
pub(crate) struct MasterKey {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

impl MasterKey {
    /// Reads the master key from `elsewhere`, or else from the data directory.
    pub(crate) fn load(data_dir: &DataDir, elsewhere: Option<&Path>) -> Outcome<Self> {
        match Self::load_if_present(data_dir, elsewhere)? {
            Some(key) => Ok(key),
            None => Err(Failure::unreachable(format_args!(
                "the master key '{}' is missing, so the private keys cannot be read: put it back, or name it with \
                 --master-key-file; without it a new data directory (and a new root key in every SDK) is the only way",
                data_dir.path_of(file::MASTER_KEY).display()
            ))),
        }
    }

    /// Like [`MasterKey::load`], but draws a new key into the data directory when there is none.
    pub(crate) fn load_or_create(data_dir: &DataDir, elsewhere: Option<&Path>) -> Outcome<Self> {
        if let Some(key) = Self::load_if_present(data_dir, elsewhere)? {
            return Ok(key);
        }
        let bytes = random_bytes::<MASTER_KEY_BYTES>()?;
        let text = Zeroizing::new(format!("{}\n", BASE64URL.encode(bytes.as_slice())));
        data_dir.write(file::MASTER_KEY, text.as_bytes(), 0o600)?;
        Self::from_bytes(bytes.as_slice())
    }

    fn load_if_present(data_dir: &DataDir, elsewhere: Option<&Path>) -> Outcome<Option<Self>> {
        let own = data_dir.path_of(file::MASTER_KEY);
        let path = match elsewhere {
            Some(path) => path,
            None if own.exists() => &own,
            None => return Ok(None),
        };
        let attempt = || format!("cannot read the master key '{}'", path.display());
        let text = Zeroizing::new(read_bounded(path, MAX_MASTER_KEY_FILE_BYTES).or_unreachable(attempt)?);
        let mode = fs::metadata(path).or_unreachable(attempt)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format_args!("{mode:o}"), "others can read the master key: chmod 600 it");
        }
        let bytes = Zeroizing::new(BASE64URL.decode(text.trim_ascii()).unwrap_or_default());
        if bytes.len() != MASTER_KEY_BYTES {
            return Err(Failure::no(format_args!(
                "'{}' is not a master key: it must hold {MASTER_KEY_BYTES} random bytes as base64url without padding \
                 (43 characters)",
                path.display()
            )));
        }
        Self::from_bytes(&bytes).map(Some)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Outcome<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes)
            .map_err(|_| anyhow::anyhow!("the crypto library refused an AES-256 key"))?;
        Ok(Self { key })
    }

    /// Encrypts `secret` so that it opens only under the same `label`: base64url of nonce, ciphertext and tag.
    pub(crate) fn wrap(&self, label: &str, secret: &[u8]) -> Outcome<String> {
        let mut sealed = Zeroizing::new(secret.to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(associated(label)), &mut *sealed)
            .map_err(|_| anyhow::anyhow!("the crypto library could not encrypt a private key"))?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(BASE64URL.encode(bytes))
    }

    /// Decrypts what [`MasterKey::wrap`] made; `None` when it was altered, moved, or wrapped by another master key.
    pub(crate) fn unwrap(&self, label: &str, wrapped: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = BASE64URL.decode(wrapped).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.key.open_in_place(nonce, Aad::from(associated(label)), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

/// Random bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> Outcome<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0_u8; N]);
    rand::fill(bytes.as_mut_slice())
        .map_err(|_| anyhow::anyhow!("the operating system gave no random bytes"))?;
    Ok(bytes)
}

/// Ties a ciphertext to the key it belongs to: swapping two keys of a keyring makes both unreadable.
fn associated(label: &str) -> Vec<u8> {
    [b"edgeseal/keyring/1\0".as_slice(), label.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_own_label_and_key_only() {
        let key = MasterKey::from_bytes(&[7; 32]).unwrap();
        let wrapped = key.wrap("edge/a", b"seed").unwrap();
        assert_eq!(key.unwrap("edge/a", &wrapped).unwrap().as_slice(), b"seed");
        assert!(key.unwrap("edge/b", &wrapped).is_none(), "another label");
        assert!(MasterKey::from_bytes(&[8; 32]).unwrap().unwrap("edge/a", &wrapped).is_none(), "another key");
        assert!(key.unwrap("edge/a", &wrapped[..20]).is_none(), "truncated");
        assert!(key.unwrap("edge/a", "").is_none(), "empty");
    }

    #[test]
    fn the_same_secret_never_wraps_to_the_same_bytes() {
        let key = MasterKey::from_bytes(&[7; 32]).unwrap();
        assert_ne!(key.wrap("edge/a", b"seed").unwrap(), key.wrap("edge/a", b"seed").unwrap());
    }
}
