//! Student's t distribution.

use super::beta;
use super::normal::norm_isf;
use super::root::find_root;

/// Upper tail of Student's t with `df` degrees of freedom, which need not be an integer.
pub fn t_sf(x: f64, df: f64) -> f64 {
    let half = 0.5 * ln_two_sided(x, df).exp();
    if x >= 0.0 { half } else { 1.0 - half }
}

/// The x with t_sf(x, df) = `p`, for `p` in (0, 1).
pub fn t_isf(p: f64, df: f64) -> f64 {
    if !(p > 0.0 && p < 1.0 && df > 0.0) {
        return f64::NAN;
    }
    if p > 0.5 {
        return -t_isf(1.0 - p, df);
    }
    if p == 0.5 {
        return 0.0;
    }
    if df == f64::INFINITY {
        return norm_isf(p);
    }
    // In ln x: with one degree of freedom the quantile of 1e-300 is 1e299.
    let target = (2.0 * p).ln();
    find_root(|ln_x| ln_two_sided(ln_x.exp(), df) - target, -750.0, 700.0).map_or(f64::NAN, f64::exp)
}

/// ln P(|T| > |x|).
fn ln_two_sided(x: f64, df: f64) -> f64 {
    if x.is_nan() || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if x.is_infinite() {
        return f64::NEG_INFINITY;
    }
    if df == f64::INFINITY {
        return super::normal::norm_logsf(x.abs()) + std::f64::consts::LN_2;
    }
    // df/(df + x²) and its complement, without squaring what overflows.
    let scaled = x.abs() / df.sqrt();
    if scaled > 1e100 {
        // The first term of the series; the next is smaller by 1e-200.
        return -df * scaled.ln() - (df / 2.0).ln() - beta::ln_beta(df / 2.0, 0.5);
    }
    let (inside, outside) = if scaled > 1.0 {
        let inverse = 1.0 / scaled;
        let inverse_square = inverse * inverse;
        (inverse_square / (1.0 + inverse_square), 1.0 / (1.0 + inverse_square))
    } else {
        let square = scaled * scaled;
        (1.0 / (1.0 + square), square / (1.0 + square))
    };
    beta::ln_tails(inside, outside, df / 2.0, 0.5).0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_degree_of_freedom_is_cauchy() {
        for x in [1e-9f64, 0.3, 1.0, 20.0, 1e8] {
            let cauchy = (1.0 / x).atan() / std::f64::consts::PI;
            assert!((t_sf(x, 1.0) / cauchy - 1.0).abs() < 1e-12, "at {x}");
        }
        assert!((t_isf(1e-200, 1.0) / (1e200 / std::f64::consts::PI) - 1.0).abs() < 1e-11);
    }

    #[test]
    fn many_degrees_of_freedom_are_normal() {
        assert!((t_sf(1.96, 1e15) / super::super::norm_sf(1.96) - 1.0).abs() < 1e-12);
        assert!((t_sf(30.0, f64::INFINITY) / super::super::norm_sf(30.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn outside_the_domain_is_not_a_number() {
        assert!(t_sf(f64::NAN, 3.0).is_nan() && t_sf(1.0, 0.0).is_nan() && t_isf(0.0, 3.0).is_nan());
    }

    proptest! {
        #[test]
        fn the_inverse_inverts(ln_p in -600.0f64..-0.7, df in 1.0f64..1e7) {
            let p = ln_p.exp();
            let x = t_isf(p, df);
            prop_assert!((t_sf(x, df).ln() - ln_p).abs() < 1e-10 * ln_p.abs().max(1.0));
        }
    }
}
