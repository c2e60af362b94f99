//! What an edge answers from: one immutable publication, swapped as a whole.
//!
//! A request reads one publication from beginning to end, so the ruleset, the status and the key that it sees
//! belong together.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use edgeseal_core::ids::UnitType;
use edgeseal_core::ruleset::{Halts, Ruleset};
use edgeseal_core::sealing::{HmacSecrets, KeyState, KeyUse, Keyset, Sealer, Signer, Status, TokenKind};
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::caching::{CacheTags, entity_tag};
use crate::config::CdnProfile;
use crate::metrics::{EvaluationCounters, Metrics};

/// The parts of a publication, already verified by whoever brings them.
#[derive(Clone)]
pub struct Publication {
    /// What to evaluate. Handing over the same `Arc` again keeps everything that was derived from it.
    pub ruleset: Arc<Ruleset>,
    /// What is halted and revoked.
    pub status: Status,
    /// The same as a signed token, served as it is.
    pub status_token: String,
    /// Which keys may sign.
    pub keyset: Keyset,
    /// The same as a signed token, served as it is.
    pub keyset_token: String,
    /// Signs tokens; its key must be an active edge key of the keyset.
    pub signer: Arc<dyn Signer>,
    /// Secrets of the HMAC profile; without them the profile is off.
    pub hmac: Option<Arc<HmacSecrets>>,
}

/// A consistent [`Publication`].
pub struct Published(Publication);

/// Why a publication was refused; the edge goes on with the one that it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Its parts are of different environments.
    #[error(
        "the {part} is of environment '{found}', but the snapshot is of '{expected}'; publish parts of one environment"
    )]
    OtherEnvironment {
        /// `keyset` or `status document`.
        part: &'static str,
        /// The part's environment.
        found: String,
        /// The ruleset's.
        expected: String,
    },
    /// No verifier would accept what it signs.
    #[error(
        "key {kid} is not an edge key of the keyset, so nobody would accept its tokens; publish the key first"
    )]
    UnknownSigner {
        /// The signer's key.
        kid: String,
    },
    /// The key may not sign now.
    #[error(
        "key {kid} is {state}; only an active key may sign tokens; activate it, or sign with the active one"
    )]
    InactiveSigner {
        /// The signer's key.
        kid: String,
        /// Its state in the keyset.
        state: &'static str,
    },
    /// The status document revokes the key.
    #[error("key {kid} is revoked by the status document; rotate to another key")]
    RevokedSigner {
        /// The signer's key.
        kid: String,
    },
    /// Something would go backwards; clients that saw the newer one would refuse the older as a rollback.
    #[error("the {part} has version {found}, older than {current}, which is in use; publish a newer one")]
    Older {
        /// `snapshot`, `status document` or `keyset`.
        part: &'static str,
        /// The version offered.
        found: u64,
        /// The version in use.
        current: u64,
    },
}

impl Published {
    /// Checks that the parts belong together.
    ///
    /// # Errors
    /// [`PublishError`], for everything but [`PublishError::Older`].
    pub fn new(parts: Publication) -> Result<Self, PublishError> {
        let environment = parts.ruleset.environment();
        for (part, found) in [("keyset", &parts.keyset.iss), ("status document", &parts.status.iss)] {
            if found != environment {
                let (found, expected) = (found.to_string(), environment.to_string());
                return Err(PublishError::OtherEnvironment { part, found, expected });
            }
        }
        let kid = parts.signer.kid();
        let named = || kid.to_string();
        match parts.keyset.find(kid.as_str()) {
            Some(key) if key.use_ != KeyUse::Edge => {
                return Err(PublishError::UnknownSigner { kid: named() });
            }
            None => return Err(PublishError::UnknownSigner { kid: named() }),
            Some(key) if key.state != KeyState::Active => {
                return Err(PublishError::InactiveSigner { kid: named(), state: key.state.as_str() });
            }
            Some(_) => {}
        }
        if parts.status.rev.contains(kid) {
            return Err(PublishError::RevokedSigner { kid: named() });
        }
        Ok(Self(parts))
    }
}

/// A publication with everything that requests would otherwise derive again and again.
pub(crate) struct Live {
    pub(crate) ruleset: Arc<Ruleset>,
    pub(crate) halts: Halts,
    pub(crate) status: Status,
    pub(crate) keyset: Keyset,
    pub(crate) hmac: Option<Arc<HmacSecrets>>,
    /// Signs assignments and measures it.
    pub(crate) sealer: Sealer,
    /// Grows when tokens for an equal request would change: another ruleset, other halts, another key.
    pub(crate) generation: u64,
    pub(crate) tags: CacheTags,
    pub(crate) counters: Arc<EvaluationCounters>,
    pub(crate) status_document: Document,
    /// The status document as a server-sent event.
    pub(crate) status_event: Bytes,
    pub(crate) keyset_document: Document,
    pub(crate) jwks_document: Document,
    /// Unit types that experiments randomise, so that requests need not make their own.
    unit_types: Arc<[UnitType]>,
}

/// Bytes served as they are, with their entity tag.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) body: Bytes,
    pub(crate) etag: HeaderValue,
}

impl Document {
    fn new(body: String) -> Self {
        Self { etag: entity_tag(&short_digest(&[body.as_bytes()])), body: Bytes::from(body) }
    }
}

impl Live {
    /// Derives what `published` needs, keeping from `before` what is still true.
    ///
    /// # Errors
    /// [`PublishError::Older`].
    pub(crate) fn new(
        published: Published,
        before: Option<&Self>,
        profile: CdnProfile,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, PublishError> {
        let Publication { ruleset, status, status_token, keyset, keyset_token, signer, hmac } = published.0;
        if let Some(before) = before {
            for (part, found, current) in [
                ("snapshot", ruleset.version(), before.ruleset.version()),
                ("status document", status.ep, before.status.ep),
                ("keyset", keyset.ver, before.keyset.ver),
            ] {
                if found < current {
                    return Err(PublishError::Older { part, found, current });
                }
            }
        }
        let same_ruleset = before.filter(|before| Arc::ptr_eq(&before.ruleset, &ruleset));
        let same_answers = same_ruleset.is_some_and(|before| {
            let (old, new) = (&before.status, &status);
            (old.ep, &old.off, &old.min) == (new.ep, &new.off, &new.min)
                && before.sealer.kid() == signer.kid()
        });
        let generation = before.map_or(0, |before| before.generation + u64::from(!same_answers));
        let (tags, counters, unit_types) = match same_ruleset {
            Some(before) => {
                (before.tags.clone(), Arc::clone(&before.counters), Arc::clone(&before.unit_types))
            }
            None => (
                CacheTags::new(profile, &ruleset),
                Arc::new(metrics.evaluation_counters(&ruleset)),
                unit_types(&ruleset),
            ),
        };
        Ok(Self {
            halts: Halts::new(&ruleset, &status),
            sealer: Sealer::new(TokenKind::Assignment, Arc::new(metrics.measured(signer))),
            generation,
            tags,
            counters,
            unit_types,
            status_event: Bytes::from(format!("id: {}\nevent: status\ndata: {status_token}\n\n", status.ep)),
            status_document: Document::new(status_token),
            jwks_document: Document::new(keyset.jwks().to_string()),
            keyset_document: Document::new(keyset_token),
            ruleset,
            status,
            keyset,
            hmac,
        })
    }

    /// The unit type of this name, if any experiment randomises it.
    pub(crate) fn unit_type(&self, name: &str) -> Option<&UnitType> {
        self.unit_types.iter().find(|unit_type| unit_type.as_str() == name)
    }
}

fn unit_types(ruleset: &Ruleset) -> Arc<[UnitType]> {
    let mut names: Vec<_> =
        ruleset.experiments().iter().map(|experiment| experiment.unit_type().clone()).collect();
    names.sort();
    names.dedup();
    names.into()
}

/// The first 16 bytes of SHA-256 over `parts`, a NUL after each, in base64url: an entity tag without guessable
/// content.
pub(crate) fn short_digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let (kept, _) = digest.split_at(16);
    URL_SAFE_NO_PAD.encode(kept)
}

#[cfg(test)]
mod tests;
