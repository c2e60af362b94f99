//! Variance reduction with a covariate known before the exposure: CUPED (Deng, Xu, Kohavi and Walker, WSDM 2013).
//!
//! A covariate measured after the exposure would carry the effect away; x = 0 for units without history is fine.

use crate::NotComputable;
use crate::contrast::Contrast;
use crate::sample::Sample;
use crate::sums::{CupedSums, Scale};

/// One arm: a value per unit, a covariate per unit, and how they vary together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CovariateArm {
    value: Sample,
    covariate: Sample,
    covariance: f64,
}

impl CovariateArm {
    /// # Errors
    /// [`NotComputable::WrongLength`] when value and covariate belong to different numbers of units,
    /// [`NotComputable::OutOfRange`] for a covariance that is not finite.
    pub fn new(value: Sample, covariate: Sample, covariance: f64) -> Result<Self, NotComputable> {
        if value.n() != covariate.n() {
            let count = |n| usize::try_from(n).unwrap_or(usize::MAX);
            return Err(NotComputable::WrongLength { expected: count(value.n()), got: count(covariate.n()) });
        }
        Ok(Self { value, covariate, covariance: NotComputable::unless_finite("covariance", covariance)? })
    }

    /// Value and covariate from their sums, both in steps of `scale`.
    ///
    /// # Errors
    /// Those of [`Sample::of_means`].
    pub fn of_means(sums: &CupedSums, scale: Scale) -> Result<Self, NotComputable> {
        let (y, x, steps) = (sums.y.variable(), sums.covariate(), scale.steps());
        let square = steps * steps;
        Self::new(
            Sample::new(y.n, y.mean()? / steps, y.variance()? / square)?,
            Sample::new(x.n, x.mean()? / steps, x.variance()? / square)?,
            y.covariance(&x, sums.sum_xy)? / square,
        )
    }

    /// The value as it is.
    pub fn value(&self) -> &Sample {
        &self.value
    }

    /// The covariate.
    pub fn covariate(&self) -> &Sample {
        &self.covariate
    }

    /// The slope of the value on the covariate; zero for a covariate that does not vary.
    pub fn slope(&self) -> f64 {
        if self.covariate.variance() == 0.0 { 0.0 } else { self.covariance / self.covariate.variance() }
    }

    /// Squared correlation of value and covariate: the share of the variance that the adjustment removes.
    pub fn squared_correlation(&self) -> f64 {
        let product = self.value.variance() * self.covariate.variance();
        if product == 0.0 { 0.0 } else { (self.covariance * self.covariance / product).min(1.0) }
    }

    /// Variance of `weight`·value − `theta`·covariate.
    pub(crate) fn combined_variance(&self, weight: f64, theta: f64) -> f64 {
        let variance = weight * weight * self.value.variance()
            + theta * (theta * self.covariate.variance() - 2.0 * weight * self.covariance);
        variance.max(0.0)
    }

    fn adjusted(&self, theta: f64, centre: f64) -> Result<Sample, NotComputable> {
        let mean = self.value.mean() - theta * (self.covariate.mean() - centre);
        Sample::new(self.value.n(), mean, self.combined_variance(1.0, theta))
    }
}

/// Both arms, adjusted with one slope θ.
///
/// The slope is that of the arms taken together: one for all, so the adjustment cannot favour an arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted {
    control: CovariateArm,
    treatment: CovariateArm,
    theta: f64,
    centre: f64,
}

impl Adjusted {
    /// A metric of means.
    ///
    /// # Errors
    /// Those of [`CovariateArm::of_means`].
    pub fn of_means(control: &CupedSums, treatment: &CupedSums, scale: Scale) -> Result<Self, NotComputable> {
        let pooled = CovariateArm::of_means(&control.merged(*treatment)?, scale)?;
        let arms = [CovariateArm::of_means(control, scale)?, CovariateArm::of_means(treatment, scale)?];
        Ok(Self::with_slope_of(&pooled, arms))
    }

    pub(crate) fn with_slope_of(pooled: &CovariateArm, [control, treatment]: [CovariateArm; 2]) -> Self {
        Self::with_theta(control, treatment, pooled.slope(), pooled.covariate.mean())
    }

    pub(crate) fn with_theta(
        control: CovariateArm,
        treatment: CovariateArm,
        theta: f64,
        centre: f64,
    ) -> Self {
        Self { control, treatment, theta, centre }
    }

    /// The slope.
    pub fn theta(&self) -> f64 {
        self.theta
    }

    /// Control and treatment before the adjustment.
    pub fn arms(&self) -> (&CovariateArm, &CovariateArm) {
        (&self.control, &self.treatment)
    }

    /// The control, as it would look with the covariate's mean of both arms together.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] when the values overflow.
    pub fn control(&self) -> Result<Sample, NotComputable> {
        self.control.adjusted(self.theta, self.centre)
    }

    /// The treatment, likewise.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] when the values overflow.
    pub fn treatment(&self) -> Result<Sample, NotComputable> {
        self.treatment.adjusted(self.theta, self.centre)
    }

    /// Treatment − control.
    ///
    /// # Errors
    /// [`NotComputable::NoVariance`] when the covariate explains everything.
    pub fn difference(&self) -> Result<Contrast, NotComputable> {
        Contrast::welch(&self.control()?, &self.treatment()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sums::MeanSums;

    fn sums_of(pairs: &[(i64, i64)]) -> CupedSums {
        pairs.iter().fold(CupedSums::default(), |sums, &(y, x)| {
            let (y, x) = (i128::from(y), i128::from(x));
            sums.with_unit(x).unwrap().with_change(0, y, x).unwrap()
        })
    }

    #[test]
    fn a_constant_covariate_changes_nothing() {
        let (a, b) = (sums_of(&[(1, 5), (2, 5), (4, 5)]), sums_of(&[(2, 5), (7, 5)]));
        let adjusted = Adjusted::of_means(&a, &b, Scale::COUNT).unwrap();
        assert_eq!(adjusted.theta(), 0.0);
        let plain = Contrast::welch(
            &Sample::of_means(&a.y, Scale::COUNT).unwrap(),
            &Sample::of_means(&b.y, Scale::COUNT).unwrap(),
        );
        assert_eq!(adjusted.difference(), plain);
    }

    #[test]
    fn a_covariate_that_explains_everything_leaves_no_variance() {
        let (a, b) = (sums_of(&[(2, 1), (4, 2), (6, 3)]), sums_of(&[(8, 4), (2, 1)]));
        let adjusted = Adjusted::of_means(&a, &b, Scale::COUNT).unwrap();
        assert_eq!(adjusted.theta(), 2.0);
        assert_eq!(adjusted.difference(), Err(NotComputable::NoVariance));
        assert_eq!(adjusted.arms().0.squared_correlation(), 1.0);
    }

    #[test]
    fn refusals() {
        let one = sums_of(&[(1, 1)]);
        let (two, none) = (sums_of(&[(1, 1), (2, 3)]), CupedSums::default());
        let refused = |a, b| Adjusted::of_means(a, b, Scale::COUNT).unwrap_err();
        assert_eq!(refused(&one, &two), NotComputable::TooFewUnits);
        assert_eq!(refused(&two, &none), NotComputable::NoUnits);
        let overflowing = CupedSums { y: MeanSums { sum: i128::MAX, ..two.y }, ..two };
        assert_eq!(refused(&overflowing, &two), NotComputable::SumsTooLarge);
        let (small, large) = (Sample::new(2, 0.0, 1.0).unwrap(), Sample::new(3, 0.0, 1.0).unwrap());
        assert!(matches!(CovariateArm::new(small, large, 0.0), Err(NotComputable::WrongLength { .. })));
        assert!(CovariateArm::new(small, small, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn the_pooled_slope_leaves_the_least_variance(
            pairs in prop::collection::vec((-50_i64..50, -50_i64..50), 4..30), other in -3.0..3.0_f64,
        ) {
            let pooled = CovariateArm::of_means(&sums_of(&pairs), Scale::COUNT).unwrap();
            prop_assert!(pooled.combined_variance(1.0, pooled.slope()) <= pooled.combined_variance(1.0, other) + 1e-6);
            prop_assert!(pooled.combined_variance(1.0, pooled.slope()) <= pooled.value().variance() + 1e-9);
        }
    }
}
