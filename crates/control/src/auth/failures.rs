//! Failed authentications, counted per client address.
//!
//! Nobody guesses 256 random bits; this keeps somebody who tries from costing the store a question each time, and the
//! log a line.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

/// Addresses that are remembered; beyond it the least recently seen are forgotten.
const MAX_ADDRESSES: usize = 10_000;
/// For how long failures count together.
const WINDOW: Duration = Duration::from_secs(60);

/// The failures of the last minute.
pub(crate) struct Failures {
    allowed: u32,
    by_address: Mutex<Cache<IpAddr, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    count: u32,
}

impl Failures {
    /// Allows each address `allowed` failures a minute.
    pub(crate) fn new(allowed: u32) -> Self {
        Self { allowed, by_address: Mutex::new(Cache::new(MAX_ADDRESSES)) }
    }

    /// How long an address that failed too often has to wait; `None` when it may try.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let window = by_address.get(&subscriber(address))?;
        let over = now.saturating_duration_since(window.began);
        (window.count >= self.allowed && over < WINDOW).then(|| WINDOW - over)
    }

    /// Takes note of a failure.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let address = subscriber(address);
        let current = by_address
            .get(&address)
            .copied()
            .filter(|window| now.saturating_duration_since(window.began) < WINDOW);
        let window = match current {
            Some(window) => Window { count: window.count.saturating_add(1), ..window },
            None => Window { began: now, count: 1 },
        };
        by_address.insert(address, window);
    }
}

/// What one subscriber is given: an IPv4 address, or the /64 of an IPv6 one.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn too_many_failures_wait_for_the_end_of_their_minute() {
        let failures = Failures::new(3);
        let began = Instant::now();
        let client = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(failures.wait(client, began), None);
            failures.note(client, began);
        }
        let later = began + Duration::from_secs(20);
        assert_eq!(failures.wait(client, later), Some(Duration::from_secs(40)));
        assert_eq!(failures.wait(address("192.0.2.2"), later), None);
        assert_eq!(failures.wait(client, began + WINDOW), None);
        failures.note(client, began + WINDOW);
        assert_eq!(failures.wait(client, began + WINDOW), None, "a new minute counts from one");
    }

    #[test]
    fn a_subscriber_has_many_ipv6_addresses_and_one_count() {
        let failures = Failures::new(1);
        let now = Instant::now();
        failures.note(address("2001:db8::1"), now);
        assert!(failures.wait(address("2001:db8::ffff"), now).is_some());
        assert!(failures.wait(address("2001:db8:0:1::1"), now).is_none());
        failures.note(address("::ffff:192.0.2.9"), now);
        assert!(failures.wait(address("192.0.2.9"), now).is_some());
    }
}
