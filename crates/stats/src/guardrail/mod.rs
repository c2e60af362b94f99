//! Guardrails: evidence that a treatment does harm, strong enough to pause it, valid at every look.
//!
//! A metric is watched either by its conversions ([`ConversionSplit`]: exact, for rates up to about 0.2) or by its means
//! ([`MeanContrast`]: counts, amounts, ratios and high rates). Both give log evidence; [`GuardrailBudget`] says how much
//! is enough, so that all guardrails of an experiment together pause it falsely with a chance of at most α, ever.
//!
//! ```
//! use edgeseal_stats::guardrail::{ConversionSplit, Direction, GuardrailBudget};
//! use edgeseal_stats::sequential::MostEvidence;
//!
//! let (_, level) = GuardrailBudget::new(0.01, 1)?.draw(1.0)?;
//! let signups = ConversionSplit::new(0.5, 0.5, 0.0, Direction::LowerIsHarm)?;
//! let harmless = MostEvidence::NONE.after(signups.log_e(5_000, 4_990)?);
//! let harmful = harmless.after(signups.log_e(6_000, 5_400)?);
//! assert!(!level.is_reached_by(harmless));
//! assert!(level.is_reached_by(harmful));
//! # Ok::<(), edgeseal_stats::NotComputable>(())
//! ```

mod budget;
mod conversion_split;
mod mean_contrast;

pub use budget::{AlarmLevel, DEFAULT_ALPHA, DEFAULT_RESERVE, GuardrailBudget};
pub use conversion_split::{ConversionSplit, DEFAULT_CONCENTRATION, MAX_CONVERSIONS};
pub use mean_contrast::{
    BurnIn, DEFAULT_N_STAR, EpochArms, HarmEvidence, LinearisedArms, MeanContrast, Missing, n_star_to_catch,
};

use crate::NotComputable;

/// Which way the metric must move in the treatment to count as harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Fewer conversions, less revenue.
    LowerIsHarm,
    /// More errors, more time.
    HigherIsHarm,
}

impl Direction {
    /// What the control is multiplied by to give the worst value still tolerated, for a margin relative to it.
    pub(crate) fn tolerated_factor(self, margin: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_non_negative("margin", margin)?;
        match self {
            Self::LowerIsHarm if margin < 1.0 => Ok(1.0 - margin),
            Self::LowerIsHarm => {
                Err(NotComputable::OutOfRange { argument: "margin", allowed: "below 1", got: margin })
            }
            Self::HigherIsHarm => Ok(1.0 + margin),
        }
    }
}
