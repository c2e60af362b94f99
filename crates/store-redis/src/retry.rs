//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Delays that double up to a bound. Each is cut by a random part, so that the edges that lost the same server do
/// not all come back in the same millisecond.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST_DELAY }
    }

    /// Starts over, after a success.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST_DELAY;
    }

    /// Between half of the current delay and all of it.
    pub(crate) fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST_DELAY);
        // The random keys of the standard library's hash maps: good enough to spread, and no crate for one number.
        let random = u32::from(RandomState::new().hash_one(()) as u16);
        whole / 2 + (whole / 2) * random / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::new();
        for doubled in 0..20 {
            let whole = (FIRST_DELAY * (1 << doubled.min(10))).min(LONGEST_DELAY);
            let delay = backoff.delay();
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST_DELAY);
    }

    #[test]
    fn two_edges_do_not_wait_equally_long() {
        let delays: std::collections::BTreeSet<_> = (0..20).map(|_| Backoff::new().delay()).collect();
        assert!(delays.len() > 1);
    }
}
