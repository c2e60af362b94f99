//! What a simulation showed.

use edgeseal_stats::classical::{Conversions, IntervalMethod, proportion_interval};
use serde::Serialize;

use super::play::{Ended, Rule, Simulation};
use super::rule::Cause;
use crate::exit::Outcome;
use crate::fraction::{change, grouped, percent};
use crate::output::{JSON_FORMAT, Output};

const MINUTE_MS: f64 = 60_000.0;

/// What a simulation showed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    format: u32,
    rule: &'static str,
    baseline: f64,
    lift: f64,
    drift: f64,
    treatment_share: Vec<f64>,
    units_per_check: u64,
    checks: u32,
    seed: u64,
    experiments: u64,
    /// Experiments that were paused, for whatever reason.
    paused: u64,
    /// Of them, because the variants did not look as large as planned.
    paused_for_sample_ratio: u64,
    /// 95 % interval of the share of experiments that are paused.
    interval: [f64; 2],
    /// Units exposed to the treatment before the pause: 10 %, half and 90 % of the paused experiments had at most so many.
    exposed: Option<Quantiles>,
    /// Hours before the pause, likewise.
    hours: Option<Quantiles>,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    tenth: f64,
    median: f64,
    ninetieth: f64,
}

impl Report {
    pub(super) fn new(simulation: &Simulation, ended: &[Ended]) -> Self {
        let paused: Vec<_> = ended.iter().filter_map(|it| Some((it.paused?, it.counts))).collect();
        let (experiments, number) = (ended.len() as u64, paused.len() as u64);
        let wilson = Conversions::new(number, experiments)
            .and_then(|share| proportion_interval(&share, 0.05, IntervalMethod::Wilson));
        let hours_per_check = simulation.check_ms as f64 / (60.0 * MINUTE_MS);
        Self {
            format: JSON_FORMAT,
            rule: match simulation.rule {
                Rule::Edgeseal(_) => "edgeseal",
                Rule::Naive { .. } => "naive",
            },
            baseline: simulation.world.baseline,
            lift: simulation.world.lift,
            drift: simulation.world.drift,
            treatment_share: simulation.world.stages.clone(),
            units_per_check: simulation.world.units_per_check,
            checks: simulation.world.checks,
            seed: simulation.seed,
            experiments,
            paused: number,
            paused_for_sample_ratio: paused
                .iter()
                .filter(|((_, cause), _)| *cause == Cause::SampleRatio)
                .count() as u64,
            interval: wilson.map_or([0.0, 1.0], |interval| [interval.lower, interval.upper]),
            exposed: Quantiles::of(paused.iter().map(|(_, counts)| counts.exposed[1] as f64)),
            hours: Quantiles::of(paused.iter().map(|((check, _), _)| f64::from(check + 1) * hours_per_check)),
        }
    }

    pub(super) fn print(&self, output: Output) -> Outcome<()> {
        if output.json {
            return output.json(self);
        }
        let kind = if self.lift == 0.0 {
            "harmless experiments".to_owned()
        } else {
            format!("experiments at {}", change(self.lift))
        };
        output.line(format_args!(
            "rule '{}', baseline {}: {} of {} {kind} paused, {} to {} (95% interval)",
            self.rule,
            percent(self.baseline),
            grouped(self.paused),
            grouped(self.experiments),
            percent(self.interval[0]),
            percent(self.interval[1]),
        ))?;
        if self.paused_for_sample_ratio > 0 {
            output.line(format_args!(
                "{} of them for the sample ratio",
                grouped(self.paused_for_sample_ratio)
            ))?;
        }
        if let (Some(exposed), Some(hours)) = (&self.exposed, &self.hours) {
            output.line(format_args!(
                "exposed to the treatment before the pause: median {:.0} units, after {:.1} h; 10% to 90%: {:.0} to {:.0} \
                 units, {:.1} to {:.1} h",
                exposed.median, hours.median, exposed.tenth, exposed.ninetieth, hours.tenth, hours.ninetieth,
            ))?;
        }
        Ok(())
    }
}

impl Quantiles {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get((share * (values.len() as f64 - 1.0)).round() as usize).copied();
        Some(Self { tenth: at(0.1)?, median: at(0.5)?, ninetieth: at(0.9)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert!(Quantiles::of(std::iter::empty()).is_none());
        let found = Quantiles::of((0..=100).rev().map(f64::from)).unwrap();
        assert_eq!((found.tenth, found.median, found.ninetieth), (10.0, 50.0, 90.0));
    }
}
