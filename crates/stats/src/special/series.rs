//! Small pieces that the other functions share: differences that must not cancel.

/// ln(1 + u) − u, accurate relative to its own size for every u > −1.
pub(crate) fn ln_1p_minus(u: f64) -> f64 {
    if u.abs() > 0.5 {
        return u.ln_1p() - u;
    }
    // ln(1+u) = 2·atanh(r) with r = u/(2+u), and u − 2r = r·u.
    let r = u / (2.0 + u);
    let square = r * r;
    let mut power = 1.0;
    let mut sum = 1.0 / 3.0;
    let mut odd = 5.0;
    loop {
        power *= square;
        let term = power / odd;
        sum += term;
        odd += 2.0;
        if term < sum * f64::EPSILON {
            return r * (2.0 * square * sum - u);
        }
    }
}

/// ln(q) − (q − 1) for a quotient q > 0 whose distance from one, `u` = q − 1, is known better than q shows it near one
/// and worse near zero.
pub(super) fn ln_quotient_minus(q: f64, u: f64) -> f64 {
    if u.abs() > 0.5 { q.ln() - u } else { ln_1p_minus(u) }
}

/// ln(1 − eˣ) for x ≤ 0.
pub(crate) fn ln_1m_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// A continued fraction b₀ + a₁/(b₁ + a₂/(b₂ + …)) by the modified Lentz method; `terms(m)` is (aₘ, bₘ), a₀ is ignored.
///
/// Gives NaN when it has not settled after [`CONTINUED_FRACTION_STEPS`].
pub(crate) fn continued_fraction(terms: impl Fn(f64) -> (f64, f64)) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |x: f64| if x.abs() < TINY { TINY } else { x };

    let mut value = away_from_zero(terms(0.0).1);
    let mut c = value;
    let mut d = 0.0;
    for step in 1..=CONTINUED_FRACTION_STEPS {
        let (a, b) = terms(f64::from(step));
        d = 1.0 / away_from_zero(b + a * d);
        c = away_from_zero(b + a / c);
        let change = c * d;
        value *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            return value;
        }
    }
    f64::NAN
}

/// Enough for parameters of 1e12, where the fractions settle after a few multiples of the parameter's square root.
const CONTINUED_FRACTION_STEPS: u32 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_keep_their_digits() {
        assert_eq!(ln_1p_minus(0.0), 0.0);
        let tiny = 1e-9;
        assert!((ln_1p_minus(tiny) / (-tiny * tiny / 2.0) - 1.0).abs() < 1e-9);
        for u in [-0.49999f64, -0.3, 0.2, 0.49999] {
            assert!((ln_1p_minus(u) / (u.ln_1p() - u) - 1.0).abs() < 1e-13, "at {u}");
        }
    }

    #[test]
    fn logarithm_of_a_complement() {
        assert!((ln_1m_exp(-1e-20) + 46.051701859880914).abs() < 1e-12);
        assert!((ln_1m_exp(-50.0) + (-50f64).exp()).abs() < 1e-30);
    }

    #[test]
    fn the_golden_ratio_is_a_fraction_of_ones() {
        assert!((continued_fraction(|_| (1.0, 1.0)) - 1.618_033_988_749_895).abs() < 1e-15);
    }
}
