//! The master key, and encryption at rest under it: AES-256-GCM with a random nonce for each text.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

use super::KeyringError;

/// Bytes of the master key (AES-256).
pub const MASTER_KEY_BYTES: usize = 32;

/// The key that secrets rest encrypted under. The crypto library wipes it when dropped; `Debug` hides it.
pub struct MasterKey {
    key: RandomizedNonceKey,
}

/// What an encrypted text is for: one of another purpose does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A private key or an HMAC secret of a key ring.
    Keyring,
    /// An answer kept for repeated requests.
    Answer,
    /// What an edge signs with, in its state directory.
    EdgeKeys,
}

impl MasterKey {
    /// Takes the 32 bytes of a master key. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`KeyringError::MasterKey`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyringError> {
        let refused = |_| KeyringError::MasterKey { bytes: bytes.len() };
        Ok(Self { key: RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(refused)? })
    }

    /// Encrypts `secret` so that it opens only for the same purpose and label: base64url of nonce, ciphertext and tag.
    ///
    /// # Errors
    /// [`KeyringError::Crypto`] when the crypto library fails.
    pub fn seal(&self, purpose: Purpose, label: &str, secret: &[u8]) -> Result<String, KeyringError> {
        let mut sealed = Zeroizing::new(secret.to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(associated(purpose, label)), &mut *sealed)
            .map_err(|_| KeyringError::Crypto { attempt: "encrypting a secret" })?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(BASE64URL.encode(bytes))
    }

    /// Decrypts what [`MasterKey::seal`] made; `None` when it was altered, moved, or sealed under another master key.
    pub fn open(&self, purpose: Purpose, label: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = BASE64URL.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let associated = Aad::from(associated(purpose, label));
        let length = self.key.open_in_place(nonce, associated, &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }

    /// Encrypts a secret of a key ring.
    ///
    /// # Errors
    /// As [`MasterKey::seal`].
    pub fn wrap(&self, label: &str, secret: &[u8]) -> Result<String, KeyringError> {
        self.seal(Purpose::Keyring, label, secret)
    }

    /// Decrypts a secret of a key ring.
    pub fn unwrap(&self, label: &str, wrapped: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.open(Purpose::Keyring, label, wrapped)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// Random bytes from the operating system.
///
/// # Errors
/// [`KeyringError::Crypto`] when it gives none.
pub fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyringError> {
    let mut bytes = Zeroizing::new([0_u8; N]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| KeyringError::Crypto { attempt: "drawing random bytes" })?;
    Ok(bytes)
}

/// Ties a ciphertext to what it belongs to: swapping two keys of a key ring makes both unreadable.
fn associated(purpose: Purpose, label: &str) -> Vec<u8> {
    let domain: &[u8] = match purpose {
        Purpose::Keyring => b"edgeseal/keyring/1\0",
        Purpose::Answer => b"edgeseal/answer/1\0",
        Purpose::EdgeKeys => b"edgeseal/edge-keys/1\0",
    };
    [domain, label.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_own_label_purpose_and_key_only() {
        let key = MasterKey::from_bytes(&[7; 32]).unwrap();
        let wrapped = key.wrap("edge/a", b"seed").unwrap();
        assert_eq!(key.unwrap("edge/a", &wrapped).unwrap().as_slice(), b"seed");
        assert!(key.unwrap("edge/b", &wrapped).is_none(), "another label");
        assert!(key.open(Purpose::Answer, "edge/a", &wrapped).is_none(), "another purpose");
        assert!(MasterKey::from_bytes(&[8; 32]).unwrap().unwrap("edge/a", &wrapped).is_none(), "another key");
        assert!(key.unwrap("edge/a", &wrapped[..20]).is_none(), "truncated");
        assert!(key.unwrap("edge/a", "").is_none(), "empty");
    }

    #[test]
    fn the_same_secret_never_wraps_to_the_same_bytes() {
        let key = MasterKey::from_bytes(&[7; 32]).unwrap();
        assert_ne!(key.wrap("edge/a", b"seed").unwrap(), key.wrap("edge/a", b"seed").unwrap());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert!(matches!(MasterKey::from_bytes(&[7; 31]), Err(KeyringError::MasterKey { bytes: 31 })));
    }
}
