//! Tokens already signed: an equal request within a token window gets equal bytes and costs no second signature.
//!
//! Bounded by weight in bytes, so that a million distinct units cost no more memory than the bound. The key holds
//! the whole request, not a hash of it: a collision would hand one unit the token of another.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use edgeseal_core::time::Timestamp;
use http::HeaderValue;
use quick_cache::sync::{Cache, GuardResult};
use quick_cache::{Equivalent, Weighter};

/// Bytes that one remembered token costs beside its own: key, table slot, reference counts, entity tag.
const OVERHEAD_BYTES: u64 = 320;
/// Weight of a typical token; only sizes the table.
const TYPICAL_WEIGHT: u64 = 1_536;

/// One signed token with what its reply needs.
#[derive(Clone)]
pub(crate) struct Sealed {
    /// The token.
    pub(crate) token: Bytes,
    /// Its strong entity tag.
    pub(crate) etag: HeaderValue,
    /// The claim `exp`.
    pub(crate) expires_at: Timestamp,
}

/// What makes two requests equal.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Which publication answers; see [`Published`](crate::published::Published).
    pub(crate) generation: u64,
    /// The token window: the claim `iat`, in seconds.
    pub(crate) window: i64,
    /// Unit type, unit and attributes as sent, NUL between them (none of the three can hold one).
    pub(crate) request: &'a str,
}

/// The bounded memory of tokens.
pub(crate) struct Memo {
    cache: Cache<Key, Sealed, ByBytes>,
}

impl Memo {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let items = usize::try_from(max_bytes / TYPICAL_WEIGHT).unwrap_or(usize::MAX).max(1);
        Self { cache: Cache::with_weighter(items, max_bytes, ByBytes) }
    }

    /// The remembered token for this request.
    pub(crate) fn find(&self, asked: Asked<'_>) -> Option<Sealed> {
        self.cache.get(&asked)
    }

    /// The token for this request, by `seal` if nobody has asked before; whether it was remembered.
    ///
    /// While one thread seals, others that ask for the same wait for its result instead of signing again. `seal`
    /// takes microseconds and never waits for anything, so blocking a runtime thread for it is right.
    pub(crate) fn get_or_seal(&self, asked: Asked<'_>, seal: impl FnOnce() -> Sealed) -> (Sealed, Recall) {
        let key =
            Key { generation: asked.generation, window: asked.window, request: Arc::from(asked.request) };
        match self.cache.get_value_or_guard(&key, None) {
            GuardResult::Value(sealed) => (sealed, Recall::Hit),
            GuardResult::Guard(guard) => {
                let sealed = seal();
                // Refused only when the entry was removed meanwhile or weighs more than a shard: then it is
                // answered and not remembered.
                let _kept = guard.insert(sealed.clone());
                (sealed, Recall::Miss)
            }
            // Cannot happen without a timeout; sealing again is right in any case.
            GuardResult::Timeout => (seal(), Recall::Miss),
        }
    }

    /// Bytes held now, by the same weights as the bound.
    #[cfg(test)]
    fn weight(&self) -> u64 {
        self.cache.weight()
    }
}

/// Whether a token was remembered or just signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recall {
    Hit,
    Miss,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    generation: u64,
    window: i64,
    request: Arc<str>,
}

// `Asked` and `Key` must hash alike, or nothing would ever be found.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked { generation: self.generation, window: self.window, request: &self.request }.hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.generation.hash(state);
        self.window.hash(state);
        self.request.hash(state);
    }
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.generation == key.generation && self.window == key.window && *self.request == *key.request
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Sealed> for ByBytes {
    fn weight(&self, key: &Key, sealed: &Sealed) -> u64 {
        (key.request.len() + sealed.token.len()) as u64 + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn sealed(token: &str) -> Sealed {
        Sealed {
            token: Bytes::copy_from_slice(token.as_bytes()),
            etag: HeaderValue::from_static("\"t\""),
            expires_at: Timestamp::from_unix_seconds(0),
        }
    }

    fn asked(generation: u64, window: i64, request: &str) -> Asked<'_> {
        Asked { generation, window, request }
    }

    #[test]
    fn an_equal_request_is_answered_from_memory() {
        let memo = Memo::new(1 << 20);
        let (first, recall) = memo.get_or_seal(asked(1, 60, "user\0a\0"), || sealed("one"));
        assert_eq!(recall, Recall::Miss);
        let (second, recall) = memo.get_or_seal(asked(1, 60, "user\0a\0"), || sealed("two"));
        assert_eq!(recall, Recall::Hit);
        assert_eq!(first.token, second.token);
    }

    #[test]
    fn another_unit_window_or_publication_is_another_request() {
        let memo = Memo::new(1 << 20);
        memo.get_or_seal(asked(1, 60, "user\0a\0"), || sealed("one"));
        for other in [asked(1, 60, "user\0b\0"), asked(1, 120, "user\0a\0"), asked(2, 60, "user\0a\0")] {
            assert_eq!(memo.get_or_seal(other, || sealed("two")).1, Recall::Miss);
        }
    }

    #[test]
    fn many_threads_asking_at_once_seal_once() {
        const THREADS: usize = 16;
        let memo = Memo::new(1 << 20);
        let seals = AtomicUsize::new(0);
        let together = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    let (answer, _) = memo.get_or_seal(asked(1, 60, "user\0a\0"), || {
                        seals.fetch_add(1, Ordering::Relaxed);
                        sealed("one")
                    });
                    assert_eq!(answer.token, "one");
                });
            }
        });
        assert_eq!(seals.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        const BOUND: u64 = 1 << 20;
        let memo = Memo::new(BOUND);
        for unit in 0..20_000 {
            let request = format!("user\0unit-{unit}\0");
            memo.get_or_seal(asked(1, 60, &request), || sealed(&"t".repeat(700)));
            assert!(memo.weight() <= BOUND);
        }
    }

    #[test]
    fn without_room_everything_is_sealed_afresh() {
        let memo = Memo::new(0);
        for _ in 0..2 {
            assert_eq!(memo.get_or_seal(asked(1, 60, "user\0a\0"), || sealed("one")).1, Recall::Miss);
        }
    }
}
