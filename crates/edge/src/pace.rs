//! How long to wait: growing, bounded, and a little different on every edge, so that a thousand of them do not come
//! back at the same moment.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Waits that double up to a bound.
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// The next wait.
    pub(crate) fn step(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        jittered(wait)
    }

    /// It worked: the next wait is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// Asks for waits of at least this, within the bound.
    pub(crate) fn at_least(&mut self, wait: Duration) {
        self.shortest = self.shortest.max(wait).min(self.longest);
        self.next = self.next.max(self.shortest);
    }
}

/// Between half of `wait` and the whole.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness everybody waits the same: worse, but no reason to stop.
    let _drawn = SystemRandom::new().fill(&mut bytes);
    let share = f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_again() {
        let (shortest, longest) = (Duration::from_millis(250), Duration::from_secs(10));
        let mut backoff = Backoff::new(shortest, longest);
        for wait in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000].map(Duration::from_millis) {
            let step = backoff.step();
            assert!(wait / 2 <= step && step <= wait, "{step:?} for {wait:?}");
        }
        backoff.reset();
        assert!(backoff.step() <= shortest);
        backoff.at_least(Duration::from_secs(1));
        backoff.reset();
        assert!(backoff.step() >= Duration::from_millis(500));
        backoff.at_least(Duration::from_secs(3_600));
        assert!(backoff.step() <= longest, "no server makes an edge wait longer than this");
    }
}
