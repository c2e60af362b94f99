//! Tail sums of counts whose probabilities rise to one mode and fall after it.

use std::f64::consts::PI;

use crate::contrast::Alternative;
use crate::special::{ln_1p_minus, stirling_correction};

/// A distribution on whole numbers, given by its shape.
pub(super) trait CountDistribution {
    /// The smallest and the largest possible count.
    fn support(&self) -> (u64, u64);
    /// A most likely count.
    fn mode(&self) -> u64;
    /// Natural logarithm of the probability of `count`, which is possible.
    fn ln_pmf(&self, count: u64) -> f64;
    /// Probability of `count` + 1 relative to that of `count`; both are possible.
    fn ratio_up(&self, count: u64) -> f64;
}

/// Probability of a count at least as extreme as `observed`. Two-sided: of all counts that are at most as likely.
pub(super) fn exact_p_value(counts: &impl CountDistribution, observed: u64, alternative: Alternative) -> f64 {
    match alternative {
        Alternative::Smaller => at_most(counts, observed),
        Alternative::Larger => at_least(counts, observed),
        Alternative::TwoSided => {
            let (first, last) = counts.support();
            let limit = counts.ln_pmf(observed) + TIE.ln_1p();
            let mode = counts.mode();
            if counts.ln_pmf(mode) <= limit {
                return 1.0;
            }
            let other = if observed < mode {
                smallest(mode, last + 1, |count| counts.ln_pmf(count) <= limit)
                    .map_or(0.0, |count| outward_up(counts, count))
            } else {
                smallest(0, mode + 1 - first, |back| counts.ln_pmf(mode - back) <= limit)
                    .map_or(0.0, |back| outward_down(counts, mode - back))
            };
            let own =
                if observed < mode { outward_down(counts, observed) } else { outward_up(counts, observed) };
            (own + other).min(1.0)
        }
    }
}

/// Counts this much more likely than the observed one still tie with it: their probabilities differ by rounding alone.
const TIE: f64 = 1e-7;

fn at_most(counts: &impl CountDistribution, observed: u64) -> f64 {
    if observed <= counts.mode() {
        outward_down(counts, observed)
    } else if observed >= counts.support().1 {
        1.0
    } else {
        1.0 - outward_up(counts, observed + 1)
    }
}

fn at_least(counts: &impl CountDistribution, observed: u64) -> f64 {
    if observed >= counts.mode() {
        outward_up(counts, observed)
    } else if observed <= counts.support().0 {
        1.0
    } else {
        1.0 - outward_down(counts, observed - 1)
    }
}

/// Σ of the probabilities from `start`, at or above the mode, upwards.
fn outward_up(counts: &impl CountDistribution, start: u64) -> f64 {
    let ratios = (start..counts.support().1).map(|count| counts.ratio_up(count));
    counts.ln_pmf(start).exp() * relative_sum(ratios)
}

/// Σ of the probabilities from `start`, at or below the mode, downwards.
fn outward_down(counts: &impl CountDistribution, start: u64) -> f64 {
    let ratios = (counts.support().0..start).rev().map(|count| 1.0 / counts.ratio_up(count));
    counts.ln_pmf(start).exp() * relative_sum(ratios)
}

/// 1 + r₁ + r₁r₂ + …, as far as it changes the sum. Ratios fall, so the terms end after a few standard deviations.
fn relative_sum(ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// The smallest number in [`from`, `end`) for which `holds`, which once true stays true.
fn smallest(from: u64, end: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = (from, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < end).then_some(low)
}

/// ln of the binomial probability of `successes` in `trials` by Loader's saddle-point form (2000), in which nothing
/// cancels; `p` + `q` = 1, both given because 1 − p would lose the small one.
pub(super) fn binomial_ln_pmf(successes: f64, trials: f64, p: f64, q: f64) -> f64 {
    let failures = trials - successes;
    if successes == 0.0 {
        return trials * if p < 0.5 { (-p).ln_1p() } else { q.ln() };
    }
    if failures == 0.0 {
        return trials * if q < 0.5 { (-q).ln_1p() } else { p.ln() };
    }
    let deviance = |observed: f64, expected: f64| expected * excess((observed - expected) / expected);
    stirling_correction(trials)
        - stirling_correction(successes)
        - stirling_correction(failures)
        - deviance(successes, trials * p)
        - deviance(failures, trials * q)
        - 0.5 * (2.0 * PI * successes * (failures / trials)).ln()
}

/// h(u) = (1 + u)·ln(1 + u) − u for u ≥ −1, accurate relative to its own size: E·h((O − E)/E) is what a cell with O
/// observed and E expected adds to a likelihood ratio.
pub(super) fn excess(u: f64) -> f64 {
    if u <= -1.0 { 1.0 } else { (1.0 + u) * ln_1p_minus(u) + u * u }
}
