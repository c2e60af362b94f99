use super::{Effect, Finding, Refusal};
use crate::NotComputable;
use crate::srm::SrmFinding;

/// What a guardrail says about one treatment arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardrailCheck {
    /// p-value of "worse by more than the margin", from [`non_inferiority`](crate::non_inferiority).
    pub non_inferiority: Result<f64, NotComputable>,
    /// Whether its evidence of harm ever crossed its bound.
    pub alarmed: bool,
}

/// Whether to ship one treatment arm: at least one success metric is better and none worse, every guardrail is shown to
/// stay within its margin at `alpha`, none has raised its alarm, and the sample-ratio test is silent.
///
/// The decision rule of Schultzberg, Ankargren and Frånberg (2024, arXiv 2402.11609): all guardrails must pass, so α is not
/// adjusted for their number; the plan's power is ([`Design::with_guardrails`](crate::power::Design::with_guardrails)).
///
/// `findings` are those of this arm, or the refusal for which there are none.
///
/// # Errors
/// Every reason against shipping, in that order.
pub fn ship(
    findings: Result<&[Finding], Refusal>,
    guardrails: &[GuardrailCheck],
    alpha: f64,
    sample_ratio: SrmFinding,
) -> Result<(), Vec<Refusal>> {
    let mut refusals = Vec::new();
    match findings {
        Err(refusal) => refusals.push(refusal),
        Ok(findings) => {
            if !findings.iter().any(|found| found.effect == Effect::Better) {
                refusals.push(Refusal::NoSuccessMetricBetter);
            }
            let worse = findings.iter().enumerate().filter(|(_, found)| found.effect == Effect::Worse);
            refusals.extend(worse.map(|(index, _)| Refusal::SuccessMetricWorse { index }));
        }
    }
    for (index, guardrail) in guardrails.iter().enumerate() {
        match guardrail.non_inferiority {
            Ok(p_value) if p_value <= alpha => {}
            Ok(p_value) => refusals.push(Refusal::GuardrailNotNonInferior { index, p_value }),
            Err(reason) => refusals.push(Refusal::GuardrailNotComputable { index, reason }),
        }
        if guardrail.alarmed {
            refusals.push(Refusal::GuardrailAlarmed { index });
        }
    }
    if sample_ratio != SrmFinding::Silent && !refusals.contains(&Refusal::SampleRatioMismatch) {
        refusals.push(Refusal::SampleRatioMismatch);
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}
