//! The steps that keys take: rotate, retire, revoke.

use std::collections::BTreeSet;

use edgeseal_core::sealing::{
    KeyId, KeyRecord, KeyState, KeyUse, PublicKey, RetireStep, RotateStep, RotationError, RotationPolicy,
    rotation,
};
use edgeseal_core::time::Timestamp;

use super::steps::{HmacStep, KeyStep};
use super::{
    HmacRotateError, Keyring, KeyringError, MAX_ALIVE_KEYS, MasterKey, RevokedKey, StoredKey, hmac, new_key,
};
use crate::error::ControlError;

impl Keyring {
    /// Takes the next step of a rotation: publishes a successor, or activates the published one.
    ///
    /// # Errors
    /// [`ControlError::Rotation`], above all while a wait is not over; then nothing has changed.
    pub fn rotate(
        &mut self,
        use_: KeyUse,
        master: &MasterKey,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Result<KeyStep, ControlError> {
        let alive = self.keys.iter().filter(|key| key.record.state.verifies()).count();
        if alive >= MAX_ALIVE_KEYS {
            return Err(KeyringError::TooManyKeys { limit: MAX_ALIVE_KEYS }.into());
        }
        let (public, private) = new_key(use_.as_str(), master)?;
        let mut records = self.records();
        let step = rotation::rotate(&mut records, use_, Some(public), now, policy, force)?;
        self.take_records(records, Some((public, private)))?;
        Ok(match step {
            RotateStep::Published { kid, activates_after } => {
                KeyStep::Published { kid, wait_seconds: activates_after.seconds_since(now) }
            }
            RotateStep::Activated { new, old } => {
                KeyStep::Activated { kid: new, retiring: old, wait_seconds: policy.retire_wait_seconds() }
            }
        })
    }

    /// Retires a retiring key, or all whose wait is over. One that is retired before its time is revoked as well:
    /// clients may hold a keyset that still trusts it.
    ///
    /// # Errors
    /// As [`Keyring::rotate`].
    pub fn retire(
        &mut self,
        kid: Option<&KeyId>,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Result<KeyStep, ControlError> {
        let due = rotation::retire(&mut self.records(), kid, now, policy, false)
            .map(|step| step.retired)
            .unwrap_or_default();
        let mut records = self.records();
        let RetireStep { retired } = rotation::retire(&mut records, kid, now, policy, force)?;
        for early in retired.iter().filter(|kid| !due.contains(kid)) {
            self.note_revoked(early, now);
        }
        self.take_records(records, None)?;
        Ok(KeyStep::Retired { kids: retired })
    }

    /// Ends a key that leaked, at once: what it signed is refused from now on. If it is the one that signs, a fresh
    /// key takes its place first, and clients refuse that one's signatures until they fetch the new keyset.
    ///
    /// # Errors
    /// [`RotationError::UnknownKey`] and [`RotationError::AlreadyRetired`] for a key that is revoked already.
    pub fn revoke(
        &mut self,
        kid: &KeyId,
        master: &MasterKey,
        now: Timestamp,
        policy: &RotationPolicy,
    ) -> Result<KeyStep, ControlError> {
        let find = |keyring: &Self| keyring.records().into_iter().find(|record| record.kid == *kid);
        let record = find(self).ok_or_else(|| RotationError::UnknownKey { kid: kid.clone() })?;
        if self.revoked().any(|revoked| revoked == kid) {
            return Err(RotationError::AlreadyRetired { kid: kid.clone() }.into());
        }
        let mut successor = None;
        if record.state == KeyState::Active {
            let mut next = self.clone();
            // Whoever took this key may have had the waiting successor as well: its kind is not trusted any more.
            next.drop_published(record.use_, now);
            next.rotate(record.use_, master, now, policy, true)?;
            if let KeyStep::Activated { kid, .. } = next.rotate(record.use_, master, now, policy, true)? {
                successor = Some(kid);
            }
            *self = next;
        }
        if record.state != KeyState::Retired {
            let mut records = self.records();
            rotation::retire(&mut records, Some(kid), now, policy, true)?;
            self.take_records(records, None)?;
        }
        self.note_revoked(kid, now);
        Ok(KeyStep::Revoked { kid: kid.clone(), successor })
    }

    fn drop_published(&mut self, use_: KeyUse, now: Timestamp) {
        let mut given_up = BTreeSet::new();
        for key in self.keys.iter_mut().filter(|key| key.record.use_ == use_) {
            if key.record.state == KeyState::Published {
                key.record.state = KeyState::Retired;
                key.record.retired_at = Some(Timestamp::from_unix_seconds(now.unix_seconds()));
                given_up.insert(key.record.kid.clone());
            }
        }
        given_up.iter().for_each(|kid| self.note_revoked(kid, now));
    }

    fn note_revoked(&mut self, kid: &KeyId, now: Timestamp) {
        if !self.revoked().any(|revoked| revoked == kid) {
            self.revoked.push(RevokedKey { kid: kid.clone(), at: now.unix_seconds() });
        }
    }

    fn take_records(
        &mut self,
        records: Vec<KeyRecord>,
        fresh: Option<(PublicKey, String)>,
    ) -> Result<(), KeyringError> {
        let mut keys = Vec::with_capacity(records.len());
        for record in records {
            let known =
                self.keys.iter().find(|key| key.record.kid == record.kid).map(|key| key.private.clone());
            let new = || {
                let fresh = fresh.as_ref().filter(|(public, _)| *public == record.public);
                fresh.map(|(_, private)| private.clone())
            };
            let missing = || KeyringError::NoPrivateHalf { kid: record.kid.to_string() };
            let private = known.or_else(new).ok_or_else(missing)?;
            keys.push(StoredKey { record, private });
        }
        self.keys = keys;
        Ok(())
    }

    /// Takes the next step of an HMAC secret's rotation.
    ///
    /// # Errors
    /// [`ControlError::HmacRotation`] while a wait is not over; then nothing has changed.
    pub fn rotate_hmac(
        &mut self,
        master: &MasterKey,
        now: Timestamp,
        policy: &RotationPolicy,
        force: bool,
    ) -> Result<HmacStep, ControlError> {
        let mut secrets = self.hmac.clone();
        let step = hmac::rotate(&mut secrets, master, now, policy, force)?;
        self.hmac = secrets;
        Ok(step)
    }

    /// Forgets the previous HMAC secret.
    ///
    /// # Errors
    /// [`HmacRotateError`]; then nothing has changed.
    pub fn retire_hmac(&mut self, now: Timestamp, force: bool) -> Result<HmacStep, HmacRotateError> {
        hmac::retire(&mut self.hmac, now, force)
    }
}
