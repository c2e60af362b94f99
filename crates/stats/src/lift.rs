//! Differences relative to the control.
//!
//! For display only: a control mean near zero makes them explode, so guardrails and non-inferiority compare
//! treatment − (1 ∓ m)·control, which divides by nothing.

use crate::NotComputable;
use crate::contrast::{Alternative, Contrast, Interval, Reference, welch_reference};
use crate::cuped::Adjusted;
use crate::sample::Sample;

/// (treatment − control) / control by the delta method.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`] for a control mean of zero, [`NotComputable::NoVariance`].
pub fn relative_lift(control: &Sample, treatment: &Sample) -> Result<Contrast, NotComputable> {
    let base = nonzero(control.mean())?;
    let difference = Contrast::welch(control, treatment)?;
    lift_of_difference(&difference, [control, treatment], treatment.mean() / base, base)
}

/// difference / base, where `ratio` is treatment / control: the control counts `ratio` times, for it is the base as well.
pub(crate) fn lift_of_difference(
    difference: &Contrast,
    [control, treatment]: [&Sample; 2],
    ratio: f64,
    base: f64,
) -> Result<Contrast, NotComputable> {
    let variance = treatment.variance_of_mean() + ratio * ratio * control.variance_of_mean();
    Contrast::new(difference.estimate() / base, variance.sqrt() / base.abs(), difference.reference())
}

/// The adjusted difference relative to the control's unadjusted mean, by the full gradient: the covariate's chance
/// imbalance enters the numerator, so it is correlated with the denominator.
///
/// With L = ((ȳ_B − θx̄_B) − (ȳ_A − θx̄_A)) / ȳ_A the gradient is (−(ȳ_A + Δ)/ȳ_A², θ/ȳ_A) for the control's (ȳ, x̄) and
/// (1/ȳ_A, −θ/ȳ_A) for the treatment's, Δ being the numerator; θ counts as known.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`] for a control mean of zero, [`NotComputable::NoVariance`].
pub fn adjusted_relative_lift(adjusted: &Adjusted) -> Result<Contrast, NotComputable> {
    let (control, _) = adjusted.arms();
    let (adjusted_control, adjusted_treatment) = (adjusted.control()?, adjusted.treatment()?);
    let base = nonzero(control.value().mean())?;
    let lift = (adjusted_treatment.mean() - adjusted_control.mean()) / base;
    let of_control = control.combined_variance(1.0 + lift, adjusted.theta());
    let variance = adjusted_treatment.variance_of_mean() + of_control / control.value().n() as f64;
    let reference = welch_reference(&adjusted_control, &adjusted_treatment);
    Contrast::new(lift, variance.sqrt() / base.abs(), reference)
}

/// A lift whose interval is formed for ln(treatment / control): it never claims a fall of more than all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLift {
    ratio: f64,
    of_log: Contrast,
}

/// The lift by the delta method on the logarithmic scale, for means of the same sign.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`] for a control mean of zero, [`NotComputable::OutOfRange`] when the means' ratio is
/// not positive, [`NotComputable::NoVariance`].
pub fn log_lift(control: &Sample, treatment: &Sample) -> Result<LogLift, NotComputable> {
    let base = nonzero(control.mean())?;
    let ratio = NotComputable::unless_positive("ratio of the means", treatment.mean() / base)?;
    let (control, treatment) = (control.scaled(1.0 / base), treatment.scaled(1.0 / treatment.mean()));
    let variance = control.variance_of_mean() + treatment.variance_of_mean();
    let reference = welch_reference(&control, &treatment);
    Ok(LogLift { ratio, of_log: Contrast::new(ratio.ln(), variance.sqrt(), reference)? })
}

impl LogLift {
    /// treatment / control − 1.
    pub fn lift(&self) -> f64 {
        self.ratio - 1.0
    }

    /// The same with quantiles of another distribution.
    #[must_use]
    pub fn with_reference(self, reference: Reference) -> Self {
        Self { of_log: self.of_log.with_reference(reference), ..self }
    }

    /// Two-sided interval for the lift.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1.
    pub fn interval(&self, alpha: f64) -> Result<Interval, NotComputable> {
        let Interval { lower, upper } = self.of_log.interval(alpha, Alternative::TwoSided)?;
        Ok(Interval { lower: lower.exp_m1(), upper: upper.exp_m1() })
    }
}

fn nonzero(base: f64) -> Result<f64, NotComputable> {
    if base == 0.0 { Err(NotComputable::ZeroDenominator) } else { Ok(base) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cuped::CovariateArm;

    fn arm(n: u64, [y, x]: [f64; 2], [var_y, var_x]: [f64; 2], covariance: f64) -> CovariateArm {
        let (value, covariate) = (Sample::new(n, y, var_y).unwrap(), Sample::new(n, x, var_x).unwrap());
        CovariateArm::new(value, covariate, covariance).unwrap()
    }

    #[test]
    fn no_baseline_no_lift() {
        let (zero, one) = (Sample::new(9, 0.0, 1.0).unwrap(), Sample::new(9, 1.0, 1.0).unwrap());
        assert_eq!(relative_lift(&zero, &one), Err(NotComputable::ZeroDenominator));
        assert_eq!(log_lift(&zero, &one), Err(NotComputable::ZeroDenominator));
        let negative = Sample::new(9, -1.0, 1.0).unwrap();
        assert!(relative_lift(&negative, &one).is_ok());
        assert!(matches!(log_lift(&negative, &one), Err(NotComputable::OutOfRange { .. })));
        let constant = Sample::new(9, 1.0, 0.0).unwrap();
        assert_eq!(relative_lift(&constant, &constant), Err(NotComputable::NoVariance));
    }

    proptest! {
        #[test]
        fn the_full_gradient_is_that_of_finite_differences(
            (ya, yb, xa, xb) in (1.0..9.0_f64, 1.0..9.0_f64, -3.0..3.0_f64, -3.0..3.0_f64),
            correlation in -0.95..0.95_f64, theta in -2.0..2.0_f64,
        ) {
            let (var_y, var_x) = (4.0, 2.25);
            let covariance = correlation * 3.0;
            let (a, b) = (
                arm(400, [ya, xa], [var_y, var_x], covariance),
                arm(700, [yb, xb], [var_y, var_x], covariance),
            );
            let lift = |[ya, xa, yb, xb]: [f64; 4]| (yb - theta * xb - ya + theta * xa) / ya;
            let at = [ya, xa, yb, xb];
            let gradient: Vec<f64> = (0..4).map(|i| {
                let (mut up, mut down) = (at, at);
                up[i] += 1e-5;
                down[i] -= 1e-5;
                (lift(up) - lift(down)) / 2e-5
            }).collect();
            let part = |y: f64, x: f64, n: f64| (y * y * var_y + x * x * var_x + 2.0 * x * y * covariance) / n;
            let want = (part(gradient[0], gradient[1], 400.0) + part(gradient[2], gradient[3], 700.0)).sqrt();
            let got = adjusted_relative_lift(&Adjusted::with_theta(a, b, theta, 0.0)).unwrap();
            prop_assert!((got.standard_error() / want - 1.0).abs() < 1e-6, "{} {want}", got.standard_error());
            prop_assert!((got.estimate() - lift(at)).abs() < 1e-12);
        }

        #[test]
        fn without_a_slope_the_covariate_does_not_matter(ya in 0.5..9.0_f64, yb in 0.5..9.0_f64) {
            let (a, b) = (arm(50, [ya, 7.0], [4.0, 9.0], 5.0), arm(70, [yb, 2.0], [1.0, 3.0], 0.5));
            let adjusted = adjusted_relative_lift(&Adjusted::with_theta(a, b, 0.0, 4.0)).unwrap();
            let plain = relative_lift(a.value(), b.value()).unwrap();
            prop_assert!((adjusted.estimate() - plain.estimate()).abs() < 1e-12);
            prop_assert!((adjusted.standard_error() / plain.standard_error() - 1.0).abs() < 1e-12);
        }

        #[test]
        fn scaling_both_arms_changes_no_lift(factor in prop_oneof![-100.0..-0.01_f64, 0.01..100.0_f64]) {
            let (a, b) = (Sample::new(50, 3.0, 2.0).unwrap(), Sample::new(60, 4.0, 5.0).unwrap());
            let (plain, scaled) = (
                relative_lift(&a, &b).unwrap(),
                relative_lift(&a.scaled(factor), &b.scaled(factor)).unwrap(),
            );
            prop_assert!((plain.estimate() - scaled.estimate()).abs() < 1e-12);
            prop_assert!((plain.standard_error() - scaled.standard_error()).abs() < 1e-12);
        }
    }
}
