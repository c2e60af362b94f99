//! Planning: how many units an experiment needs, which effect it can detect, how long it runs.
//!
//! Sizes are per treatment arm and not rounded; [`run_time`] rounds up to whole weeks, because weekdays differ.

mod detection;
mod effect_size;
mod means;
mod noncentral_t;
mod rates;
mod run_time;

pub use detection::{DETECTION_UNITS_MAX, guardrail_detection_units, information_per_unit};
pub use effect_size::{Distribution, EffectSizeTest, cohens_h};
pub use means::{
    adjusted_variance, detectable_difference, detectable_relative_lift, power_of_means, units_for_means,
};
pub use rates::{PowerOfRates, detectable_rate_difference, power_of_rates, units_for_rates};
pub use run_time::{RUN_TIME_DAYS_MAX, RunTime, run_time};

use crate::NotComputable;
use crate::contrast::Alternative;
use crate::sequential::{AsymptoticSequence, Sides};
use crate::special::norm_isf;

/// Error rates and shape of a planned comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    alpha: f64,
    power: f64,
    alternative: Alternative,
    looks: Looks,
    control_per_treatment: f64,
}

/// When the data may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// Once, at the planned end.
    Single,
    /// Whenever one likes; planned conservatively, as if only the last look counted.
    Any,
}

/// The intrinsic time of the sequential methods for success metrics, as a share of the planned units of both arms.
pub const TUNED_AT_SHARE: f64 = 0.5;

impl Design {
    /// A two-sided comparison at a single look with arms of equal size.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless both lie in (0, 1) and `power` is above `alpha`.
    pub fn new(alpha: f64, power: f64) -> Result<Self, NotComputable> {
        NotComputable::unless_probability("alpha", alpha)?;
        NotComputable::unless_probability("power", power)?;
        if power <= alpha {
            return Err(NotComputable::OutOfRange { argument: "power", allowed: "above alpha", got: power });
        }
        let (alternative, looks) = (Alternative::TwoSided, Looks::Single);
        Ok(Self { alpha, power, alternative, looks, control_per_treatment: 1.0 })
    }

    /// The same for `ratio` control units per treatment unit.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless `ratio` is positive.
    pub fn with_control_per_treatment(self, ratio: f64) -> Result<Self, NotComputable> {
        let control_per_treatment =
            NotComputable::unless_positive("control units per treatment unit", ratio)?;
        Ok(Self { control_per_treatment, ..self })
    }

    /// The same, tested in another direction.
    #[must_use]
    pub fn with_alternative(self, alternative: Alternative) -> Self {
        Self { alternative, ..self }
    }

    /// The same, looked at differently.
    #[must_use]
    pub fn with_looks(self, looks: Looks) -> Self {
        Self { looks, ..self }
    }

    /// The same for one of `comparisons` success metrics and arms, of which each may bring the win: α is divided.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] for zero comparisons.
    pub fn among_comparisons(self, comparisons: u32) -> Result<Self, NotComputable> {
        let count = NotComputable::unless_positive("comparisons", f64::from(comparisons))?;
        Ok(Self { alpha: self.alpha / count, ..self })
    }

    /// The same when `guardrails` metrics must all pass as well: β is divided by their number plus one, so that the
    /// decision as a whole keeps the power.
    #[must_use]
    pub fn with_guardrails(self, guardrails: u32) -> Self {
        Self { power: 1.0 - (1.0 - self.power) / (f64::from(guardrails) + 1.0), ..self }
    }

    /// Standard errors that the estimate must exceed.
    fn critical(&self) -> Result<f64, NotComputable> {
        match (self.looks, self.alternative) {
            (Looks::Single, Alternative::TwoSided) => Ok(norm_isf(self.alpha / 2.0)),
            (Looks::Single, _) => Ok(norm_isf(self.alpha)),
            // Tuned at a fixed share of the planned end, the bound there does not depend on how many units that is.
            (Looks::Any, alternative) => {
                let sides = if alternative == Alternative::TwoSided { Sides::Two } else { Sides::One };
                let end = 1_000_000;
                AsymptoticSequence::new(TUNED_AT_SHARE * end as f64, self.alpha, sides)?.z_bound(end)
            }
        }
    }

    /// Standard errors by which the true effect must exceed the critical value.
    fn margin(&self) -> f64 {
        norm_isf(1.0 - self.power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        for (alpha, power) in
            [(0.0, 0.8), (1.0, 0.8), (0.05, 0.0), (0.05, 1.0), (0.05, 0.05), (f64::NAN, 0.8)]
        {
            assert!(Design::new(alpha, power).is_err(), "{alpha} {power}");
        }
        let design = Design::new(0.05, 0.8).unwrap();
        assert!(design.with_control_per_treatment(0.0).is_err());
        assert!(design.among_comparisons(0).is_err());
    }

    #[test]
    fn looking_at_any_time_costs_the_documented_factor() {
        let at_n_star = AsymptoticSequence::new(20_000.0, 0.05, Sides::Two).unwrap().z_bound(20_000).unwrap();
        assert!((at_n_star - 3.04).abs() < 0.005, "{at_n_star}");
        let any = Design::new(0.05, 0.8).unwrap().with_looks(Looks::Any).critical().unwrap();
        assert!(any > at_n_star * 0.95 && any < at_n_star * 1.05, "{any}");
    }

    #[test]
    fn metrics_share_alpha_and_guardrails_share_beta() {
        let design = Design::new(0.05, 0.8).unwrap().among_comparisons(5).unwrap().with_guardrails(3);
        assert!((design.alpha - 0.01).abs() < 1e-15 && (design.power - 0.95).abs() < 1e-15);
    }
}
