//! The one place where the edge reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use edgeseal_core::time::Timestamp;

/// What the edge takes for the current time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set`]; clones stand together.
    pub fn fixed(now: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(now.unix_ms()))))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Fixed(unix_ms) => Timestamp::from_unix_ms(unix_ms.load(Ordering::Acquire)),
        }
    }

    /// Sets a fixed clock; returns `false`, and does nothing, for the machine's clock.
    pub fn set(&self, now: Timestamp) -> bool {
        match &self.0 {
            Source::System => false,
            Source::Fixed(unix_ms) => {
                unix_ms.store(now.unix_ms(), Ordering::Release);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told_and_with_its_clones() {
        let clock = Clock::fixed(Timestamp::from_unix_seconds(1_000));
        let seen_elsewhere = clock.clone();
        assert!(clock.set(Timestamp::from_unix_seconds(2_000)));
        assert_eq!(seen_elsewhere.now(), Timestamp::from_unix_seconds(2_000));
    }

    #[test]
    fn the_system_clock_cannot_be_set() {
        assert!(!Clock::system().set(Timestamp::from_unix_seconds(0)));
        assert!(Clock::system().now() > Timestamp::from_unix_seconds(1_600_000_000));
    }
}
