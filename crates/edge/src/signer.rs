//! Ed25519 by aws-lc: about half the time of the pure Rust signer that `core` brings, the same bytes.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use edgeseal_core::sealing::{KeyId, SIGNATURE_BYTES, SecretKey, Signer};

/// Signs with aws-lc. `Debug` names the key and hides it; aws-lc wipes it when dropped.
pub struct NativeSigner {
    pair: Ed25519KeyPair,
    kid: KeyId,
}

/// aws-lc did not take the key.
#[derive(Debug, thiserror::Error)]
#[error("the signing library refused key '{kid}'; restore the key from a backup or rotate to a new one")]
pub struct SignerError {
    /// The key.
    pub kid: String,
}

impl NativeSigner {
    /// Hands `secret` to aws-lc.
    ///
    /// # Errors
    /// [`SignerError`] when aws-lc refuses it or derives another public key from it.
    pub fn new(secret: &SecretKey) -> Result<Self, SignerError> {
        let public = secret.public();
        let refused = || SignerError { kid: secret.kid().to_string() };
        let pair = Ed25519KeyPair::from_seed_and_public_key(secret.seed(), public.as_bytes())
            .map_err(|_rejected| refused())?;
        if pair.public_key().as_ref() != public.as_bytes() {
            return Err(refused());
        }
        Ok(Self { pair, kid: secret.kid().clone() })
    }
}

impl Signer for NativeSigner {
    fn kid(&self) -> &KeyId {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        // Ed25519 signatures are 64 bytes (RFC 8032 §5.1.6); were one ever not, nobody would accept the zeros.
        if let Some(bytes) = self.pair.sign(message).as_ref().first_chunk() {
            signature = *bytes;
        }
        signature
    }
}

impl std::fmt::Debug for NativeSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NativeSigner(kid {}, redacted)", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_signers_give_the_same_bytes_and_the_key_verifies_them() {
        for seed in [[0; 32], [7; 32], [255; 32]] {
            let secret = SecretKey::from_seed(&seed);
            let native = NativeSigner::new(&secret).unwrap();
            assert_eq!(native.kid(), secret.kid());
            for length in [0, 1, 63, 64, 320, 4096] {
                let message = vec![b'm'; length];
                let signature = native.sign(&message);
                assert_eq!(signature, secret.sign(&message), "{length} bytes");
                assert!(secret.public().verifies(&message, &signature));
            }
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let shown = format!("{:?}", NativeSigner::new(&secret).unwrap());
        assert_eq!(shown, format!("NativeSigner(kid {}, redacted)", secret.kid()));
    }
}
