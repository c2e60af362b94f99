//! Totals by allocation epoch.

use std::collections::BTreeMap;

use edgeseal_core::definition::MetricKind;
use edgeseal_core::ids::{MetricKey, VariantKey};
use edgeseal_stats::NotComputable;
use edgeseal_stats::classical::Table;
use edgeseal_stats::guardrail::{EpochArms, LinearisedArms};
use edgeseal_stats::ratio::{RatioScales, ratio_sample};
use edgeseal_stats::sample::Sample;
use edgeseal_stats::sums::{MeanSums, RatioSums, Scale};
use edgeseal_store::{Aggregate, Allocation, Sums};

/// What there is of one allocation epoch.
#[derive(Debug)]
pub(super) struct Epoch<'a> {
    /// Buckets by variant; empty when nobody wrote down how it was divided.
    pub(super) shares: BTreeMap<&'a VariantKey, u32>,
    /// Whether first exposures follow the shares.
    pub(super) fresh: bool,
    exposed: BTreeMap<&'a VariantKey, u64>,
    totals: BTreeMap<(&'a MetricKey, &'a VariantKey), &'a Sums>,
}

/// The epochs of an experiment after `closed` until `current`, oldest first.
pub(super) fn epochs<'a>(
    allocations: &'a [Allocation],
    aggregates: &'a [Aggregate],
    sticky: bool,
    closed: u64,
    current: u64,
) -> Vec<Epoch<'a>> {
    let in_run = |xv: u64| closed < xv && xv <= current;
    let mut epochs: BTreeMap<u64, Epoch<'a>> = BTreeMap::new();
    let empty =
        || Epoch { shares: BTreeMap::new(), fresh: true, exposed: BTreeMap::new(), totals: BTreeMap::new() };
    for allocation in allocations.iter().filter(|it| in_run(it.xv)) {
        let epoch = epochs.entry(allocation.xv).or_insert_with(empty);
        epoch.shares = allocation.shares.iter().map(|(variant, buckets)| (variant, *buckets)).collect();
        // Where variants stick, those who come back bring the shares of an earlier epoch along.
        let earlier = allocations.iter().filter(|it| it.xv < allocation.xv);
        epoch.fresh = !sticky || earlier.into_iter().all(|it| same_shares(it, allocation));
    }
    for Aggregate { key, sums } in aggregates.iter().filter(|it| in_run(it.key.xv)) {
        let epoch = epochs.entry(key.xv).or_insert_with(empty);
        match &key.metric {
            Some(metric) => {
                epoch.totals.insert((metric, &key.variant), sums);
            }
            None => {
                epoch.exposed.insert(&key.variant, u64::try_from(sums.n).unwrap_or(0));
            }
        }
    }
    epochs.into_values().collect()
}

fn same_shares(one: &Allocation, other: &Allocation) -> bool {
    let sorted = |allocation: &Allocation| {
        let mut shares: Vec<_> =
            allocation.shares.iter().filter(|(_, buckets)| *buckets > 0).cloned().collect();
        shares.sort();
        shares
    };
    sorted(one) == sorted(other)
}

impl Epoch<'_> {
    /// Units that were exposed to a variant.
    pub(super) fn exposed(&self, variant: &VariantKey) -> u64 {
        self.exposed.get(variant).copied().unwrap_or(0)
    }

    /// Totals of a metric in a variant.
    pub(super) fn totals(&self, metric: &MetricKey, variant: &VariantKey) -> Sums {
        self.totals.get(&(metric, variant)).map_or_else(Sums::default, |sums| **sums)
    }

    /// Both arms of a comparison in the form that the statistics take.
    pub(super) fn arms(
        &self,
        kind: MetricKind,
        metric: &MetricKey,
        [control, treatment]: [&VariantKey; 2],
    ) -> Result<EpochArms, NotComputable> {
        let (control, treatment) = (self.totals(metric, control), self.totals(metric, treatment));
        match kind {
            MetricKind::Conversion => {
                let table = Table::new(conversions(&control)?, conversions(&treatment)?)?;
                Ok(EpochArms::Rates(table))
            }
            MetricKind::Count => means(&control, &treatment, Scale::COUNT),
            MetricKind::Continuous => means(&control, &treatment, Scale::AMOUNT),
            MetricKind::Ratio => {
                let (control, treatment) = (ratio(&control)?, ratio(&treatment)?);
                let both = control.merged(treatment)?;
                let sample = |sums| ratio_sample(sums, RatioScales::COUNTS);
                Ok(EpochArms::Linearised(LinearisedArms {
                    control: sample(&control)?,
                    treatment: sample(&treatment)?,
                    pooled_variance: sample(&both)?.variance(),
                    nonzero: both.numerator.nonzero,
                }))
            }
        }
    }
}

/// Converted units and units.
pub(super) fn conversions(sums: &Sums) -> Result<(u64, u64), NotComputable> {
    Ok((count(sums.nonzero)?, count(sums.n)?))
}

/// The value per unit that people know the metric by.
pub(super) fn value(kind: MetricKind, sums: &Sums) -> Result<Sample, NotComputable> {
    match kind {
        MetricKind::Conversion => {
            let (converted, units) = conversions(sums)?;
            edgeseal_stats::classical::Conversions::new(converted, units)?.sample()
        }
        MetricKind::Count => Sample::of_means(&mean(sums)?, Scale::COUNT),
        MetricKind::Continuous => Sample::of_means(&mean(sums)?, Scale::AMOUNT),
        MetricKind::Ratio => ratio_sample(&ratio(sums)?, RatioScales::COUNTS),
    }
}

fn means(control: &Sums, treatment: &Sums, scale: Scale) -> Result<EpochArms, NotComputable> {
    Ok(EpochArms::Means { control: mean(control)?, treatment: mean(treatment)?, scale })
}

fn mean(sums: &Sums) -> Result<MeanSums, NotComputable> {
    let [sum, ..] = sums.sum;
    let [sum_sq, ..] = sums.products;
    Ok(MeanSums { n: count(sums.n)?, sum, sum_sq, nonzero: count(sums.nonzero)? })
}

/// Both parts are kept in the same steps, so the steps cancel out.
fn ratio(sums: &Sums) -> Result<RatioSums, NotComputable> {
    let [_, _, sum_den, _] = sums.sum;
    let [_, _, sum_num_den, _, _, _, _, sum_sq_den, _, _] = sums.products;
    Ok(RatioSums { numerator: mean(sums)?, sum_den, sum_sq_den, sum_num_den })
}

fn count(count: i64) -> Result<u64, NotComputable> {
    u64::try_from(count).map_err(|_| NotComputable::InconsistentSums)
}
