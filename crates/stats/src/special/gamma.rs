//! The gamma function, the incomplete gamma function and the chi-square distribution.

use std::f64::consts::PI;

use super::root::find_root;
use super::series::{continued_fraction, ln_1m_exp, ln_quotient_minus};

/// ln Γ(x) for x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        f64::NAN
    } else if x == 1.0 || x == 2.0 {
        0.0
    } else if x < SERIES_FROM {
        statrs::function::gamma::ln_gamma(x)
    } else {
        (x - 0.5) * x.ln() - x + HALF_LN_2PI + stirling_correction(x)
    }
}

/// r(x) = ln Γ(x) − [(x − ½) ln x − x + ½ ln 2π]: what Stirling's formula leaves out.
///
/// Differences of lnΓ at large arguments are formed with this, because the bracket can be expanded by hand while r stays
/// below 1/(12x).
pub(crate) fn stirling_correction(x: f64) -> f64 {
    if x < SERIES_FROM {
        return ln_gamma(x) - ((x - 0.5) * x.ln() - x + HALF_LN_2PI);
    }
    let inverse_square = 1.0 / (x * x);
    let series = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
    ];
    series.iter().rev().fold(0.0, |sum, coefficient| sum * inverse_square + coefficient) / x
}

/// P(a, x), the lower regularised incomplete gamma function: the distribution function of Gamma(a, 1).
pub fn gamma_cdf(a: f64, x: f64) -> f64 {
    ln_gamma_cdf(a, x).exp()
}

/// Q(a, x) = 1 − P(a, x).
pub fn gamma_sf(a: f64, x: f64) -> f64 {
    ln_gamma_sf(a, x).exp()
}

/// ln P(a, x).
pub fn ln_gamma_cdf(a: f64, x: f64) -> f64 {
    ln_tails(a, x).0
}

/// ln Q(a, x).
pub fn ln_gamma_sf(a: f64, x: f64) -> f64 {
    ln_tails(a, x).1
}

/// Upper tail of the chi-square distribution with `df` degrees of freedom.
pub fn chi2_sf(x: f64, df: f64) -> f64 {
    if x <= 0.0 && df > 0.0 { 1.0 } else { gamma_sf(df / 2.0, x / 2.0) }
}

/// The x with chi2_sf(x, df) = `p`, for `p` in (0, 1).
pub fn chi2_isf(p: f64, df: f64) -> f64 {
    if !(p > 0.0 && p < 1.0 && df > 0.0 && df.is_finite()) {
        return f64::NAN;
    }
    // The smaller tail carries the digits. In ln x, because x can be anything from 1e-300 to 1e13.
    let distance = |ln_x: f64| {
        let (lower, upper) = ln_tails(df / 2.0, ln_x.exp() / 2.0);
        if p <= 0.5 { upper - p.ln() } else { (-p).ln_1p() - lower }
    };
    find_root(distance, -1400.0 / df.min(2.0) * 2.0, (df + 2000.0).ln() + 4.0).map_or(f64::NAN, f64::exp)
}

const SERIES_FROM: f64 = 15.0;
const HALF_LN_2PI: f64 = 0.918_938_533_204_672_7;

/// (ln P, ln Q): the smaller tail by its series or fraction, the other as its complement.
fn ln_tails(a: f64, x: f64) -> (f64, f64) {
    if x.is_nan() || a.is_nan() || a <= 0.0 || x < 0.0 {
        return (f64::NAN, f64::NAN);
    }
    if x == 0.0 {
        return (f64::NEG_INFINITY, 0.0);
    }
    if x == f64::INFINITY {
        return (0.0, f64::NEG_INFINITY);
    }
    let ln_prefix = ln_density_times_x(a, x);
    if x < a + 1.0 {
        let mut term = 1.0 / a;
        let mut sum = term;
        let mut denominator = a;
        while term > sum * f64::EPSILON {
            denominator += 1.0;
            term *= x / denominator;
            sum += term;
        }
        let lower = (ln_prefix + sum.ln()).min(0.0);
        (lower, ln_1m_exp(lower))
    } else {
        let fraction = continued_fraction(|m| (m * (a - m), x + 1.0 - a + 2.0 * m));
        let upper = (ln_prefix - fraction.ln()).min(0.0);
        (ln_1m_exp(upper), upper)
    }
}

/// ln( xᵃ e⁻ˣ / Γ(a) ), without forming the large terms that cancel near x = a.
fn ln_density_times_x(a: f64, x: f64) -> f64 {
    let deviation = (x - a) / a;
    a * ln_quotient_minus(x / a, deviation) + 0.5 * (a / (2.0 * PI)).ln() - stirling_correction(a)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(ln_gamma(2.0), 0.0);
        assert!((ln_gamma(0.5) - 0.572_364_942_924_700_1).abs() < 1e-15);
        assert!((stirling_correction(1e9) - 1.0 / 12e9).abs() < 1e-25);
        assert!((gamma_sf(1.0, 700.0).ln() + 700.0).abs() < 1e-10);
        assert!((ln_gamma_sf(1.0, 1e5) + 1e5).abs() < 1e-9);
        assert!((gamma_cdf(1e9, 1e9) - 0.500_004_205_224_4).abs() < 1e-11);
    }

    #[test]
    fn outside_the_domain_is_not_a_number() {
        assert!(ln_gamma(0.0).is_nan() && ln_gamma(-1.5).is_nan());
        assert!(gamma_cdf(-1.0, 1.0).is_nan() && gamma_sf(1.0, -1.0).is_nan());
        assert!(chi2_isf(0.0, 1.0).is_nan() && chi2_isf(0.5, 0.0).is_nan());
    }

    proptest! {
        #[test]
        fn the_inverse_inverts(ln_p in -600.0f64..-1e-3, df in 1.0f64..5000.0) {
            let p = ln_p.exp();
            prop_assert!((chi2_sf(chi2_isf(p, df), df).ln() - ln_p).abs() <= 1e-11 * ln_p.abs().max(1.0));
        }

        #[test]
        fn corrections_join(x in 14.9f64..15.1) {
            prop_assert!((stirling_correction(x) - 1.0 / (12.0 * x) + 1.0 / (360.0 * x.powi(3))).abs() < 1e-8);
        }
    }
}
