//! The beta-binomial mixture for bounded increments, exact for yes/no data (Howard et al. 2021).

use super::{NormalMixture, Sides, ln_bayes_factor};
use crate::NotComputable;
use crate::contrast::Interval;
use crate::special::{find_root, ln_beta_cdf};

/// Mixture for a sum of increments in [−g, h] with mean zero; its intrinsic time is v = g·h·n after n increments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaBinomialMixture {
    g: f64,
    h: f64,
    concentration: f64,
    sides: Sides,
}

impl BetaBinomialMixture {
    /// The mixture tuned as [`NormalMixture::tuned`] for intrinsic time `v_opt`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `g`, `h` and `v_opt` are above zero and `alpha_opt` lies in (0, 1), or in
    /// (0, ½) for one side.
    pub fn tuned(v_opt: f64, alpha_opt: f64, g: f64, h: f64, sides: Sides) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("g", g)?;
        NotComputable::unless_positive("h", h)?;
        let rho = NormalMixture::tuned(v_opt, alpha_opt, sides)?.rho();
        let concentration = (rho / (g * h) - 1.0).max(LEAST_CONCENTRATION);
        Ok(Self { g, h, concentration, sides })
    }

    /// Log evidence against "the increments have mean zero" (two-sided) or "zero or less" (one-sided), with sum `s` at
    /// intrinsic time `v`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` ≥ 0 and `s` lies within [−v/h, v/g], what increments in [−g, h] can sum
    /// to.
    pub fn log_e(&self, s: f64, v: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_finite("s", s)?;
        NotComputable::unless_non_negative("v", v)?;
        let width = self.g + self.h;
        let rises = (v / self.h + s) / width;
        let falls = (v / self.g - s) / width;
        let allowed_error = 1e-9 * v / (self.g * self.h);
        if rises < -allowed_error || falls < -allowed_error {
            return Err(NotComputable::OutOfRange { argument: "s", allowed: "within [−v/h, v/g]", got: s });
        }
        let p = self.g / width;
        let q = self.h / width;
        Ok(two_cell_log_e([rises.max(0.0), falls.max(0.0)], [p, q], self.concentration, self.sides))
    }

    /// The sum at which [`log_e`](Self::log_e) reaches ln(1/`alpha`), or the largest possible sum if that comes first.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` > 0 and `alpha` lies in (0, 1).
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_positive("v", v)?;
        NotComputable::unless_probability("alpha", alpha)?;
        let largest = v / self.g;
        let needed = -alpha.ln();
        if self.log_e(largest, v)? <= needed {
            return Ok(largest);
        }
        find_root(|s| self.log_e(s, v).map_or(f64::NAN, |log_e| log_e - needed), 0.0, largest)
    }
}

/// Confidence sequence for a rate: which rates the two-sided mixture has not refuted after `conversions` of `n` units.
/// Tightest at `t_opt` units.
///
/// # Errors
/// [`NotComputable::NoUnits`], [`NotComputable::MoreConversionsThanUnits`], [`NotComputable::OutOfRange`].
pub fn bernoulli_confidence_sequence(
    conversions: u64,
    n: u64,
    alpha: f64,
    t_opt: f64,
    alpha_opt: f64,
) -> Result<Interval, NotComputable> {
    if n == 0 {
        return Err(NotComputable::NoUnits);
    }
    if conversions > n {
        return Err(NotComputable::MoreConversionsThanUnits);
    }
    NotComputable::unless_probability("alpha", alpha)?;
    let rho = NormalMixture::tuned(t_opt, alpha_opt, Sides::Two)?.rho();
    let concentration = (rho - 1.0).max(LEAST_CONCENTRATION);
    let (yes, no) = (conversions as f64, (n - conversions) as f64);

    // In logits, where rates near zero and near one are told apart.
    let short_of = |logit: f64| {
        let p = 1.0 / (1.0 + (-logit).exp());
        ln_bayes_factor(&[yes, no], &[p, 1.0 / (1.0 + logit.exp())], concentration) + alpha.ln()
    };
    let rate = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let observed = if no == 0.0 { FARTHEST } else { (yes / no).ln().max(-FARTHEST) };
    let lower = if yes == 0.0 || short_of(-FARTHEST) <= 0.0 {
        0.0
    } else {
        rate(find_root(short_of, -FARTHEST, observed)?)
    };
    let upper = if no == 0.0 || short_of(FARTHEST) <= 0.0 {
        1.0
    } else {
        rate(find_root(short_of, observed, FARTHEST)?)
    };
    Ok(Interval { lower, upper })
}

/// Log evidence of the beta mixture against "of all [rises, falls], a share p rises", for probabilities [p, 1 − p].
/// One-sided, the mixture is cut off below p: only more rises than that count.
pub(crate) fn two_cell_log_e(
    counts: [f64; 2],
    probabilities: [f64; 2],
    concentration: f64,
    sides: Sides,
) -> f64 {
    let whole = ln_bayes_factor(&counts, &probabilities, concentration);
    match sides {
        Sides::Two => whole,
        Sides::One => {
            let [rises, falls] = counts;
            let [prior_rises, prior_falls] = probabilities.map(|p| concentration * p);
            let q = probabilities[1];
            whole + ln_beta_cdf(q, prior_falls + falls, prior_rises + rises)
                - ln_beta_cdf(q, prior_falls, prior_rises)
        }
    }
}

/// The mixture must not degenerate however early it is tuned for; confseq's floor.
const LEAST_CONCENTRATION: f64 = 1e-3;

/// Logit beyond which a bound is 0 or 1: rates of 1e-15.
const FARTHEST: f64 = 34.5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn degenerate_input_is_refused() {
        let interval = |y, n| bernoulli_confidence_sequence(y, n, 0.05, 1000.0, 0.05);
        assert_eq!(interval(0, 0), Err(NotComputable::NoUnits));
        assert_eq!(interval(2, 1), Err(NotComputable::MoreConversionsThanUnits));
        assert!(bernoulli_confidence_sequence(1, 2, 1.0, 1000.0, 0.05).is_err());
        let mixture = BetaBinomialMixture::tuned(100.0, 0.05, 0.5, 0.5, Sides::One).unwrap();
        assert!(mixture.log_e(1000.0, 1.0).is_err());
        assert!(BetaBinomialMixture::tuned(100.0, 0.05, 0.0, 0.5, Sides::One).is_err());
    }

    #[test]
    fn a_bound_out_of_reach_is_the_largest_sum() {
        let mixture = BetaBinomialMixture::tuned(100.0, 0.05, 0.5, 0.5, Sides::Two).unwrap();
        assert_eq!(mixture.bound(0.25, 0.05), Ok(0.5));
    }

    #[test]
    fn one_sided_evidence_ignores_falls() {
        let mixture = BetaBinomialMixture::tuned(250.0, 0.05, 0.5, 0.5, Sides::One).unwrap();
        assert!(mixture.log_e(-200.0, 250.0).unwrap() < 0.0);
        assert!(mixture.log_e(200.0, 250.0).unwrap() > 70.0);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_observed_rate_and_mirrors(n in 1u64..100_000, share in 0.0f64..=1.0) {
            let yes = ((n as f64) * share) as u64;
            let interval = |y| bernoulli_confidence_sequence(y, n, 0.05, 1000.0, 0.05).unwrap();
            let Interval { lower, upper } = interval(yes);
            let rate = yes as f64 / n as f64;
            prop_assert!(lower <= rate && rate <= upper);
            let mirrored = interval(n - yes);
            prop_assert!((lower + mirrored.upper - 1.0).abs() < 1e-6);
            prop_assert!((upper + mirrored.lower - 1.0).abs() < 1e-6);
        }
    }
}
