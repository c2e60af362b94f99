//! Rates of what should hardly ever happen: leaks, drift, tokens that do not verify.
//!
//! These are thresholds, not tests: a leak is never right. Anybody who has a token can report one, so they only alert,
//! unless an experiment asks for more.

use std::collections::BTreeMap;
use std::fmt;

use edgeseal_core::ids::ExperimentKey;
use edgeseal_store::{HealthCount, HealthKind, Watched};

/// What is tolerated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthLimits {
    /// Leaks for each exposed unit.
    pub leak_rate: f64,
    /// Changes of variant within a session for each exposed unit of the experiment.
    pub drift_rate: f64,
    /// Tokens that do not verify for each exposed unit.
    pub verification_rate: f64,
    /// Exposed units before anything is concluded.
    pub min_units: u64,
    /// How far back is counted, in milliseconds.
    pub window_ms: i64,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            leak_rate: 0.001,
            drift_rate: 0.01,
            verification_rate: 0.01,
            min_units: 1_000,
            window_ms: 24 * 3_600_000,
        }
    }
}

/// A rate beyond what is tolerated.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthWarning {
    /// Of what.
    pub watched: Watched,
    /// In which experiment; `None`: in the whole environment.
    pub experiment: Option<ExperimentKey>,
    /// How often.
    pub count: u64,
    /// Among how many units that were first exposed at the same time.
    pub units: u64,
    /// What is tolerated.
    pub limit: f64,
}

impl HealthWarning {
    /// How often for each unit.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.units as f64
    }
}

impl fmt::Display for HealthWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.watched {
            Watched::Leak => "tokens of another unit were received (leaks)",
            Watched::Drift => "units changed their variant within a session (drift)",
            _ => "tokens did not verify",
        };
        let (rate, limit) = (100.0 * self.rate(), 100.0 * self.limit);
        write!(
            f,
            "{what} {} times among {} units: {rate:.2}%, tolerated are {limit}%",
            self.count, self.units
        )
    }
}

/// What is beyond its limit, the environment's first.
pub fn warnings(counts: &[HealthCount], limits: &HealthLimits) -> Vec<HealthWarning> {
    let mut units: BTreeMap<&ExperimentKey, u64> = BTreeMap::new();
    let mut drift: BTreeMap<&ExperimentKey, u64> = BTreeMap::new();
    let (mut leaks, mut failures) = (0_u64, 0_u64);
    for HealthCount { key, count } in counts {
        let sum = match (&key.kind, &key.experiment) {
            (HealthKind::Exposures, Some(experiment)) => units.entry(experiment).or_default(),
            (HealthKind::Drift, Some(experiment)) => drift.entry(experiment).or_default(),
            (HealthKind::Leak, _) => &mut leaks,
            (HealthKind::VerificationFailed(_), _) => &mut failures,
            _ => continue,
        };
        *sum = sum.saturating_add(*count);
    }
    // A unit is in many experiments and leaks once: there are at least as many units as the largest one has.
    let all = units.values().copied().max().unwrap_or(0);
    let warning = |watched, experiment: Option<&ExperimentKey>, count: u64, units: u64, limit: f64| {
        let beyond = units >= limits.min_units && count as f64 > limit * units as f64;
        beyond.then(|| HealthWarning { watched, experiment: experiment.cloned(), count, units, limit })
    };
    let environment = [
        warning(Watched::Leak, None, leaks, all, limits.leak_rate),
        warning(Watched::Verification, None, failures, all, limits.verification_rate),
    ];
    let drifting = drift.into_iter().map(|(experiment, count)| {
        let units = units.get(experiment).copied().unwrap_or(0);
        warning(Watched::Drift, Some(experiment), count, units, limits.drift_rate)
    });
    environment.into_iter().chain(drifting).flatten().collect()
}

#[cfg(test)]
mod tests {
    use edgeseal_core::events::FailureCode;
    use edgeseal_store::HealthKey;

    use super::*;

    fn count(kind: HealthKind, experiment: Option<&str>, count: u64) -> HealthCount {
        let experiment = experiment.map(|key| ExperimentKey::parse(key).unwrap());
        HealthCount { key: HealthKey { hour_ms: 0, experiment, kind }, count }
    }

    fn found(counts: &[HealthCount]) -> Vec<(String, u64, u64)> {
        let all = warnings(counts, &HealthLimits::default());
        all.into_iter().map(|it| (it.watched.to_string(), it.count, it.units)).collect()
    }

    #[test]
    fn a_rate_beyond_its_limit_warns() {
        let exposures = count(HealthKind::Exposures, Some("e"), 2_000);
        let leaks = |number| count(HealthKind::Leak, None, number);
        assert_eq!(found(&[exposures.clone(), leaks(2)]), []);
        assert_eq!(found(&[exposures.clone(), leaks(2), leaks(1)]), [("~leak".into(), 3, 2_000)]);
        let failed = |code| HealthKind::VerificationFailed(FailureCode::parse(code).unwrap());
        let failures = [count(failed("E_KEY"), None, 15), count(failed("E_SUBJECT"), None, 6)];
        let all: Vec<_> = [exposures].into_iter().chain(failures).collect();
        assert_eq!(found(&all), [("~verification".into(), 21, 2_000)]);
    }

    #[test]
    fn drift_is_of_an_experiment() {
        let counts = [
            count(HealthKind::Exposures, Some("a"), 5_000),
            count(HealthKind::Exposures, Some("b"), 1_000),
            count(HealthKind::Drift, Some("a"), 40),
            count(HealthKind::Drift, Some("b"), 40),
            count(HealthKind::Drift, Some("c"), 40),
        ];
        assert_eq!(found(&counts), [("~drift".into(), 40, 1_000)]);
    }

    #[test]
    fn few_units_say_nothing() {
        let counts = [count(HealthKind::Exposures, Some("e"), 999), count(HealthKind::Leak, None, 999)];
        assert_eq!(found(&counts), []);
        assert_eq!(found(&[count(HealthKind::Leak, None, 999)]), []);
    }
}
