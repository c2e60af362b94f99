//! Any HTTP endpoint, by the Standard Webhooks specification 1.0.0 (github.com/standard-webhooks/standard-webhooks).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use edgeseal_core::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{AlertBody, json_request};
use crate::outbox::Outgoing;

/// Fewest and most bytes of a secret, as the specification says.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What signs webhooks: `whsec_` and base64 of 24 to 64 random bytes.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is not a webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no webhook secret: write 'whsec_' and base64 of 24 to 64 random bytes, \
         for example echo \"whsec_$(head -c 32 /dev/urandom | base64)\""
)]
pub struct SecretError;

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretError)?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| SecretError)?);
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError) }
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{unix_seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

pub(super) fn request(url: &str, secret: &Secret, id: &str, body: &AlertBody, now: Timestamp) -> Outgoing {
    let mut request = json_request(url, Vec::new(), &payload(body));
    let seconds = now.unix_seconds();
    request.headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", secret.sign(id, seconds, &request.body)),
    ];
    request
}

fn payload(body: &AlertBody) -> Value {
    json!({
        "type": body.kind,
        "timestamp": body.time(),
        "data": {
            "environment": body.environment,
            "experiment": body.experiment,
            "severity": body.severity,
            "summary": body.summary,
            "detail": body.detail,
        },
    })
}
