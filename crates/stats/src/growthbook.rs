//! What GrowthBook's `gbstats` 0.8.0 computes, for those who compare the two tools.
//!
//! The arithmetic is this crate's; only three choices differ, and all are kept out of our own results. It refuses whenever
//! either arm has no variance or the control's mean is zero, even for an absolute difference; its relative lift of a
//! covariate-adjusted metric leaves the covariate out of the standard error, which [`adjusted_relative_lift`] does not; and
//! its variance of a rate loses digits near one, which [`Conversions::variance`] keeps.
//!
//! [`adjusted_relative_lift`]: crate::lift::adjusted_relative_lift

use crate::NotComputable;
use crate::classical::Conversions;
use crate::contrast::Contrast;
use crate::cuped::Adjusted;
use crate::lift::lift_of_difference;
use crate::sample::Sample;

/// What the difference is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Nothing: treatment − control.
    Absolute,
    /// The control's mean.
    Relative,
}

/// A conversion rate, with variance p·(1 − p) formed in just this way.
///
/// # Errors
/// [`NotComputable::TooFewUnits`] below two units.
pub fn rate(arm: &Conversions) -> Result<Sample, NotComputable> {
    Sample::new(arm.units(), arm.rate(), arm.rate() * (1.0 - arm.rate()))
}

/// A metric of means, rates or ratios.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`], [`NotComputable::NoVariance`] when an arm has none.
pub fn difference(control: &Sample, treatment: &Sample, scaling: Scaling) -> Result<Contrast, NotComputable> {
    scaled(Contrast::welch(control, treatment)?, [control, treatment], [control, treatment], scaling)
}

/// A covariate-adjusted metric.
///
/// # Errors
/// As [`difference`].
pub fn adjusted_difference(adjusted: &Adjusted, scaling: Scaling) -> Result<Contrast, NotComputable> {
    let (control, treatment) = adjusted.arms();
    let samples = [adjusted.control()?, adjusted.treatment()?];
    scaled(adjusted.difference()?, [&samples[0], &samples[1]], [control.value(), treatment.value()], scaling)
}

fn scaled(
    difference: Contrast,
    adjusted: [&Sample; 2],
    unadjusted: [&Sample; 2],
    scaling: Scaling,
) -> Result<Contrast, NotComputable> {
    let [control, treatment] = unadjusted;
    if control.mean() == 0.0 {
        return Err(NotComputable::ZeroDenominator);
    }
    if adjusted.iter().any(|arm| arm.variance() == 0.0) {
        return Err(NotComputable::NoVariance);
    }
    match scaling {
        Scaling::Absolute => Ok(difference),
        Scaling::Relative => {
            lift_of_difference(&difference, adjusted, treatment.mean() / control.mean(), control.mean())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_what_we_compute() {
        let (varying, constant) = (Sample::new(9, 0.0, 1.0).unwrap(), Sample::new(9, 1.0, 0.0).unwrap());
        assert!(Contrast::welch(&varying, &constant).is_ok());
        let refused = |a, b| difference(a, b, Scaling::Absolute);
        assert_eq!(refused(&varying, &constant), Err(NotComputable::ZeroDenominator));
        assert_eq!(refused(&constant, &varying), Err(NotComputable::NoVariance));
    }
}
