//! When tokens were last used: to the minute, and written in batches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use edgeseal_core::time::Timestamp;

/// A token's use is noted at most this often, in seconds.
const NOTED_EVERY_SECONDS: i64 = 60;
/// Tokens that are remembered; beyond it those not used for [`NOTED_EVERY_SECONDS`] are forgotten, and then noted
/// again when they are used.
const MAX_TOKENS: usize = 10_000;

/// Tokens that were good lately, and those whose use the store does not know of yet.
#[derive(Default)]
pub(crate) struct Usage {
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    noted: HashMap<String, Timestamp>,
    unwritten: HashMap<String, Timestamp>,
}

impl Usage {
    /// Takes note that a good token was used.
    pub(crate) fn note(&self, id: &str, now: Timestamp) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |noted: &Timestamp| now.seconds_since(*noted).abs() < NOTED_EVERY_SECONDS;
        if tokens.noted.get(id).is_some_and(fresh) {
            return;
        }
        if tokens.noted.len() >= MAX_TOKENS {
            tokens.noted.retain(|_, noted| fresh(noted));
        }
        tokens.noted.insert(id.to_owned(), now);
        tokens.unwritten.insert(id.to_owned(), now);
    }

    /// Whether a token of this id was good once.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).noted.contains_key(id)
    }

    /// What is to be written now.
    pub(crate) fn take(&self) -> Vec<(String, Timestamp)> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.unwritten.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_token_is_written_once_a_minute() {
        let usage = Usage::default();
        let at = Timestamp::from_unix_seconds;
        for second in 0..60 {
            usage.note("a", at(second));
        }
        assert_eq!(usage.take(), [("a".to_owned(), at(0))]);
        assert!(usage.take().is_empty());
        usage.note("a", at(60));
        assert_eq!(usage.take(), [("a".to_owned(), at(60))]);
        assert!(usage.knows("a") && !usage.knows("b"));
    }

    #[test]
    fn a_clock_set_back_does_not_silence_a_token() {
        let usage = Usage::default();
        usage.note("a", Timestamp::from_unix_seconds(10_000));
        usage.take();
        usage.note("a", Timestamp::from_unix_seconds(5_000));
        assert_eq!(usage.take().len(), 1);
    }
}
