use thiserror::Error;

use crate::NotComputable;

/// Why no winner is declared, or why a treatment is not shipped. Says what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum Refusal {
    /// The plan is not met: a test now would have less power than planned, and one more look than paid for.
    #[error(
        "{units_missing} units in the smallest arm and {days_missing} days are missing to the planned look"
    )]
    StatisticalPowerInsufficient {
        /// Units that the smallest arm still lacks.
        units_missing: u64,
        /// Full days still to run.
        days_missing: u32,
    },
    /// The arms do not have their planned shares, so every comparison of them is suspect.
    #[error("the arms' sizes contradict the planned shares: find out why before reading any result")]
    SampleRatioMismatch,
    /// No success metric is better.
    #[error("no success metric has been shown to be better")]
    NoSuccessMetricBetter,
    /// A success metric is worse.
    #[error("success metric {index} has been shown to be worse")]
    SuccessMetricWorse {
        /// Its place among the findings.
        index: usize,
    },
    /// A guardrail's sequential evidence of harm has crossed its bound.
    #[error("guardrail {index} has raised its alarm")]
    GuardrailAlarmed {
        /// Its place among the guardrails.
        index: usize,
    },
    /// A guardrail may be worse by more than its margin.
    #[error("guardrail {index} has not been shown to stay within its margin (p = {p_value})")]
    GuardrailNotNonInferior {
        /// Its place among the guardrails.
        index: usize,
        /// p-value of "worse by more than the margin".
        p_value: f64,
    },
    /// A guardrail cannot be assessed.
    #[error("guardrail {index} cannot be assessed: {reason}")]
    GuardrailNotComputable {
        /// Its place among the guardrails.
        index: usize,
        /// Why not.
        reason: NotComputable,
    },
}

impl Refusal {
    /// The name by which programs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::StatisticalPowerInsufficient { .. } => "STATISTICAL_POWER_INSUFFICIENT",
            Self::SampleRatioMismatch => "SAMPLE_RATIO_MISMATCH",
            Self::NoSuccessMetricBetter => "NO_SUCCESS_METRIC_BETTER",
            Self::SuccessMetricWorse { .. } => "SUCCESS_METRIC_WORSE",
            Self::GuardrailAlarmed { .. } => "GUARDRAIL_ALARMED",
            Self::GuardrailNotNonInferior { .. } => "GUARDRAIL_NOT_NON_INFERIOR",
            Self::GuardrailNotComputable { .. } => "GUARDRAIL_NOT_COMPUTABLE",
        }
    }
}
