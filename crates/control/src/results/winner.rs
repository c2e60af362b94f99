//! What may be declared, what is missing, and whether to ship.

use edgeseal_core::definition::{ExperimentDefinition, WinnerMode};
use edgeseal_stats::NotComputable;
use edgeseal_stats::power::RunTime;
use edgeseal_stats::sequential::MostEvidence;
use edgeseal_stats::srm::SrmFinding;
use edgeseal_stats::winner::{
    Effect, Evidence, Finding, GuardrailCheck, HYBRID_SEQUENTIAL_SHARE, Mode, Peek, Plan, Progress, Refusal,
    Verdict, decide as decide_peek, ship,
};
use edgeseal_store::{GuardrailState, Watched};
use serde::{Deserialize, Serialize};

use super::fraction;
use super::row::{Context, Role, Row};
use super::view::{DecisionView, FindingView, MissingView, ReasonView, ShipView, VerdictView};

/// Version of what is kept.
const FORMAT: u32 = 1;
/// No experiment has this version, so nobody takes what is kept for a finding of the guardrail's.
const KEPT_UNDER: u64 = 0;
/// Code of a plan that says nothing about units.
const NO_PLAN: &str = "NO_PLAN";

/// What is kept from look to look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    format: u32,
    /// What was fixed; another plan begins anew.
    plan: String,
    evidence: Vec<(f64, Word)>,
    frozen: Option<Frozen>,
}

/// The verdict of the planned look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Frozen {
    at_ms: i64,
    days: u32,
    findings: Vec<(Word, f64)>,
}

/// [`Effect`] as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Better,
    Worse,
    NotShown,
    NotComputable,
}

/// The verdict and what follows, and what to keep if that changed.
pub(super) fn decide(
    context: &Context<'_>,
    experiment: &ExperimentDefinition,
    rows: &[Row],
    sample_ratio: SrmFinding,
    kept: &Kept,
) -> (DecisionView, Option<GuardrailState>) {
    let success: Vec<&Row> = rows.iter().filter(|row| row.role == Role::Success).collect();
    if success.is_empty() {
        let code = if experiment.variants.len() < 2 { "no_treatment" } else { "no_success_metric" };
        let words = match code {
            "no_treatment" => "there is no second variant to compare with the first",
            _ => "no primary metric is named, so no winner can be declared",
        };
        return (DecisionView::plain(code, words), None);
    }
    let analysis = context.analysis;
    let Ok(plan) = plan(context) else {
        return (DecisionView::plain("wait", "the settings of the analysis allow no verdict"), None);
    };
    let digest = digest(context, &success);
    let kept = if kept.plan == digest { kept.clone() } else { Kept { plan: digest, ..Kept::default() } };
    let comparisons: Vec<_> = success.iter().map(|row| row.comparison).collect();
    let days = context.days;
    let peek = Peek { days, sample_ratio, comparisons: &comparisons };
    let Ok(decided) = decide_peek(&plan.plan, &kept.progress(), &peek) else {
        return (DecisionView::plain("wait", "there is nothing to compare yet"), None);
    };
    let next = kept.after(&decided.progress, context.now.unix_ms());
    let verdict = match (decided.verdict, plan.is_planned) {
        (Err(Refusal::StatisticalPowerInsufficient { .. }), false) => Err(None),
        (Err(refusal), _) => Err(Some(refusal)),
        (Ok(verdict), _) => Ok(verdict),
    };
    let missing = match &verdict {
        Ok(_) => None,
        Err(None) => Some(MissingView {
            code: NO_PLAN.to_owned(),
            words:
                "the analysis has no planned_units (`edgeseal power` computes them); until it has, only a \
                    large effect is declared"
                    .to_owned(),
            planned_units: None,
            units_missing: None,
            days_missing: None,
        }),
        Err(Some(refusal)) => Some(missing(refusal, analysis.planned_units)),
    };
    let treatments = ships(context, experiment, rows, &success, &verdict, sample_ratio);
    let view = DecisionView {
        words: words(&treatments, missing.as_ref(), &success, verdict.as_ref().ok()),
        code: code(&treatments, verdict.is_ok()).to_owned(),
        missing,
        verdict: verdict.ok().map(|verdict| VerdictView {
            frozen: next.frozen.is_some(),
            days: verdict.days,
            findings: success.iter().zip(&verdict.findings).map(|(row, found)| finding(row, found)).collect(),
        }),
        treatments,
    };
    let changed = (next != kept || kept.format != FORMAT).then(|| next.state(experiment, context));
    (view, changed.flatten())
}

struct Planned {
    plan: Plan,
    /// Whether people planned units.
    is_planned: bool,
}

fn plan(context: &Context<'_>) -> Result<Planned, NotComputable> {
    let analysis = context.analysis;
    let alpha = fraction(analysis.alpha);
    let run_time = RunTime::from_weeks(analysis.minimum_days.div_ceil(7).max(1))?;
    let (mode, alpha) = match (analysis.mode, analysis.planned_units) {
        (WinnerMode::Fixed, _) => (Mode::FixedHorizon, alpha),
        (WinnerMode::Sequential, _) => (Mode::Sequential, alpha),
        (WinnerMode::Hybrid, Some(_)) => (Mode::Hybrid, alpha),
        // Without a plan there is no planned look, and its part of α is not spent.
        (WinnerMode::Hybrid, None) => (Mode::Sequential, HYBRID_SEQUENTIAL_SHARE * alpha),
    };
    let units = match analysis.planned_units {
        Some(units) => units,
        None if mode == Mode::FixedHorizon => u64::MAX,
        None => analysis.guardrail_units,
    };
    let is_planned = analysis.planned_units.is_some();
    Ok(Planned { plan: Plan::new(mode, alpha, units, run_time)?, is_planned })
}

/// Everything that was fixed before the start.
fn digest(context: &Context<'_>, success: &[&Row]) -> String {
    let analysis = context.analysis;
    let compared: Vec<String> =
        success.iter().map(|row| format!("{}/{}", row.metric.key, row.treatment)).collect();
    format!(
        "{:?} {} {:?} {} {:?} {}",
        analysis.mode,
        analysis.alpha,
        analysis.planned_units,
        analysis.minimum_days,
        analysis.control,
        compared.join(" ")
    )
}

fn ships(
    context: &Context<'_>,
    experiment: &ExperimentDefinition,
    rows: &[Row],
    success: &[&Row],
    verdict: &Result<Verdict, Option<Refusal>>,
    sample_ratio: SrmFinding,
) -> Vec<ShipView> {
    let mut treatments: Vec<_> = success.iter().map(|row| &row.treatment).collect();
    treatments.dedup();
    let alpha = fraction(context.analysis.alpha);
    let of_treatment = |treatment: &edgeseal_core::ids::VariantKey| {
        let guardrails: Vec<&Row> =
            rows.iter().filter(|row| row.role == Role::Guardrail && row.treatment == *treatment).collect();
        let checks: Vec<GuardrailCheck> = guardrails
            .iter()
            .map(|row| GuardrailCheck {
                non_inferiority: row.non_inferiority,
                alarmed: context.alarmed(&row.metric, treatment),
            })
            .collect();
        let findings: Result<Vec<Finding>, Option<Refusal>> =
            verdict.as_ref().map_err(|refusal| *refusal).map(|verdict| {
                let ours =
                    success.iter().zip(&verdict.findings).filter(|(row, _)| row.treatment == *treatment);
                ours.map(|(_, found)| *found).collect()
            });
        let found = match &findings {
            Ok(findings) => Ok(findings.as_slice()),
            // Without a plan nothing was shown; what is missing says why.
            Err(None) => Ok([].as_slice()),
            Err(Some(refusal)) => Err(*refusal),
        };
        let refusals = ship(found, &checks, alpha, sample_ratio).err().unwrap_or_default();
        let reason = |refusal: &Refusal| ReasonView {
            code: refusal.code().to_owned(),
            words: in_words(refusal, &guardrails, success),
        };
        ShipView {
            variant: treatment.to_string(),
            ship: refusals.is_empty() && experiment.variants.len() > 1,
            reasons: refusals.iter().map(reason).collect(),
        }
    };
    treatments.into_iter().map(of_treatment).collect()
}

fn in_words(refusal: &Refusal, guardrails: &[&Row], success: &[&Row]) -> String {
    let guardrail = |index: usize| guardrails.get(index).map_or("?", |row| row.metric.key.as_str());
    match refusal {
        Refusal::SuccessMetricWorse { index } => {
            let metric = success.get(*index).map_or("?", |row| row.metric.key.as_str());
            format!("'{metric}' is worse")
        }
        Refusal::GuardrailAlarmed { index } => {
            format!("the guardrail '{}' raised its alarm", guardrail(*index))
        }
        Refusal::GuardrailNotNonInferior { index, p_value } => {
            format!("'{}' is not shown to stay within its margin (p = {p_value:.3})", guardrail(*index))
        }
        Refusal::GuardrailNotComputable { index, reason } => {
            format!("'{}' cannot be assessed: {reason}", guardrail(*index))
        }
        other => other.to_string(),
    }
}

fn missing(refusal: &Refusal, planned_units: Option<u64>) -> MissingView {
    let (units_missing, days_missing) = match refusal {
        Refusal::StatisticalPowerInsufficient { units_missing, days_missing } => {
            (Some(*units_missing), Some(*days_missing))
        }
        _ => (None, None),
    };
    MissingView {
        code: refusal.code().to_owned(),
        words: refusal.to_string(),
        planned_units,
        units_missing,
        days_missing,
    }
}

fn code(treatments: &[ShipView], is_decided: bool) -> &'static str {
    match (treatments.iter().any(|it| it.ship), is_decided) {
        (true, _) => "ship",
        (false, true) => "do_not_ship",
        (false, false) => "wait",
    }
}

fn words(
    treatments: &[ShipView],
    missing: Option<&MissingView>,
    success: &[&Row],
    verdict: Option<&Verdict>,
) -> String {
    let good: Vec<&str> = treatments.iter().filter(|it| it.ship).map(|it| it.variant.as_str()).collect();
    if !good.is_empty() {
        return format!("ship '{}': better, and no guardrail is worse than it may be", good.join("' or '"));
    }
    if let Some(missing) = missing {
        return format!("too early for a winner: {}", missing.words);
    }
    let worse = verdict.into_iter().flat_map(|verdict| success.iter().zip(&verdict.findings));
    let worse: Vec<&str> = worse
        .filter(|(_, found)| found.effect == Effect::Worse)
        .map(|(row, _)| row.treatment.as_str())
        .collect();
    if !worse.is_empty() {
        return format!("do not ship '{}': it is worse than the control", worse.join("' or '"));
    }
    let mut reasons = treatments.iter().flat_map(|it| &it.reasons).map(|reason| reason.words.as_str());
    format!("do not ship: {}", reasons.next().unwrap_or("no success metric has been shown to be better"))
}

fn finding(row: &Row, found: &Finding) -> FindingView {
    FindingView {
        metric: row.metric.key.to_string(),
        variant: row.treatment.to_string(),
        effect: Word::of(found.effect).text().to_owned(),
        adjusted_p_value: found.adjusted_p_value,
    }
}

impl DecisionView {
    fn plain(code: &str, words: &str) -> Self {
        Self {
            code: code.to_owned(),
            words: words.to_owned(),
            missing: None,
            verdict: None,
            treatments: Vec::new(),
        }
    }
}

impl Kept {
    /// What is kept among the guardrail's states; nothing when it is unreadable.
    pub(super) fn find(states: &[GuardrailState]) -> Self {
        let kept = states.iter().find(|it| it.watched == Watched::Winner && it.xv == KEPT_UNDER);
        kept.and_then(|state| serde_json::from_str(&state.detail).ok()).unwrap_or_default()
    }

    fn progress(&self) -> Progress {
        Progress {
            evidence: self
                .evidence
                .iter()
                .map(|(log_e, word)| Evidence {
                    most: MostEvidence::NONE.after(*log_e),
                    effect: word.effect(),
                })
                .collect(),
            frozen: self.frozen.as_ref().map(|frozen| Verdict {
                days: frozen.days,
                findings: frozen
                    .findings
                    .iter()
                    .map(|(word, p)| Finding { effect: word.effect(), adjusted_p_value: *p })
                    .collect(),
            }),
        }
    }

    fn after(&self, progress: &Progress, now_ms: i64) -> Self {
        let frozen = progress.frozen.as_ref().map(|verdict| Frozen {
            at_ms: self.frozen.as_ref().map_or(now_ms, |known| known.at_ms),
            days: verdict.days,
            findings: verdict.findings.iter().map(|it| (Word::of(it.effect), it.adjusted_p_value)).collect(),
        });
        let evidence = progress.evidence.iter().map(|it| (it.most.log_e(), Word::of(it.effect)));
        Self {
            format: FORMAT,
            plan: self.plan.clone(),
            evidence: evidence.collect(),
            frozen: self.frozen.clone().or(frozen),
        }
    }

    /// In the form that the store keeps. It is no evidence of harm, and says so.
    fn state(&self, experiment: &ExperimentDefinition, context: &Context<'_>) -> Option<GuardrailState> {
        Some(GuardrailState {
            experiment: experiment.key.clone(),
            xv: KEPT_UNDER,
            watched: Watched::Winner,
            variant: None,
            max_log_e: 0.0,
            alarmed_at_ms: None,
            detail: serde_json::to_string(self).ok()?,
            checked_at_ms: context.now.unix_ms(),
        })
    }
}

impl Word {
    fn of(effect: Effect) -> Self {
        match effect {
            Effect::Better => Self::Better,
            Effect::Worse => Self::Worse,
            Effect::NotShown => Self::NotShown,
            Effect::NotComputable(_) => Self::NotComputable,
        }
    }

    fn effect(self) -> Effect {
        match self {
            Self::Better => Effect::Better,
            Self::Worse => Effect::Worse,
            Self::NotShown => Effect::NotShown,
            // The reason is not kept; that there was no answer is.
            Self::NotComputable => Effect::NotComputable(NotComputable::NoSolution),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NotShown => "not_shown",
            Self::NotComputable => "not_computable",
        }
    }
}
