//! Tokens that were verified for events: the next batch of the same token costs no signature check.

use std::sync::Arc;

use edgeseal_core::events::{EventToken, verify_token};
use edgeseal_core::sealing::VerifyError;
use edgeseal_core::time::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::published::Live;

/// Most bytes of remembered tokens; beyond it the least useful are forgotten and verified again.
const REMEMBERED_BYTES: u64 = 16 * 1024 * 1024;
/// What one costs beside its experiments, and each of them; the sizes that names have in practice.
const OVERHEAD_BYTES: u64 = 320;
const EXPERIMENT_BYTES: u64 = 160;

/// By the token's hash: 32 bytes whatever its length, and nobody finds two tokens with one hash.
type TokenHash = [u8; 32];

/// The bounded memory of verified tokens.
pub(super) struct Tokens {
    cache: Cache<TokenHash, Arc<EventToken>, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<TokenHash, Arc<EventToken>> for ByBytes {
    fn weight(&self, _hash: &TokenHash, token: &Arc<EventToken>) -> u64 {
        OVERHEAD_BYTES + EXPERIMENT_BYTES * token.experiments() as u64
    }
}

impl Tokens {
    pub(super) fn new() -> Self {
        let items = usize::try_from(REMEMBERED_BYTES / (OVERHEAD_BYTES + 4 * EXPERIMENT_BYTES)).unwrap_or(1);
        Self { cache: Cache::with_weighter(items, REMEMBERED_BYTES, ByBytes) }
    }

    /// What the token says, verified now or earlier; whoever was revoked since is refused again.
    pub(super) fn verify(
        &self,
        token: &str,
        live: &Live,
        now: Timestamp,
    ) -> Result<Arc<EventToken>, VerifyError> {
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        let (keyset, status) = (&live.keyset, Some(&live.status));
        if let Some(known) = self.cache.get(&hash)
            && known.still_vouches(keyset, status, now)
        {
            return Ok(known);
        }
        let verified = Arc::new(verify_token(token, keyset, status, live.ruleset.environment(), now)?);
        self.cache.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }
}
