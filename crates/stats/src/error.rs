//! Why a statistic has no value.

use thiserror::Error;

/// A statistic that these numbers do not determine.
///
/// Every function of this crate returns this instead of NaN, infinity or a panic. It is never evidence of harm: whoever
/// receives it shows the reason and pauses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum NotComputable {
    /// An arm, or the whole sample, has no units.
    #[error("there are no units yet")]
    NoUnits,
    /// A variance needs at least two units, and a test its degrees of freedom.
    #[error("there are too few units for a variance")]
    TooFewUnits,
    /// All values are equal, so there is no scale to compare a difference with.
    #[error("the values do not vary")]
    NoVariance,
    /// No unit converted in any arm.
    #[error("nothing converted")]
    NothingConverted,
    /// Every unit converted in every arm.
    #[error("everything converted")]
    EverythingConverted,
    /// A ratio or a relative difference with a denominator of zero.
    #[error("the denominator is zero")]
    ZeroDenominator,
    /// More conversions than units.
    #[error("there are more conversions than units")]
    MoreConversionsThanUnits,
    /// The exact integer arithmetic on the sums would overflow.
    #[error("the sums are too large for exact arithmetic")]
    SumsTooLarge,
    /// The sums cannot come from any sample: n·Σy² < (Σy)².
    #[error("the sums contradict each other")]
    InconsistentSums,
    /// Two lists that go together, such as counts and shares, differ in length or are too short.
    #[error("expected {expected} values, got {got}")]
    WrongLength {
        /// How many values belong there.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// An argument is outside the range in which the formula is defined, or not a number.
    #[error("{argument} must be {allowed}, got {got}")]
    OutOfRange {
        /// The argument's name.
        argument: &'static str,
        /// The range in words.
        allowed: &'static str,
        /// What came.
        got: f64,
    },
    /// The search for a bound or a sample size found none within its limits.
    #[error("no solution within the search limits")]
    NoSolution,
}

impl NotComputable {
    /// `value` if it lies strictly between zero and one.
    pub(crate) fn unless_probability(argument: &'static str, value: f64) -> Result<f64, Self> {
        if value > 0.0 && value < 1.0 {
            Ok(value)
        } else {
            Err(Self::OutOfRange { argument, allowed: "between 0 and 1", got: value })
        }
    }

    /// `value` if it is finite and above zero.
    pub(crate) fn unless_positive(argument: &'static str, value: f64) -> Result<f64, Self> {
        if value > 0.0 && value.is_finite() {
            Ok(value)
        } else {
            Err(Self::OutOfRange { argument, allowed: "above 0", got: value })
        }
    }

    /// `value` if it is finite and not below zero.
    pub(crate) fn unless_non_negative(argument: &'static str, value: f64) -> Result<f64, Self> {
        if value >= 0.0 && value.is_finite() {
            Ok(value)
        } else {
            Err(Self::OutOfRange { argument, allowed: "0 or more", got: value })
        }
    }

    /// `value` if it is finite.
    pub(crate) fn unless_finite(argument: &'static str, value: f64) -> Result<f64, Self> {
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Self::OutOfRange { argument, allowed: "finite", got: value })
        }
    }
}
