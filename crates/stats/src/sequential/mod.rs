//! Inference that holds at every look: e-processes, confidence sequences and group-sequential bounds.
//!
//! An e-process is evidence that grows only against the null hypothesis: whatever the stopping rule, the chance that it
//! ever reaches 1/α while the null is true is at most α (Ville's inequality). Everything here is its logarithm, `log_e`,
//! because e itself overflows.

mod asymptotic;
mod beta_binomial;
mod dirichlet;
mod gamma;
mod group;
mod normal_mixture;
mod regression;
mod stitching;

pub use asymptotic::{AsymptoticSequence, SequentialContrast, closed_form_half_width};
pub use beta_binomial::{BetaBinomialMixture, bernoulli_confidence_sequence};
pub use gamma::{GammaExponentialMixture, GammaPoissonMixture};
pub use group::{MAX_LOOKS, Spending, group_sequential_bounds};
pub use normal_mixture::NormalMixture;
pub use regression::{AnytimeRegression, RegressionSequence};
pub use stitching::PolynomialStitching;

pub(crate) use beta_binomial::two_cell_log_e;
pub(crate) use dirichlet::ln_bayes_factor;

/// Whether evidence counts in one direction or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Only positive sums count.
    One,
    /// Large sums of either sign count.
    Two,
}

/// The most evidence that an e-process ever had: what makes an alarm sticky and a p-value valid at every look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MostEvidence {
    log_e: f64,
}

impl MostEvidence {
    /// Before the first look: no evidence.
    pub const NONE: Self = Self { log_e: 0.0 };

    /// After one more look.
    #[must_use]
    pub fn after(self, log_e: f64) -> Self {
        // f64::max drops NaN, so a value that is none can never count as evidence.
        Self { log_e: self.log_e.max(log_e) }
    }

    /// Its logarithm, zero or more; what the database keeps.
    pub fn log_e(self) -> f64 {
        self.log_e
    }

    /// The always-valid p-value, min(1, 1/max e).
    pub fn p_value(self) -> f64 {
        (-self.log_e).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_once_seen_stays() {
        let most = MostEvidence::NONE.after(-3.0).after(2.0).after(f64::NAN).after(1.0);
        assert_eq!(most.log_e(), 2.0);
        assert!((most.p_value() - (-2f64).exp()).abs() < 1e-16);
        assert_eq!(MostEvidence::NONE.after(-3.0).p_value(), 1.0);
    }
}
