//! Anytime-valid linear models: Lindon, Ham, Tingley and Bojinov (arXiv 2210.08589). The sequential form of a t test,
//! and so of regression adjustment.

use crate::NotComputable;

/// A coefficient's e-process; `phi` is the precision of the prior on the effect in units of the residual variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnytimeRegression {
    degrees_of_freedom: f64,
    /// r = φ/(φ + z²).
    shrinkage: f64,
}

/// A coefficient's confidence sequence and evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionSequence {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Log evidence against "the coefficient is zero".
    pub log_e: f64,
    /// min(1, 1/e) at this look.
    pub p_value: f64,
}

impl AnytimeRegression {
    /// With ν residual degrees of freedom and z² = (residual standard deviation / standard error)², the information in
    /// the design.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless all three are above zero.
    pub fn new(degrees_of_freedom: f64, phi: f64, z2: f64) -> Result<Self, NotComputable> {
        let nu = NotComputable::unless_positive("degrees_of_freedom", degrees_of_freedom)?;
        NotComputable::unless_positive("phi", phi)?;
        NotComputable::unless_positive("z2", z2)?;
        Ok(Self { degrees_of_freedom: nu, shrinkage: phi / (phi + z2) })
    }

    /// Log evidence against "the coefficient is zero" from its squared t statistic.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `t_squared` ≥ 0.
    pub fn log_e(&self, t_squared: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_non_negative("t_squared", t_squared)?;
        let (nu, r) = (self.degrees_of_freedom, self.shrinkage);
        let per_degree = t_squared / nu;
        Ok(0.5 * r.ln() + 0.5 * (nu + 1.0) * (per_degree.ln_1p() - (r * per_degree).ln_1p()))
    }

    /// The confidence sequence at level 1 − `alpha`.
    ///
    /// # Errors
    /// [`NotComputable::NoVariance`] for a standard error of zero; [`NotComputable::NoSolution`] while every value is
    /// still possible; [`NotComputable::OutOfRange`].
    pub fn interval(
        &self,
        estimate: f64,
        standard_error: f64,
        alpha: f64,
    ) -> Result<RegressionSequence, NotComputable> {
        NotComputable::unless_finite("estimate", estimate)?;
        NotComputable::unless_non_negative("standard_error", standard_error)?;
        NotComputable::unless_probability("alpha", alpha)?;
        if standard_error == 0.0 {
            return Err(NotComputable::NoVariance);
        }
        let (nu, r) = (self.degrees_of_freedom, self.shrinkage);
        let ln_q = (r.ln() + 2.0 * alpha.ln()) / (nu + 1.0);
        let above_shrinkage = ln_q.exp() - r;
        if above_shrinkage <= 0.0 {
            return Err(NotComputable::NoSolution);
        }
        let half_width = standard_error * (nu * -ln_q.exp_m1() / above_shrinkage).sqrt();
        let log_e = self.log_e((estimate / standard_error).powi(2))?;
        Ok(RegressionSequence {
            lower: estimate - half_width,
            upper: estimate + half_width,
            log_e,
            p_value: (-log_e).exp().min(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_data_bounds_nothing() {
        let model = AnytimeRegression::new(1.0, 1.0, 0.5).unwrap();
        assert_eq!(model.interval(1.0, 1.0, 0.01), Err(NotComputable::NoSolution));
        assert_eq!(model.interval(1.0, 0.0, 0.01), Err(NotComputable::NoVariance));
        assert!(AnytimeRegression::new(0.0, 1.0, 1.0).is_err());
        assert!(model.log_e(-1.0).is_err());
    }

    #[test]
    fn the_interval_excludes_zero_exactly_when_the_evidence_suffices() {
        let model = AnytimeRegression::new(5000.0, 100.0, 1250.0).unwrap();
        for step in 0..60 {
            let found = model.interval(f64::from(step) * 0.1, 1.0, 0.05).unwrap();
            assert_eq!(found.lower > 0.0, found.p_value < 0.05, "step {step}");
        }
    }
}
