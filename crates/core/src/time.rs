//! Points in time, always given by the caller.

use core::fmt;

/// A point in time, in milliseconds since the Unix epoch (UTC, no leap seconds).
///
/// Tokens carry whole seconds (RFC 7519 `NumericDate`); the HMAC profile carries milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    unix_ms: i64,
}

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms }
    }

    /// From whole seconds since the Unix epoch; saturates far outside any calendar.
    pub const fn from_unix_seconds(unix_seconds: i64) -> Self {
        Self { unix_ms: unix_seconds.saturating_mul(1000) }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> i64 {
        self.unix_ms
    }

    /// Whole seconds since the Unix epoch, rounded towards the past.
    pub const fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }

    /// The same time, later by `seconds` (earlier when negative); saturates.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self { unix_ms: self.unix_ms.saturating_add(seconds.saturating_mul(1000)) }
    }

    /// Whole seconds from `earlier` until this time; negative when `earlier` is later.
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.unix_seconds().saturating_sub(earlier.unix_seconds())
    }

    /// Rounded towards the past to a multiple of `seconds`; unchanged when `seconds` is not positive.
    #[must_use]
    pub const fn floor_to_seconds(self, seconds: i64) -> Self {
        if seconds <= 0 {
            return self;
        }
        let whole = self.unix_seconds();
        Self::from_unix_seconds(whole.saturating_sub(whole.rem_euclid(seconds)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.unix_seconds(), self.unix_ms.rem_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_towards_the_past_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_unix_ms(119_999).floor_to_seconds(60).unix_seconds(), 60);
        assert_eq!(Timestamp::from_unix_ms(-1).floor_to_seconds(60).unix_seconds(), -60);
    }

    #[test]
    fn saturates_instead_of_overflowing() {
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX).unix_ms(), i64::MAX);
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).plus_seconds(1).unix_ms(), i64::MAX);
    }
}
