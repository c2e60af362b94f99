//! Settings of the control plane, and the one place where it reads the time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgeseal_core::sealing::RotationPolicy;
use edgeseal_core::time::Timestamp;

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the time is.
    pub clock: Clock,
    /// How long a signed keyset is valid, in seconds. Edges outlive a lost control plane by as long.
    pub keyset_lifetime_seconds: i64,
    /// How often the store is asked for news that no hint told of.
    pub poll_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            keyset_lifetime_seconds: RotationPolicy::default().keyset_lifetime_seconds,
            poll_interval: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// The waits of a key rotation.
    pub fn policy(&self) -> RotationPolicy {
        RotationPolicy { keyset_lifetime_seconds: self.keyset_lifetime_seconds, ..RotationPolicy::default() }
    }
}

/// What the control plane takes for the current time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// Any other source, such as one that a test moves.
    pub fn new(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}
