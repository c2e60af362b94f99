//! One metric in one treatment.

use edgeseal_core::definition::{AnalysisSettings, MetricDefinition, WinnerMode};
use edgeseal_core::ids::VariantKey;
use edgeseal_core::time::Timestamp;
use edgeseal_stats::NotComputable;
use edgeseal_stats::contrast::{Alternative, Contrast};
use edgeseal_stats::power::TUNED_AT_SHARE;
use edgeseal_stats::sequential::{AsymptoticSequence, MostEvidence, Sides};
use edgeseal_stats::winner::{Comparison, HYBRID_SEQUENTIAL_SHARE};
use edgeseal_store::{GuardrailState, Watched};
use serde_json::Value;

use super::compare::{Compared, Epochs};
use super::view::{ArmView, EffectView, GuardrailView, IntervalView, RowView};
use super::{fraction, harm};

/// What a metric is to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Success,
    Guardrail,
    Secondary,
}

/// What all rows share.
pub(super) struct Context<'a> {
    pub(super) epochs: &'a Epochs<'a>,
    pub(super) analysis: &'a AnalysisSettings,
    pub(super) states: &'a [GuardrailState],
    /// Full days since the start.
    pub(super) days: u32,
    pub(super) now: Timestamp,
}

/// One metric in one treatment.
pub(super) struct Row {
    pub(super) role: Role,
    pub(super) metric: MetricDefinition,
    pub(super) treatment: VariantKey,
    pub(super) comparison: Comparison,
    pub(super) non_inferiority: Result<f64, NotComputable>,
    pub(super) view: RowView,
}

/// For how many looks an interval holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    Every,
    Planned,
}

pub(super) fn row(
    context: &Context<'_>,
    role: Role,
    metric: &MetricDefinition,
    variants: [&VariantKey; 2],
) -> Row {
    let compared = context.epochs.compare(metric.kind, &metric.key, variants);
    let [_, treatment] = variants;
    let direction = harm(metric.better);
    let margin = context.analysis.margins.get(&metric.key).map_or(0.0, |share| fraction(*share));
    let non_inferiority = compared.non_inferiority(margin, direction);
    let effect = compared.absolute.and_then(|_| context.effect(&compared));
    let [control_arm, treatment_arm] = arms(&compared);
    let view = RowView {
        metric: metric.key.to_string(),
        role: role.word().to_owned(),
        variant: treatment.to_string(),
        control_arm,
        treatment_arm,
        not_computable: effect.as_ref().err().map(ToString::to_string),
        effect: effect.ok(),
        guardrail: (role == Role::Guardrail)
            .then(|| context.guardrail(metric, treatment, margin, non_inferiority.ok())),
    };
    let [control_units, treatment_units] = compared.units;
    let comparison =
        Comparison { contrast: compared.absolute, control_units, treatment_units, harm: direction };
    Row { role, metric: metric.clone(), treatment: treatment.clone(), comparison, non_inferiority, view }
}

fn arms(compared: &Compared) -> [ArmView; 2] {
    let [control, treatment] = compared.units;
    let [control_nonzero, treatment_nonzero] = compared.nonzero;
    let [control_mean, treatment_mean] = compared.means;
    [
        ArmView { units: control, nonzero: control_nonzero, mean: control_mean },
        ArmView { units: treatment, nonzero: treatment_nonzero, mean: treatment_mean },
    ]
}

impl Role {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Guardrail => "guardrail",
            Self::Secondary => "secondary",
        }
    }
}

impl Context<'_> {
    /// Whether the smallest variant has the planned units, and the days have passed.
    fn plan_is_met(&self, units: [u64; 2]) -> bool {
        let smaller = units.into_iter().min().unwrap_or(0);
        self.analysis.planned_units.is_some_and(|planned| smaller >= planned)
            && self.days >= self.analysis.minimum_days
    }

    /// The level of what is shown, and for how many looks it holds.
    fn level(&self, units: [u64; 2]) -> (f64, Looks) {
        let alpha = fraction(self.analysis.alpha);
        match self.analysis.mode {
            WinnerMode::Fixed => (alpha, Looks::Planned),
            WinnerMode::Sequential => (alpha, Looks::Every),
            WinnerMode::Hybrid if self.plan_is_met(units) => {
                ((1.0 - HYBRID_SEQUENTIAL_SHARE) * alpha, Looks::Planned)
            }
            WinnerMode::Hybrid => (HYBRID_SEQUENTIAL_SHARE * alpha, Looks::Every),
        }
    }

    fn effect(&self, compared: &Compared) -> Result<EffectView, NotComputable> {
        let (level, looks) = self.level(compared.units);
        let absolute = compared.absolute?;
        let units = compared.all_units();
        // Tuned as the verdict is.
        let planned = self.analysis.planned_units.unwrap_or(self.analysis.guardrail_units);
        let sequence = AsymptoticSequence::new(2.0 * TUNED_AT_SHARE * planned as f64, level, Sides::Two)?;
        let interval = |contrast: &Contrast| -> Result<IntervalView, NotComputable> {
            let interval = match looks {
                Looks::Planned => contrast.interval(level, Alternative::TwoSided)?,
                Looks::Every => sequence.around(contrast, units)?.interval,
            };
            let (lower, upper) = (interval.lower, interval.upper);
            Ok(IntervalView { estimate: contrast.estimate(), lower, upper })
        };
        let p_value = match looks {
            Looks::Planned => absolute.p_value(0.0, Alternative::TwoSided),
            Looks::Every => {
                MostEvidence::NONE.after(sequence.log_e(absolute.statistic(0.0), units)?).p_value()
            }
        };
        Ok(EffectView {
            absolute: interval(&absolute)?,
            relative: compared.relative.and_then(|relative| interval(&relative)).ok(),
            p_value,
            level,
            valid_at: match looks {
                Looks::Every => "every_look".to_owned(),
                Looks::Planned => "planned_look".to_owned(),
            },
            adjusted: compared.adjusted,
        })
    }

    /// What the guardrail keeps of a metric in a treatment.
    fn guardrail(
        &self,
        metric: &MetricDefinition,
        treatment: &VariantKey,
        margin: f64,
        non_inferiority_p_value: Option<f64>,
    ) -> GuardrailView {
        let watched = Watched::Metric(metric.key.clone());
        let about = |it: &&GuardrailState| it.watched == watched && it.variant.as_ref() == Some(treatment);
        let newest = self.states.iter().filter(about).max_by_key(|it| it.xv);
        let numbers = newest.and_then(|it| serde_json::from_str::<Value>(&it.detail).ok());
        GuardrailView {
            margin,
            max_log_e: newest.map_or(0.0, |it| MostEvidence::NONE.after(it.max_log_e).log_e()),
            threshold: numbers.as_ref().and_then(|it| it.get("threshold")).and_then(Value::as_f64),
            alarmed: self.alarmed(metric, treatment),
            non_inferiority_p_value,
            numbers,
        }
    }

    /// Whether a guardrail ever raised its alarm.
    pub(super) fn alarmed(&self, metric: &MetricDefinition, treatment: &VariantKey) -> bool {
        let watched = Watched::Metric(metric.key.clone());
        let mut about =
            self.states.iter().filter(|it| it.watched == watched && it.variant.as_ref() == Some(treatment));
        about.any(|it| it.alarmed_at_ms.is_some())
    }
}
