//! Does a treatment do harm to a metric?

use edgeseal_core::definition::MetricKind;
use edgeseal_core::ids::VariantKey;
use edgeseal_stats::NotComputable;
use edgeseal_stats::guardrail::{BurnIn, ConversionSplit, EpochArms, MeanContrast};
use edgeseal_store::{Sums, Watched};

use super::detail::{Arm, Detail, Method, WaitsFor};
use super::epochs::{Epoch, conversions, value};
use super::history::History;
use super::levels::Level;
use super::verdict::{Finding, Verdict, Withheld};
use crate::settings::{GuardrailMetric, Settings};

/// Units that each arm must have before anything is concluded.
pub const MIN_UNITS_PER_ARM: u64 = 100;

/// Up to this rate, how conversions split says more than means do.
pub const SPLIT_RATE_MAX: f64 = 0.2;

/// What is compared.
pub(super) struct Compared<'a> {
    pub(super) settings: &'a Settings,
    pub(super) metric: &'a GuardrailMetric,
    pub(super) treatment: &'a VariantKey,
    pub(super) epochs: &'a [Epoch<'a>],
}

/// What one look gives.
enum Evidence {
    Counts(f64),
    Waits(WaitsFor),
}

/// The verdict on one metric in one treatment.
pub(super) fn verdict(
    compared: &Compared<'_>,
    level: &Result<Level, NotComputable>,
    history: &History<'_>,
    shares_look_right: bool,
) -> Verdict {
    let mut verdict = prepared(compared, level, history);
    let Ok(level) = level else { return verdict };
    let evidence = match compared.method(&mut verdict.detail) {
        Err(waits_for) => Ok(Evidence::Waits(waits_for)),
        Ok(Method::ConversionSplit) if !shares_look_right => {
            if verdict.finding != Finding::Alarm {
                verdict.finding = Finding::Withheld(Withheld::SampleRatio);
            }
            return verdict;
        }
        Ok(Method::ConversionSplit) => compared.split().map(Evidence::Counts),
        Ok(Method::Means) => compared.means(level, &mut verdict.detail),
    };
    match evidence {
        // What has no answer, and what waits, takes nothing back.
        _ if verdict.finding == Finding::Alarm && !matches!(evidence, Ok(Evidence::Counts(_))) => {}
        Err(why) => {
            verdict.detail.not_computable = Some(why.to_string());
            verdict.finding = Finding::NotComputable(why);
        }
        Ok(Evidence::Waits(waits_for)) => {
            verdict.detail.waits_for = Some(waits_for.clone());
            verdict.finding = Finding::Waiting(waits_for);
        }
        Ok(Evidence::Counts(log_e)) => {
            verdict.detail.log_e = Some(log_e);
            let most = edgeseal_stats::sequential::MostEvidence::NONE.after(verdict.max_log_e).after(log_e);
            verdict.max_log_e = most.log_e();
            verdict.finding = if level.alarm.is_reached_by(most) { Finding::Alarm } else { Finding::Quiet };
        }
    }
    verdict
}

/// No verdict, for a reason that concerns the whole experiment.
pub(super) fn withheld(
    compared: &Compared<'_>,
    level: &Result<Level, NotComputable>,
    history: &History<'_>,
    why: Withheld,
) -> Verdict {
    let mut verdict = prepared(compared, level, history);
    verdict.finding = Finding::Withheld(why);
    verdict
}

/// What is known before this look: what was fixed, and what evidence there was.
fn prepared(compared: &Compared<'_>, level: &Result<Level, NotComputable>, history: &History<'_>) -> Verdict {
    let watched = Watched::Metric(compared.metric.key.clone());
    let most = history.most(&watched, Some(compared.treatment));
    let earlier = history.detail(&watched, Some(compared.treatment)).unwrap_or_default();
    let [control, treatment] = compared.arms();
    let mut detail = Detail {
        method: earlier.method,
        control: Some(control),
        treatment: Some(treatment),
        ..Detail::new()
    };
    let finding = match level {
        Ok(level) => {
            detail.weight = Some(level.weight);
            detail.threshold = Some(level.alarm.threshold());
            if level.alarm.is_reached_by(most) { Finding::Alarm } else { Finding::Quiet }
        }
        Err(why) => {
            detail.weight = earlier.weight;
            detail.not_computable = Some(why.to_string());
            Finding::NotComputable(*why)
        }
    };
    Verdict {
        alarmed_at_ms: history.alarmed_at(&watched, Some(compared.treatment)),
        watched,
        variant: Some(compared.treatment.clone()),
        direction: Some(compared.metric.direction),
        finding,
        max_log_e: most.log_e(),
        threshold: level.as_ref().map_or(f64::INFINITY, |level| level.alarm.threshold()),
        detail,
    }
}

impl Compared<'_> {
    fn sums(&self, epoch: &Epoch<'_>) -> [Sums; 2] {
        [&self.settings.control, self.treatment].map(|variant| epoch.totals(&self.metric.key, variant))
    }

    /// How to judge: decided once, as soon as both arms have enough units to know about how often it happens, and kept,
    /// because choosing anew at every look would be choosing what looks worst.
    fn method(&self, detail: &mut Detail) -> Result<Method, WaitsFor> {
        if let Some(method) = detail.method {
            return Ok(method);
        }
        let units = |arm: Option<Arm>| arm.map_or((0, 0), |arm| (arm.units, arm.nonzero));
        let ((units_a, nonzero_a), (units_b, nonzero_b)) = (units(detail.control), units(detail.treatment));
        let have = units_a.min(units_b);
        if have < MIN_UNITS_PER_ARM {
            return Err(WaitsFor { what: "units".to_owned(), have, need: MIN_UNITS_PER_ARM });
        }
        let rate = (nonzero_a as f64 + nonzero_b as f64) / (units_a as f64 + units_b as f64);
        let splits = self.metric.kind == MetricKind::Conversion
            && rate <= SPLIT_RATE_MAX
            && self.epochs.iter().all(|epoch| epoch.fresh);
        let method = if splits { Method::ConversionSplit } else { Method::Means };
        detail.method = Some(method);
        Ok(method)
    }

    /// Log evidence from how conversions split, over all epochs.
    fn split(&self) -> Result<f64, NotComputable> {
        let mut log_e = 0.0;
        for epoch in self.epochs.iter().filter(|epoch| epoch.fresh) {
            let share = |variant: &VariantKey| epoch.shares.get(variant).copied().filter(|share| *share > 0);
            // An epoch in which one of the two could not be had compares nothing.
            let shares = share(&self.settings.control).zip(share(self.treatment));
            let Some((control, treatment)) = shares else { continue };
            let split = ConversionSplit::new(
                f64::from(control),
                f64::from(treatment),
                self.metric.margin,
                self.metric.direction,
            )?;
            let [control, treatment] = self.sums(epoch);
            log_e += split.log_e(conversions(&control)?.0, conversions(&treatment)?.0)?;
        }
        Ok(log_e)
    }

    /// Evidence from means, over all epochs.
    fn means(&self, level: &Level, detail: &mut Detail) -> Result<Evidence, NotComputable> {
        let metric = self.metric;
        let burn_in = match metric.kind {
            MetricKind::Conversion | MetricKind::Count => BurnIn::COUNTS,
            MetricKind::Continuous | MetricKind::Ratio => BurnIn::AMOUNTS,
        };
        let contrast =
            MeanContrast::new(metric.margin, metric.direction, self.settings.n_star, level.alarm.alpha())?
                .with_burn_in(burn_in);
        let mut arms: Vec<EpochArms> = Vec::with_capacity(self.epochs.len());
        let mut incomparable = NotComputable::NoUnits;
        for epoch in self.epochs {
            match epoch.arms(metric.kind, &metric.key, [&self.settings.control, self.treatment]) {
                Ok(compared) => arms.push(compared),
                Err(why @ (NotComputable::SumsTooLarge | NotComputable::InconsistentSums)) => {
                    return Err(why);
                }
                // An epoch that has just begun must not silence the others.
                Err(why) => incomparable = why,
            }
        }
        if arms.is_empty() {
            return Err(incomparable);
        }
        let found = contrast.evidence(&arms)?;
        detail.estimate = Some(found.estimate);
        detail.standard_error = Some(found.standard_error);
        detail.bound = found.bound;
        Ok(match found.burn_in {
            Some(missing) => Evidence::Waits(missing.into()),
            None => Evidence::Counts(found.log_e),
        })
    }

    /// Both arms for people, the control first.
    fn arms(&self) -> [Arm; 2] {
        let mut arms = [Arm { units: 0, nonzero: 0, value: None }; 2];
        let (mut weighted, mut weight) = ([0.0; 2], 0.0);
        for sums in self.epochs.iter().map(|epoch| self.sums(epoch)) {
            for (arm, sums) in arms.iter_mut().zip(&sums) {
                let (nonzero, units) = conversions(sums).unwrap_or_default();
                arm.units = arm.units.saturating_add(units);
                arm.nonzero = arm.nonzero.saturating_add(nonzero);
            }
            let [control, treatment] = sums.map(|sums| value(self.metric.kind, &sums));
            let (Ok(control), Ok(treatment)) = (control, treatment) else { continue };
            let units = treatment.n() as f64;
            weight += units;
            for (sum, value) in weighted.iter_mut().zip([control.mean(), treatment.mean()]) {
                *sum += units * value;
            }
        }
        if weight > 0.0 {
            for (arm, sum) in arms.iter_mut().zip(weighted) {
                arm.value = Some(sum / weight);
            }
        }
        arms
    }
}
