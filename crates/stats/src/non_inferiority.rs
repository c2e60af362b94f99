//! Evidence that a treatment is not worse than the control by more than a margin.
//!
//! All guardrails must pass, each at the full α: an intersection–union test needs no correction. A margin of zero asks
//! for an improvement. Nothing here divides by the control's mean.

use crate::NotComputable;
use crate::classical::{Null, Table, score_test};
use crate::contrast::{Alternative, Contrast};
use crate::guardrail::Direction;
use crate::sample::Sample;

/// p-value of "worse by more than `margin`, relative to the control" for conversion rates, by the score test.
///
/// # Errors
/// Those of [`score_test`]; [`NotComputable::OutOfRange`] for a margin that is negative, or 1 or more where lower is harm.
pub fn non_inferiority_of_rates(
    table: &Table,
    margin: f64,
    direction: Direction,
) -> Result<f64, NotComputable> {
    let factor = direction.tolerated_factor(margin)?;
    Ok(score_test(table, Null::Ratio(factor), harmless_side(direction))?.p_value)
}

/// The same for means, ratios and covariate-adjusted values: Welch's test of treatment − (1 ∓ margin)·control.
///
/// # Errors
/// [`NotComputable::NoVariance`]; [`NotComputable::OutOfRange`] as above.
pub fn non_inferiority_of_means(
    control: &Sample,
    treatment: &Sample,
    margin: f64,
    direction: Direction,
) -> Result<f64, NotComputable> {
    let worst_tolerated = control.scaled(direction.tolerated_factor(margin)?);
    Ok(Contrast::welch(&worst_tolerated, treatment)?.p_value(0.0, harmless_side(direction)))
}

fn harmless_side(direction: Direction) -> Alternative {
    match direction {
        Direction::LowerIsHarm => Alternative::Larger,
        Direction::HigherIsHarm => Alternative::Smaller,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_margin_is_on_the_harmful_side() {
        let table = Table::new((5_000, 100_000), (4_950, 100_000)).unwrap();
        let p = |margin, direction| non_inferiority_of_rates(&table, margin, direction).unwrap();
        assert!(p(0.05, Direction::LowerIsHarm) < 0.05 && p(0.0, Direction::LowerIsHarm) > 0.5);
        assert!(p(0.05, Direction::HigherIsHarm) < 0.01 && p(0.0, Direction::HigherIsHarm) < 0.5);
    }

    #[test]
    fn refusals() {
        let table = Table::new((0, 100), (0, 100)).unwrap();
        let refused = |margin, direction| non_inferiority_of_rates(&table, margin, direction).unwrap_err();
        assert_eq!(refused(0.05, Direction::LowerIsHarm), NotComputable::NothingConverted);
        assert!(matches!(refused(1.0, Direction::LowerIsHarm), NotComputable::OutOfRange { .. }));
        assert!(matches!(refused(-0.1, Direction::HigherIsHarm), NotComputable::OutOfRange { .. }));
        let constant = Sample::new(10, 1.0, 0.0).unwrap();
        let refused = non_inferiority_of_means(&constant, &constant, 0.05, Direction::LowerIsHarm);
        assert_eq!(refused, Err(NotComputable::NoVariance));
    }

    proptest! {
        #[test]
        fn a_wider_margin_is_easier(treatment in 5.0..15.0_f64, margin in 0.0..0.4_f64, wider in 0.01..0.4_f64) {
            let (a, b) = (Sample::new(900, 10.0, 40.0).unwrap(), Sample::new(900, treatment, 40.0).unwrap());
            for direction in [Direction::LowerIsHarm, Direction::HigherIsHarm] {
                let p = |margin| non_inferiority_of_means(&a, &b, margin, direction).unwrap();
                prop_assert!(p(margin + wider) <= p(margin) + 1e-12);
            }
        }
    }
}
