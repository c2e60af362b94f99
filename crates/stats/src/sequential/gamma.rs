//! Gamma mixtures for counts and for heavy upper tails (Howard et al. 2021), one-sided.

use super::{NormalMixture, Sides};
use crate::NotComputable;
use crate::special::{ln_gamma, ln_gamma_cdf, ln_gamma_sf};

/// For sums that are sub-Poisson with scale c: centred counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GammaPoissonMixture(Tuning);

/// For sums that are sub-exponential with scale c: increments with an exponential upper tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GammaExponentialMixture(Tuning);

impl GammaPoissonMixture {
    /// Tuned as [`NormalMixture::tuned`], one-sided.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v_opt` and `c` are above zero and `alpha_opt` lies in (0, ½).
    pub fn tuned(v_opt: f64, alpha_opt: f64, c: f64) -> Result<Self, NotComputable> {
        Tuning::new(v_opt, alpha_opt, c).map(Self)
    }

    /// Log evidence against "the sum has mean zero or less", with sum `s` at intrinsic time `v`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` ≥ 0 and `s` is above −(v + ρ)/c.
    pub fn log_e(&self, s: f64, v: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_non_negative("v", v)?;
        let Tuning { shape, c } = self.0;
        let time = v / (c * c);
        let rate = shape + time;
        let count = NotComputable::unless_positive("s + (v + ρ)/c", s / c + rate)?;
        let prior = shape * shape.ln() - ln_gamma(shape) - ln_gamma_sf(shape, shape);
        Ok(prior + ln_gamma(count) + ln_gamma_sf(count, rate) - count * rate.ln() + time)
    }
}

impl GammaExponentialMixture {
    /// Tuned as [`NormalMixture::tuned`], one-sided.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v_opt` and `c` are above zero and `alpha_opt` lies in (0, ½).
    pub fn tuned(v_opt: f64, alpha_opt: f64, c: f64) -> Result<Self, NotComputable> {
        Tuning::new(v_opt, alpha_opt, c).map(Self)
    }

    /// Log evidence against "the sum has mean zero or less", with sum `s` at intrinsic time `v`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` ≥ 0 and `s` is above −(v + ρ)/c.
    pub fn log_e(&self, s: f64, v: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_non_negative("v", v)?;
        let Tuning { shape, c } = self.0;
        let time = v / (c * c);
        let moved = s / c + time;
        let rate = NotComputable::unless_positive("s + (v + ρ)/c", moved + shape)?;
        let prior = shape * shape.ln() - ln_gamma(shape) - ln_gamma_cdf(shape, shape);
        let count = time + shape;
        Ok(prior + ln_gamma(count) + ln_gamma_cdf(count, rate) - count * rate.ln() + moved)
    }
}

/// The gamma distribution's shape, ρ/c², and the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tuning {
    shape: f64,
    c: f64,
}

impl Tuning {
    fn new(v_opt: f64, alpha_opt: f64, c: f64) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("c", c)?;
        let rho = NormalMixture::tuned(v_opt, alpha_opt, Sides::One)?.rho();
        Ok(Self { shape: rho / (c * c), c })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_no_evidence() {
        assert!(GammaPoissonMixture::tuned(100.0, 0.05, 1.0).unwrap().log_e(0.0, 0.0).unwrap().abs() < 1e-12);
        assert!(
            GammaExponentialMixture::tuned(100.0, 0.05, 1.0).unwrap().log_e(0.0, 0.0).unwrap().abs() < 1e-12
        );
    }

    #[test]
    fn impossible_sums_are_refused() {
        assert!(GammaPoissonMixture::tuned(100.0, 0.05, 0.0).is_err());
        assert!(GammaPoissonMixture::tuned(100.0, 0.05, 1.0).unwrap().log_e(-1e9, 1.0).is_err());
        assert!(GammaExponentialMixture::tuned(100.0, 0.05, 1.0).unwrap().log_e(0.0, -1.0).is_err());
    }
}
