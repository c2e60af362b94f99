//! One arm reduced to what a comparison of means needs.

use crate::NotComputable;
use crate::sums::{MeanSums, Scale};

/// Units, mean and variance of a per-unit value in one arm, in the metric's own units of measure.
///
/// A ratio or a covariate-adjusted metric becomes one of these through its linearised per-unit value, so every test of
/// means has one form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    n: u64,
    mean: f64,
    variance: f64,
}

impl Sample {
    /// # Errors
    /// [`NotComputable::NoUnits`], [`NotComputable::TooFewUnits`] below two, [`NotComputable::OutOfRange`] for a mean that
    /// is not finite or a variance that is negative or not finite.
    pub fn new(n: u64, mean: f64, variance: f64) -> Result<Self, NotComputable> {
        match n {
            0 => return Err(NotComputable::NoUnits),
            1 => return Err(NotComputable::TooFewUnits),
            _ => {}
        }
        Ok(Self {
            n,
            mean: NotComputable::unless_finite("mean", mean)?,
            variance: NotComputable::unless_non_negative("variance", variance)?,
        })
    }

    /// The mean per unit and its unbiased variance.
    ///
    /// # Errors
    /// Those of [`Sample::new`], [`NotComputable::SumsTooLarge`] and [`NotComputable::InconsistentSums`].
    pub fn of_means(sums: &MeanSums, scale: Scale) -> Result<Self, NotComputable> {
        let variable = sums.variable();
        let steps = scale.steps();
        Self::new(sums.n, variable.mean()? / steps, variable.variance()? / (steps * steps))
    }

    /// Units.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Mean per unit.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Variance of one unit's value.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// Variance of the mean.
    pub fn variance_of_mean(&self) -> f64 {
        self.variance / self.n as f64
    }

    /// The same values multiplied by `factor`.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self { n: self.n, mean: factor * self.mean, variance: factor * factor * self.variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_back_in_their_own_units() {
        let sums = MeanSums { n: 2, sum: 4_000_000, sum_sq: 10_000_000_000_000, nonzero: 2 };
        let sample = Sample::of_means(&sums, Scale::AMOUNT).unwrap();
        assert_eq!((sample.mean(), sample.variance(), sample.variance_of_mean()), (2.0, 2.0, 1.0));
    }

    #[test]
    fn refusals() {
        assert_eq!(Sample::new(0, 0.0, 0.0), Err(NotComputable::NoUnits));
        assert_eq!(Sample::new(1, 0.0, 0.0), Err(NotComputable::TooFewUnits));
        assert!(matches!(
            Sample::new(2, f64::NAN, 0.0),
            Err(NotComputable::OutOfRange { argument: "mean", .. })
        ));
        assert!(matches!(
            Sample::new(2, 0.0, -1.0),
            Err(NotComputable::OutOfRange { argument: "variance", .. })
        ));
        assert_eq!(Sample::of_means(&MeanSums::default(), Scale::COUNT), Err(NotComputable::NoUnits));
    }
}
