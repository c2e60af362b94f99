//! What was done to keys, in the shape that the API and `edgeseal keys --json` tell it.

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{KeyId, KeyRecord, KeyState, RotationPolicy};
use edgeseal_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Keyring;

/// A step of a key's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum KeyStep {
    /// A successor is in the keyset and signs nothing yet.
    Published {
        /// The successor.
        kid: KeyId,
        /// Seconds until it may be activated.
        wait_seconds: i64,
    },
    /// The successor signs.
    Activated {
        /// The key that signs now.
        kid: KeyId,
        /// The key that stopped signing.
        retiring: KeyId,
        /// Seconds until the old key may be retired.
        wait_seconds: i64,
    },
    /// Signatures of these keys count no more.
    Retired {
        /// The keys.
        kids: Vec<KeyId>,
    },
    /// What this key signed is refused from now on, however fresh.
    Revoked {
        /// The key.
        kid: KeyId,
        /// The key that took its place, if it was the one that signed.
        #[serde(skip_serializing_if = "Option::is_none")]
        successor: Option<KeyId>,
    },
}

/// A step of an HMAC secret's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum HmacStep {
    /// A new secret exists; hand it to the servers that verify.
    Published {
        /// Its version.
        secret_version: u32,
        /// Seconds until it may be activated.
        wait_seconds: i64,
    },
    /// The published secret signs; the one before is still accepted.
    Activated {
        /// The version that signs now.
        secret_version: u32,
        /// The version that stopped signing.
        retiring: Option<u32>,
    },
    /// The previous secret is forgotten.
    Retired {
        /// Its version.
        secret_version: u32,
    },
}

/// A step of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// Of a key.
    Key(KeyStep),
    /// Of an HMAC secret.
    Hmac(HmacStep),
}

/// The keys of an environment, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyList {
    /// The environment.
    pub environment: Environment,
    /// The root key.
    pub root: RootListed,
    /// The keys that rotate.
    pub keys: Vec<KeyListed>,
    /// The HMAC secrets.
    pub hmac: Vec<SecretListed>,
}

/// The root key in a [`KeyList`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RootListed {
    /// Its kid.
    pub kid: KeyId,
    /// Its public half, for clients to pin.
    pub jwk: Value,
}

/// One key in a [`KeyList`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyListed {
    /// Its life so far.
    #[serde(flatten)]
    pub record: KeyRecord,
    /// Seconds until it may take its next step; absent when no step is due by time.
    #[serde(rename = "waitSeconds", skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<i64>,
    /// Whether it was revoked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// One HMAC secret in a [`KeyList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretListed {
    /// Its version.
    pub version: u32,
    /// Its state.
    pub state: KeyState,
    /// Since when, in seconds since the Unix epoch.
    pub since: i64,
}

impl KeyList {
    /// Lists the keys of a key ring.
    pub fn of(keyring: &Keyring, policy: &RotationPolicy, now: Timestamp) -> Self {
        let revoked: Vec<&KeyId> = keyring.revoked().collect();
        let keys = keyring.records().into_iter().map(|record| KeyListed {
            wait_seconds: wait_seconds(&record, policy, now),
            revoked: revoked.contains(&&record.kid),
            record,
        });
        let hmac = keyring.hmac_secrets().iter().map(|secret| SecretListed {
            version: secret.version,
            state: secret.state,
            since: secret.since,
        });
        Self {
            environment: keyring.environment().clone(),
            root: RootListed { kid: keyring.root().kid(), jwk: keyring.root().jwk("root") },
            keys: keys.collect(),
            hmac: hmac.collect(),
        }
    }
}

/// Seconds until a key may take its next step; `None` when no step is due by time.
fn wait_seconds(record: &KeyRecord, policy: &RotationPolicy, now: Timestamp) -> Option<i64> {
    let until = match record.state {
        KeyState::Published => record.published_at.plus_seconds(policy.publish_wait_seconds()),
        KeyState::Retiring => record.retiring_at?.plus_seconds(policy.retire_wait_seconds()),
        KeyState::Active | KeyState::Retired => return None,
    };
    Some(until.seconds_since(now).max(0))
}
