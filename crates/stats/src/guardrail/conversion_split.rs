use super::Direction;
use crate::NotComputable;
use crate::sequential::{Sides, two_cell_log_e};

/// Concentration of the mixture: most sensitive to changes of 10 to 50 %. 400 to 1 600 suits finer ones.
pub const DEFAULT_CONCENTRATION: f64 = 100.0;

/// Most conversions that are judged; beyond, the answer is [`NotComputable::SumsTooLarge`].
pub const MAX_CONVERSIONS: u64 = 10_000_000_000_000;

/// Do conversions fall on the arms as the planned shares and the tolerated margin say?
///
/// With randomised units and equal rates, each converting unit belongs to the treatment with a chance equal to its
/// share, whatever the rate is and however it moves over the day. So the converting units alone are a sequence of
/// independent draws, and the one-sided beta-binomial mixture against it is exact at every look, from the first
/// conversion on, without denominators (Lindon and Malek 2022).
///
/// Count each unit once. Judge only while the sample-ratio test is silent: it reacts to wrong shares too. A new
/// allocation epoch begins a new split; log evidence adds up over epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConversionSplit {
    direction: Direction,
    /// Chance that a conversion falls on the arm where harm adds conversions, and on the other, at the margin.
    adding_share: f64,
    losing_share: f64,
    concentration: f64,
}

impl ConversionSplit {
    /// For planned shares (or weights) of control and treatment, and a margin relative to the control's rate.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless both shares are above zero and the margin is zero or more, and below one when
    /// lower is harm.
    pub fn new(
        control_share: f64,
        treatment_share: f64,
        margin: f64,
        direction: Direction,
    ) -> Result<Self, NotComputable> {
        NotComputable::unless_positive("control_share", control_share)?;
        NotComputable::unless_positive("treatment_share", treatment_share)?;
        let treatment_part = treatment_share * direction.tolerated_factor(margin)?;
        let whole = control_share + treatment_part;
        let (control, treatment) = (control_share / whole, treatment_part / whole);
        NotComputable::unless_probability("control_share", control)?;
        NotComputable::unless_probability("treatment_share", treatment)?;
        // Conversions that the treatment loses appear as a larger share of the control, and the other way round.
        let (adding_share, losing_share) = match direction {
            Direction::LowerIsHarm => (control, treatment),
            Direction::HigherIsHarm => (treatment, control),
        };
        Ok(Self { direction, adding_share, losing_share, concentration: DEFAULT_CONCENTRATION })
    }

    /// The same with another concentration.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless it is above zero.
    pub fn with_concentration(self, concentration: f64) -> Result<Self, NotComputable> {
        Ok(Self { concentration: NotComputable::unless_positive("concentration", concentration)?, ..self })
    }

    /// The treatment's share of conversions when the treatment is exactly as much worse as the margin tolerates.
    pub fn treatment_share_at_margin(&self) -> f64 {
        match self.direction {
            Direction::LowerIsHarm => self.losing_share,
            Direction::HigherIsHarm => self.adding_share,
        }
    }

    /// Log evidence that the treatment does more harm than the margin tolerates, from converting units so far.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`] above [`MAX_CONVERSIONS`] in both arms together.
    pub fn log_e(&self, converted_control: u64, converted_treatment: u64) -> Result<f64, NotComputable> {
        let all = converted_control.checked_add(converted_treatment).ok_or(NotComputable::SumsTooLarge)?;
        if all > MAX_CONVERSIONS {
            return Err(NotComputable::SumsTooLarge);
        }
        let (adding, losing) = match self.direction {
            Direction::LowerIsHarm => (converted_control, converted_treatment),
            Direction::HigherIsHarm => (converted_treatment, converted_control),
        };
        let counts = [adding as f64, losing as f64];
        let log_e =
            two_cell_log_e(counts, [self.adding_share, self.losing_share], self.concentration, Sides::One);
        if log_e.is_finite() { Ok(log_e) } else { Err(NotComputable::NoSolution) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::special::{ln_beta, ln_beta_cdf};

    fn even_split(margin: f64, direction: Direction) -> ConversionSplit {
        ConversionSplit::new(0.5, 0.5, margin, direction).unwrap()
    }

    #[test]
    fn higher_harm_is_the_plain_formula_with_the_arms_swapped() {
        let (share_a, share_b, margin, k) = (0.8, 0.2, 0.1, 100.0);
        let (y_a, y_b) = (800.0, 300.0);
        let theta: f64 = share_a / (share_a + share_b * (1.0 + margin));
        let plain = ln_beta(k * theta + y_a, k * (1.0 - theta) + y_b) - ln_beta(k * theta, k * (1.0 - theta))
            + ln_beta_cdf(theta, k * theta + y_a, k * (1.0 - theta) + y_b)
            - ln_beta_cdf(theta, k * theta, k * (1.0 - theta))
            - y_a * theta.ln()
            - y_b * (1.0 - theta).ln();
        let split = ConversionSplit::new(share_a, share_b, margin, Direction::HigherIsHarm).unwrap();
        assert!((split.log_e(800, 300).unwrap() - plain).abs() < 1e-9);
    }

    /// Mean of e over every outcome of `n` conversions, each of which falls on the treatment with this chance.
    fn mean_e(split: &ConversionSplit, n: u64, treatment_share: f64) -> f64 {
        let chance = |y: f64, rest: f64| {
            let ln_ways = -((y + rest + 1.0).ln() + ln_beta(y + 1.0, rest + 1.0));
            ln_ways + y * treatment_share.ln() + rest * (-treatment_share).ln_1p()
        };
        (0..=n).map(|y| (chance(y as f64, (n - y) as f64) + split.log_e(n - y, y).unwrap()).exp()).sum()
    }

    #[test]
    fn it_is_a_fair_bet_at_the_margin_and_a_losing_one_within() {
        for (margin, direction) in
            [(0.0, Direction::LowerIsHarm), (0.1, Direction::LowerIsHarm), (0.2, Direction::HigherIsHarm)]
        {
            let split = ConversionSplit::new(0.9, 0.1, margin, direction).unwrap();
            let share = split.treatment_share_at_margin();
            for n in [1, 2, 30, 2000] {
                assert!((mean_e(&split, n, share) - 1.0).abs() < 1e-9, "{direction:?} {n}");
            }
            let harmless = if direction == Direction::LowerIsHarm { share * 1.1 } else { share * 0.9 };
            assert!(mean_e(&split, 2000, harmless) < 1.0);
        }
    }

    #[test]
    fn a_margin_forgives() {
        let log_e = |margin| even_split(margin, Direction::LowerIsHarm).log_e(10_000, 9_000).unwrap();
        assert!(log_e(0.0) > 4.0 && log_e(0.05) < log_e(0.0) && log_e(0.2) < 0.0);
    }

    #[test]
    fn without_conversions_there_is_no_evidence() {
        assert_eq!(even_split(0.0, Direction::HigherIsHarm).log_e(0, 0), Ok(0.0));
    }

    #[test]
    fn strong_improvement_is_finite() {
        let log_e = even_split(0.0, Direction::LowerIsHarm).log_e(1_000, 1_000_000_000).unwrap();
        assert!(log_e.is_finite() && log_e < -4.0, "{log_e}");
    }

    #[test]
    fn refusals() {
        let split = |a, b, margin, direction| ConversionSplit::new(a, b, margin, direction);
        assert!(split(0.0, 1.0, 0.0, Direction::LowerIsHarm).is_err());
        assert!(split(1.0, f64::NAN, 0.0, Direction::LowerIsHarm).is_err());
        assert!(split(1.0, 1.0, -0.1, Direction::LowerIsHarm).is_err());
        assert!(split(1.0, 1.0, 1.0, Direction::LowerIsHarm).is_err());
        assert!(split(1.0, 1.0, 1.0, Direction::HigherIsHarm).is_ok());
        assert!(split(1e-300, 1e300, 0.0, Direction::HigherIsHarm).is_err());
        assert!(even_split(0.0, Direction::LowerIsHarm).with_concentration(0.0).is_err());
        let too_many = even_split(0.0, Direction::LowerIsHarm).log_e(u64::MAX, 1);
        assert_eq!(too_many, Err(NotComputable::SumsTooLarge));
        assert!(even_split(0.0, Direction::LowerIsHarm).log_e(MAX_CONVERSIONS, 1).is_err());
    }

    #[test]
    fn the_largest_counts_are_judged() {
        let half = MAX_CONVERSIONS / 2;
        assert!(even_split(0.0, Direction::LowerIsHarm).log_e(half, half).unwrap() < -10.0);
    }

    proptest! {
        #[test]
        fn lost_conversions_are_evidence(a in 0u64..100_000, b in 1u64..100_000, fewer in 0u64..1000) {
            let split = even_split(0.0, Direction::LowerIsHarm);
            let with_fewer = split.log_e(a, b.saturating_sub(fewer)).unwrap();
            prop_assert!(with_fewer >= split.log_e(a, b).unwrap() - 1e-9);
        }

        #[test]
        fn without_a_margin_the_directions_mirror(a in 0u64..1_000_000, b in 0u64..1_000_000, share in 0.01f64..0.99) {
            let lower = ConversionSplit::new(1.0 - share, share, 0.0, Direction::LowerIsHarm).unwrap();
            let higher = ConversionSplit::new(share, 1.0 - share, 0.0, Direction::HigherIsHarm).unwrap();
            let (one, other) = (lower.log_e(a, b).unwrap(), higher.log_e(b, a).unwrap());
            prop_assert!((one - other).abs() <= 1e-9 * one.abs().max(1.0));
        }
    }
}
