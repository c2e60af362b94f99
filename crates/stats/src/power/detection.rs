use crate::NotComputable;
use crate::sequential::AsymptoticSequence;

/// Units of both arms together until a guardrail's evidence is expected to cross its bound, if the metric is worse by
/// `effect` beyond the margin.
///
/// The smallest n with effect²·n·I₁ ≥ Z(n)², Z(n) being the bound in standard errors. On the safe side: the evidence
/// fluctuates around its expectation and need cross only once, so most harms of this size are noticed earlier (in
/// simulation, half of them after about three quarters of these units).
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless both arguments are positive; [`NotComputable::NoSolution`] when even
/// [`DETECTION_UNITS_MAX`] units do not suffice.
pub fn guardrail_detection_units(
    sequence: &AsymptoticSequence,
    effect: f64,
    information_per_unit: f64,
) -> Result<u64, NotComputable> {
    NotComputable::unless_positive("effect", effect)?;
    NotComputable::unless_positive("information per unit", information_per_unit)?;
    let crossed = |n: u64| -> Result<bool, NotComputable> {
        Ok(effect * (n as f64 * information_per_unit).sqrt() >= sequence.z_bound(n)?)
    };
    if !crossed(DETECTION_UNITS_MAX)? {
        return Err(NotComputable::NoSolution);
    }
    // The bound grows slower than √n, so once crossed it stays crossed.
    let (mut low, mut high) = (1, DETECTION_UNITS_MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if crossed(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// The largest answer of [`guardrail_detection_units`].
pub const DETECTION_UNITS_MAX: u64 = 1_000_000_000_000_000;

/// I₁: one over the variance of treatment − `control_factor`·control, per unit of both arms together, when the treatment
/// holds `treatment_share` of them and both arms have the same per-unit `variance`.
///
/// # Errors
/// [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`].
pub fn information_per_unit(
    variance: f64,
    treatment_share: f64,
    control_factor: f64,
) -> Result<f64, NotComputable> {
    NotComputable::unless_probability("treatment share", treatment_share)?;
    NotComputable::unless_positive("control factor", control_factor)?;
    if NotComputable::unless_non_negative("variance", variance)? == 0.0 {
        return Err(NotComputable::NoVariance);
    }
    let parts = 1.0 / treatment_share + control_factor * control_factor / (1.0 - treatment_share);
    Ok(1.0 / (variance * parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential::Sides;

    fn sequence() -> AsymptoticSequence {
        AsymptoticSequence::new(20_000.0, 0.01, Sides::One).unwrap()
    }

    #[test]
    fn it_is_somewhat_later_than_the_simulated_median() {
        // STATISTICS.md: at a rate of 5 %, a fall of 10 % was caught after 34,521 treatment users (median), one of 20 %
        // after 8,536.
        let information = information_per_unit(0.05 * 0.95, 0.5, 1.0).unwrap();
        for (fall, treatment_users) in [(0.1, 34_521.0), (0.2, 8_536.0)] {
            let units = guardrail_detection_units(&sequence(), 0.05 * fall, information).unwrap();
            let ratio = units as f64 / 2.0 / treatment_users;
            assert!((1.0..1.4).contains(&ratio), "{fall}: {units}");
        }
    }

    #[test]
    fn a_larger_harm_is_found_no_later() {
        let information = information_per_unit(1.0, 0.01, 0.98).unwrap();
        let units = [0.3, 0.1, 0.01]
            .map(|effect| guardrail_detection_units(&sequence(), effect, information).unwrap());
        assert!(units.is_sorted(), "{units:?}");
    }

    #[test]
    fn refusals() {
        assert!(guardrail_detection_units(&sequence(), 0.0, 1.0).is_err());
        assert!(guardrail_detection_units(&sequence(), 1.0, f64::NAN).is_err());
        assert_eq!(guardrail_detection_units(&sequence(), 1e-12, 1.0), Err(NotComputable::NoSolution));
        assert_eq!(information_per_unit(0.0, 0.5, 1.0), Err(NotComputable::NoVariance));
        assert!(information_per_unit(1.0, 1.0, 1.0).is_err() && information_per_unit(1.0, 0.5, 0.0).is_err());
    }
}
