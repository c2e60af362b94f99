//! Asymptotic confidence sequences for a difference of means: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of
//! Statistics 2024, arXiv 2103.06476), with the mixture of [`NormalMixture`].
//!
//! They hold in the limit of a late start, so whoever acts on them waits for a burn-in first.

use super::{NormalMixture, Sides};
use crate::NotComputable;
use crate::contrast::{Contrast, Interval};

/// A confidence sequence in units of standard errors, tightest when about `n_star` units have been seen in both arms
/// together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsymptoticSequence {
    mixture: NormalMixture,
    sides: Sides,
    alpha: f64,
}

/// What [`AsymptoticSequence::around`] says about a contrast after n units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialContrast {
    /// Distance from the estimate to each bound.
    pub half_width: f64,
    /// Which values of the contrast are not refuted; open below when one-sided.
    pub interval: Interval,
    /// Log evidence against the null: "not below zero" when one-sided, "zero" when two-sided.
    pub log_e: f64,
}

impl AsymptoticSequence {
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `n_star` > 0 and `alpha` lies in (0, 1), or in (0, ½) for one side.
    pub fn new(n_star: f64, alpha: f64, sides: Sides) -> Result<Self, NotComputable> {
        Ok(Self { mixture: NormalMixture::tuned(n_star, alpha, sides)?, sides, alpha })
    }

    /// The level.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Log evidence from an estimate that lies `z` standard errors above the null after `n` units.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `z` is finite.
    pub fn log_e(&self, z: f64, n: u64) -> Result<f64, NotComputable> {
        let n = n as f64;
        self.mixture.log_e(z * n.sqrt(), n)
    }

    /// How many standard errors a bound lies from the estimate after `n` units.
    ///
    /// # Errors
    /// [`NotComputable::NoUnits`].
    pub fn z_bound(&self, n: u64) -> Result<f64, NotComputable> {
        if n == 0 {
            return Err(NotComputable::NoUnits);
        }
        let n = n as f64;
        Ok(self.mixture.bound(n, self.alpha)? / n.sqrt())
    }

    /// The confidence sequence around treatment − control after `n` units in both arms together. One-sided, it bounds the
    /// difference from above: harm is "lower", and for harm "higher" the arms change places.
    ///
    /// # Errors
    /// [`NotComputable::NoUnits`].
    pub fn around(&self, contrast: &Contrast, n: u64) -> Result<SequentialContrast, NotComputable> {
        let half_width = self.z_bound(n)? * contrast.standard_error();
        let lower = match self.sides {
            Sides::One => f64::NEG_INFINITY,
            Sides::Two => contrast.estimate() - half_width,
        };
        Ok(SequentialContrast {
            half_width,
            interval: Interval { lower, upper: contrast.estimate() + half_width },
            log_e: self.log_e(-contrast.statistic(0.0), n)?,
        })
    }
}

/// The one-sided half-width in closed form, as GrowthBook prints it: √((n+ρ)/n · 2 ln(1 + √((n+ρ)/ρ)/(2α))) standard
/// errors. Up to half a percent wider than [`AsymptoticSequence`]; here to compare with that tool.
///
/// # Errors
/// [`NotComputable::NoUnits`]; [`NotComputable::OutOfRange`] unless `standard_error` and `n_star` are above zero and
/// `alpha` lies in (0, ½).
pub fn closed_form_half_width(
    standard_error: f64,
    n: u64,
    n_star: f64,
    alpha: f64,
) -> Result<f64, NotComputable> {
    NotComputable::unless_positive("standard_error", standard_error)?;
    if n == 0 {
        return Err(NotComputable::NoUnits);
    }
    let rho = NormalMixture::tuned(n_star, alpha, Sides::One)?.rho();
    let n = n as f64;
    let root = (1.0 + n / rho).sqrt();
    Ok(standard_error * (2.0 * (1.0 + rho / n) * (root / (2.0 * alpha)).ln_1p()).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contrast::Reference;

    fn contrast(estimate: f64) -> Contrast {
        Contrast::new(estimate, 0.05, Reference::Normal).unwrap()
    }

    #[test]
    fn arguments_outside_their_range_are_refused() {
        let sequence = AsymptoticSequence::new(20_000.0, 0.05, Sides::One).unwrap();
        assert_eq!(sequence.around(&contrast(1.0), 0), Err(NotComputable::NoUnits));
        assert!(sequence.log_e(f64::NAN, 100).is_err());
        assert!(AsymptoticSequence::new(20_000.0, 0.5, Sides::One).is_err());
        assert_eq!(closed_form_half_width(1.0, 0, 5000.0, 0.05), Err(NotComputable::NoUnits));
        assert!(closed_form_half_width(0.0, 10, 5000.0, 0.05).is_err());
    }

    #[test]
    fn the_bound_excludes_zero_exactly_when_the_evidence_suffices() {
        let sequence = AsymptoticSequence::new(20_000.0, 0.05, Sides::One).unwrap();
        for step in 0..40 {
            let found = sequence.around(&contrast(-0.01 * f64::from(step)), 2000).unwrap();
            assert_eq!(found.interval.upper < 0.0, found.log_e > -(0.05f64.ln()), "step {step}");
        }
    }

    #[test]
    fn two_sided_bounds_are_symmetric_and_one_sided_ones_open() {
        let two = AsymptoticSequence::new(20_000.0, 0.05, Sides::Two).unwrap();
        let interval = two.around(&contrast(0.0), 2000).unwrap().interval;
        assert_eq!(interval.lower, -interval.upper);
        let one = AsymptoticSequence::new(20_000.0, 0.05, Sides::One).unwrap();
        assert_eq!(one.around(&contrast(0.0), 2000).unwrap().interval.lower, f64::NEG_INFINITY);
    }

    #[test]
    fn the_closed_form_is_slightly_wider() {
        let exact = AsymptoticSequence::new(5000.0, 0.05, Sides::One).unwrap().z_bound(6461).unwrap();
        let closed = closed_form_half_width(1.0, 6461, 5000.0, 0.05).unwrap();
        assert!(closed > exact && closed < 1.01 * exact);
    }
}
