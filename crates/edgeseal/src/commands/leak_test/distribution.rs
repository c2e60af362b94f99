//! Whether the variants came out as the weights say: Pearson's chi-square, one test per experiment and question.

use edgeseal_core::snapshot::{ExperimentRecord, ExperimentState, HoldoutRecord, Snapshot};
use serde::Serialize;
use statrs::function::gamma::checked_gamma_ur;

use super::probe::Tally;

/// Chance of blaming a good edge, over all tests of a run together (Bonferroni).
pub(super) const FALSE_ALARM: f64 = 0.0001;
/// Smallest expected count for which the chi-square approximation holds (Cochran's rule).
const MIN_EXPECTED: f64 = 5.0;
const BUCKETS: f64 = 1_000_000.0;

/// One test and how it came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DistributionTest {
    pub(super) experiment: String,
    /// `variants`: how those in it were split; `share`: how many were in it.
    pub(super) question: &'static str,
    pub(super) cells: Vec<Cell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p_value: Option<f64>,
    pub(super) outcome: TestOutcome,
}

/// Expected and observed count of one cell.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) expected: f64,
    pub(super) observed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TestOutcome {
    Good,
    Bad,
    TooFew,
}

/// Tests every running experiment of the unit type.
pub(super) fn test(snapshot: &Snapshot, unit_type: &str, tally: &Tally) -> Vec<DistributionTest> {
    let running = |record: &&ExperimentRecord| {
        record.state == ExperimentState::Running && record.ut.as_str() == unit_type
    };
    let mut tests = Vec::new();
    for record in snapshot.experiments.iter().filter(running) {
        tests.push(split(record, tally));
        tests.extend(share(record, &snapshot.holdouts, tally));
    }
    let judged = tests.iter().filter(|test| test.p_value.is_some()).count().max(1);
    for test in &mut tests {
        if test.p_value.is_some_and(|p| p < FALSE_ALARM / judged as f64) {
            test.outcome = TestOutcome::Bad;
        }
    }
    tests
}

/// How those in the experiment were split, given that they are in it.
fn split(record: &ExperimentRecord, tally: &Tally) -> DistributionTest {
    let observed: Vec<u64> = record
        .variants
        .iter()
        .map(|variant| tally.count(record.key.as_str(), variant.key.as_str()))
        .collect();
    let total = observed.iter().sum::<u64>() as f64;
    let cells = record.variants.iter().zip(observed).map(|(variant, observed)| {
        let buckets: u32 = variant.ranges.iter().map(|range| range.end - range.start).sum();
        Cell { name: variant.key.to_string(), expected: total * f64::from(buckets) / BUCKETS, observed }
    });
    judged(record, "variants", cells.collect())
}

/// How many units were in the experiment; only where nothing but hashing decides it.
fn share(record: &ExperimentRecord, holdouts: &[HoldoutRecord], tally: &Tally) -> Option<DistributionTest> {
    if record.audience.is_some() || !record.prerequisites.is_empty() {
        return None;
    }
    // Traffic, layer and holdouts hash under keys of their own, so their shares multiply.
    let mut share = f64::from(record.traffic) / BUCKETS;
    if let Some(slot) = &record.layer {
        let buckets: u32 = slot.ranges.iter().map(|range| range.end - range.start).sum();
        share *= f64::from(buckets) / BUCKETS;
    }
    for holdout in holdouts {
        if holdout.experiments.as_ref().is_none_or(|listed| listed.contains(&record.key)) {
            share *= 1.0 - f64::from(holdout.size) / BUCKETS;
        }
    }
    let units = tally.verified as f64;
    let inside: u64 =
        record.variants.iter().map(|variant| tally.count(record.key.as_str(), variant.key.as_str())).sum();
    let cells = vec![
        Cell { name: "in".to_owned(), expected: units * share, observed: inside },
        Cell {
            name: "out".to_owned(),
            expected: units * (1.0 - share),
            observed: tally.verified.saturating_sub(inside),
        },
    ];
    Some(judged(record, "share", cells))
}

fn judged(record: &ExperimentRecord, question: &'static str, cells: Vec<Cell>) -> DistributionTest {
    let p_value = p_value(&cells);
    let outcome = if p_value.is_some() { TestOutcome::Good } else { TestOutcome::TooFew };
    DistributionTest { experiment: record.key.to_string(), question, cells, p_value, outcome }
}

/// How likely a deviation at least this large is by chance; `None` with too few units, or nothing to compare.
fn p_value(cells: &[Cell]) -> Option<f64> {
    // A cell that can hold nobody and holds somebody is no chance at all.
    if cells.iter().any(|cell| cell.expected <= 0.0 && cell.observed > 0) {
        return Some(0.0);
    }
    let possible: Vec<&Cell> = cells.iter().filter(|cell| cell.expected > 0.0).collect();
    if possible.iter().any(|cell| cell.expected < MIN_EXPECTED) || possible.is_empty() {
        return None;
    }
    if possible.len() == 1 {
        return Some(1.0);
    }
    let deviation = |cell: &&Cell| (cell.observed as f64 - cell.expected).powi(2) / cell.expected;
    let statistic: f64 = possible.iter().map(deviation).sum();
    let degrees_of_freedom = (possible.len() - 1) as f64;
    // Survival function of the chi-square distribution: the regularised upper incomplete gamma (NIST DLMF 8.2.4).
    if statistic == 0.0 {
        Some(1.0)
    } else {
        checked_gamma_ur(degrees_of_freedom / 2.0, statistic / 2.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(pairs: &[(f64, u64)]) -> Vec<Cell> {
        pairs.iter().map(|&(expected, observed)| Cell { name: String::new(), expected, observed }).collect()
    }

    #[test]
    fn p_values_agree_with_the_tables() {
        // R: pchisq(c(3.841459, 5.991465, 15.13671), df = c(1, 2, 1), lower.tail = FALSE)
        for (statistic, degrees, expected) in
            [(3.841_459, 1.0, 0.05), (5.991_465, 2.0, 0.05), (15.136_71, 1.0, 0.000_1)]
        {
            let p = checked_gamma_ur(degrees / 2.0, statistic / 2.0).unwrap();
            assert!((p - expected).abs() < 1e-6, "{p} is not {expected}");
        }
    }

    #[test]
    fn a_fair_split_is_good_and_a_skewed_one_is_not() {
        assert!(p_value(&cells(&[(5_000.0, 5_040), (5_000.0, 4_960)])).unwrap() > 0.4);
        assert!(p_value(&cells(&[(5_000.0, 5_300), (5_000.0, 4_700)])).unwrap() < 1e-8);
    }

    #[test]
    fn somebody_in_an_impossible_cell_is_never_chance() {
        assert_eq!(p_value(&cells(&[(100.0, 99), (0.0, 1)])), Some(0.0));
    }

    #[test]
    fn too_few_units_are_not_judged() {
        assert_eq!(p_value(&cells(&[(4.0, 8), (4.0, 0)])), None);
    }
}
