//! Ratio metrics by the delta method (Deng, Knoblich and Lu, KDD 2018): R = Σm / Σd per arm, with m and d totals of the
//! randomised unit.
//!
//! R behaves like the mean of the linearised per-unit value (m − R·d) / d̄, so once [`ratio_sample`] has formed R and that
//! value's variance, a ratio is compared like any other mean.

use crate::NotComputable;
use crate::cuped::{Adjusted, CovariateArm};
use crate::sample::Sample;
use crate::sums::{RatioCupedSums, RatioSums, Scale, Variable};

/// Scales of a ratio's two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioScales {
    /// Of the numerator.
    pub numerator: Scale,
    /// Of the denominator.
    pub denominator: Scale,
}

impl RatioScales {
    /// Events per event.
    pub const COUNTS: Self = Self { numerator: Scale::COUNT, denominator: Scale::COUNT };

    /// What a ratio of steps is multiplied by.
    fn factor(self) -> f64 {
        self.denominator.steps() / self.numerator.steps()
    }
}

/// The ratio of one arm and the variance of its linearised per-unit value.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`] when the denominators sum to zero; otherwise those of [`Sample::of_means`].
pub fn ratio_sample(sums: &RatioSums, scales: RatioScales) -> Result<Sample, NotComputable> {
    let parts = Parts::of(sums)?;
    let covariance = sums.sum_num_den;
    let variance =
        linear_covariance(&parts, &parts, [sums.numerator.sum_sq, covariance, covariance, sums.sum_sq_den])?;
    let sample = Sample::new(sums.numerator.n, parts.ratio, variance.max(0.0))?;
    Ok(sample.scaled(scales.factor()))
}

/// One arm of a ratio metric with the same ratio before the exposure as covariate.
///
/// # Errors
/// Those of [`ratio_sample`], for either ratio.
pub fn ratio_with_covariate(
    sums: &RatioCupedSums,
    scales: RatioScales,
) -> Result<CovariateArm, NotComputable> {
    let (after, before) = (sums.after, sums.before());
    let products =
        [sums.sum_num_num_before, sums.sum_num_den_before, sums.sum_den_num_before, sums.sum_den_den_before];
    let covariance = linear_covariance(&Parts::of(&after)?, &Parts::of(&before)?, products)?;
    CovariateArm::new(
        ratio_sample(&after, scales)?,
        ratio_sample(&before, scales)?,
        covariance * scales.factor() * scales.factor(),
    )
}

impl Adjusted {
    /// A ratio metric, adjusted by the same ratio before the exposure.
    ///
    /// # Errors
    /// Those of [`ratio_with_covariate`].
    pub fn of_ratios(
        control: &RatioCupedSums,
        treatment: &RatioCupedSums,
        scales: RatioScales,
    ) -> Result<Self, NotComputable> {
        let pooled = ratio_with_covariate(&control.merged(*treatment)?, scales)?;
        let arms = [ratio_with_covariate(control, scales)?, ratio_with_covariate(treatment, scales)?];
        Ok(Self::with_slope_of(&pooled, arms))
    }
}

struct Parts {
    numerator: Variable,
    denominator: Variable,
    ratio: f64,
    denominator_mean: f64,
}

impl Parts {
    fn of(sums: &RatioSums) -> Result<Self, NotComputable> {
        let (numerator, denominator) = (sums.numerator.variable(), sums.denominator());
        let (numerator_mean, denominator_mean) = (numerator.mean()?, denominator.mean()?);
        if denominator_mean == 0.0 {
            return Err(NotComputable::ZeroDenominator);
        }
        Ok(Self { numerator, denominator, ratio: numerator_mean / denominator_mean, denominator_mean })
    }
}

/// Covariance of the linearised values of two ratios, given Σ of numerator × numerator, numerator × denominator,
/// denominator × numerator and denominator × denominator.
fn linear_covariance(left: &Parts, right: &Parts, products: [i128; 4]) -> Result<f64, NotComputable> {
    let [num_num, num_den, den_num, den_den] = products;
    let sum = left.numerator.covariance(&right.numerator, num_num)?
        - right.ratio * left.numerator.covariance(&right.denominator, num_den)?
        - left.ratio * left.denominator.covariance(&right.numerator, den_num)?
        + left.ratio * right.ratio * left.denominator.covariance(&right.denominator, den_den)?;
    Ok(sum / (left.denominator_mean * right.denominator_mean))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contrast::Contrast;

    fn sums_of(pairs: &[(i128, i128)]) -> RatioSums {
        pairs.iter().fold(RatioSums::default(), |sums, &pair| {
            sums.with_unit().unwrap().with_change((0, 0), pair).unwrap()
        })
    }

    #[test]
    fn a_denominator_of_one_per_unit_gives_the_mean() {
        let sums = sums_of(&[(1, 1), (5, 1), (7, 1), (2, 1)]);
        let mean = Sample::of_means(&sums.numerator, Scale::COUNT).unwrap();
        assert_eq!(ratio_sample(&sums, RatioScales::COUNTS), Ok(mean));
    }

    #[test]
    fn refusals() {
        let zero = sums_of(&[(1, 0), (2, 0)]);
        assert_eq!(ratio_sample(&zero, RatioScales::COUNTS), Err(NotComputable::ZeroDenominator));
        assert_eq!(ratio_sample(&RatioSums::default(), RatioScales::COUNTS), Err(NotComputable::NoUnits));
        let one = sums_of(&[(1, 2)]);
        assert_eq!(ratio_sample(&one, RatioScales::COUNTS), Err(NotComputable::TooFewUnits));
        let proportional = ratio_sample(&sums_of(&[(2, 1), (4, 2), (6, 3)]), RatioScales::COUNTS).unwrap();
        assert_eq!(Contrast::welch(&proportional, &proportional), Err(NotComputable::NoVariance));
        let none_before = RatioCupedSums { after: sums_of(&[(1, 2), (3, 4)]), ..RatioCupedSums::default() };
        let refused = Adjusted::of_ratios(&none_before, &none_before, RatioScales::COUNTS);
        assert_eq!(refused, Err(NotComputable::ZeroDenominator));
    }

    proptest! {
        #[test]
        fn the_scale_of_amounts_cancels(pairs in prop::collection::vec((0_i128..100, 1_i128..20), 2..30)) {
            let plain = ratio_sample(&sums_of(&pairs), RatioScales::COUNTS).unwrap();
            let amounts: Vec<_> = pairs.iter().map(|&(m, d)| (m * 1_000_000, d)).collect();
            let scales = RatioScales { numerator: Scale::AMOUNT, denominator: Scale::COUNT };
            let scaled = ratio_sample(&sums_of(&amounts), scales).unwrap();
            prop_assert!((plain.mean() - scaled.mean()).abs() <= 1e-12 * plain.mean().abs());
            prop_assert!((plain.variance() - scaled.variance()).abs() <= 1e-9 * plain.variance().max(1e-3));
        }

        #[test]
        fn the_variance_is_that_of_the_linearised_values(
            pairs in prop::collection::vec((0_i128..100, 1_i128..20), 3..30),
        ) {
            let sample = ratio_sample(&sums_of(&pairs), RatioScales::COUNTS).unwrap();
            let n = pairs.len() as f64;
            let d = pairs.iter().map(|pair| pair.1 as f64).sum::<f64>() / n;
            let linear = pairs.iter().map(|&(m, den)| (m as f64 - sample.mean() * den as f64) / d);
            let want = linear.map(|v| v * v).sum::<f64>() / (n - 1.0);
            prop_assert!((sample.variance() - want).abs() <= 1e-9 * want.max(1e-3), "{} {want}", sample.variance());
        }
    }
}
