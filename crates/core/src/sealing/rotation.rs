//! Replacing keys without one failed verification: published → active → retiring → retired.
//!
//! A pure state machine: records and the time go in, records come out; whoever calls stores them, makes the keys
//! and signs the keyset. Two waits protect the verifiers:
//!
//! - A new key is *published* for two keyset lifetimes before it signs. Whoever verifies holds a keyset that is at
//!   most one lifetime old, so the key is in it, with a lifetime to spare for a late refresh.
//! - An old key stays *retiring* for the longest token life, so that the last token it signed dies first.
//!
//! Both waits can be skipped by force, for a key that has leaked; then clients see `E_KEY` until they refresh.

use serde::{Deserialize, Serialize};

use super::CLOCK_SKEW_SECONDS;
use super::keys::{KeyId, PublicKey};
use super::keyset::{KeyState, KeyUse, Keyset, KeysetKey};
use crate::ids::Environment;
use crate::time::Timestamp;

/// Most retired keys a keyset still lists, so that verifiers can say "retired" rather than "unknown".
pub const MAX_RETIRED_KEYS_LISTED: usize = 8;

/// How long the waits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a signed keyset is valid, in seconds.
    pub keyset_lifetime_seconds: i64,
    /// The longest life of anything that these keys sign, in seconds.
    pub longest_token_life_seconds: i64,
}

impl Default for RotationPolicy {
    /// A keyset lives for a day: clients outlive the loss of a control plane by as much.
    fn default() -> Self {
        Self { keyset_lifetime_seconds: 24 * 3600, longest_token_life_seconds: super::MAX_TOKEN_LIFE_SECONDS }
    }
}

impl RotationPolicy {
    /// Seconds from publishing a key to activating it: two keyset lifetimes, the second never shorter than the
    /// clock skew within which an expired keyset is still accepted.
    pub const fn publish_wait_seconds(&self) -> i64 {
        let lifetime = self.keyset_lifetime_seconds;
        let spare = if lifetime > CLOCK_SKEW_SECONDS { lifetime } else { CLOCK_SKEW_SECONDS };
        lifetime.saturating_add(spare)
    }

    /// Seconds from a key's last signature to its retirement: the longest token life and the clock skew.
    pub const fn retire_wait_seconds(&self) -> i64 {
        self.longest_token_life_seconds.saturating_add(CLOCK_SKEW_SECONDS)
    }
}

/// One key's life so far, without its secret. Times are stored as whole Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRecord {
    /// The key's `kid`.
    pub kid: KeyId,
    /// The key.
    pub public: PublicKey,
    /// What it may sign.
    #[serde(rename = "use")]
    pub use_: KeyUse,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made.
    #[serde(with = "unix_seconds")]
    pub created_at: Timestamp,
    /// When it entered the keyset.
    #[serde(with = "unix_seconds")]
    pub published_at: Timestamp,
    /// When it began to sign.
    #[serde(default, with = "optional_unix_seconds", skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it stopped signing.
    #[serde(default, with = "optional_unix_seconds", skip_serializing_if = "Option::is_none")]
    pub retiring_at: Option<Timestamp>,
    /// When its signatures ceased to count.
    #[serde(default, with = "optional_unix_seconds", skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
}

/// What [`rotate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotateStep {
    /// A successor is now in the keyset and signs nothing yet.
    Published {
        /// The successor.
        kid: KeyId,
        /// When it may be activated.
        activates_after: Timestamp,
    },
    /// The successor signs from now on. Control keys: sign the snapshot and the status anew.
    Activated {
        /// The key that signs now.
        new: KeyId,
        /// The key that stopped signing.
        old: KeyId,
    },
}

/// What [`retire`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetireStep {
    /// Keys whose signatures count no more, at least one.
    pub retired: Vec<KeyId>,
}

/// Why a step was not taken; the records are unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// A wait is not over.
    #[error(
        "key {kid} has to wait {wait_seconds} more seconds: {why}; wait, or force it and accept failed verifications"
    )]
    TooEarly {
        /// Which key.
        kid: KeyId,
        /// Seconds left.
        wait_seconds: i64,
        /// What the wait protects.
        why: &'static str,
    },
    /// There is no successor yet and none was offered.
    #[error("there is no successor for the {} key yet: make a fresh key to publish", .use_.as_str())]
    NoFreshKey {
        /// For which use.
        use_: KeyUse,
    },
    /// The offered key is already known.
    #[error("key {kid} is already known: a successor must be a fresh key")]
    KnownKey {
        /// Which key.
        kid: KeyId,
    },
    /// No key of this use is active, so there is nothing to succeed.
    #[error("no {} key is active: create the first key before rotating", .use_.as_str())]
    NoActiveKey {
        /// For which use.
        use_: KeyUse,
    },
    /// No such key.
    #[error("there is no key '{kid}'")]
    UnknownKey {
        /// Which key.
        kid: KeyId,
    },
    /// The key still signs. Not even force retires it, because nothing could be signed afterwards.
    #[error("key {kid} is active: rotate to a successor before retiring it")]
    StillActive {
        /// Which key.
        kid: KeyId,
    },
    /// The key is retired already.
    #[error("key {kid} is retired already")]
    AlreadyRetired {
        /// Which key.
        kid: KeyId,
    },
    /// No key is retiring.
    #[error("no key is retiring, so there is nothing to retire")]
    NothingToRetire,
}

/// The first key of its use: active at once, because nobody can hold an older keyset.
pub fn first(use_: KeyUse, public: PublicKey, now: Timestamp) -> KeyRecord {
    KeyRecord { state: KeyState::Active, activated_at: Some(whole(now)), ..published(use_, public, now) }
}

fn published(use_: KeyUse, public: PublicKey, now: Timestamp) -> KeyRecord {
    KeyRecord {
        kid: public.kid(),
        public,
        use_,
        state: KeyState::Published,
        created_at: whole(now),
        published_at: whole(now),
        activated_at: None,
        retiring_at: None,
        retired_at: None,
    }
}

/// Takes the next step towards a new key: publishes `fresh`, or activates the successor that is already published.
///
/// `fresh` is taken only when there is no published successor, so there is never a second one. Force skips the
/// wait of a published successor; it does not make one step of two.
///
/// # Errors
/// [`RotationError`], above all `TooEarly` with the seconds left; then nothing has changed.
pub fn rotate(
    records: &mut Vec<KeyRecord>,
    use_: KeyUse,
    fresh: Option<PublicKey>,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Result<RotateStep, RotationError> {
    if !records.iter().any(|record| record.use_ == use_ && record.state == KeyState::Active) {
        return Err(RotationError::NoActiveKey { use_ });
    }
    let successor = records.iter().find(|record| record.use_ == use_ && record.state == KeyState::Published);
    let Some(successor) = successor else {
        let public = fresh.ok_or(RotationError::NoFreshKey { use_ })?;
        let record = published(use_, public, now);
        let kid = record.kid.clone();
        if records.iter().any(|known| known.kid == kid) {
            return Err(RotationError::KnownKey { kid });
        }
        records.push(record);
        let activates_after = whole(now).plus_seconds(policy.publish_wait_seconds());
        return Ok(RotateStep::Published { kid, activates_after });
    };
    let new = successor.kid.clone();
    if !force {
        let why = "clients may still hold a keyset without it";
        waited(&new, successor.published_at, policy.publish_wait_seconds(), now, why)?;
    }
    let mut old = new.clone();
    for record in records.iter_mut().filter(|record| record.use_ == use_) {
        if record.kid == new {
            record.state = KeyState::Active;
            record.activated_at = Some(whole(now));
        } else if record.state == KeyState::Active {
            record.state = KeyState::Retiring;
            record.retiring_at = Some(whole(now));
            old = record.kid.clone();
        }
    }
    Ok(RotateStep::Activated { new, old })
}

/// Ends one key, or with `None` every retiring key whose wait is over.
///
/// A published key that never signed may be ended at once: that is how a successor is given up.
///
/// # Errors
/// [`RotationError`], above all `TooEarly` with the seconds left; then nothing has changed.
pub fn retire(
    records: &mut [KeyRecord],
    kid: Option<&KeyId>,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Result<RetireStep, RotationError> {
    let may_end = |record: &KeyRecord| match record.retiring_at {
        Some(since) if !force => {
            let why = "tokens that it signed may still be alive";
            waited(&record.kid, since, policy.retire_wait_seconds(), now, why)
        }
        _ => Ok(()),
    };
    let mut ending: Vec<&mut KeyRecord> = Vec::new();
    if let Some(kid) = kid {
        let record = records.iter_mut().find(|record| record.kid == *kid);
        let record = record.ok_or_else(|| RotationError::UnknownKey { kid: kid.clone() })?;
        match record.state {
            KeyState::Active => return Err(RotationError::StillActive { kid: kid.clone() }),
            KeyState::Retired => return Err(RotationError::AlreadyRetired { kid: kid.clone() }),
            KeyState::Published | KeyState::Retiring => may_end(record)?,
        }
        ending.push(record);
    } else {
        let mut first_refusal = RotationError::NothingToRetire;
        for record in records.iter_mut().filter(|record| record.state == KeyState::Retiring) {
            match may_end(record) {
                Ok(()) => ending.push(record),
                Err(refusal) => first_refusal = sooner(first_refusal, refusal),
            }
        }
        if ending.is_empty() {
            return Err(first_refusal);
        }
    }
    let mut retired = Vec::with_capacity(ending.len());
    for record in ending {
        record.state = KeyState::Retired;
        record.retired_at = Some(whole(now));
        retired.push(record.kid.clone());
    }
    Ok(RetireStep { retired })
}

/// Of two refusals, the one that ends sooner.
fn sooner(one: RotationError, other: RotationError) -> RotationError {
    match (&one, &other) {
        (
            RotationError::TooEarly { wait_seconds: a, .. },
            RotationError::TooEarly { wait_seconds: b, .. },
        ) if a <= b => one,
        _ => other,
    }
}

fn waited(
    kid: &KeyId,
    since: Timestamp,
    wait: i64,
    now: Timestamp,
    why: &'static str,
) -> Result<(), RotationError> {
    let wait_seconds = wait.saturating_sub(now.seconds_since(since));
    if wait_seconds > 0 {
        return Err(RotationError::TooEarly { kid: kid.clone(), wait_seconds, why });
    }
    Ok(())
}

/// The keyset to be signed with the root key. It lists every key that may vouch, and the latest retired ones.
///
/// A key is valid from its publishing; its end is the state `retired`, set by [`retire`], so a late retirement
/// never fails a verification.
pub fn keyset_from(
    records: &[KeyRecord],
    environment: &Environment,
    ver: u64,
    now: Timestamp,
    policy: &RotationPolicy,
) -> Keyset {
    let key = |record: &KeyRecord| KeysetKey {
        public: record.public,
        kid: record.kid.clone(),
        use_: record.use_,
        state: record.state,
        nbf: record.published_at,
        exp: record.retired_at,
    };
    let mut retired: Vec<&KeyRecord> = records.iter().filter(|record| !record.state.verifies()).collect();
    retired.sort_by_key(|record| std::cmp::Reverse(record.retired_at));
    let alive = records.iter().filter(|record| record.state.verifies());
    Keyset {
        iss: environment.clone(),
        ver,
        iat: whole(now),
        exp: whole(now).plus_seconds(policy.keyset_lifetime_seconds),
        keys: alive.chain(retired.into_iter().take(MAX_RETIRED_KEYS_LISTED)).map(key).collect(),
    }
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds(time.unix_seconds())
}

mod unix_seconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.unix_seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_seconds)
    }
}

mod optional_unix_seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::time::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::unix_seconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_unix_seconds))
    }
}

#[cfg(test)]
mod tests;
