//! Sample ratio mismatch: do the arms' counts of first exposures fit the planned shares?
//!
//! Only the sequential test raises an alarm. Pearson's chi-square is here for comparison with other tools: used at every
//! look, at p < 0.001, it alarms in 37 of 1 000 healthy experiments, the sequential test in fewer than one.

use crate::NotComputable;
use crate::sequential::{MostEvidence, ln_bayes_factor};
use crate::special::chi2_sf;

/// Concentration of the mixture over shares: sensitive to faults of a few percent.
pub const DEFAULT_CONCENTRATION: f64 = 1000.0;

/// Level of the amber alarm: look into it.
pub const AMBER_ALPHA: f64 = 0.01;

/// Level of the red alarm: results are invalid, verdicts are withheld.
pub const RED_ALPHA: f64 = 0.001;

/// Most arms of one experiment.
pub const MAX_ARMS: usize = 1000;

/// What the evidence so far calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SrmFinding {
    /// The counts fit the shares.
    Silent,
    /// Evidence at [`AMBER_ALPHA`].
    Amber,
    /// Evidence at [`RED_ALPHA`]: results are invalid, guardrail and winner verdicts are withheld.
    Red,
}

impl SrmFinding {
    /// The finding from the most evidence there ever was; see [`MostEvidence`].
    pub fn from_evidence(most: MostEvidence) -> Self {
        if most.log_e() >= -RED_ALPHA.ln() {
            Self::Red
        } else if most.log_e() >= -AMBER_ALPHA.ln() {
            Self::Amber
        } else {
            Self::Silent
        }
    }
}

/// The test for one allocation epoch: planned shares and the mixture's concentration. Over several epochs the log
/// evidence adds up, because each begins with a fresh mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRatioTest {
    shares: Vec<f64>,
    concentration: f64,
}

/// Pearson's goodness-of-fit test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquare {
    /// Σ (observed − expected)²/expected.
    pub statistic: f64,
    /// Upper tail.
    pub p_value: f64,
    /// Arms − 1.
    pub degrees_of_freedom: u32,
}

impl SampleRatioTest {
    /// For arms planned in proportion to these weights, with [`DEFAULT_CONCENTRATION`].
    ///
    /// # Errors
    /// [`NotComputable::WrongLength`] for fewer than two arms or more than [`MAX_ARMS`]; [`NotComputable::OutOfRange`]
    /// unless every weight is above zero.
    pub fn new(weights: &[f64]) -> Result<Self, NotComputable> {
        Self::with_concentration(weights, DEFAULT_CONCENTRATION)
    }

    /// With another concentration: larger is more sensitive to small faults, later.
    ///
    /// # Errors
    /// As [`new`](Self::new), and unless the concentration is above zero.
    pub fn with_concentration(weights: &[f64], concentration: f64) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("concentration", concentration)?;
        Ok(Self { shares: shares_of(weights)?, concentration })
    }

    /// Log evidence against the planned shares, from cumulative counts of first exposures.
    ///
    /// # Errors
    /// [`NotComputable::WrongLength`] unless there is one count for each arm.
    pub fn log_e(&self, counts: &[u64]) -> Result<f64, NotComputable> {
        Ok(ln_bayes_factor(&self.counts(counts)?, &self.shares, self.concentration))
    }

    /// Pearson's test at this one look.
    ///
    /// # Errors
    /// [`NotComputable::WrongLength`] unless there is one count for each arm; [`NotComputable::NoUnits`].
    pub fn chi_square(&self, counts: &[u64]) -> Result<ChiSquare, NotComputable> {
        let counts = self.counts(counts)?;
        let n: f64 = counts.iter().sum();
        if n == 0.0 {
            return Err(NotComputable::NoUnits);
        }
        let statistic: f64 = counts
            .iter()
            .zip(&self.shares)
            .map(|(&count, &share)| (-n).mul_add(share, count).powi(2) / (n * share))
            .sum();
        let degrees_of_freedom = self.shares.len() as u32 - 1;
        let p_value = chi2_sf(statistic, f64::from(degrees_of_freedom));
        Ok(ChiSquare { statistic, p_value, degrees_of_freedom })
    }

    fn counts(&self, counts: &[u64]) -> Result<Vec<f64>, NotComputable> {
        if counts.len() != self.shares.len() {
            return Err(NotComputable::WrongLength { expected: self.shares.len(), got: counts.len() });
        }
        Ok(counts.iter().map(|&count| count as f64).collect())
    }
}

fn shares_of(weights: &[f64]) -> Result<Vec<f64>, NotComputable> {
    if weights.len() < 2 || weights.len() > MAX_ARMS {
        return Err(NotComputable::WrongLength {
            expected: weights.len().clamp(2, MAX_ARMS),
            got: weights.len(),
        });
    }
    for &weight in weights {
        NotComputable::unless_positive("weight", weight)?;
    }
    let total = NotComputable::unless_positive("sum of weights", weights.iter().sum())?;
    let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    for &share in &shares {
        NotComputable::unless_positive("share", share)?;
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::special::ln_gamma;

    #[test]
    fn a_case_known_from_the_literature() {
        let found = SampleRatioTest::new(&[1.0, 1.0]).unwrap().chi_square(&[821_588, 815_482]).unwrap();
        assert!((found.p_value - 1.8e-6).abs() < 0.05e-6, "{found:?}");
    }

    #[test]
    fn findings_follow_the_evidence_and_stay() {
        let test = SampleRatioTest::new(&[1.0, 1.0]).unwrap();
        let healthy = MostEvidence::NONE.after(test.log_e(&[50_100, 49_900]).unwrap());
        assert_eq!(SrmFinding::from_evidence(healthy), SrmFinding::Silent);
        let faulty = healthy.after(test.log_e(&[51_500, 48_500]).unwrap());
        assert_eq!(SrmFinding::from_evidence(faulty), SrmFinding::Red);
        let recovered = faulty.after(test.log_e(&[500_000, 500_000]).unwrap());
        assert_eq!(SrmFinding::from_evidence(recovered), SrmFinding::Red);
        assert_eq!(SrmFinding::from_evidence(MostEvidence::NONE.after(5.0)), SrmFinding::Amber);
    }

    #[test]
    fn it_is_a_fair_bet_while_the_shares_are_right() {
        let shares: [f64; 3] = [0.5, 0.3, 0.2];
        let test = SampleRatioTest::with_concentration(&shares, 100.0).unwrap();
        let n = 60;
        let mut mean = 0.0;
        for a in 0..=n {
            for b in 0..=n - a {
                let counts = [a, b, n - a - b];
                let ways =
                    ln_gamma(n as f64 + 1.0) - counts.iter().map(|&c| ln_gamma(c as f64 + 1.0)).sum::<f64>();
                let likelihood: f64 =
                    counts.iter().zip(shares).map(|(&c, share)| c as f64 * share.ln()).sum();
                mean += (ways + likelihood + test.log_e(&counts).unwrap()).exp();
            }
        }
        assert!((mean - 1.0f64).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn what_is_no_experiment_is_refused() {
        assert!(SampleRatioTest::new(&[1.0]).is_err());
        assert!(SampleRatioTest::new(&[1.0, 0.0]).is_err());
        assert!(SampleRatioTest::new(&[1.0, f64::NAN]).is_err());
        assert!(SampleRatioTest::new(&[1.0, f64::INFINITY]).is_err());
        assert!(SampleRatioTest::new(&[1e308, 1e308]).is_err());
        assert!(SampleRatioTest::new(&[1e-308, 1e300]).is_err());
        assert!(SampleRatioTest::with_concentration(&[1.0, 1.0], 0.0).is_err());
        let test = SampleRatioTest::new(&[1.0, 1.0]).unwrap();
        assert_eq!(test.log_e(&[1]), Err(NotComputable::WrongLength { expected: 2, got: 1 }));
        assert_eq!(test.chi_square(&[0, 0]), Err(NotComputable::NoUnits));
    }

    proptest! {
        #[test]
        fn arms_may_come_in_any_order(a in 0u64..1_000_000, b in 0u64..1_000_000, c in 0u64..1_000_000) {
            let one = SampleRatioTest::new(&[1.0, 2.0, 3.0]).unwrap().log_e(&[a, b, c]).unwrap();
            let other = SampleRatioTest::new(&[3.0, 1.0, 2.0]).unwrap().log_e(&[c, a, b]).unwrap();
            prop_assert!((one - other).abs() < 1e-9 * one.abs().max(1.0));
        }

        #[test]
        fn any_counts_give_a_number(a in any::<u64>(), b in any::<u64>()) {
            let test = SampleRatioTest::new(&[1.0, 1e-6]).unwrap();
            prop_assert!(test.log_e(&[a, b]).unwrap().is_finite());
        }
    }
}
