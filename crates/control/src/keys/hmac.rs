//! HMAC secrets of a key ring, and their rotation in the same steps as keys.
//!
//! Nobody fetches a secret from a keyset: between publishing and activating one, its operator hands it to the servers
//! that verify. The wait before activation is the time for that.

use edgeseal_core::sealing::{CLOCK_SKEW_SECONDS, HmacSecret, HmacSecrets, KeyState, RotationPolicy};
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::steps::HmacStep;
use super::{HmacRotateError, KeyringError, MasterKey, random_bytes};
use crate::error::ControlError;

/// Bytes of a new secret: the output size of its hash (RFC 2104, section 3).
const SECRET_BYTES: usize = 32;
/// How long an answer signed with a secret may be accepted.
const ANSWER_LIFE_SECONDS: i64 =
    edgeseal_core::sealing::hmac_profile::HMAC_WINDOW_SECONDS + CLOCK_SKEW_SECONDS;

/// One secret, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StoredSecret {
    /// `secretVersion` of the answers that it signs.
    pub version: u32,
    /// Published: known, not in use. Active: signs. Retiring: still accepted.
    pub state: KeyState,
    /// When it came into this state, in seconds since the Unix epoch.
    pub since: i64,
    secret: String,
}

impl StoredSecret {
    /// Draws a new secret.
    pub(super) fn generate(
        version: u32,
        state: KeyState,
        master: &MasterKey,
        now: Timestamp,
    ) -> Result<Self, KeyringError> {
        let secret = master.wrap(&label(version), random_bytes::<SECRET_BYTES>()?.as_slice())?;
        Ok(Self { version, state, since: now.unix_seconds(), secret })
    }

    /// The secret itself.
    ///
    /// # Errors
    /// [`KeyringError::Undecryptable`] under another master key, or when it was altered.
    pub fn open(&self, master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let what = || format!("HMAC secret {}", self.version);
        master
            .unwrap(&label(self.version), &self.secret)
            .ok_or_else(|| KeyringError::Undecryptable { what: what() })
    }
}

/// The secrets that sign and verify now.
pub(super) fn open_all(stored: &[StoredSecret], master: &MasterKey) -> Result<HmacSecrets, KeyringError> {
    let unreadable = |error: edgeseal_core::sealing::HmacSecretError| KeyringError::Unreadable {
        detail: format!("HMAC secrets: {error}"),
    };
    let open = |state| -> Result<Option<HmacSecret>, KeyringError> {
        let Some(secret) = stored.iter().find(|secret| secret.state == state) else { return Ok(None) };
        let bytes = secret.open(master)?;
        Ok(Some(HmacSecret::new(secret.version, bytes.to_vec()).map_err(unreadable)?))
    };
    let current = open(KeyState::Active)?.ok_or(KeyringError::NothingActive { what: "HMAC secret" })?;
    HmacSecrets::new(current, open(KeyState::Retiring)?).map_err(unreadable)
}

/// Publishes a successor, or activates the one that is published.
pub(super) fn rotate(
    stored: &mut Vec<StoredSecret>,
    master: &MasterKey,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Result<HmacStep, ControlError> {
    let seconds = now.unix_seconds();
    let wait_seconds = policy.publish_wait_seconds();
    let published = stored.iter().find(|secret| secret.state == KeyState::Published);
    let Some((new, since)) = published.map(|secret| (secret.version, secret.since)) else {
        let secret_version = stored.iter().map(|secret| secret.version).max().unwrap_or(0).saturating_add(1);
        stored.push(StoredSecret::generate(secret_version, KeyState::Published, master, now)?);
        return Ok(HmacStep::Published { secret_version, wait_seconds });
    };
    let wait_seconds = since.saturating_add(wait_seconds).saturating_sub(seconds);
    if wait_seconds > 0 && !force {
        let why = "servers that verify may not have it yet";
        return Err(HmacRotateError::TooEarly { version: new, wait_seconds, why }.into());
    }
    // Two secrets are accepted at a time, so the one before the previous must go first.
    match retire(stored, now, force) {
        Ok(_) | Err(HmacRotateError::NothingToRetire) => {}
        Err(too_early) => return Err(too_early.into()),
    }
    let mut retiring = None;
    for secret in stored.iter_mut() {
        if secret.state == KeyState::Active {
            retiring = Some(secret.version);
            (secret.state, secret.since) = (KeyState::Retiring, seconds);
        } else if secret.version == new {
            (secret.state, secret.since) = (KeyState::Active, seconds);
        }
    }
    Ok(HmacStep::Activated { secret_version: new, retiring })
}

/// Forgets the previous secret.
pub(super) fn retire(
    stored: &mut Vec<StoredSecret>,
    now: Timestamp,
    force: bool,
) -> Result<HmacStep, HmacRotateError> {
    let retiring = stored.iter().find(|secret| secret.state == KeyState::Retiring);
    let Some((version, since)) = retiring.map(|secret| (secret.version, secret.since)) else {
        return Err(HmacRotateError::NothingToRetire);
    };
    let wait_seconds = since.saturating_add(ANSWER_LIFE_SECONDS).saturating_sub(now.unix_seconds());
    if wait_seconds > 0 && !force {
        let why = "answers that it signed are still alive";
        return Err(HmacRotateError::TooEarly { version, wait_seconds, why });
    }
    stored.retain(|secret| secret.version != version);
    Ok(HmacStep::Retired { secret_version: version })
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
        let rotate = |stored: &mut Vec<_>, seconds| rotate(stored, &master, at(seconds), &POLICY, false);

        assert!(matches!(rotate(&mut stored, 10), Ok(HmacStep::Published { secret_version: 2, .. })));
        assert!(matches!(
            rotate(&mut stored, 7_209),
            Err(ControlError::HmacRotation(HmacRotateError::TooEarly { version: 2, wait_seconds: 1, .. }))
        ));
        let activated = rotate(&mut stored, 7_210).unwrap();
        assert_eq!(activated, HmacStep::Activated { secret_version: 2, retiring: Some(1) });
        let states = |stored: &[StoredSecret]| stored.iter().map(|secret| secret.state).collect::<Vec<_>>();
        assert_eq!(states(&stored), [KeyState::Retiring, KeyState::Active]);
        assert_eq!(open_all(&stored, &master).unwrap().current_version(), 2);

        assert!(matches!(
            retire(&mut stored, at(7_300), false),
            Err(HmacRotateError::TooEarly { version: 1, .. })
        ));
        assert_eq!(
            retire(&mut stored, at(7_210 + ANSWER_LIFE_SECONDS), false),
            Ok(HmacStep::Retired { secret_version: 1 })
        );
        assert_eq!(retire(&mut stored, at(99_999), false), Err(HmacRotateError::NothingToRetire));
        assert_eq!(states(&stored), [KeyState::Active]);
    }
}
