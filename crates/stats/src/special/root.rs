//! Finding where a function crosses zero.

use crate::NotComputable;

/// Where `f` is zero between `low` and `high`, to the last digits of a double (Chandrupatla 1997: bisection where it must,
/// inverse quadratic interpolation where it can).
///
/// # Errors
/// [`NotComputable::NoSolution`] when `f` has the same sign, or is not a number, at both ends.
pub(crate) fn find_root(mut f: impl FnMut(f64) -> f64, low: f64, high: f64) -> Result<f64, NotComputable> {
    const STEPS: usize = 400;
    let (mut a, mut b) = (high, low);
    let (mut fa, mut fb) = (f(a), f(b));
    if fa == 0.0 {
        return Ok(a);
    }
    if fb == 0.0 {
        return Ok(b);
    }
    if fa.is_nan() || fb.is_nan() || (fa > 0.0) == (fb > 0.0) {
        return Err(NotComputable::NoSolution);
    }

    // a is the newest point, b the one across the root, and t where in [a, b] the next one lies.
    let mut t = 0.5;
    for _ in 0..STEPS {
        let x = a + t * (b - a);
        let fx = f(x);
        if fx.is_nan() {
            return Err(NotComputable::NoSolution);
        }
        let (c, fc);
        if (fx > 0.0) == (fa > 0.0) {
            (c, fc) = (a, fa);
        } else {
            (c, fc) = (b, fb);
            (b, fb) = (a, fa);
        }
        (a, fa) = (x, fx);

        let (best, f_best) = if fa.abs() < fb.abs() { (a, fa) } else { (b, fb) };
        let tolerance = 2.0 * f64::EPSILON * best.abs() + f64::MIN_POSITIVE;
        let smallest_step = tolerance / (b - a).abs();
        if f_best == 0.0 || smallest_step > 0.5 {
            return Ok(best);
        }

        let xi = (a - b) / (c - b);
        let phi = (fa - fb) / (fc - fb);
        let interpolates = phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi;
        t = if interpolates {
            fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        } else {
            0.5
        };
        t = t.clamp(smallest_step, 1.0 - smallest_step);
        if t.is_nan() {
            t = 0.5;
        }
    }
    Err(NotComputable::NoSolution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_crossing() {
        let root = find_root(|x| x * x - 2.0, 0.0, 5.0).unwrap();
        assert!((root - std::f64::consts::SQRT_2).abs() < 1e-15);
        let steep = find_root(|x: f64| x.exp() - 1e300, 0.0, 709.0).unwrap();
        assert!((steep - 1e300f64.ln()).abs() < 1e-10);
    }

    #[test]
    fn without_a_crossing_there_is_no_solution() {
        assert_eq!(find_root(|x| x * x + 1.0, -1.0, 1.0), Err(NotComputable::NoSolution));
        assert_eq!(find_root(|_| f64::NAN, -1.0, 1.0), Err(NotComputable::NoSolution));
    }
}
