//! The one place that reads the wall clock; everything below takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use edgeseal_core::time::Timestamp;

/// Now, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_unix_ms(i64::try_from(unix_ms).unwrap_or(i64::MAX))
}
