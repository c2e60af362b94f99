//! Declaring a winner: when success metrics may speak, what they say, and whether to ship.
//!
//! The [`Mode`] is fixed at the start, because the usual "wait for half the plan, then test at every peek" declares
//! 17 % false winners at a nominal 5 %. [`decide`] is a pure function: the caller keeps the [`Progress`] it returns and
//! passes it to the next peek.

mod refusal;
mod ship;

pub use refusal::Refusal;
pub use ship::{GuardrailCheck, ship};

use crate::NotComputable;
use crate::contrast::{Alternative, Contrast};
use crate::guardrail::Direction;
use crate::multiple::{Method, adjusted_p_values};
use crate::power::{RunTime, TUNED_AT_SHARE};
use crate::sequential::{AsymptoticSequence, MostEvidence, Sides};
use crate::srm::SrmFinding;

/// When a success metric may be declared better or worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Once, at the first peek at which units and days of the plan are met; that verdict is frozen.
    FixedHorizon,
    /// At any peek, by confidence sequences: less power, but one may stop at will.
    Sequential,
    /// α split between both, [`HYBRID_SEQUENTIAL_SHARE`] for every peek and the rest for the planned look. The default:
    /// 77 % power where a fixed horizon has 80 %, and it stops early for large effects.
    Hybrid,
}

/// Share of α that the hybrid mode spends on peeks before the planned look.
pub const HYBRID_SEQUENTIAL_SHARE: f64 = 0.2;

/// What was fixed before the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    mode: Mode,
    alpha: f64,
    units_per_arm: u64,
    run_time: RunTime,
}

impl Plan {
    /// A plan for `units_per_arm` units in the smallest arm and whole weeks; `alpha` covers all success metrics and arms
    /// together.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1; [`NotComputable::NoUnits`] for a plan without units.
    pub fn new(mode: Mode, alpha: f64, units_per_arm: u64, run_time: RunTime) -> Result<Self, NotComputable> {
        NotComputable::unless_probability("alpha", alpha)?;
        if units_per_arm == 0 {
            return Err(NotComputable::NoUnits);
        }
        Ok(Self { mode, alpha, units_per_arm, run_time })
    }

    /// α of the peeks and α of the planned look.
    fn alpha_shares(&self) -> (f64, f64) {
        match self.mode {
            Mode::FixedHorizon => (0.0, self.alpha),
            Mode::Sequential => (self.alpha, 0.0),
            Mode::Hybrid => {
                (HYBRID_SEQUENTIAL_SHARE * self.alpha, (1.0 - HYBRID_SEQUENTIAL_SHARE) * self.alpha)
            }
        }
    }

    /// What the plan still lacks, if anything.
    fn missing(&self, peek: &Peek<'_>) -> Option<Refusal> {
        let arms =
            peek.comparisons.iter().map(|compared| compared.control_units.min(compared.treatment_units));
        let units_missing = self.units_per_arm.saturating_sub(arms.min().unwrap_or(0));
        let days_missing = self.run_time.days().saturating_sub(peek.days);
        (units_missing > 0 || days_missing > 0)
            .then_some(Refusal::StatisticalPowerInsufficient { units_missing, days_missing })
    }
}

/// The state of the experiment at one look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peek<'a> {
    /// Full days since the start.
    pub days: u32,
    /// What the sample-ratio test says; at red nothing is declared.
    pub sample_ratio: SrmFinding,
    /// Every success metric in every treatment arm, in the same order at every peek.
    pub comparisons: &'a [Comparison],
}

/// One success metric in one treatment arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Treatment − control: of means, adjusted by a covariate, or of ratios.
    pub contrast: Result<Contrast, NotComputable>,
    /// Units of the control.
    pub control_units: u64,
    /// Units of the treatment.
    pub treatment_units: u64,
    /// Which movement of the metric is bad.
    pub harm: Direction,
}

/// What a success metric shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// The treatment is better.
    Better,
    /// The treatment is worse.
    Worse,
    /// Neither has been shown.
    NotShown,
    /// There is nothing to compare, for this reason.
    NotComputable(NotComputable),
}

/// One comparison's part in a verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// What is shown at the plan's α.
    pub effect: Effect,
    /// Two-sided p-value, adjusted for several comparisons (Holm) and for the split of α: shown when at most the plan's α.
    pub adjusted_p_value: f64,
}

/// A declared result, with one finding per comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Full days since the start when it was reached.
    pub days: u32,
    /// In the order of the comparisons.
    pub findings: Vec<Finding>,
}

/// What is carried from peek to peek; [`Progress::default`] at the start, and again when the plan changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// The most evidence per comparison so far; empty before the first peek and in the fixed-horizon mode.
    pub evidence: Vec<Evidence>,
    /// The verdict of the planned look. Once there, it stays.
    pub frozen: Option<Verdict>,
}

/// The most evidence of a comparison, and where it pointed then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Its logarithm.
    pub most: MostEvidence,
    /// The effect that it speaks for.
    pub effect: Effect,
}

/// The outcome of one peek, and what to pass to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be stored.
    pub progress: Progress,
    /// The verdict, or why there is none.
    pub verdict: Result<Verdict, Refusal>,
}

/// What may be declared at this peek.
///
/// # Errors
/// [`NotComputable::WrongLength`] without comparisons, or with another number of them than before.
pub fn decide(plan: &Plan, progress: &Progress, peek: &Peek<'_>) -> Result<Decision, NotComputable> {
    if let Some(frozen) = &progress.frozen {
        return Ok(Decision { progress: progress.clone(), verdict: Ok(frozen.clone()) });
    }
    let got = peek.comparisons.len();
    if got == 0 || !(progress.evidence.is_empty() || progress.evidence.len() == got) {
        return Err(NotComputable::WrongLength { expected: progress.evidence.len().max(1), got });
    }
    if peek.sample_ratio == SrmFinding::Red {
        return Ok(Decision { progress: progress.clone(), verdict: Err(Refusal::SampleRatioMismatch) });
    }
    let (alpha_peeks, alpha_look) = plan.alpha_shares();
    let evidence = if alpha_peeks > 0.0 {
        gathered(plan, alpha_peeks, &progress.evidence, peek.comparisons)?
    } else {
        Vec::new()
    };
    let early = at_any_peek(plan.alpha, &evidence, plan.alpha / alpha_peeks)?;
    let planned_look = |scale| at_the_planned_look(plan.alpha, peek.comparisons, scale);
    let missing = plan.missing(peek);
    let findings = match (plan.mode, missing) {
        (Mode::FixedHorizon, Some(refusal)) => Err(refusal),
        (Mode::FixedHorizon, None) => Ok(planned_look(1.0)?),
        (Mode::Hybrid, None) => Ok(either(early, planned_look(plan.alpha / alpha_look)?)),
        (Mode::Sequential, None) => Ok(early),
        (Mode::Sequential | Mode::Hybrid, Some(refusal)) => {
            if early.iter().any(|found| found.effect != Effect::NotShown) { Ok(early) } else { Err(refusal) }
        }
    };
    let verdict = findings.map(|mut findings| {
        for (found, compared) in findings.iter_mut().zip(peek.comparisons) {
            if let (Effect::NotShown, Err(reason)) = (found.effect, compared.contrast) {
                found.effect = Effect::NotComputable(reason);
            }
        }
        Verdict { days: peek.days, findings }
    });
    // Evidence of the sequential method never shrinks, so what it has shown needs no freezing.
    let frozen = if missing.is_none() && plan.mode != Mode::Sequential { verdict.clone().ok() } else { None };
    Ok(Decision { progress: Progress { evidence, frozen }, verdict })
}

/// The evidence after this peek.
fn gathered(
    plan: &Plan,
    alpha: f64,
    before: &[Evidence],
    comparisons: &[Comparison],
) -> Result<Vec<Evidence>, NotComputable> {
    let n_star = TUNED_AT_SHARE * 2.0 * plan.units_per_arm as f64;
    let sequence = AsymptoticSequence::new(n_star, alpha, Sides::Two)?;
    let start = Evidence { most: MostEvidence::NONE, effect: Effect::NotShown };
    let before = before.iter().copied().chain(std::iter::repeat(start));
    Ok(comparisons
        .iter()
        .zip(before)
        .map(|(compared, before)| {
            let units = compared.control_units.saturating_add(compared.treatment_units);
            match compared.contrast.and_then(|contrast| sequence.log_e(contrast.statistic(0.0), units)) {
                Ok(log_e) if log_e > before.most.log_e() => {
                    Evidence { most: before.most.after(log_e), effect: compared.direction() }
                }
                _ => before,
            }
        })
        .collect())
}

/// Findings of the always-valid p-values, which `scale` puts on the scale of the whole α.
fn at_any_peek(alpha: f64, evidence: &[Evidence], scale: f64) -> Result<Vec<Finding>, NotComputable> {
    let p_values: Vec<f64> = evidence.iter().map(|evidence| evidence.most.p_value()).collect();
    let adjusted = adjusted_p_values(&p_values, Method::Holm)?;
    let findings = evidence.iter().zip(adjusted);
    Ok(findings.map(|(evidence, p)| Finding::at(alpha, evidence.effect, scale * p)).collect())
}

/// Findings of the single planned look, likewise. What cannot be computed counts as p = 1.
fn at_the_planned_look(
    alpha: f64,
    comparisons: &[Comparison],
    scale: f64,
) -> Result<Vec<Finding>, NotComputable> {
    let p_value = |compared: &Comparison| {
        compared.contrast.map_or(1.0, |contrast| contrast.p_value(0.0, Alternative::TwoSided))
    };
    let p_values: Vec<f64> = comparisons.iter().map(p_value).collect();
    let adjusted = adjusted_p_values(&p_values, Method::Holm)?;
    let findings = comparisons.iter().zip(adjusted);
    Ok(findings.map(|(compared, p)| Finding::at(alpha, compared.direction(), scale * p)).collect())
}

/// The stronger of two findings each; when both show something and contradict each other, nothing is shown.
fn either(early: Vec<Finding>, planned: Vec<Finding>) -> Vec<Finding> {
    let pick = |(early, planned): (Finding, Finding)| match (early.effect, planned.effect) {
        (Effect::Better, Effect::Worse) | (Effect::Worse, Effect::Better) => {
            Finding { effect: Effect::NotShown, adjusted_p_value: 1.0 }
        }
        _ if early.adjusted_p_value < planned.adjusted_p_value => early,
        _ => planned,
    };
    early.into_iter().zip(planned).map(pick).collect()
}

impl Finding {
    fn at(alpha: f64, effect: Effect, adjusted_p_value: f64) -> Self {
        let effect = if adjusted_p_value <= alpha { effect } else { Effect::NotShown };
        Self { effect, adjusted_p_value: adjusted_p_value.min(1.0) }
    }
}

impl Comparison {
    /// Which way the estimate points.
    fn direction(&self) -> Effect {
        match (self.contrast, self.harm) {
            (Err(_), _) => Effect::NotShown,
            (Ok(contrast), _) if contrast.estimate() == 0.0 => Effect::NotShown,
            (Ok(contrast), Direction::LowerIsHarm) if contrast.estimate() > 0.0 => Effect::Better,
            (Ok(contrast), Direction::HigherIsHarm) if contrast.estimate() < 0.0 => Effect::Better,
            (Ok(_), _) => Effect::Worse,
        }
    }
}

#[cfg(test)]
mod tests;
