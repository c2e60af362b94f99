//! Group-sequential bounds after Lan and DeMets (Biometrika 1983): a few planned looks share out one α.

use crate::NotComputable;
use crate::special::{find_root, norm_isf, norm_pdf, norm_sf};

/// How much of α may be spent by the time a fraction t of the information is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spending {
    /// 2(1 − Φ(z_{α/2}/√t)): hardly anything early.
    ObrienFleming,
    /// α ln(1 + (e − 1) t): nearly evenly.
    Pocock,
    /// α tᵠ.
    Power(f64),
}

/// Most looks that a plan may have.
pub const MAX_LOOKS: usize = 500;

/// The z values above which one may stop at each look, one-sided, for looks at these fractions of the planned
/// information.
///
/// The density of the score statistic among experiments still running is carried from look to look on a grid
/// (Armitage, McPherson and Rowe 1969); bounds are right to about 1e-6.
///
/// # Errors
/// [`NotComputable::WrongLength`] for no look or more than [`MAX_LOOKS`]; [`NotComputable::OutOfRange`] unless the
/// fractions increase within (0, 1], `alpha` lies in (0, ½) and a power is above zero.
pub fn group_sequential_bounds(
    information: &[f64],
    spending: Spending,
    alpha: f64,
) -> Result<Vec<f64>, NotComputable> {
    NotComputable::unless_probability("alpha (twice, for one side)", 2.0 * alpha)?;
    if let Spending::Power(exponent) = spending {
        NotComputable::unless_positive("exponent", exponent)?;
    }
    if information.is_empty() || information.len() > MAX_LOOKS {
        return Err(NotComputable::WrongLength { expected: MAX_LOOKS, got: information.len() });
    }

    let mut bounds = Vec::with_capacity(information.len());
    let mut running = StillRunning::Start;
    let (mut earlier, mut spent) = (0.0, 0.0);
    for &fraction in information {
        if !(fraction > earlier && fraction <= 1.0) {
            return Err(NotComputable::OutOfRange {
                argument: "information",
                allowed: "increasing within (0, 1]",
                got: fraction,
            });
        }
        let step = (fraction - earlier).sqrt();
        let to_spend = (spending.spent_by(fraction, alpha) - spent).max(LEAST_SPENT);
        let highest = FARTHEST * fraction.sqrt();
        let overspent = |bound: f64| running.chance_above(bound, step).ln() - to_spend.ln();
        let bound = find_root(overspent, -highest, 5.0 * highest)?;
        running = running.carried_to(-highest, bound, step);
        bounds.push(bound / fraction.sqrt());
        spent += to_spend;
        earlier = fraction;
    }
    Ok(bounds)
}

impl Spending {
    fn spent_by(self, fraction: f64, alpha: f64) -> f64 {
        match self {
            Self::ObrienFleming => 2.0 * norm_sf(norm_isf(alpha / 2.0) / fraction.sqrt()),
            Self::Pocock => alpha * ((std::f64::consts::E - 1.0) * fraction).ln_1p(),
            Self::Power(exponent) => alpha * fraction.powf(exponent),
        }
    }
}

/// The score statistic of experiments that have not stopped: at zero before the first look, then a density given by its
/// values times the weights of Simpson's rule.
enum StillRunning {
    Start,
    Density(Vec<(f64, f64)>),
}

impl StillRunning {
    /// The chance to be above `bound` after a normal step with standard deviation `step`.
    fn chance_above(&self, bound: f64, step: f64) -> f64 {
        match self {
            Self::Start => norm_sf(bound / step),
            Self::Density(points) => {
                points.iter().map(|&(at, mass)| mass * norm_sf((bound - at) / step)).sum::<f64>()
            }
        }
    }

    /// Those that end below `bound` after the step.
    fn carried_to(&self, low: f64, bound: f64, step: f64) -> Self {
        let width = (bound - low) / INTERVALS as f64;
        let density_at = |x: f64| match self {
            Self::Start => norm_pdf(x / step) / step,
            Self::Density(points) => {
                points.iter().map(|&(at, mass)| mass * norm_pdf((x - at) / step)).sum::<f64>() / step
            }
        };
        let points = (0..=INTERVALS).map(|index| {
            let x = low + width * index as f64;
            let weight = match index {
                0 | INTERVALS => 1.0,
                odd if odd % 2 == 1 => 4.0,
                _ => 2.0,
            };
            (x, density_at(x) * weight * width / 3.0)
        });
        Self::Density(points.collect())
    }
}

/// Grid intervals per look; even, for Simpson's rule.
const INTERVALS: usize = 600;

/// Standard deviations beyond which the density is taken as zero.
const FARTHEST: f64 = 8.0;

/// Spending below this is not told apart from none.
const LEAST_SPENT: f64 = 1e-200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_bounds_for_linear_spending() {
        // R package ldbounds, power spending with exponent 1, one-sided 0.05.
        let found = group_sequential_bounds(&[0.25, 0.5, 0.75, 1.0], Spending::Power(1.0), 0.05).unwrap();
        for (bound, printed) in found.iter().zip([2.241_403, 2.125_078, 2.018_644, 1.925_452]) {
            assert!((bound - printed).abs() < 5e-4, "{found:?}");
        }
    }

    #[test]
    fn one_look_is_the_fixed_test() {
        for spending in [Spending::ObrienFleming, Spending::Pocock, Spending::Power(2.0)] {
            let found = group_sequential_bounds(&[1.0], spending, 0.025).unwrap();
            assert!((found[0] - 1.959_963_984_540_054).abs() < 1e-9, "{spending:?}");
        }
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let bounds =
            |information: &[f64], alpha| group_sequential_bounds(information, Spending::Pocock, alpha);
        assert!(bounds(&[], 0.05).is_err());
        assert!(bounds(&[0.5, 0.5], 0.05).is_err());
        assert!(bounds(&[0.5, 1.1], 0.05).is_err());
        assert!(bounds(&[f64::NAN], 0.05).is_err());
        assert!(bounds(&[1.0], 0.5).is_err());
        assert!(group_sequential_bounds(&[1.0], Spending::Power(0.0), 0.05).is_err());
    }
}
