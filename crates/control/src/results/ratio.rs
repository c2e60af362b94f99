//! Do first exposures have the planned shares?

use std::collections::BTreeMap;

use edgeseal_core::ids::VariantKey;
use edgeseal_stats::sequential::MostEvidence;
use edgeseal_stats::srm::{SampleRatioTest, SrmFinding};
use edgeseal_store::{GuardrailState, Watched};

use super::compare::Epochs;
use super::view::{ExposureView, SampleRatioView};

/// What is found now, and what the guardrail found before.
pub(super) fn sample_ratio(epochs: &Epochs<'_>, states: &[GuardrailState]) -> (SampleRatioView, SrmFinding) {
    let mut log_e = 0.0;
    let mut p_value = None;
    let mut seen: BTreeMap<&VariantKey, (u64, f64)> = BTreeMap::new();
    for epoch in epochs.iter().filter(|epoch| epoch.fresh && epoch.shares.len() > 1) {
        let counts: Vec<u64> = epoch.shares.iter().map(|(variant, _)| epoch.exposed(variant)).collect();
        let weights: Vec<f64> = epoch.shares.iter().map(|(_, buckets)| f64::from(*buckets)).collect();
        let Ok(test) = SampleRatioTest::new(&weights) else { continue };
        // Of several epochs the last one's is shown: this p-value holds for one look at one sample.
        p_value = test.chi_square(&counts).ok().map(|found| found.p_value).or(p_value);
        log_e += test.log_e(&counts).unwrap_or(0.0);
        let (units, weight) =
            (counts.iter().map(|&count| count as f64).sum::<f64>(), weights.iter().sum::<f64>());
        for (((variant, _), count), of_variant) in epoch.shares.iter().zip(&counts).zip(&weights) {
            let entry = seen.entry(variant).or_default();
            entry.0 = entry.0.saturating_add(*count);
            entry.1 += units * of_variant / weight;
        }
    }
    // The alarm of an epoch is about that epoch; the newest one's counts.
    let newest = states.iter().filter(|it| it.watched == Watched::SampleRatio).max_by_key(|it| it.xv);
    let before = newest.map_or(MostEvidence::NONE, |it| MostEvidence::NONE.after(it.max_log_e));
    let most = before.after(log_e);
    let finding = SrmFinding::from_evidence(most);
    let view = SampleRatioView {
        finding: word(finding).to_owned(),
        log_e,
        p_value: most.p_value(),
        chi_square_p_value: p_value,
        exposures: seen
            .into_iter()
            .map(|(variant, (units, expected))| ExposureView {
                variant: variant.to_string(),
                units,
                expected,
            })
            .collect(),
    };
    (view, finding)
}

fn word(finding: SrmFinding) -> &'static str {
    match finding {
        SrmFinding::Silent => "silent",
        SrmFinding::Amber => "amber",
        SrmFinding::Red => "red",
    }
}
