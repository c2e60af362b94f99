//! What changes in the aggregates when a unit's contribution changes.

use std::collections::BTreeMap;

use edgeseal_core::ids::MetricKey;
use edgeseal_store::{AggregateDelta, AggregateKey, Contribution, Sums, UnitState};

use crate::error::ControlError;

/// What is to be added to aggregates.
#[derive(Debug, Default)]
pub(super) struct Deltas(BTreeMap<AggregateKey, Sums>);

impl Deltas {
    /// Takes out what a unit added so far, and puts in what it adds now.
    ///
    /// # Errors
    /// [`ControlError::Internal`] when a sum is beyond its bits, which bounded totals cannot bring about.
    pub(super) fn replace(
        &mut self,
        old: Option<&Contribution>,
        new: Option<&Contribution>,
    ) -> Result<(), ControlError> {
        for (key, sums) in old.into_iter().flat_map(added_by) {
            self.apply(key, |known| known.minus(&sums))?;
        }
        for (key, sums) in new.into_iter().flat_map(added_by) {
            self.apply(key, |known| known.plus(&sums))?;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        key: AggregateKey,
        change: impl FnOnce(&Sums) -> Option<Sums>,
    ) -> Result<(), ControlError> {
        let known = self.0.entry(key).or_default();
        *known = change(known).ok_or(ControlError::Internal { attempt: "adding up the totals of units" })?;
        Ok(())
    }

    /// What remains once everything cancelled out that does.
    pub(super) fn into_vec(self) -> Vec<AggregateDelta> {
        let changed = self.0.into_iter().filter(|(_, sums)| *sums != Sums::default());
        changed.map(|(key, delta)| AggregateDelta { key, delta }).collect()
    }
}

/// What a contribution adds: a unit to the exposures, and its values to each of its metrics. Nothing when it is excluded.
fn added_by(contribution: &Contribution) -> impl Iterator<Item = (AggregateKey, Sums)> {
    let counted = (contribution.state == UnitState::Counted).then_some(contribution);
    counted.into_iter().flat_map(|contribution| {
        let key = |metric: Option<&MetricKey>| AggregateKey {
            experiment: contribution.experiment.clone(),
            xv: contribution.xv,
            variant: contribution.variant.clone(),
            metric: metric.cloned(),
        };
        let exposure = (key(None), Sums { n: 1, ..Sums::default() });
        let metrics = contribution.values.iter().map(move |(metric, values)| {
            // A total is bounded, so its square fits; one that does not would add nothing, and take nothing away again.
            (key(Some(metric)), Sums::of_unit(values).unwrap_or_default())
        });
        std::iter::once(exposure).chain(metrics)
    })
}

#[cfg(test)]
mod tests {
    use edgeseal_store::UnitValues;

    use super::super::tests::unit;
    use super::*;

    fn contribution(variant: &str, y: i128) -> Contribution {
        let metric = MetricKey::parse("revenue").unwrap();
        Contribution {
            experiment: edgeseal_core::ids::ExperimentKey::parse("e").unwrap(),
            unit: unit(1),
            variant: edgeseal_core::ids::VariantKey::parse(variant).unwrap(),
            xv: 1,
            first_ms: 0,
            state: UnitState::Counted,
            drifted: false,
            values: BTreeMap::from([(metric, UnitValues { y, ..UnitValues::default() })]),
        }
    }

    fn deltas(old: Option<&Contribution>, new: Option<&Contribution>) -> Vec<(String, i64, i64, i128, i128)> {
        let mut deltas = Deltas::default();
        deltas.replace(old, new).unwrap();
        let told = |it: AggregateDelta| {
            let metric = it.key.metric.map_or(String::new(), |metric| metric.to_string());
            let name = format!("{} {metric}", it.key.variant);
            (name, it.delta.n, it.delta.nonzero, it.delta.sum[0], it.delta.products[0])
        };
        deltas.into_vec().into_iter().map(told).collect()
    }

    #[test]
    fn a_new_unit_adds_itself_and_its_values() {
        let new = contribution("a", 3);
        assert_eq!(deltas(None, Some(&new)), [("a ".into(), 1, 0, 0, 0), ("a revenue".into(), 1, 1, 3, 9)]);
    }

    #[test]
    fn a_changed_value_adds_the_difference_of_squares() {
        let (old, new) = (contribution("a", 3), contribution("a", 5));
        assert_eq!(deltas(Some(&old), Some(&new)), [("a revenue".into(), 0, 0, 2, 16)]);
        assert_eq!(deltas(Some(&old), Some(&old)), []);
    }

    #[test]
    fn an_excluded_unit_takes_everything_back() {
        let old = contribution("a", 3);
        let new = Contribution { state: UnitState::Excluded, ..contribution("a", 9) };
        assert_eq!(
            deltas(Some(&old), Some(&new)),
            [("a ".into(), -1, 0, 0, 0), ("a revenue".into(), -1, -1, -3, -9)]
        );
        assert_eq!(deltas(Some(&new), Some(&new)), []);
    }

    #[test]
    fn a_unit_may_change_its_variant_and_its_metrics() {
        let old = contribution("a", 3);
        let new = Contribution { values: BTreeMap::new(), ..contribution("b", 3) };
        assert_eq!(
            deltas(Some(&old), Some(&new)),
            [("a ".into(), -1, 0, 0, 0), ("a revenue".into(), -1, -1, -3, -9), ("b ".into(), 1, 0, 0, 0)]
        );
    }
}
