//! The normal mixture of Howard, Ramdas, McAuliffe and Sekhon (Annals of Statistics 2021, arXiv 1810.08240).

use super::Sides;
use crate::NotComputable;
use crate::special::{find_root, norm_logcdf};

/// Mixture over the size of the effect, for a sum whose increments have variance one per unit of intrinsic time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalMixture {
    rho: f64,
    sides: Sides,
}

impl NormalMixture {
    /// The mixture whose bound at level `alpha_opt` is tightest at intrinsic time `v_opt`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v_opt` > 0 and `alpha_opt` lies in (0, 1), or in (0, ½) for one side.
    pub fn tuned(v_opt: f64, alpha_opt: f64, sides: Sides) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("v_opt", v_opt)?;
        let per_side = match sides {
            Sides::One => 2.0 * alpha_opt,
            Sides::Two => alpha_opt,
        };
        NotComputable::unless_probability("alpha_opt (twice, for one side)", per_side)?;
        let twice_log = -2.0 * per_side.ln();
        Ok(Self { rho: v_opt / (twice_log + twice_log.ln_1p()), sides })
    }

    /// ρ, the precision of the mixing distribution in units of intrinsic time.
    pub fn rho(&self) -> f64 {
        self.rho
    }

    /// Log evidence against "the sum has mean zero" (two-sided) or "zero or less" (one-sided), with sum `s` at intrinsic
    /// time `v`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `s` is finite and `v` ≥ 0.
    pub fn log_e(&self, s: f64, v: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_finite("s", s)?;
        NotComputable::unless_non_negative("v", v)?;
        let x = s / (v + self.rho).sqrt();
        Ok(match self.sides {
            Sides::Two => -0.5 * (v / self.rho).ln_1p() + 0.5 * x * x,
            // For x far below zero the last two terms cancel to −ln|x| and a constant.
            Sides::One => -0.5 * (v / self.rho).ln_1p() + std::f64::consts::LN_2 + ln_half_gaussian(x),
        })
    }

    /// The sum at which [`log_e`](Self::log_e) reaches ln(1/`alpha`).
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` ≥ 0 and `alpha` lies in (0, 1).
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_non_negative("v", v)?;
        NotComputable::unless_probability("alpha", alpha)?;
        let scale = (v + self.rho).sqrt();
        let needed = 0.5 * (v / self.rho).ln_1p() - alpha.ln();
        match self.sides {
            Sides::Two => Ok(scale * (2.0 * needed).sqrt()),
            Sides::One => {
                // At x = 0 the evidence is ½; at √(2·needed) it has passed what is needed, for Φ(x) ≥ ½.
                let short_of = |x: f64| ln_half_gaussian(x) + std::f64::consts::LN_2 - needed;
                Ok(scale * find_root(short_of, 0.0, (2.0 * needed).sqrt())?)
            }
        }
    }
}

/// ln( e^{x²/2} Φ(x) ).
fn ln_half_gaussian(x: f64) -> f64 {
    0.5 * x * x + norm_logcdf(x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_outside_their_range_are_refused() {
        assert!(NormalMixture::tuned(0.0, 0.05, Sides::Two).is_err());
        assert!(NormalMixture::tuned(1.0, 0.5, Sides::One).is_err());
        assert!(NormalMixture::tuned(1.0, f64::NAN, Sides::Two).is_err());
        let mixture = NormalMixture::tuned(100.0, 0.05, Sides::One).unwrap();
        assert!(mixture.log_e(f64::NAN, 1.0).is_err());
        assert!(mixture.log_e(0.0, -1.0).is_err());
        assert!(mixture.bound(1.0, 0.0).is_err());
    }

    #[test]
    fn nothing_seen_is_no_evidence() {
        let mixture = NormalMixture::tuned(100.0, 0.05, Sides::One).unwrap();
        assert!(mixture.log_e(0.0, 0.0).unwrap().abs() < 1e-15);
    }

    #[test]
    fn it_is_a_fair_bet_under_the_null() {
        for (sides, v) in [(Sides::One, 1.0), (Sides::Two, 1.0), (Sides::One, 5e4), (Sides::Two, 5e4)] {
            let mixture = NormalMixture::tuned(1e4, 0.01, sides).unwrap();
            // The mean of e over S ~ N(0, v), by the trapezoidal rule as far out as e·density matters.
            let reach = 12.0 * ((v / mixture.rho()) + 1.0).sqrt();
            let step = reach / 20_000.0;
            let mean: f64 = (-20_000..=20_000)
                .map(|index| {
                    let z = f64::from(index) * step;
                    let ln_density = -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln();
                    (mixture.log_e(z * v.sqrt(), v).unwrap() + ln_density).exp() * step
                })
                .sum();
            assert!((mean - 1.0).abs() < 1e-9, "{sides:?} {v} {mean}");
        }
    }

    #[test]
    fn strong_improvement_is_finite_evidence_of_no_harm() {
        let mixture = NormalMixture::tuned(100.0, 0.01, Sides::One).unwrap();
        let log_e = mixture.log_e(-1e6, 1e4).unwrap();
        assert!(log_e.is_finite() && log_e < -8.0, "{log_e}");
    }

    proptest! {
        #[test]
        fn the_bound_is_where_the_evidence_suffices(
            v in 0.0f64..1e9, v_opt in 1.0f64..1e6, alpha in 1e-9f64..0.4, one in any::<bool>(),
        ) {
            let mixture = NormalMixture::tuned(v_opt, 0.05, if one { Sides::One } else { Sides::Two }).unwrap();
            let bound = mixture.bound(v, alpha).unwrap();
            prop_assert!((mixture.log_e(bound, v).unwrap() + alpha.ln()).abs() < 1e-9);
        }

        #[test]
        fn one_sided_evidence_grows_with_the_sum(s in -1e4f64..1e4, more in 0.0f64..1e3, v in 0.0f64..1e6) {
            let mixture = NormalMixture::tuned(1e4, 0.05, Sides::One).unwrap();
            prop_assert!(mixture.log_e(s + more, v).unwrap() >= mixture.log_e(s, v).unwrap() - 1e-9);
        }

        #[test]
        fn two_sided_evidence_has_no_sign(s in -1e4f64..1e4, v in 0.0f64..1e6) {
            let mixture = NormalMixture::tuned(1e4, 0.05, Sides::Two).unwrap();
            prop_assert_eq!(mixture.log_e(s, v).unwrap(), mixture.log_e(-s, v).unwrap());
        }
    }
}
