//! Results as the API shows them.

use edgeseal_core::definition::WinnerMode;
use edgeseal_core::snapshot::ExperimentState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::views::Time;

/// What an experiment shows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Results")]
pub(crate) struct ResultsView {
    /// The experiment.
    pub(crate) experiment: String,
    /// Where it is in its life.
    pub(crate) state: ExperimentState,
    /// When they are from.
    pub(crate) as_of: Time,
    /// When the first version was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<Time>,
    /// Full days since then.
    pub(crate) days: u32,
    /// The variant that the others are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) control: Option<String>,
    /// How a winner is declared.
    #[schemars(with = "String")]
    pub(crate) mode: WinnerMode,
    /// Chance of a false winner.
    pub(crate) alpha: f64,
    /// Each metric in each treatment.
    pub(crate) rows: Vec<RowView>,
    /// Whether the variants have their planned shares. Only of the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_ratio: Option<SampleRatioView>,
    /// What clients and the roll-up reported since the start. Only of the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<HealthView>,
    /// What follows. Only of the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<DecisionView>,
    /// The intervals over time, a point an hour, oldest first.
    pub(crate) series: Vec<PointView>,
}

/// One metric in one treatment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultRow")]
pub(crate) struct RowView {
    /// The metric.
    pub(crate) metric: String,
    /// `success`, `guardrail` or `secondary`.
    pub(crate) role: String,
    /// The treatment.
    pub(crate) variant: String,
    /// The control.
    pub(crate) control_arm: ArmView,
    /// The treatment.
    pub(crate) treatment_arm: ArmView,
    /// Treatment − control; absent while there is nothing to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<EffectView>,
    /// Why there is no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_computable: Option<String>,
    /// What the guardrail says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guardrail: Option<GuardrailView>,
}

/// One arm of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultArm")]
pub(crate) struct ArmView {
    /// Units that were exposed first to it.
    pub(crate) units: u64,
    /// Those with a value other than zero.
    pub(crate) nonzero: u64,
    /// Rate, mean per unit or ratio, before any adjustment. Over several versions of the experiment that of each, weighted
    /// by the units that the treatment had in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) mean: Option<f64>,
}

/// A difference, and how sure it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Effect")]
pub(crate) struct EffectView {
    /// In the metric's unit.
    pub(crate) absolute: IntervalView,
    /// Relative to the control, 0.05 for 5 %; absent where the control is zero.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) relative: Option<IntervalView>,
    /// p-value of "no difference", at the level and for the looks that follow.
    pub(crate) p_value: f64,
    /// The interval's level: it misses the truth with at most this chance.
    pub(crate) level: f64,
    /// `every_look`: it holds however often one looks. `planned_look`: it holds for one look, the planned one.
    pub(crate) valid_at: String,
    /// Whether values from before the exposure made it more precise.
    pub(crate) adjusted: bool,
}

/// An estimate within its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Interval")]
pub(crate) struct IntervalView {
    /// The estimate.
    pub(crate) estimate: f64,
    /// Lower end.
    pub(crate) lower: f64,
    /// Upper end.
    pub(crate) upper: f64,
}

/// What the guardrail says of a metric in a treatment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultGuardrail")]
pub(crate) struct GuardrailView {
    /// Harm that is tolerated, relative to the control.
    pub(crate) margin: f64,
    /// The most evidence of harm there was in the newest version, as a natural logarithm.
    pub(crate) max_log_e: f64,
    /// The evidence that pauses; absent before the guardrail looked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) threshold: Option<f64>,
    /// Whether it ever raised its alarm, in any version.
    pub(crate) alarmed: bool,
    /// p-value of "worse by more than the margin", for one look.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) non_inferiority_p_value: Option<f64>,
    /// The numbers of the last look.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) numbers: Option<Value>,
}

/// Whether the variants have their planned shares.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SampleRatio")]
pub(crate) struct SampleRatioView {
    /// `silent`, `amber` (look into it) or `red` (no result of this experiment is valid).
    pub(crate) finding: String,
    /// Evidence against the planned shares now, as a natural logarithm.
    pub(crate) log_e: f64,
    /// p-value that holds at every look.
    pub(crate) p_value: f64,
    /// Pearson's, for one look, to compare with other tools; raises no alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chi_square_p_value: Option<f64>,
    /// First exposures.
    pub(crate) exposures: Vec<ExposureView>,
}

/// First exposures to a variant.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ResultExposures")]
pub(crate) struct ExposureView {
    /// The variant.
    pub(crate) variant: String,
    /// Units.
    pub(crate) units: u64,
    /// Units by the planned shares.
    pub(crate) expected: f64,
}

/// What clients and the roll-up reported since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultHealth")]
pub(crate) struct HealthView {
    /// Units with their first exposure.
    pub(crate) exposures: u64,
    /// Units that were seen in two variants and do not count.
    pub(crate) exclusions: u64,
    /// Reports of a variant that changed within a session.
    pub(crate) drift: u64,
    /// Reports, in the whole environment, of a client that was handed another unit's token.
    pub(crate) leaks: u64,
    /// Reports, in the whole environment, of a token that did not verify.
    pub(crate) verification_failures: u64,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultDecision")]
pub(crate) struct DecisionView {
    /// `ship`, `do_not_ship`, `wait`, `no_success_metric`, `no_treatment`.
    pub(crate) code: String,
    /// The same in a sentence.
    pub(crate) words: String,
    /// What is missing before a winner may be declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<MissingView>,
    /// The verdict on success metrics, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<VerdictView>,
    /// Whether to ship, by treatment.
    pub(crate) treatments: Vec<ShipView>,
}

/// What is missing before a winner may be declared.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultMissing")]
pub(crate) struct MissingView {
    /// `STATISTICAL_POWER_INSUFFICIENT`, `SAMPLE_RATIO_MISMATCH` or `NO_PLAN`.
    pub(crate) code: String,
    /// The same in words.
    pub(crate) words: String,
    /// Units that the plan asks for in each variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) planned_units: Option<u64>,
    /// Units that the smallest variant lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) units_missing: Option<u64>,
    /// Days still to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days_missing: Option<u32>,
}

/// A declared result.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultVerdict")]
pub(crate) struct VerdictView {
    /// Whether it is the verdict of the planned look, which stays.
    pub(crate) frozen: bool,
    /// Full days since the start when it was reached.
    pub(crate) days: u32,
    /// On each success metric in each treatment.
    pub(crate) findings: Vec<FindingView>,
}

/// One success metric in one treatment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResultFinding")]
pub(crate) struct FindingView {
    /// The metric.
    pub(crate) metric: String,
    /// The treatment.
    pub(crate) variant: String,
    /// `better`, `worse`, `not_shown` or `not_computable`.
    pub(crate) effect: String,
    /// p-value, adjusted for several comparisons and for looks in between: shown when at most alpha.
    pub(crate) adjusted_p_value: f64,
}

/// Whether to ship a treatment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ResultShip")]
pub(crate) struct ShipView {
    /// The treatment.
    pub(crate) variant: String,
    /// Whether.
    pub(crate) ship: bool,
    /// Everything that speaks against it.
    pub(crate) reasons: Vec<ReasonView>,
}

/// What speaks against shipping.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ResultReason")]
pub(crate) struct ReasonView {
    /// For programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) words: String,
}

/// A point of an interval over time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ResultPoint")]
pub(crate) struct PointView {
    /// The hour that it is from.
    pub(crate) at: Time,
    /// The metric.
    pub(crate) metric: String,
    /// The treatment.
    pub(crate) variant: String,
    /// Treatment − control, in the metric's unit.
    pub(crate) absolute: IntervalView,
    /// The same relative to the control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) relative: Option<IntervalView>,
}
