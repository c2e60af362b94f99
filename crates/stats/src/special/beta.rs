//! The beta distribution: the regularised incomplete beta function, its logarithm and its inverse.

use std::f64::consts::PI;

use super::gamma::stirling_correction;
use super::root::find_root;
use super::series::{continued_fraction, ln_1m_exp, ln_quotient_minus};

/// ln B(a, b) for a, b > 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    let n = a + b;
    let ln_share = |part: f64, other: f64| if part > other { (-other / n).ln_1p() } else { (part / n).ln() };
    a * ln_share(a, b)
        + b * ln_share(b, a)
        + 0.5 * (2.0 * PI * (1.0 / a + 1.0 / b)).ln()
        + stirling_correction(a)
        + stirling_correction(b)
        - stirling_correction(n)
}

/// I_x(a, b): the distribution function of Beta(a, b) at `x`.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    ln_beta_cdf(x, a, b).exp()
}

/// 1 − I_x(a, b).
pub fn beta_sf(x: f64, a: f64, b: f64) -> f64 {
    ln_beta_sf(x, a, b).exp()
}

/// ln I_x(a, b).
pub fn ln_beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    ln_tails(x, 1.0 - x, a, b).0
}

/// ln(1 − I_x(a, b)).
pub fn ln_beta_sf(x: f64, a: f64, b: f64) -> f64 {
    ln_tails(x, 1.0 - x, a, b).1
}

/// The x with I_x(a, b) = `p`, for `p` in (0, 1). Keeps its digits near 0; near 1 use [`beta_isf`] with a and b swapped.
pub fn beta_ppf(p: f64, a: f64, b: f64) -> f64 {
    quantile(p, a, b, |lower, upper| if p <= 0.5 { lower - p.ln() } else { (-p).ln_1p() - upper })
}

/// The x with 1 − I_x(a, b) = `p`, for `p` in (0, 1).
pub fn beta_isf(p: f64, a: f64, b: f64) -> f64 {
    quantile(p, a, b, |lower, upper| if p <= 0.5 { upper - p.ln() } else { (-p).ln_1p() - lower })
}

/// (ln I, ln(1 − I)) at x = 1 − y. Taking both spares the tails the rounding of 1 − x.
pub(super) fn ln_tails(x: f64, y: f64, a: f64, b: f64) -> (f64, f64) {
    if !(a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite() && x >= 0.0 && y >= 0.0) {
        return (f64::NAN, f64::NAN);
    }
    if x == 0.0 {
        return (f64::NEG_INFINITY, 0.0);
    }
    if y == 0.0 {
        return (0.0, f64::NEG_INFINITY);
    }
    if a * y >= b * x {
        let lower = ln_lower_tail(x, y, a, b);
        (lower, ln_1m_exp(lower))
    } else {
        let upper = ln_lower_tail(y, x, b, a);
        (ln_1m_exp(upper), upper)
    }
}

/// ln I_x(a, b) for x up to the mean a/(a+b), by the even part of the continued fraction (Didonato & Morris 1992),
/// which is written in a·y − b·x and so stays exact at large parameters.
fn ln_lower_tail(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let below_mean = a * y - b * x;
    let fraction = continued_fraction(|m| {
        let before = a + 2.0 * m - 1.0;
        let numerator = if m == 0.0 {
            0.0
        } else {
            ((a + m - 1.0) / before) * ((a + b + m - 1.0) / before) * m * (b - m) * x * x
        };
        let mut denominator = m + (a + m) * (below_mean + 1.0 + m * (1.0 + y)) / (a + 2.0 * m + 1.0);
        if m > 0.0 {
            denominator += m * (b - m) * x / before;
        }
        (numerator, denominator)
    });
    (ln_power_terms(x, y, a, b) - fraction.ln()).min(0.0)
}

/// ln( xᵃ yᵇ / B(a, b) ), as a deviation from its maximum at the mean, so that no large terms cancel.
fn ln_power_terms(x: f64, y: f64, a: f64, b: f64) -> f64 {
    let below_mean = a * y - b * x;
    a * ln_quotient_minus(x * ((a + b) / a), -below_mean / a)
        + b * ln_quotient_minus(y * ((a + b) / b), below_mean / b)
        - 0.5 * (2.0 * PI * (1.0 / a + 1.0 / b)).ln()
        + stirling_correction(a + b)
        - stirling_correction(a)
        - stirling_correction(b)
}

/// Where `distance` of the two log tails is zero, searched in logits: x and 1 − x both keep their digits.
fn quantile(p: f64, a: f64, b: f64, distance: impl Fn(f64, f64) -> f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    let sides = |logit: f64| (1.0 / (1.0 + (-logit).exp()), 1.0 / (1.0 + logit.exp()));
    let at = |logit: f64| {
        let (x, y) = sides(logit);
        let (lower, upper) = ln_tails(x, y, a, b);
        distance(lower, upper)
    };
    find_root(at, -700.0, 700.0).map_or(f64::NAN, |logit| sides(logit).0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn large_parameters_keep_their_digits() {
        assert!((beta_cdf(0.5, 5e8, 5e8) - 0.5).abs() < 1e-12);
        assert!((ln_beta(1.0, 1e12) + 1e12f64.ln()).abs() < 1e-12);
        assert!((ln_beta_cdf(1e-3, 1e6, 1.0) - 1e6 * 1e-3f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn ends_and_domain() {
        assert_eq!(beta_cdf(0.0, 2.0, 3.0), 0.0);
        assert_eq!(beta_sf(1.0, 2.0, 3.0), 0.0);
        assert!(
            beta_cdf(-0.1, 2.0, 3.0).is_nan()
                && beta_cdf(0.5, 0.0, 3.0).is_nan()
                && beta_isf(0.0, 1.0, 1.0).is_nan()
        );
    }

    proptest! {
        #[test]
        fn mirrored_at_one_half(x in 0.0f64..1.0, ln_a in -3.0f64..20.0, ln_b in -3.0f64..20.0) {
            let (a, b) = (ln_a.exp(), ln_b.exp());
            prop_assert!((beta_cdf(x, a, b) + beta_sf(x, a, b) - 1.0).abs() < 1e-12);
        }

        #[test]
        fn grows_with_x(x in 0.0f64..1.0, more in 0.0f64..1.0, ln_a in -3.0f64..15.0, ln_b in -3.0f64..15.0) {
            let (low, high) = (x.min(more), x.max(more));
            prop_assert!(beta_cdf(low, ln_a.exp(), ln_b.exp()) <= beta_cdf(high, ln_a.exp(), ln_b.exp()) + 1e-13);
        }

        #[test]
        fn the_inverse_inverts(ln_p in -300.0f64..-0.1, ln_a in 0.0f64..12.0, ln_b in 0.0f64..12.0) {
            let (a, b, p) = (ln_a.exp(), ln_b.exp(), ln_p.exp());
            let x = beta_ppf(p, a, b);
            prop_assume!(x > 1e-290 && x < 0.9);
            prop_assert!((ln_beta_cdf(x, a, b) - ln_p).abs() < 1e-9 * ln_p.abs().max(1.0));
        }
    }
}
