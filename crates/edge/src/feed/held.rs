//! What an edge holds, and what it makes of an offer. Pure: values in, values out.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgeseal_core::ids::Environment;
use edgeseal_core::ruleset::Ruleset;
use edgeseal_core::sealing::{
    CLOCK_SKEW_SECONDS, KeyState, KeyUse, Keyset, PublicKey, Status, VerifyError, check_signer,
    verify_snapshot,
};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use serde_json::Value;

use super::Offer;
use super::error::{FeedError, Part};
use super::keys::EdgeKeys;
use crate::Publication;

/// Most sets of edge keys that are kept: a rotation may bring the next before or after its keyset.
const MAX_KEYS: usize = 2;

/// Everything that was verified, the newest of each, and what is served of it.
#[derive(Clone, Default)]
pub(super) struct Held {
    /// Trusted for ever once it is known.
    pub(super) root: Option<PublicKey>,
    /// The newest first.
    pub(super) keys: Vec<Arc<EdgeKeys>>,
    pub(super) keyset: Option<Arc<HeldKeyset>>,
    pub(super) snapshot: Option<Arc<HeldSnapshot>>,
    pub(super) status: Option<Arc<HeldStatus>>,
    pub(super) served: Option<Served>,
}

pub(super) struct HeldKeyset {
    pub(super) keyset: Keyset,
    pub(super) token: Arc<str>,
}

pub(super) struct HeldSnapshot {
    pub(super) ruleset: Arc<Ruleset>,
    pub(super) token: Arc<str>,
}

pub(super) struct HeldStatus {
    pub(super) status: Status,
    pub(super) token: Arc<str>,
}

/// Parts that belong together and are, or may be, served.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) keys: Arc<EdgeKeys>,
    pub(super) keyset: Arc<HeldKeyset>,
    pub(super) snapshot: Arc<HeldSnapshot>,
    pub(super) status: Arc<HeldStatus>,
}

impl Held {
    /// What is held once `offer` is taken over, all of it or nothing.
    pub(super) fn with(
        &self,
        offer: &Offer,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, FeedError> {
        let mut next = self.clone();
        if let Some(keys) = &offer.keys {
            next.take_keys(keys)?;
        }
        if let Some(token) = &offer.keyset {
            next.take_keyset(token, environment, now)?;
        }
        // Before the snapshot: it may revoke the key that signed the snapshot.
        if let Some(token) = &offer.status {
            next.take_status(token, environment, now)?;
        }
        if let Some(token) = &offer.snapshot {
            next.take_snapshot(token, environment, now)?;
        }
        next.forget_keys();
        Ok(next)
    }

    fn take_keys(&mut self, keys: &Arc<EdgeKeys>) -> Result<(), FeedError> {
        match &self.root {
            Some(pinned) if pinned != keys.root() => {
                return Err(FeedError::ForeignRoot { found: keys.root().kid(), pinned: pinned.kid() });
            }
            Some(_) => {}
            None => self.root = Some(*keys.root()),
        }
        if self.keys.first().is_some_and(|newest| newest.same(keys)) {
            return Ok(());
        }
        self.keys.retain(|known| known.kid() != keys.kid());
        self.keys.insert(0, Arc::clone(keys));
        self.keys.truncate(MAX_KEYS);
        Ok(())
    }

    fn take_keyset(
        &mut self,
        token: &str,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<(), FeedError> {
        let root = self.root.as_ref().ok_or(FeedError::NoRoot)?;
        if self.keyset.as_ref().is_some_and(|held| &*held.token == token) {
            return Ok(());
        }
        let part = Part::Keyset;
        let keyset = Keyset::verify(token, root, environment, now)
            .map_err(|error| FeedError::Verify { part, error })?;
        if let Some(held) = &self.keyset {
            let current = &held.keyset;
            if keyset.ver < current.ver {
                return Err(FeedError::Older { part, found: keyset.ver, current: current.ver });
            }
            if keyset.ver == current.ver && keyset.keys != current.keys {
                return Err(FeedError::Conflict { part, version: keyset.ver });
            }
            if keyset.ver == current.ver && is_late(keyset.iat, current.iat, now) {
                return Ok(());
            }
        }
        self.keyset = Some(Arc::new(HeldKeyset { keyset, token: token.into() }));
        Ok(())
    }

    fn take_status(
        &mut self,
        token: &str,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<(), FeedError> {
        let part = Part::Status;
        let keyset = self.keyset.as_ref().ok_or(FeedError::NoKeyset { part })?;
        if self.status.as_ref().is_some_and(|held| &*held.token == token) {
            return Ok(());
        }
        let refused = |error: VerifyError| FeedError::Verify { part, error };
        let status = Status::verify(token, &keyset.keyset, environment, now).map_err(refused)?;
        check_signer(token, &status).map_err(refused)?;
        if let Some(held) = &self.status {
            // A revoked key does not take its revocation back.
            check_signer(token, &held.status).map_err(refused)?;
            let current = &held.status;
            if status.ep < current.ep {
                return Err(FeedError::Older { part, found: status.ep, current: current.ep });
            }
            // The same epoch, signed earlier: it came late, by another way.
            if status.ep == current.ep && is_late(status.iat, current.iat, now) {
                return Ok(());
            }
            if status.cv < current.cv {
                return Err(FeedError::Older { part, found: status.cv, current: current.cv });
            }
        }
        self.status = Some(Arc::new(HeldStatus { status, token: token.into() }));
        Ok(())
    }

    fn take_snapshot(
        &mut self,
        token: &str,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<(), FeedError> {
        let part = Part::Snapshot;
        let keyset = self.keyset.as_ref().ok_or(FeedError::NoKeyset { part })?;
        if self.snapshot.as_ref().is_some_and(|held| &*held.token == token) {
            return Ok(());
        }
        let refused = |error: VerifyError| FeedError::Verify { part, error };
        let claims = verify_snapshot(token, &keyset.keyset, environment, now).map_err(refused)?;
        if let Some(status) = &self.status {
            check_signer(token, &status.status).map_err(refused)?;
        }
        let snapshot = read_snapshot(claims)?;
        let ruleset = match &self.snapshot {
            Some(held) if snapshot.cv < held.ruleset.version() => {
                let current = held.ruleset.version();
                return Err(FeedError::Older { part, found: snapshot.cv, current });
            }
            // Signed anew, by another control key perhaps: what was derived from the ruleset stays good.
            Some(held) if snapshot.cv == held.ruleset.version() => {
                if !says(&held.token, token, &snapshot) {
                    return Err(FeedError::Conflict { part, version: snapshot.cv });
                }
                Arc::clone(&held.ruleset)
            }
            _ => compile(&snapshot)?,
        };
        self.snapshot = Some(Arc::new(HeldSnapshot { ruleset, token: token.into() }));
        Ok(())
    }

    /// Drops keys that will never sign again; the newest stay.
    fn forget_keys(&mut self) {
        let Some(held) = &self.keyset else { return };
        let mut place = 0;
        self.keys.retain(|keys| {
            place += 1;
            let state = held.keyset.find(keys.kid().as_str()).map(|key| key.state);
            place == 1 || matches!(state, Some(KeyState::Published | KeyState::Active | KeyState::Retiring))
        });
    }

    /// What should be served: the newest of everything. While the keys of the newest keyset are missing, the keyset
    /// before it stays, so that halts and snapshots go on coming through.
    pub(super) fn choice(&self) -> Option<Served> {
        let (keyset, snapshot, status) =
            (self.keyset.as_ref()?, self.snapshot.as_ref()?, self.status.as_ref()?);
        let (keys, keyset) = match self.keys.iter().find(|keys| self.may_sign(keys, keyset)) {
            Some(keys) => (keys, keyset),
            None => {
                let served = self.served.as_ref()?;
                self.may_sign(&served.keys, &served.keyset).then_some((&served.keys, &served.keyset))?
            }
        };
        Some(Served {
            keys: Arc::clone(keys),
            keyset: Arc::clone(keyset),
            snapshot: Arc::clone(snapshot),
            status: Arc::clone(status),
        })
    }

    /// Whether the newest keyset asks for keys that are not at hand.
    pub(super) fn needs_keys(&self) -> bool {
        match &self.keyset {
            None => self.keys.is_empty(),
            Some(keyset) => !self.keys.iter().any(|keys| self.may_sign(keys, keyset)),
        }
    }

    fn may_sign(&self, keys: &EdgeKeys, held: &HeldKeyset) -> bool {
        let revoked = self.status.as_ref().is_some_and(|held| held.status.rev.contains(keys.kid()));
        let key = held.keyset.find(keys.kid().as_str());
        !revoked && key.is_some_and(|key| key.use_ == KeyUse::Edge && key.state == KeyState::Active)
    }
}

impl Served {
    /// Whether both are the very same parts.
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
            && Arc::ptr_eq(&self.keyset, &other.keyset)
            && Arc::ptr_eq(&self.snapshot, &other.snapshot)
            && Arc::ptr_eq(&self.status, &other.status)
    }

    pub(super) fn publication(&self) -> Publication {
        Publication {
            ruleset: Arc::clone(&self.snapshot.ruleset),
            status: self.status.status.clone(),
            status_token: self.status.token.to_string(),
            keyset: self.keyset.keyset.clone(),
            keyset_token: self.keyset.token.to_string(),
            signer: self.keys.signer(),
            hmac: self.keys.hmac(),
        }
    }
}

/// Whether a document of the same version was signed before the one at hand, and the one at hand is good. One from the
/// future is not: a clock was wrong when it was taken over, and whatever comes now is better.
fn is_late(found: Timestamp, current: Timestamp, now: Timestamp) -> bool {
    found < current && current <= now.plus_seconds(CLOCK_SKEW_SECONDS)
}

/// The snapshot that verified claims describe.
pub(super) fn read_snapshot(claims: Value) -> Result<Snapshot, FeedError> {
    serde_json::from_value(claims).map_err(|error| FeedError::Unreadable { cause: error.to_string() })
}

pub(super) fn compile(snapshot: &Snapshot) -> Result<Arc<Ruleset>, FeedError> {
    snapshot.compile().map(Arc::new).map_err(|error| FeedError::Compile(Box::new(error)))
}

/// Whether the claims of the verified token `held` are those of `offered`, which is `snapshot`, up to when they were
/// signed.
fn says(held: &str, offered: &str, snapshot: &Snapshot) -> bool {
    let claims = |token: &str| token.split('.').nth(1).map(str::to_owned);
    let (Some(held), Some(offered)) = (claims(held), claims(offered)) else { return false };
    if held == offered {
        return true;
    }
    // Signed anew at another time, or written by another version: the bytes may differ and the meaning be the same.
    let read =
        URL_SAFE_NO_PAD.decode(held).ok().and_then(|json| serde_json::from_slice::<Snapshot>(&json).ok());
    read.is_some_and(|held| Snapshot { iat: snapshot.iat, ..held } == *snapshot)
}
