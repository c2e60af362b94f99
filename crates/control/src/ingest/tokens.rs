//! Tokens that were verified for events: the next batch of the same token costs no signature check.

use std::sync::Arc;

use edgeseal_core::events::{EventToken, verify_token};
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{Keyset, Status, VerifyError};
use edgeseal_core::time::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

/// Most bytes of remembered tokens; beyond it the least useful are forgotten and verified again.
const REMEMBERED_BYTES: u64 = 16 * 1024 * 1024;
/// What one costs beside its experiments, and each of them; the sizes that names have in practice.
const OVERHEAD_BYTES: u64 = 320;
const EXPERIMENT_BYTES: u64 = 160;

/// By the hash of environment and token: 32 bytes whatever their length.
type TokenHash = [u8; 32];

/// The bounded memory of verified tokens.
pub(super) struct Tokens(Cache<TokenHash, Arc<EventToken>, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<TokenHash, Arc<EventToken>> for ByBytes {
    fn weight(&self, _hash: &TokenHash, token: &Arc<EventToken>) -> u64 {
        OVERHEAD_BYTES.saturating_add(EXPERIMENT_BYTES.saturating_mul(token.experiments() as u64))
    }
}

impl Tokens {
    pub(super) fn new() -> Self {
        let items = usize::try_from(REMEMBERED_BYTES / (OVERHEAD_BYTES + 4 * EXPERIMENT_BYTES)).unwrap_or(1);
        Self(Cache::with_weighter(items, REMEMBERED_BYTES, ByBytes))
    }

    /// What the token says, verified now or earlier; whoever was revoked since is refused again.
    pub(super) fn verify(
        &self,
        token: &str,
        environment: &Environment,
        keyset: &Keyset,
        status: &Status,
        now: Timestamp,
    ) -> Result<Arc<EventToken>, VerifyError> {
        let mut hash = Sha256::new();
        hash.update(environment.as_str().as_bytes());
        hash.update(b"\0");
        hash.update(token.as_bytes());
        let hash: TokenHash = hash.finalize().into();
        if let Some(known) = self.0.get(&hash)
            && known.still_vouches(keyset, Some(status), now)
        {
            return Ok(known);
        }
        let verified = Arc::new(verify_token(token, keyset, Some(status), environment, now)?);
        self.0.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }
}
