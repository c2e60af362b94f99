//! The normal distribution.

use std::f64::consts::PI;

use super::gamma::{gamma_cdf, gamma_sf};

/// Density at `x`.
pub fn norm_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Φ(x), the lower tail.
pub fn norm_cdf(x: f64) -> f64 {
    norm_sf(-x)
}

/// 1 − Φ(x), the upper tail.
pub fn norm_sf(x: f64) -> f64 {
    if x > FAR {
        norm_logsf(x).exp()
    } else if x >= 0.0 {
        0.5 * gamma_sf(0.5, 0.5 * x * x)
    } else {
        0.5 + 0.5 * gamma_cdf(0.5, 0.5 * x * x)
    }
}

/// ln Φ(x).
pub fn norm_logcdf(x: f64) -> f64 {
    norm_logsf(-x)
}

/// ln(1 − Φ(x)).
pub fn norm_logsf(x: f64) -> f64 {
    if x > FAR {
        -0.5 * x * x - 0.5 * (2.0 * PI).ln() + mills_ratio(x).ln()
    } else if x < -1.0 {
        (-norm_sf(-x)).ln_1p()
    } else {
        norm_sf(x).ln()
    }
}

/// The x with Φ(x) = `p`.
pub fn norm_ppf(p: f64) -> f64 {
    -norm_isf(p)
}

/// The x with 1 − Φ(x) = `p`, for `p` in (0, 1); infinite at its ends.
pub fn norm_isf(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::INFINITY } else { f64::NEG_INFINITY };
    }
    if p >= 0.5 {
        return if p == 0.5 { 0.0 } else { -norm_isf(1.0 - p) };
    }
    // Newton on ln(1 − Φ), which is concave: from the right of the root it converges without overshooting.
    let target = p.ln();
    let mut x = (-2.0 * target).sqrt();
    for _ in 0..60 {
        let log_tail = norm_logsf(x);
        let hazard = (-0.5 * x * x - 0.5 * (2.0 * PI).ln() - log_tail).exp();
        let step = (log_tail - target) / hazard;
        x += step;
        if step.abs() <= 4.0 * f64::EPSILON * x.abs().max(1e-8) {
            break;
        }
    }
    x
}

/// From here on the tail is taken from its continued fraction.
const FAR: f64 = 5.0;

/// (1 − Φ(x)) / φ(x) for x ≥ [`FAR`], by Laplace's fraction 1/(x + 1/(x + 2/(x + …))); 80 levels are exact there.
fn mills_ratio(x: f64) -> f64 {
    let mut tail = x;
    for level in (1..=80).rev() {
        tail = x + f64::from(level) / tail;
    }
    1.0 / tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn log_tails_never_underflow() {
        assert!((norm_logcdf(-1e6) + 5e11).abs() < 20.0);
        assert_eq!(norm_logcdf(1e6), 0.0);
        assert!((norm_logcdf(FAR.next_up().copysign(-1.0)) - norm_logcdf(-FAR)).abs() < 1e-13);
    }

    #[test]
    fn outside_its_domain_the_inverse_is_not_a_number() {
        assert!(norm_isf(-0.1).is_nan() && norm_isf(1.1).is_nan() && norm_isf(f64::NAN).is_nan());
        assert_eq!(norm_isf(0.0), f64::INFINITY);
        assert_eq!(norm_isf(0.5), 0.0);
    }

    proptest! {
        #[test]
        fn the_inverse_inverts(ln_p in -690.0f64..-0.7) {
            let p = ln_p.exp();
            prop_assert!((norm_logsf(norm_isf(p)) - ln_p).abs() <= 1e-13 * ln_p.abs().max(1.0));
        }

        #[test]
        fn tails_add_up_to_one(x in -30.0f64..30.0) {
            prop_assert!((norm_cdf(x) + norm_sf(x) - 1.0).abs() < 1e-15);
        }
    }
}
