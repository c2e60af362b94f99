use super::Design;
use crate::NotComputable;
use crate::contrast::Alternative;
use crate::special::{find_root, norm_sf};

/// Treatment units needed to detect that a conversion rate of `control_rate` changes by `difference`: the pooled variance
/// under the null, the separate ones under the alternative.
///
/// # Errors
/// [`NotComputable::OutOfRange`] for a difference of zero or rates outside [0, 1]; [`NotComputable::NoVariance`] when both
/// rates are 0 or 1.
pub fn units_for_rates(design: &Design, control_rate: f64, difference: f64) -> Result<f64, NotComputable> {
    nonzero_difference(difference)?;
    let deviations = Deviations::new(control_rate, difference, design.control_per_treatment)?;
    let needed = design.critical()? * deviations.null + design.margin() * deviations.alternative;
    Ok((needed / difference).powi(2))
}

/// The smallest change of the rate `control_rate`, in the direction of `sign`, that `treatment_units` detect.
///
/// # Errors
/// [`NotComputable::NoSolution`] when not even the largest possible change is detected; [`NotComputable::OutOfRange`].
pub fn detectable_rate_difference(
    design: &Design,
    control_rate: f64,
    treatment_units: f64,
    sign: Alternative,
) -> Result<f64, NotComputable> {
    NotComputable::unless_probability("control rate", control_rate)?;
    NotComputable::unless_positive("treatment units", treatment_units)?;
    let (direction, room) = match sign {
        Alternative::Smaller => (-1.0, control_rate),
        Alternative::TwoSided | Alternative::Larger => (1.0, 1.0 - control_rate),
    };
    let excess = |log_share: f64| {
        let difference = direction * room * log_share.exp();
        units_for_rates(design, control_rate, difference)
            .map_or(f64::NAN, |units| (units / treatment_units).ln())
    };
    let log_share = find_root(excess, -60.0, -1e-9)?;
    Ok(direction * room * log_share.exp())
}

/// The power of a comparison of two rates, with what it was computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerOfRates {
    /// Probability of rejecting, in either direction when the design is two-sided.
    pub power: f64,
    /// The rate of both arms together.
    pub pooled_rate: f64,
    /// Standard deviation of √n_B · difference under the null.
    pub null_deviation: f64,
    /// The same under the alternative.
    pub alternative_deviation: f64,
}

/// Probability that `treatment_units` detect the change; the design's own power is not used.
///
/// # Errors
/// As [`units_for_rates`], except that the difference may be zero.
pub fn power_of_rates(
    design: &Design,
    control_rate: f64,
    difference: f64,
    treatment_units: f64,
) -> Result<PowerOfRates, NotComputable> {
    NotComputable::unless_positive("treatment units", treatment_units)?;
    let deviations = Deviations::new(control_rate, difference, design.control_per_treatment)?;
    if deviations.alternative == 0.0 {
        return Err(NotComputable::NoVariance);
    }
    let critical = design.critical()? * deviations.null / deviations.alternative;
    let shift = difference * treatment_units.sqrt() / deviations.alternative;
    let (above, below) = (norm_sf(critical - shift), norm_sf(critical + shift));
    let power = match design.alternative {
        Alternative::TwoSided => above + below,
        Alternative::Larger => above,
        Alternative::Smaller => below,
    };
    Ok(PowerOfRates {
        power,
        pooled_rate: deviations.pooled_rate,
        null_deviation: deviations.null,
        alternative_deviation: deviations.alternative,
    })
}

struct Deviations {
    pooled_rate: f64,
    null: f64,
    alternative: f64,
}

impl Deviations {
    fn new(control_rate: f64, difference: f64, control_per_treatment: f64) -> Result<Self, NotComputable> {
        let treatment_rate = control_rate + difference;
        for (argument, got) in [("control rate", control_rate), ("treatment rate", treatment_rate)] {
            if !(0.0..=1.0).contains(&got) {
                return Err(NotComputable::OutOfRange { argument, allowed: "from 0 to 1", got });
            }
        }
        let ratio = control_per_treatment;
        let pooled_rate = (treatment_rate + ratio * control_rate) / (1.0 + ratio);
        let variance = |rate: f64| rate * (1.0 - rate);
        let null = (variance(pooled_rate) * (1.0 + 1.0 / ratio)).sqrt();
        if null == 0.0 {
            return Err(NotComputable::NoVariance);
        }
        Ok(Self {
            pooled_rate,
            null,
            alternative: (variance(treatment_rate) + variance(control_rate) / ratio).sqrt(),
        })
    }
}

pub(super) fn nonzero_difference(difference: f64) -> Result<f64, NotComputable> {
    if difference == 0.0 || !difference.is_finite() {
        return Err(NotComputable::OutOfRange {
            argument: "difference",
            allowed: "finite and not zero",
            got: difference,
        });
    }
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn design() -> Design {
        Design::new(0.05, 0.8).unwrap()
    }

    #[test]
    fn refusals() {
        let units = |rate, difference| units_for_rates(&design(), rate, difference);
        for (rate, difference) in
            [(0.1, 0.0), (0.1, f64::NAN), (0.1, -0.2), (0.9, 0.2), (-0.1, 0.2), (f64::NAN, 0.1)]
        {
            assert!(
                matches!(units(rate, difference), Err(NotComputable::OutOfRange { .. })),
                "{rate} {difference}"
            );
        }
        assert_eq!(power_of_rates(&design(), 0.0, 0.0, 10.0), Err(NotComputable::NoVariance));
        assert_eq!(power_of_rates(&design(), 0.0, 1.0, 10.0), Err(NotComputable::NoVariance));
        assert!(power_of_rates(&design(), 0.1, 0.1, 0.0).is_err());
        let detectable = |units| detectable_rate_difference(&design(), 0.001, units, Alternative::Smaller);
        assert_eq!(detectable(10.0), Err(NotComputable::NoSolution));
    }

    proptest! {
        #[test]
        fn what_is_detectable_needs_these_units(
            rate in 0.01..0.99_f64, units in 1e3..1e9_f64, ratio in 0.2..20.0_f64, down in any::<bool>(),
        ) {
            let design = design().with_control_per_treatment(ratio).unwrap();
            let sign = if down { Alternative::Smaller } else { Alternative::Larger };
            if let Ok(difference) = detectable_rate_difference(&design, rate, units, sign) {
                prop_assert_eq!(difference < 0.0, down);
                let needed = units_for_rates(&design, rate, difference).unwrap();
                prop_assert!((needed / units - 1.0).abs() < 1e-6);
                let power = power_of_rates(&design, rate, difference, units).unwrap().power;
                prop_assert!((power - 0.8).abs() < 1e-3, "{power}");
            }
        }
    }
}
