use crate::NotComputable;
use crate::sequential::MostEvidence;

/// Chance of any false pause of one experiment, ever, unless configured otherwise.
pub const DEFAULT_ALPHA: f64 = 0.01;

/// Weight to keep back for guardrails that are added after the start.
pub const DEFAULT_RESERVE: f64 = 0.2;

/// One experiment's α, fixed before the start and drawn on by guardrails.
///
/// A guardrail of weight w gets w·α/K for each of K treatment arms. What has been drawn is never divided again: a
/// guardrail added later may only draw on what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardrailBudget {
    alpha_per_arm: f64,
    unspent: f64,
}

/// The evidence at which one guardrail pauses one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmLevel {
    alpha: f64,
}

impl GuardrailBudget {
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `alpha` lies in (0, ½) and there is a treatment arm.
    pub fn new(alpha: f64, treatment_arms: u32) -> Result<Self, NotComputable> {
        if !(alpha > 0.0 && alpha < 0.5) {
            return Err(NotComputable::OutOfRange {
                argument: "alpha",
                allowed: "between 0 and ½",
                got: alpha,
            });
        }
        let arms = NotComputable::unless_positive("treatment_arms", f64::from(treatment_arms))?;
        Ok(Self { alpha_per_arm: alpha / arms, unspent: 1.0 })
    }

    /// Weight not drawn yet.
    pub fn unspent(&self) -> f64 {
        self.unspent
    }

    /// What is left after a guardrail of this weight, and the guardrail's level in each arm.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless the weight is above zero and at most what is left.
    pub fn draw(self, weight: f64) -> Result<(Self, AlarmLevel), NotComputable> {
        NotComputable::unless_positive("weight", weight)?;
        // Ten weights of 0.1 add up to a little more than one.
        const ROUNDING: f64 = 1e-9;
        if weight > self.unspent + ROUNDING {
            return Err(NotComputable::OutOfRange {
                argument: "weight",
                allowed: "at most the budget's unspent weight",
                got: weight,
            });
        }
        let left = Self { unspent: (self.unspent - weight).max(0.0), ..self };
        Ok((left, AlarmLevel { alpha: weight * self.alpha_per_arm }))
    }
}

impl AlarmLevel {
    /// The chance of a false pause by this guardrail in this arm, ever.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// −ln α.
    pub fn threshold(&self) -> f64 {
        -self.alpha.ln()
    }

    /// Whether the arm is to be paused. Sticky, because the most evidence there ever was decides.
    pub fn is_reached_by(&self, most: MostEvidence) -> bool {
        most.log_e() >= self.threshold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_never_add_up_to_more_than_the_budget() {
        let mut budget = GuardrailBudget::new(0.01, 2).unwrap();
        let mut total = 0.0;
        for _ in 0..10 {
            let (left, level) = budget.draw(0.1).unwrap();
            budget = left;
            total += 2.0 * level.alpha();
        }
        assert!((total - 0.01).abs() < 1e-12);
        assert!(budget.draw(0.1).is_err());
    }

    #[test]
    fn a_late_guardrail_draws_on_the_reserve() {
        let (left, first) = GuardrailBudget::new(0.01, 1).unwrap().draw(1.0 - DEFAULT_RESERVE).unwrap();
        assert!((left.unspent() - DEFAULT_RESERVE).abs() < 1e-12);
        let (_, late) = left.draw(0.2).unwrap();
        assert!((first.alpha() - 0.008).abs() < 1e-12 && (late.alpha() - 0.002).abs() < 1e-12);
        assert!(left.draw(0.3).is_err());
    }

    #[test]
    fn the_level_is_reached_by_evidence_of_one_over_alpha() {
        let (_, level) = GuardrailBudget::new(0.01, 1).unwrap().draw(1.0).unwrap();
        assert!(level.is_reached_by(MostEvidence::NONE.after(100f64.ln())));
        assert!(!level.is_reached_by(MostEvidence::NONE.after(99.9f64.ln())));
        assert!(!level.is_reached_by(MostEvidence::NONE.after(f64::NAN)));
    }

    #[test]
    fn budgets_that_make_no_sense_are_refused() {
        for alpha in [0.0, -0.1, 0.5, 1.0, f64::NAN] {
            assert!(GuardrailBudget::new(alpha, 1).is_err());
        }
        assert!(GuardrailBudget::new(0.01, 0).is_err());
        for weight in [0.0, -1.0, 1.1, f64::NAN, f64::INFINITY] {
            assert!(GuardrailBudget::new(0.01, 1).unwrap().draw(weight).is_err());
        }
    }
}
