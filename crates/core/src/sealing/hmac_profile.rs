//! The shared-secret form of an assignment, for trusted servers that already speak the published pattern.
//!
//! `{experimentId,userId,variant,version,timestamp,secretVersion,signature}`, where the signature is the lower-case
//! hex HMAC-SHA256 (RFC 2104) over `experimentId|userId|variant|version|timestamp`. Whoever can verify can also
//! forge, for anyone: the secret must never reach a browser, which is what the Ed25519 tokens are for.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::claims::{Claims, expected};
use super::error::{KeyRefusal, Malformation, VerifyError};
use super::{CLOCK_SKEW_SECONDS, MAX_CLAIM_INTEGER};
use crate::ids::{ExperimentKey, MAX_UNIT_ID_BYTES, UnitId, VariantKey};
use crate::time::Timestamp;

/// Shortest secret, in bytes: the output of SHA-256.
pub const MIN_SECRET_BYTES: usize = 32;
/// Longest secret, in bytes: a longer one is a mistake.
pub const MAX_SECRET_BYTES: usize = 1024;
/// How long an HMAC assignment is accepted, in seconds, clock skew not included.
pub const HMAC_WINDOW_SECONDS: i64 = 3600;
/// Longest HMAC assignment, in bytes of JSON.
pub const MAX_HMAC_ASSIGNMENT_BYTES: usize = 4096;
/// What joins the fields of the message, and so may stand in none.
const DELIMITER: char = '|';
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// One version of the shared secret. Wiped from memory when dropped; `Debug` hides it.
pub struct HmacSecret {
    version: u32,
    secret: Zeroizing<Vec<u8>>,
}

/// Why a text is no usable secret. The secret itself is never quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HmacSecretError {
    /// Too short or too long.
    #[error("a secret has 32 to 1024 bytes, but this one has {bytes}: draw 32 random bytes")]
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// Two secrets share a version.
    #[error(
        "the current and the previous secret both have version {version}: give the new one the next number"
    )]
    SameVersion {
        /// Which version.
        version: u32,
    },
}

impl HmacSecret {
    /// Takes a secret. Version numbers are the operator's; a new secret has a new one.
    ///
    /// # Errors
    /// [`HmacSecretError::Length`]. The bytes are wiped in either case.
    pub fn new(version: u32, secret: Vec<u8>) -> Result<Self, HmacSecretError> {
        let (secret, bytes) = (Zeroizing::new(secret), MIN_SECRET_BYTES..=MAX_SECRET_BYTES);
        if !bytes.contains(&secret.len()) {
            return Err(HmacSecretError::Length { bytes: secret.len() });
        }
        Ok(Self { version, secret })
    }

    /// Which version of the secret this is.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether `tag` is the whole HMAC over `message`; compares in constant time.
    pub(super) fn fits(&self, message: &[u8], tag: &[u8]) -> bool {
        self.mac(message).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    fn mac(&self, message: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes a key of any length, so there is always one; `None` reads as a signature that never fits.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secret).ok()?;
        mac.update(message);
        Some(mac)
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacSecret(version {}, redacted)", self.version)
    }
}

/// The secret that signs, and the one before it, which is accepted until it is taken away.
#[derive(Debug)]
pub struct HmacSecrets {
    current: HmacSecret,
    previous: Option<HmacSecret>,
}

impl HmacSecrets {
    /// Takes the current secret and, during a rotation, the previous one.
    ///
    /// # Errors
    /// [`HmacSecretError::SameVersion`].
    pub fn new(current: HmacSecret, previous: Option<HmacSecret>) -> Result<Self, HmacSecretError> {
        match &previous {
            Some(previous) if previous.version == current.version => {
                Err(HmacSecretError::SameVersion { version: current.version })
            }
            _ => Ok(Self { current, previous }),
        }
    }

    /// The version that signs.
    pub fn current_version(&self) -> u32 {
        self.current.version
    }

    fn find(&self, version: u64) -> Option<&HmacSecret> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|secret| u64::from(secret.version) == version)
    }
}

/// One experiment's variant for one unit, as signed with a shared secret. Field order is the order on the wire.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HmacAssignment {
    experiment_id: String,
    user_id: String,
    variant: String,
    version: u64,
    timestamp: i64,
    secret_version: u32,
    signature: String,
}

/// Why an assignment cannot be signed in this profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HmacSignError {
    /// The unit id holds the delimiter, so that two different assignments could share one message.
    #[error("the unit id holds '|', which the HMAC profile cannot sign: use a signed token instead")]
    DelimiterInUnitId,
    /// The version or the time is beyond what the message can carry.
    #[error("the version and the time must be integers from 0 to 9007199254740991")]
    NumberOutOfRange,
}

/// Signs one assignment with the current secret.
///
/// # Errors
/// [`HmacSignError`]: keys cannot hold the delimiter, unit ids can.
pub fn sign(
    secrets: &HmacSecrets,
    experiment: &ExperimentKey,
    unit: UnitId<'_>,
    variant: &VariantKey,
    version: u64,
    at: Timestamp,
) -> Result<HmacAssignment, HmacSignError> {
    if unit.as_str().contains(DELIMITER) {
        return Err(HmacSignError::DelimiterInUnitId);
    }
    let in_range = u64::try_from(at.unix_ms()).is_ok_and(|ms| ms.max(version) <= MAX_CLAIM_INTEGER);
    if !in_range {
        return Err(HmacSignError::NumberOutOfRange);
    }
    let mut assignment = HmacAssignment {
        experiment_id: experiment.as_str().to_owned(),
        user_id: unit.as_str().to_owned(),
        variant: variant.as_str().to_owned(),
        version,
        timestamp: at.unix_ms(),
        secret_version: secrets.current.version,
        signature: String::new(),
    };
    if let Some(mac) = secrets.current.mac(assignment.message().as_bytes()) {
        assignment.signature = to_hex(&mac.finalize().into_bytes());
    }
    Ok(assignment)
}

impl HmacAssignment {
    /// Reads and checks an assignment: shape, secret version, signature in constant time, then its age.
    ///
    /// Whether it is the right unit's is for the caller to compare: [`HmacAssignment::user_id`].
    ///
    /// # Errors
    /// `E_MALFORMED`, `E_KEY` (secret version), `E_SIGNATURE`, `E_EXPIRED` or `E_NOT_YET`.
    pub fn verify(json: &[u8], secrets: &HmacSecrets, now: Timestamp) -> Result<Self, VerifyError> {
        let (assignment, version) = Self::parse(json).map_err(VerifyError::Malformed)?;
        let secret = secrets.find(version).ok_or(VerifyError::Key(KeyRefusal::UnknownSecret { version }))?;
        let assignment = Self { secret_version: secret.version, ..assignment };
        let signature = from_hex(&assignment.signature).ok_or(VerifyError::Signature)?;
        if !secret.fits(assignment.message().as_bytes(), &signature) {
            return Err(VerifyError::Signature);
        }

        let issued = assignment.issued_at();
        let expired_at = issued.plus_seconds(HMAC_WINDOW_SECONDS);
        if now >= expired_at.plus_seconds(CLOCK_SKEW_SECONDS) {
            return Err(VerifyError::Expired { expired_at, now });
        }
        super::claims::begun(issued, now)?;
        Ok(assignment)
    }

    /// The fields, and the secret's version, which is not believed yet. Every field obeys the bounds under which
    /// it could have been signed, so that no two field lists share a message.
    fn parse(json: &[u8]) -> Result<(Self, u64), Malformation> {
        if json.len() > MAX_HMAC_ASSIGNMENT_BYTES {
            return Err(Malformation::TooLarge { bytes: json.len(), limit: MAX_HMAC_ASSIGNMENT_BYTES });
        }
        let mut fields = Claims::parse(json)?;
        let plain = "text of 1 to 256 bytes without '|' or control characters";
        let mut text = |name| {
            let fits = |text: &str| {
                let bounded = (1..=MAX_UNIT_ID_BYTES).contains(&text.len());
                (bounded && !text.contains(|c: char| c == DELIMITER || c.is_control()))
                    .then(|| text.to_owned())
            };
            fields.read(name, plain, fits)
        };
        let (experiment_id, user_id, variant) = (text("experimentId")?, text("userId")?, text("variant")?);
        let timestamp = i64::try_from(fields.integer("timestamp")?)
            .map_err(|_| fields.problem("timestamp", expected("a time in milliseconds")))?;
        let secret_version = fields.integer("secretVersion")?;
        let assignment = Self {
            experiment_id,
            user_id,
            variant,
            version: fields.integer("version")?,
            timestamp,
            secret_version: 0,
            signature: fields.text("signature")?,
        };
        Ok((assignment, secret_version))
    }

    /// The assignment as JSON, one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Which experiment.
    pub fn experiment_id(&self) -> &str {
        &self.experiment_id
    }

    /// Whose assignment it is: compare with the unit that asks.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Which variant.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Version of the experiment.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was signed.
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.timestamp)
    }

    /// Which secret signed it.
    pub fn secret_version(&self) -> u32 {
        self.secret_version
    }

    /// The signature, 64 lower-case hexadecimal digits.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    fn message(&self) -> String {
        let Self { experiment_id, user_id, variant, version, timestamp, .. } = self;
        format!("{experiment_id}|{user_id}|{variant}|{version}|{timestamp}")
    }
}

impl fmt::Debug for HmacAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacAssignment(experiment '{}', unit and signature hidden)", self.experiment_id)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Exactly 64 lower-case digits; capitals would give one signature two spellings.
fn from_hex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let nibble = |digit: u8| HEX.iter().position(|known| *known == digit).and_then(|n| u8::try_from(n).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests;
