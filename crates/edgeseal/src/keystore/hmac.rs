//! HMAC secrets of a keyring, and their rotation in the same steps as keys.
//!
//! Nobody fetches a secret from a keyset: between publishing and activating one, its operator hands it to the servers
//! that verify (`edgeseal keys export-hmac`). The wait before activation is the time for that.

use std::fmt;

use edgeseal_core::sealing::{HmacSecret, HmacSecrets, KeyState, RotationPolicy};
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MasterKey;
use super::master::random_bytes;
use crate::exit::{Failure, OrExit, Outcome};

/// Bytes of a new secret: the output size of its hash (RFC 2104, section 3).
const SECRET_BYTES: usize = 32;
/// How long an answer signed with a secret may be accepted: the profile's window and its clock skew.
const ANSWER_LIFE_SECONDS: i64 = 3_600 + 60;

/// One secret, encrypted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct StoredSecret {
    /// `secretVersion` of the answers that it signs.
    pub(crate) version: u32,
    /// Published: known, not in use. Active: signs. Retiring: still accepted.
    pub(crate) state: KeyState,
    /// When it came into this state, in seconds since the Unix epoch.
    pub(crate) since: i64,
    secret: String,
}

/// What a rotation of the HMAC secret did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HmacStep {
    /// A new secret exists; hand it to the servers that verify.
    Published { version: u32, activates_after_seconds: i64 },
    /// The published secret signs; the one before is still accepted.
    Activated { new: u32, old: Option<u32> },
    /// The previous secret is forgotten.
    Retired { version: u32 },
}

/// Why a rotation of the HMAC secret is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HmacRotateError {
    /// Somebody may still depend on the state that this would end.
    TooEarly { version: u32, wait_seconds: i64, why: &'static str },
    /// There is no previous secret.
    NothingToRetire,
}

impl fmt::Display for HmacRotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooEarly { version, wait_seconds, why } => {
                write!(
                    f,
                    "too early for HMAC secret {version}: {why}; wait {wait_seconds} more seconds, or use --force"
                )
            }
            Self::NothingToRetire => f.write_str("no HMAC secret is retiring: rotate first"),
        }
    }
}

impl StoredSecret {
    /// Draws a new secret.
    pub(super) fn generate(
        version: u32,
        state: KeyState,
        master: &MasterKey,
        now: Timestamp,
    ) -> Outcome<Self> {
        let secret = master.wrap(&label(version), random_bytes::<SECRET_BYTES>()?.as_slice())?;
        Ok(Self { version, state, since: now.unix_seconds(), secret })
    }

    /// The secret itself.
    pub(crate) fn open(&self, master: &MasterKey) -> Outcome<Zeroizing<Vec<u8>>> {
        master.unwrap(&label(self.version), &self.secret).ok_or_else(|| {
            Failure::no(format_args!(
                "HMAC secret {} cannot be decrypted: this master key is not the one that encrypted it, or keyring.json \
                 was altered; restore the matching pair from a backup",
                self.version
            ))
        })
    }
}

/// The secrets that sign and verify now.
pub(super) fn open_all(stored: &[StoredSecret], master: &MasterKey) -> Outcome<HmacSecrets> {
    let open = |state| -> Outcome<Option<HmacSecret>> {
        let Some(secret) = stored.iter().find(|secret| secret.state == state) else { return Ok(None) };
        let bytes = secret.open(master)?;
        Ok(Some(
            HmacSecret::new(secret.version, bytes.to_vec())
                .or_no(|| format!("HMAC secret {}", secret.version))?,
        ))
    };
    let current = open(KeyState::Active)?.ok_or_else(|| {
        Failure::no("the keyring has no active HMAC secret: restore keyring.json from a backup")
    })?;
    HmacSecrets::new(current, open(KeyState::Retiring)?).or_no(|| "keyring.json")
}

/// Publishes a successor, or activates the one that is published.
pub(super) fn rotate(
    stored: &mut Vec<StoredSecret>,
    master: &MasterKey,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Outcome<Result<HmacStep, HmacRotateError>> {
    let seconds = now.unix_seconds();
    let distribution_seconds = policy.publish_wait_seconds();
    let Some(next) = stored.iter().position(|secret| secret.state == KeyState::Published) else {
        let version = stored.iter().map(|secret| secret.version).max().unwrap_or(0).saturating_add(1);
        stored.push(StoredSecret::generate(version, KeyState::Published, master, now)?);
        return Ok(Ok(HmacStep::Published { version, activates_after_seconds: distribution_seconds }));
    };
    let new = stored[next].version;
    let wait_seconds = stored[next].since.saturating_add(distribution_seconds) - seconds;
    if wait_seconds > 0 && !force {
        let why = "servers that verify may not have it yet";
        return Ok(Err(HmacRotateError::TooEarly { version: new, wait_seconds, why }));
    }
    // Two secrets are accepted at a time, so the one before the previous must go first.
    match retire(stored, now, force) {
        Ok(_) | Err(HmacRotateError::NothingToRetire) => {}
        Err(too_early) => return Ok(Err(too_early)),
    }
    let mut old = None;
    for secret in stored.iter_mut() {
        if secret.state == KeyState::Active {
            old = Some(secret.version);
            (secret.state, secret.since) = (KeyState::Retiring, seconds);
        } else if secret.version == new {
            (secret.state, secret.since) = (KeyState::Active, seconds);
        }
    }
    Ok(Ok(HmacStep::Activated { new, old }))
}

/// Forgets the previous secret.
pub(super) fn retire(
    stored: &mut Vec<StoredSecret>,
    now: Timestamp,
    force: bool,
) -> Result<HmacStep, HmacRotateError> {
    let Some(place) = stored.iter().position(|secret| secret.state == KeyState::Retiring) else {
        return Err(HmacRotateError::NothingToRetire);
    };
    let version = stored[place].version;
    let wait_seconds = stored[place].since.saturating_add(ANSWER_LIFE_SECONDS) - now.unix_seconds();
    if wait_seconds > 0 && !force {
        let why = "answers that it signed are still alive";
        return Err(HmacRotateError::TooEarly { version, wait_seconds, why });
    }
    stored.remove(place);
    Ok(HmacStep::Retired { version })
}

fn label(version: u32) -> String {
    format!("hmac/{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RotationPolicy =
        RotationPolicy { keyset_lifetime_seconds: 3_600, longest_token_life_seconds: 3_600 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn walks_from_published_to_retired_and_refuses_every_shortcut() {
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let mut stored = vec![StoredSecret::generate(1, KeyState::Active, &master, at(0)).unwrap()];
        let rotate =
            |stored: &mut Vec<_>, seconds| rotate(stored, &master, at(seconds), &POLICY, false).unwrap();

        assert!(matches!(rotate(&mut stored, 10), Ok(HmacStep::Published { version: 2, .. })));
        assert!(matches!(
            rotate(&mut stored, 7_209),
            Err(HmacRotateError::TooEarly { version: 2, wait_seconds: 1, .. })
        ));
        assert_eq!(rotate(&mut stored, 7_210), Ok(HmacStep::Activated { new: 2, old: Some(1) }));
        let states = |stored: &[StoredSecret]| stored.iter().map(|secret| secret.state).collect::<Vec<_>>();
        assert_eq!(states(&stored), [KeyState::Retiring, KeyState::Active]);
        assert_eq!(open_all(&stored, &master).unwrap().current_version(), 2);

        assert!(matches!(
            retire(&mut stored, at(7_300), false),
            Err(HmacRotateError::TooEarly { version: 1, .. })
        ));
        assert_eq!(
            retire(&mut stored, at(7_210 + ANSWER_LIFE_SECONDS), false),
            Ok(HmacStep::Retired { version: 1 })
        );
        assert_eq!(retire(&mut stored, at(99_999), false), Err(HmacRotateError::NothingToRetire));
        assert_eq!(states(&stored), [KeyState::Active]);
    }
}
