//! The tests and intervals of the textbooks, for comparison with other tools and for the planned single look.
//!
//! None of them may be looked at repeatedly: a guardrail or an early stop uses the sequential methods. A is the control,
//! B the treatment; differences are B − A, ratios B / A.

mod chi_square;
mod fisher;
mod intervals;
mod margin;
mod poisson;
mod table;
mod tails;
mod z_test;

pub use chi_square::{ChiSquareTest, chi_square, g_test};
pub use fisher::{FISHER_UNITS_MAX, FisherTest, OddsRatio, fisher_exact};
pub use intervals::{IntervalMethod, newcombe_interval, proportion_interval};
pub use margin::{MarginTest, Null, margin_z_test, score_test};
pub use poisson::{Events, RateMethod, RateTest, compare_rates};
pub use table::{Conversions, Table};
pub use z_test::{ZTest, pooled_z_test};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contrast::{Alternative, Interval};

    const ALTERNATIVES: [Alternative; 3] = [Alternative::TwoSided, Alternative::Smaller, Alternative::Larger];

    fn tables(units_max: u64) -> impl Strategy<Value = Table> {
        let arm = move || {
            (1..=units_max).prop_flat_map(|units| {
                (prop_oneof![0..=units, Just(0), Just(units), 0..=units.min(30)], Just(units))
            })
        };
        (arm(), arm()).prop_map(|(control, treatment)| Table::new(control, treatment).unwrap())
    }

    fn is_probability(p: f64) -> bool {
        (0.0..=1.0 + 1e-12).contains(&p)
    }

    fn is_ordered(interval: Interval) -> bool {
        interval.lower <= interval.upper
    }

    proptest! {
        #[test]
        fn no_table_gives_nan(table in prop_oneof![tables(20), tables(1_000_000_000_000), tables(u64::MAX)]) {
            for yates in [false, true] {
                for test in [chi_square(&table, yates), g_test(&table, yates)].into_iter().flatten() {
                    prop_assert!(test.statistic >= 0.0 && is_probability(test.p_value), "{test:?}");
                }
            }
            for alternative in ALTERNATIVES {
                let nulls = [Null::Difference(0.0), Null::Difference(-0.01), Null::Ratio(0.95), Null::Ratio(1.3)];
                let scores = nulls.map(|null| score_test(&table, null, alternative));
                for test in scores.into_iter().chain([pooled_z_test(&table, alternative)]).flatten() {
                    prop_assert!(test.z.is_finite() && is_probability(test.p_value), "{test:?}");
                }
                if let Ok(test) = margin_z_test(&table, 0.05, alternative, 0.05) {
                    prop_assert!(is_probability(test.p_value) && is_ordered(test.interval), "{test:?}");
                }
            }
            prop_assert!(is_ordered(newcombe_interval(&table, 0.05).unwrap()));
            for method in [IntervalMethod::Wilson, IntervalMethod::AgrestiCoull] {
                prop_assert!(is_ordered(proportion_interval(&table.control, 0.01, method).unwrap()));
            }
        }

        #[test]
        fn no_exact_test_gives_nan(table in prop_oneof![tables(20), tables(1_000_000), tables(1_000_000_000_000)]) {
            for alternative in ALTERNATIVES {
                prop_assert!(is_probability(fisher_exact(&table, alternative).unwrap().p_value));
                let events = |arm: &Conversions| Events::new(arm.converted(), arm.units() as f64).unwrap();
                let (control, treatment) = (events(&table.control), events(&table.treatment));
                for method in [RateMethod::Score, RateMethod::SquareRoot, RateMethod::ExactConditional, RateMethod::MidP] {
                    if let Ok(test) = compare_rates(&control, &treatment, 1.0, method, alternative) {
                        prop_assert!(is_probability(test.p_value), "{method:?} {test:?}");
                    }
                }
            }
        }
    }
}
