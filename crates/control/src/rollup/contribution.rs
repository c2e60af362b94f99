//! What one unit adds to one experiment: a pure function of its events.

use std::collections::BTreeMap;

use edgeseal_core::events::{AMOUNT_SCALE, EventId, EventRecord, Happening};
use edgeseal_core::ids::{ExperimentKey, MetricKey, VariantKey};
use edgeseal_store::{Contribution, UnitRef, UnitState, UnitValues};

use super::rules::{Rule, Rules, Tally};

/// How long before its first exposure a unit's events count for the covariate: 14 days.
pub(super) const BEFORE_MS: i64 = 14 * 24 * 3_600_000;

/// Largest total of one unit, either side of zero, in millionths: a thousand million. What is beyond is cut to it.
///
/// A sum of squares has 127 bits: it holds more than a hundred million units that are all cut. So nobody can
/// bring the sums of everybody else to overflow.
pub(super) const MAX_TOTAL: i128 = 1_000_000_000 * AMOUNT_SCALE;

/// Everything that one unit did, in the order in which it happened.
pub(super) struct History<'e> {
    exposures: BTreeMap<&'e ExperimentKey, Seen<'e>>,
    metrics: BTreeMap<&'e MetricKey, Vec<(i64, i128)>>,
}

/// A unit's exposures to one experiment.
struct Seen<'e> {
    first: Exposure<'e>,
    /// The variant in each version.
    variants: BTreeMap<u64, &'e VariantKey>,
    /// Whether it was seen in two variants under one version.
    in_two: bool,
}

#[derive(Clone, Copy)]
struct Exposure<'e> {
    at_ms: i64,
    /// Tells apart what happened in the same millisecond, whatever came in first.
    id: EventId,
    variant: &'e VariantKey,
    xv: u64,
}

impl<'e> History<'e> {
    /// The events of one unit, in any order.
    pub(super) fn of(events: impl IntoIterator<Item = &'e EventRecord>) -> Self {
        let mut history = Self { exposures: BTreeMap::new(), metrics: BTreeMap::new() };
        for event in events {
            match &event.what {
                Happening::Exposure { experiment, variant, xv } => {
                    let exposure = Exposure { at_ms: event.at_ms, id: event.id, variant, xv: *xv };
                    history
                        .exposures
                        .entry(experiment)
                        .or_insert_with(|| Seen::begin(exposure))
                        .add(exposure);
                }
                Happening::Metric { metric, amount } => {
                    history.metrics.entry(metric).or_default().push((event.at_ms, *amount));
                }
                Happening::Drift { .. } | Happening::Leak { .. } | Happening::VerificationFailed { .. } => {}
            }
        }
        history
    }

    /// The experiments that the unit was seen in.
    pub(super) fn experiments(&self) -> impl Iterator<Item = &'e ExperimentKey> {
        self.exposures.keys().copied()
    }

    /// What the unit adds to an experiment; `None` when it was never seen in it.
    ///
    /// Every metric of the rules has its values, zeros too: they are units of its mean as much as the others.
    pub(super) fn contribution(
        &self,
        experiment: &ExperimentKey,
        unit: &UnitRef,
        rules: &Rules,
        drifted: bool,
    ) -> Option<Contribution> {
        let seen = self.exposures.get(experiment)?;
        let first_ms = seen.first.at_ms;
        let values = |(key, rule): (&MetricKey, &Rule)| (key.clone(), self.values(key, rule, first_ms));
        Some(Contribution {
            experiment: experiment.clone(),
            unit: unit.clone(),
            variant: seen.first.variant.clone(),
            xv: seen.first.xv,
            first_ms,
            state: if seen.in_two { UnitState::Excluded } else { UnitState::Counted },
            drifted,
            values: rules.metrics.iter().map(values).collect(),
        })
    }

    /// The values of one metric: whole numbers for conversions and counts, millionths for amounts and for both parts of
    /// a ratio.
    fn values(&self, key: &MetricKey, rule: &Rule, first_ms: i64) -> UnitValues {
        let after = (first_ms, first_ms.saturating_add(rule.window_ms));
        let before = (first_ms.saturating_sub(BEFORE_MS), first_ms);
        let cut = |total: i128| rule.cap.map_or(total, |cap| total.min(cap)).clamp(-MAX_TOTAL, MAX_TOTAL);
        let value = |period| cut(self.total(key, rule.tally, period));
        let divisor = |period| {
            rule.denominator.as_ref().map_or(0, |part| {
                let scale = if part.tally == Tally::Sum { 1 } else { AMOUNT_SCALE };
                let total = self.total(&part.metric, part.tally, period).saturating_mul(scale);
                total.clamp(-MAX_TOTAL, MAX_TOTAL)
            })
        };
        UnitValues { y: value(after), x: value(before), d: divisor(after), dx: divisor(before) }
    }

    fn total(&self, metric: &MetricKey, tally: Tally, (from, until): (i64, i64)) -> i128 {
        let all = self.metrics.get(metric).map(Vec::as_slice).unwrap_or_default();
        let counted = all.iter().filter(|(at_ms, _)| (from..until).contains(at_ms));
        match tally {
            Tally::Any => i128::from(counted.count() > 0),
            Tally::Number => counted.fold(0, |number, _| i128::saturating_add(number, 1)),
            // Far from saturating: a unit has some thousand events, and an amount some seventy bits.
            Tally::Sum => counted.fold(0, |sum, (_, amount)| i128::saturating_add(sum, *amount)),
        }
    }
}

impl<'e> Seen<'e> {
    fn begin(first: Exposure<'e>) -> Self {
        Self { first, variants: BTreeMap::new(), in_two: false }
    }

    fn add(&mut self, exposure: Exposure<'e>) {
        if (exposure.at_ms, exposure.id) < (self.first.at_ms, self.first.id) {
            self.first = exposure;
        }
        let known = *self.variants.entry(exposure.xv).or_insert(exposure.variant);
        self.in_two |= known != exposure.variant;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{exposure, metric, rules, unit};
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn contribution(events: &[EventRecord]) -> Contribution {
        let experiment = ExperimentKey::parse("e").unwrap();
        History::of(events).contribution(&experiment, &unit(1), &rules(), false).unwrap()
    }

    fn values(events: &[EventRecord], metric: &str) -> (i128, i128, i128, i128) {
        let UnitValues { y, x, d, dx } = contribution(events).values[&MetricKey::parse(metric).unwrap()];
        (y, x, d, dx)
    }

    #[test]
    fn the_first_exposure_decides_where_a_unit_counts() {
        let events = [
            exposure(1, 3, "e", "a", 2, 3_000),
            exposure(1, 1, "e", "a", 1, 1_000),
            exposure(1, 2, "e", "a", 1, 1_000),
        ];
        let found = contribution(&events);
        assert_eq!((found.xv, found.first_ms, found.state), (1, 1_000, UnitState::Counted));
        assert!(History::of(&events[..0]).experiments().next().is_none());
    }

    #[test]
    fn two_variants_under_one_version_exclude_and_under_two_versions_the_first_one_stays() {
        let (a, b) = (exposure(1, 1, "e", "a", 1, 1_000), exposure(1, 2, "e", "b", 1, 2_000));
        assert_eq!(contribution(&[a.clone(), b.clone()]).state, UnitState::Excluded);
        assert_eq!(contribution(&[b, a.clone()]).state, UnitState::Excluded);
        let moved = exposure(1, 3, "e", "b", 2, 3_000);
        let found = contribution(&[moved.clone(), a.clone()]);
        assert_eq!((found.state, found.variant.as_str(), found.xv), (UnitState::Counted, "a", 1));
        let back = exposure(1, 4, "e", "a", 2, 4_000);
        assert_eq!(contribution(&[a, moved, back]).state, UnitState::Excluded);
    }

    #[test]
    fn windows_are_half_open_and_the_time_before_is_the_covariate() {
        let start = 100 * DAY;
        let week = 7 * DAY;
        let mut events = vec![exposure(1, 1, "e", "a", 1, start)];
        for (number, (at, amount)) in [
            (start, 1),
            (start + week - 1, 10),
            (start + week, 100),
            (start - 1, 1_000),
            (start - BEFORE_MS, 10_000),
            (start - BEFORE_MS - 1, 100_000),
        ]
        .into_iter()
        .enumerate()
        {
            events.push(metric(1, 10 + number as u64, "revenue", amount, at));
        }
        assert_eq!(values(&events, "revenue"), (11, 11_000, 0, 0));
        assert_eq!(values(&events, "sale"), (0, 0, 0, 0));
    }

    #[test]
    fn each_kind_counts_in_its_own_way() {
        let mut events = vec![exposure(1, 1, "e", "a", 1, DAY)];
        for number in 0..3 {
            events.push(metric(1, 10 + number, "sale", 5_000_000, DAY + 1));
            events.push(metric(1, 20 + number, "clicks", 5_000_000, DAY + 1));
            events.push(metric(1, 30 + number, "per-click", 5_000_000, DAY + 1));
        }
        assert_eq!(values(&events, "sale"), (1, 0, 0, 0));
        assert_eq!(values(&events, "clicks"), (3, 0, 0, 0));
        assert_eq!(values(&events, "per-click"), (15_000_000, 0, 3_000_000, 0));
    }

    #[test]
    fn no_total_grows_beyond_what_sums_hold() {
        let mut events = vec![exposure(1, 1, "e", "a", 1, DAY)];
        for number in 0..5 {
            events.push(metric(1, 10 + number, "revenue", 1_000_000_000_000_000 * AMOUNT_SCALE, DAY));
            events.push(metric(1, 20 + number, "per-click", -1_000_000_000_000_000 * AMOUNT_SCALE, DAY));
        }
        assert_eq!(values(&events, "revenue").0, MAX_TOTAL);
        assert_eq!(values(&events, "per-click").0, -MAX_TOTAL);
    }
}
