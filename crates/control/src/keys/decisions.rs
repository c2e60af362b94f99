//! Steps of keys as decisions for [`Control::change`](crate::Control::change).

use edgeseal_core::sealing::{KeyId, KeyUse, RotationPolicy};
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{KeyList, Keyring, MasterKey, Step};
use crate::change::{AuditNote, Decision};
use crate::environment::EnvironmentState;
use crate::error::ControlError;

/// What rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotating {
    /// Keys that sign tokens.
    Edge,
    /// Keys that sign snapshots and status documents.
    Control,
    /// Secrets of the HMAC profile.
    Hmac,
}

/// The keys of an environment.
pub fn list(state: &EnvironmentState, policy: &RotationPolicy, now: Timestamp) -> KeyList {
    KeyList::of(&state.keyring, policy, now)
}

/// Takes the next step of a rotation.
///
/// # Errors
/// [`ControlError::Rotation`] or [`ControlError::HmacRotation`] while a wait is not over.
pub fn rotate(
    state: &EnvironmentState,
    use_: Rotating,
    master: &MasterKey,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Result<Decision<Step>, ControlError> {
    let mut keyring = Keyring::clone(&state.keyring);
    let step = match use_ {
        Rotating::Edge => Step::Key(keyring.rotate(KeyUse::Edge, master, now, policy, force)?),
        Rotating::Control => Step::Key(keyring.rotate(KeyUse::Control, master, now, policy, force)?),
        Rotating::Hmac => Step::Hmac(keyring.rotate_hmac(master, now, policy, force)?),
    };
    Ok(decided("key.rotate", keyring, step, json!({ "use": use_, "force": force })))
}

/// Retires one key, or all whose wait is over; with [`Rotating::Hmac`] the previous secret.
///
/// # Errors
/// As [`rotate`]; [`ControlError::Rotation`] with `UnknownKey` for a kid that is not there.
pub fn retire(
    state: &EnvironmentState,
    kid: Option<&KeyId>,
    use_: Option<Rotating>,
    now: Timestamp,
    policy: &RotationPolicy,
    force: bool,
) -> Result<Decision<Step>, ControlError> {
    let mut keyring = Keyring::clone(&state.keyring);
    let step = if use_ == Some(Rotating::Hmac) {
        Step::Hmac(keyring.retire_hmac(now, force)?)
    } else {
        Step::Key(keyring.retire(kid, now, policy, force)?)
    };
    Ok(decided("key.retire", keyring, step, json!({ "force": force })))
}

/// Ends a key that leaked, at once.
///
/// # Errors
/// [`ControlError::Rotation`] for a kid that is not there or was revoked already.
pub fn revoke(
    state: &EnvironmentState,
    kid: &KeyId,
    master: &MasterKey,
    now: Timestamp,
    policy: &RotationPolicy,
) -> Result<Decision<Step>, ControlError> {
    let mut keyring = Keyring::clone(&state.keyring);
    let step = Step::Key(keyring.revoke(kid, master, now, policy)?);
    Ok(decided("key.revoke", keyring, step, Value::Null))
}

fn decided(action: &'static str, keyring: Keyring, step: Step, asked: Value) -> Decision<Step> {
    let key = match &step {
        Step::Key(super::KeyStep::Revoked { kid, .. }) => Some(kid.to_string()),
        _ => None,
    };
    let mut detail = serde_json::to_value(&step).unwrap_or_default();
    if let (Value::Object(detail), Value::Object(asked)) = (&mut detail, asked) {
        detail.extend(asked);
    }
    let note = AuditNote { action: action.to_owned(), kind: Some("key".to_owned()), key, detail };
    Decision { keyring: Some(keyring), notes: vec![note], ..Decision::nothing(step) }
}
