//! Polynomial stitching (Howard et al. 2021, theorem 1): a closed form that needs no mixture, with the rate of the law
//! of the iterated logarithm.

use crate::NotComputable;

/// A stitched bound from intrinsic time `v_min` on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolynomialStitching {
    v_min: f64,
    c: f64,
    exponent: f64,
    eta: f64,
}

impl PolynomialStitching {
    /// With scale `c` (zero for sub-Gaussian sums), crossing probabilities that fall as the epoch's number to the power
    /// `exponent`, and epochs that grow by the factor `eta`.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v_min` > 0, `c` ≥ 0, `exponent` > 1 and `eta` > 1.
    pub fn new(v_min: f64, c: f64, exponent: f64, eta: f64) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("v_min", v_min)?;
        NotComputable::unless_non_negative("c", c)?;
        NotComputable::unless_positive("exponent − 1", exponent - 1.0)?;
        NotComputable::unless_positive("eta − 1", eta - 1.0)?;
        Ok(Self { v_min, c, exponent, eta })
    }

    /// The bound on the sum at intrinsic time `v`, crossed ever with probability `alpha` at most.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `v` ≥ 0 and `alpha` lies in (0, 1).
    pub fn bound(&self, v: f64, alpha: f64) -> Result<f64, NotComputable> {
        let v = NotComputable::unless_non_negative("v", v)?.max(self.v_min);
        NotComputable::unless_probability("alpha", alpha)?;
        let k1_squared = (self.eta.powf(0.25) + self.eta.powf(-0.25)).powi(2) / 2.0;
        let k2 = (self.eta.sqrt() + 1.0) / 2.0;
        let epochs = (self.eta * v / self.v_min).ln() / self.eta.ln();
        let level = self.exponent * epochs.ln() + zeta(self.exponent).ln() - alpha.ln();
        let linear = self.c * k2 * level;
        Ok((k1_squared * v * level + linear * linear).sqrt() + linear)
    }
}

/// Riemann's zeta function for s > 1: twenty terms, and Euler and Maclaurin's formula for the rest.
fn zeta(s: f64) -> f64 {
    const TERMS: i32 = 20;
    let head: f64 = (1..TERMS).map(|k| f64::from(k).powf(-s)).sum();
    let n = f64::from(TERMS);
    let last = n.powf(-s);
    let first_correction = s / (12.0 * n);
    let second_correction = s * (s + 1.0) * (s + 2.0) / (720.0 * n.powi(3));
    let third_correction = s * (s + 1.0) * (s + 2.0) * (s + 3.0) * (s + 4.0) / (30_240.0 * n.powi(5));
    head + last * (n / (s - 1.0) + 0.5 + first_correction - second_correction + third_correction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeta_of_two() {
        assert!((zeta(2.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-13);
    }

    #[test]
    fn arguments_outside_their_range_are_refused() {
        assert!(PolynomialStitching::new(0.0, 0.0, 1.4, 2.0).is_err());
        assert!(PolynomialStitching::new(1.0, 0.0, 1.0, 2.0).is_err());
        assert!(PolynomialStitching::new(1.0, 0.0, 1.4, 1.0).is_err());
        assert!(PolynomialStitching::new(1.0, 0.0, 1.4, 2.0).unwrap().bound(10.0, 0.0).is_err());
    }
}
