use proptest::prelude::*;

use super::*;

fn sums_of(values: &[i128]) -> MeanSums {
    values
        .iter()
        .fold(MeanSums::default(), |sums, &value| sums.with_unit().unwrap().with_change(0, value).unwrap())
}

#[test]
fn a_unit_that_grows_counts_once() {
    let grown =
        MeanSums::default().with_unit().unwrap().with_change(0, 3).unwrap().with_change(3, 7).unwrap();
    assert_eq!(grown, MeanSums { n: 1, sum: 7, sum_sq: 49, nonzero: 1 });
    assert_eq!(grown.with_change(7, 0).unwrap(), MeanSums { n: 1, sum: 0, sum_sq: 0, nonzero: 0 });
}

#[test]
fn covariate_and_ratio_sums_follow_a_units_changes() {
    let cuped = CupedSums::default()
        .with_unit(5)
        .unwrap()
        .with_change(0, 2, 5)
        .unwrap()
        .with_change(2, 3, 5)
        .unwrap();
    assert_eq!((cuped.sum_x, cuped.sum_sq_x, cuped.sum_xy, cuped.y.sum_sq), (5, 25, 15, 9));
    let ratio = RatioSums::default()
        .with_unit()
        .and_then(|sums| sums.with_change((0, 0), (0, 4)))
        .and_then(|sums| sums.with_change((0, 4), (2, 6)))
        .unwrap();
    assert_eq!((ratio.sum_den, ratio.sum_sq_den, ratio.sum_num_den, ratio.numerator.sum), (6, 36, 12, 2));
}

#[test]
fn a_large_mean_leaves_the_small_variance_intact() {
    // 10⁹ units at 10⁶ ± 1, in millionths: n·Σy² is 10⁴² and fits no i128.
    let (n, mean, deviation) = (1_000_000_000_i128, 1_000_000_000_000_i128, 1_000_000_i128);
    let variable = Variable { n: n as u64, sum: n * mean, sum_sq: n * (mean * mean + deviation * deviation) };
    let want = (deviation * deviation) as f64 * n as f64 / (n - 1) as f64;
    assert!((variable.variance().unwrap() / want - 1.0).abs() < 1e-15);
}

#[test]
fn conversions_near_one_keep_their_digits() {
    let n = 1_000_000_000_u64;
    let variable = Variable { n, sum: i128::from(n) - 10, sum_sq: i128::from(n) - 10 };
    let want = (n - 10) as f64 / n as f64 * 10.0 / (n - 1) as f64;
    assert!((variable.variance().unwrap() / want - 1.0).abs() < 1e-14);
}

#[test]
fn what_cannot_be_computed_says_why() {
    let variance = |n, sum, sum_sq| Variable { n, sum, sum_sq }.variance();
    assert_eq!(variance(0, 0, 0), Err(NotComputable::NoUnits));
    assert_eq!(variance(1, 3, 9), Err(NotComputable::TooFewUnits));
    assert_eq!(variance(3, 30, 10), Err(NotComputable::InconsistentSums));
    assert_eq!(variance(2, i128::MAX, i128::MAX), Err(NotComputable::SumsTooLarge));
    assert_eq!(Variable { n: 0, sum: 0, sum_sq: 0 }.mean(), Err(NotComputable::NoUnits));
    let full = MeanSums { n: u64::MAX, sum: i128::MAX, sum_sq: 0, nonzero: 0 };
    assert_eq!(full.with_unit(), Err(NotComputable::SumsTooLarge));
    assert_eq!(full.merged(full), Err(NotComputable::SumsTooLarge));
    assert_eq!(full.with_change(0, i128::MAX), Err(NotComputable::SumsTooLarge));
    assert_eq!(MeanSums::default().with_change(1, 0), Err(NotComputable::InconsistentSums));
}

proptest! {
    #[test]
    fn variance_is_that_of_the_values(values in prop::collection::vec(-1_000_000_i64..1_000_000, 2..40)) {
        let values: Vec<i128> = values.into_iter().map(i128::from).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<i128>() as f64 / n;
        let want = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let got = sums_of(&values).variable().variance().unwrap();
        prop_assert!((got - want).abs() <= 1e-9 * want.max(1e-9));
    }

    #[test]
    fn merging_is_the_same_as_summing_at_once(
        left in prop::collection::vec(-9_i64..9, 0..9), right in prop::collection::vec(-9_i64..9, 0..9),
    ) {
        let wide = |values: &[i64]| values.iter().copied().map(i128::from).collect::<Vec<_>>();
        let both = sums_of(&wide(&[left.clone(), right.clone()].concat()));
        prop_assert_eq!(sums_of(&wide(&left)).merged(sums_of(&wide(&right))).unwrap(), both);
    }

    #[test]
    fn sums_never_panic(n in any::<u64>(), sum in any::<i128>(), sum_sq in any::<i128>()) {
        if let Ok(variance) = (Variable { n, sum, sum_sq }).variance() {
            prop_assert!(variance.is_finite() && variance >= 0.0);
        }
    }
}
