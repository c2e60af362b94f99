//! Do first exposures have the planned shares?

use std::collections::BTreeMap;

use edgeseal_core::ids::VariantKey;
use edgeseal_stats::NotComputable;
use edgeseal_stats::srm::{AMBER_ALPHA, RED_ALPHA, SampleRatioTest, SrmFinding};
use edgeseal_store::Watched;

use super::detail::{Detail, Exposures};
use super::epochs::Epoch;
use super::history::History;
use super::verdict::{Finding, Verdict};

/// The verdict on all variants together.
pub(super) fn verdict(epochs: &[Epoch<'_>], history: &History<'_>) -> Verdict {
    let watched = Watched::SampleRatio;
    let before = history.most(&watched, None);
    let mut detail = Detail { threshold: Some(-RED_ALPHA.ln()), ..Detail::new() };
    let mut seen: BTreeMap<&VariantKey, (u64, f64)> = BTreeMap::new();
    let mut log_e: Result<f64, NotComputable> = Ok(0.0);
    for epoch in epochs.iter().filter(|epoch| epoch.fresh) {
        // Variants without a share cannot be told from their exposures: forced ones do not count, moved ones do.
        let planned: Vec<_> = epoch.shares.iter().filter(|(_, buckets)| **buckets > 0).collect();
        let weights: Vec<f64> = planned.iter().map(|(_, buckets)| f64::from(**buckets)).collect();
        let counts: Vec<u64> = planned.iter().map(|(variant, _)| epoch.exposed(variant)).collect();
        let units: f64 = counts.iter().map(|&count| count as f64).sum();
        if planned.len() < 2 || units == 0.0 {
            continue;
        }
        let (all, of_epoch): (f64, _) = (weights.iter().sum(), tested(&weights, &counts));
        for ((variant, _), (count, weight)) in planned.iter().zip(counts.iter().zip(&weights)) {
            let entry = seen.entry(variant).or_default();
            entry.0 = entry.0.saturating_add(*count);
            entry.1 += units * weight / all;
        }
        log_e = log_e.and_then(|sum| Ok(sum + of_epoch?));
    }
    detail.exposures = seen
        .into_iter()
        .map(|(variant, (units, expected))| Exposures { variant: variant.to_string(), units, expected })
        .collect();
    let (most, finding) = match log_e {
        _ if detail.exposures.is_empty() => (before, standing(before, NotComputable::NoUnits)),
        Err(why) => {
            detail.not_computable = Some(why.to_string());
            (before, standing(before, why))
        }
        Ok(log_e) => {
            detail.log_e = Some(log_e);
            let most = before.after(log_e);
            (most, finding(SrmFinding::from_evidence(most)))
        }
    };
    Verdict {
        alarmed_at_ms: history.alarmed_at(&watched, None),
        watched,
        variant: None,
        direction: None,
        finding,
        max_log_e: most.log_e(),
        threshold: -RED_ALPHA.ln(),
        detail,
    }
}

/// Whether the shares look right at this look, whatever they looked like before.
pub(super) fn looks_right(verdict: &Verdict) -> bool {
    verdict.detail.log_e.is_none_or(|log_e| log_e < -AMBER_ALPHA.ln())
}

/// Evidence once seen stays, also when this look gives no answer.
fn standing(before: edgeseal_stats::sequential::MostEvidence, why: NotComputable) -> Finding {
    match SrmFinding::from_evidence(before) {
        SrmFinding::Silent => Finding::NotComputable(why),
        found => finding(found),
    }
}

fn finding(found: SrmFinding) -> Finding {
    match found {
        SrmFinding::Silent => Finding::Quiet,
        SrmFinding::Amber => Finding::Doubtful,
        SrmFinding::Red => Finding::Alarm,
    }
}

fn tested(weights: &[f64], counts: &[u64]) -> Result<f64, NotComputable> {
    SampleRatioTest::new(weights)?.log_e(counts)
}
