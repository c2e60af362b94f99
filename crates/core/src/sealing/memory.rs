//! What a client remembers between two tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::assignment::AssignmentClaims;
use super::error::{RolledBack, VerifyError};
use super::keyset::Keyset;
use super::status::Status;
use super::verify::VerifiedAssignments;
use crate::ids::ExperimentKey;

/// Most experiments whose version a [`Memory`] keeps. Beyond it new ones are not remembered one by one; the
/// snapshot version still guards them.
pub const MAX_REMEMBERED_EXPERIMENTS: usize = 10_000;

/// What a client has accepted so far in one environment, so that nobody can show it the past again.
///
/// A status document's epoch is kept apart from the tokens': after a pause the tokens in shared caches are of an
/// older epoch than the status, and stay good for every experiment that is not halted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Memory {
    /// Newest snapshot version in a token.
    pub cv: u64,
    /// Newest epoch in a token.
    pub ep: u64,
    /// Newest epoch of a status document.
    pub status_ep: u64,
    /// Newest version of the keyset.
    pub keyset_ver: u64,
    /// Newest version of each experiment.
    pub xv: BTreeMap<ExperimentKey, u64>,
}

impl Memory {
    /// Takes note of a verified token.
    pub fn remember_assignments(&mut self, verified: &VerifiedAssignments) {
        let claims = verified.claims();
        self.cv = self.cv.max(claims.cv);
        self.ep = self.ep.max(claims.ep);
        for (key, variant) in &claims.a {
            if let Some(seen) = self.xv.get_mut(key) {
                *seen = variant.xv.max(*seen);
            } else if self.xv.len() < MAX_REMEMBERED_EXPERIMENTS {
                self.xv.insert(key.clone(), variant.xv);
            }
        }
    }

    /// Takes note of a verified status document.
    pub fn remember_status(&mut self, status: &Status) {
        self.status_ep = self.status_ep.max(status.ep);
    }

    /// Takes note of a verified keyset.
    pub fn remember_keyset(&mut self, keyset: &Keyset) {
        self.keyset_ver = self.keyset_ver.max(keyset.ver);
    }

    /// Whether a verified status document is not older than the newest seen.
    ///
    /// # Errors
    /// `E_ROLLBACK`: somebody replays an older one that is still alive. Keep the newer.
    pub fn check_status(&self, status: &Status) -> Result<(), VerifyError> {
        not_older(RolledBack::StatusEpoch, status.ep, self.status_ep)
    }

    /// Whether a verified keyset is not older than the newest seen.
    ///
    /// # Errors
    /// `E_ROLLBACK`: somebody replays an older one that is still alive. Keep the newer.
    pub fn check_keyset(&self, keyset: &Keyset) -> Result<(), VerifyError> {
        not_older(RolledBack::KeysetVersion, keyset.ver, self.keyset_ver)
    }

    pub(super) fn check_claims(&self, claims: &AssignmentClaims) -> Result<(), VerifyError> {
        not_older(RolledBack::SnapshotVersion, claims.cv, self.cv)?;
        not_older(RolledBack::TokenEpoch, claims.ep, self.ep)
    }
}

fn not_older(what: RolledBack, found: u64, seen: u64) -> Result<(), VerifyError> {
    if found < seen { Err(VerifyError::Rollback { what, found, seen }) } else { Ok(()) }
}
