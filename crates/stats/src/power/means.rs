use super::Design;
use super::rates::nonzero_difference;
use crate::NotComputable;
use crate::contrast::Alternative;
use crate::special::norm_sf;

/// Treatment units needed to detect a difference of means, with the same per-unit `variance` in both arms. For a ratio
/// metric that is the variance of [`ratio_sample`](crate::ratio::ratio_sample), with a covariate
/// [`adjusted_variance`].
///
/// # Errors
/// [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`] for a difference of zero or a negative variance.
pub fn units_for_means(design: &Design, variance: f64, difference: f64) -> Result<f64, NotComputable> {
    nonzero_difference(difference)?;
    let needed = design.critical()? + design.margin();
    Ok(needed * needed * spread(design, variance)? / (difference * difference))
}

/// The smallest difference of means that `treatment_units` detect.
///
/// # Errors
/// [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`].
pub fn detectable_difference(
    design: &Design,
    variance: f64,
    treatment_units: f64,
) -> Result<f64, NotComputable> {
    NotComputable::unless_positive("treatment units", treatment_units)?;
    Ok((design.critical()? + design.margin()) * (spread(design, variance)? / treatment_units).sqrt())
}

/// The smallest relative change of `control_mean` that `treatment_units` detect, positive for `Larger` (and two-sided),
/// negative for `Smaller`.
///
/// The standard error of a lift L grows with L, by (1 + L)²/n_A instead of 1/n_A, so this solves a quadratic equation.
///
/// # Errors
/// [`NotComputable::ZeroDenominator`]; [`NotComputable::NoSolution`] when there are too few control units for any lift, or
/// for a fall smaller than to zero; [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`].
pub fn detectable_relative_lift(
    design: &Design,
    control_mean: f64,
    variance: f64,
    treatment_units: f64,
    sign: Alternative,
) -> Result<f64, NotComputable> {
    NotComputable::unless_positive("treatment units", treatment_units)?;
    NotComputable::unless_finite("control mean", control_mean)?;
    if control_mean == 0.0 {
        return Err(NotComputable::ZeroDenominator);
    }
    spread(design, variance)?;
    // L² = k²(a + b(1+L)²), with a and b the squared relative standard errors of treatment and control.
    let needed = (design.critical()? + design.margin()).powi(2);
    let a = needed * variance / (control_mean * control_mean * treatment_units);
    let b = a / design.control_per_treatment;
    if b >= 1.0 {
        return Err(NotComputable::NoSolution);
    }
    let root = (b * b + (1.0 - b) * (a + b)).sqrt();
    let lift = match sign {
        Alternative::Smaller => (b - root) / (1.0 - b),
        Alternative::TwoSided | Alternative::Larger => (b + root) / (1.0 - b),
    };
    if lift > -1.0 { Ok(lift) } else { Err(NotComputable::NoSolution) }
}

/// Probability that `treatment_units` detect the difference; the design's own power is not used.
///
/// # Errors
/// [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`].
pub fn power_of_means(
    design: &Design,
    variance: f64,
    difference: f64,
    treatment_units: f64,
) -> Result<f64, NotComputable> {
    NotComputable::unless_positive("treatment units", treatment_units)?;
    NotComputable::unless_finite("difference", difference)?;
    let shift = difference * (treatment_units / spread(design, variance)?).sqrt();
    let critical = design.critical()?;
    let (above, below) = (norm_sf(critical - shift), norm_sf(critical + shift));
    Ok(match design.alternative {
        Alternative::TwoSided => above + below,
        Alternative::Larger => above,
        Alternative::Smaller => below,
    })
}

/// What a covariate with this correlation leaves of the variance.
///
/// # Errors
/// [`NotComputable::OutOfRange`] for a correlation outside [−1, 1] or a negative variance.
pub fn adjusted_variance(variance: f64, correlation: f64) -> Result<f64, NotComputable> {
    NotComputable::unless_non_negative("variance", variance)?;
    if !(-1.0..=1.0).contains(&correlation) {
        let allowed = "from -1 to 1";
        return Err(NotComputable::OutOfRange { argument: "correlation", allowed, got: correlation });
    }
    Ok(variance * (1.0 - correlation) * (1.0 + correlation))
}

/// n_B times the variance of the difference.
fn spread(design: &Design, variance: f64) -> Result<f64, NotComputable> {
    if NotComputable::unless_non_negative("variance", variance)? == 0.0 {
        return Err(NotComputable::NoVariance);
    }
    Ok(variance * (1.0 + 1.0 / design.control_per_treatment))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Looks;
    use super::*;

    fn design() -> Design {
        Design::new(0.05, 0.8).unwrap()
    }

    #[test]
    fn the_textbook_number() {
        // 2·(1.96 + 0.8416)² / 0.2² = 392.4
        let units = units_for_means(&design(), 1.0, 0.2).unwrap();
        assert!((units - 392.444).abs() < 1e-3, "{units}");
        assert!(units_for_means(&design().with_looks(Looks::Any), 1.0, 0.2).unwrap() > 1.8 * units);
    }

    #[test]
    fn a_covariate_saves_the_squared_correlation() {
        assert!((adjusted_variance(100.0, 0.6).unwrap() - 64.0).abs() < 1e-12);
        assert_eq!(adjusted_variance(100.0, -1.0), Ok(0.0));
        assert!(adjusted_variance(100.0, 1.1).is_err() && adjusted_variance(-1.0, 0.0).is_err());
    }

    #[test]
    fn refusals() {
        assert_eq!(units_for_means(&design(), 0.0, 1.0), Err(NotComputable::NoVariance));
        assert!(units_for_means(&design(), 1.0, 0.0).is_err());
        assert!(units_for_means(&design(), -1.0, 1.0).is_err());
        assert!(detectable_difference(&design(), 1.0, 0.0).is_err());
        let lift = |mean, units, sign| detectable_relative_lift(&design(), mean, 1.0, units, sign);
        assert_eq!(lift(0.0, 100.0, Alternative::Larger), Err(NotComputable::ZeroDenominator));
        assert_eq!(lift(0.1, 100.0, Alternative::Larger), Err(NotComputable::NoSolution));
        let uneven = design().with_control_per_treatment(10.0).unwrap();
        let fall = detectable_relative_lift(&uneven, 0.2, 1.0, 100.0, Alternative::Smaller);
        assert_eq!(fall, Err(NotComputable::NoSolution));
    }

    proptest! {
        #[test]
        fn what_is_detectable_needs_these_units(variance in 0.1..1e6_f64, units in 10.0..1e9_f64, ratio in 0.1..50.0_f64) {
            let design = design().with_control_per_treatment(ratio).unwrap();
            let difference = detectable_difference(&design, variance, units).unwrap();
            prop_assert!((units_for_means(&design, variance, difference).unwrap() / units - 1.0).abs() < 1e-9);
            let power = power_of_means(&design, variance, difference, units).unwrap();
            prop_assert!((power - 0.8).abs() < 1e-4);
        }

        #[test]
        fn a_detectable_lift_is_that_many_standard_errors(units in 1e3..1e8_f64, ratio in 0.1..9.0_f64, down in any::<bool>()) {
            let design = design().with_control_per_treatment(ratio).unwrap();
            let sign = if down { Alternative::Smaller } else { Alternative::Larger };
            if let Ok(lift) = detectable_relative_lift(&design, 5.0, 40.0, units, sign) {
                let error = (40.0 / 25.0 * (1.0 / units + (1.0 + lift).powi(2) / (ratio * units))).sqrt();
                let needed = design.critical().unwrap() + design.margin();
                prop_assert!((lift.abs() / error / needed - 1.0).abs() < 1e-6);
                prop_assert_eq!(lift < 0.0, down);
            }
        }
    }
}
