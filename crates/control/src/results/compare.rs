//! Two variants, epoch by epoch.

use std::collections::BTreeMap;

use edgeseal_core::definition::MetricKind;
use edgeseal_core::ids::{MetricKey, VariantKey};
use edgeseal_stats::NotComputable;
use edgeseal_stats::classical::Table;
use edgeseal_stats::contrast::{Alternative, Contrast, Reference};
use edgeseal_stats::cuped::Adjusted;
use edgeseal_stats::guardrail::Direction;
use edgeseal_stats::lift::{adjusted_relative_lift, relative_lift};
use edgeseal_stats::non_inferiority::{non_inferiority_of_means, non_inferiority_of_rates};
use edgeseal_stats::ratio::{RatioScales, ratio_sample};
use edgeseal_stats::sample::Sample;
use edgeseal_stats::sums::{CupedSums, MeanSums, RatioCupedSums, RatioSums, Scale};
use edgeseal_store::{Aggregate, Allocation, Sums};

/// Units that each arm of an epoch must have to be weighted by its own variance; a variance estimated from fewer would
/// now and then outweigh everything else.
const MIN_UNITS_PER_ARM: u64 = 200;

/// Totals by allocation epoch.
pub(super) struct Epochs<'a>(BTreeMap<u64, Epoch<'a>>);

/// One allocation epoch.
#[derive(Default)]
pub(super) struct Epoch<'a> {
    /// Buckets by variant.
    pub(super) shares: Vec<(&'a VariantKey, u32)>,
    /// Whether first exposures follow the shares.
    pub(super) fresh: bool,
    exposed: BTreeMap<&'a VariantKey, u64>,
    totals: BTreeMap<(&'a MetricKey, &'a VariantKey), &'a Sums>,
}

/// One metric in two variants, over all epochs.
pub(super) struct Compared {
    /// Units in both, of the epochs that count.
    pub(super) units: [u64; 2],
    /// Means, of each epoch weighted by the treatment's units in it.
    pub(super) means: [Option<f64>; 2],
    /// Units that have a value other than zero.
    pub(super) nonzero: [u64; 2],
    pub(super) absolute: Result<Contrast, NotComputable>,
    pub(super) relative: Result<Contrast, NotComputable>,
    /// Whether a covariate was used.
    pub(super) adjusted: bool,
    /// The epochs behind it.
    epochs: Vec<[Sums; 2]>,
    kind: MetricKind,
}

struct OfEpoch {
    absolute: Contrast,
    relative: Result<Contrast, NotComputable>,
    adjusted: bool,
}

impl<'a> Epochs<'a> {
    pub(super) fn new(allocations: &'a [Allocation], aggregates: &'a [Aggregate], sticky: bool) -> Self {
        let mut epochs: BTreeMap<u64, Epoch<'a>> = BTreeMap::new();
        for allocation in allocations {
            let epoch = epochs.entry(allocation.xv).or_default();
            epoch.shares = shares(allocation);
            // Where variants stick, those who come back bring the shares of an earlier epoch along.
            let mut earlier = allocations.iter().filter(|it| it.xv < allocation.xv);
            epoch.fresh = !sticky || earlier.all(|it| shares(it) == epoch.shares);
        }
        for Aggregate { key, sums } in aggregates {
            let epoch = epochs.entry(key.xv).or_default();
            match &key.metric {
                Some(metric) => drop(epoch.totals.insert((metric, &key.variant), sums)),
                None => drop(epoch.exposed.insert(&key.variant, u64::try_from(sums.n).unwrap_or(0))),
            }
        }
        Self(epochs)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Epoch<'a>> {
        self.0.values()
    }

    /// Compares two variants, the control first.
    pub(super) fn compare(
        &self,
        kind: MetricKind,
        metric: &MetricKey,
        variants: [&VariantKey; 2],
    ) -> Compared {
        let all = self.iter().map(|epoch| variants.map(|variant| epoch.totals(metric, variant)));
        let all: Vec<[Sums; 2]> = all.filter(|arms| arms.iter().all(|sums| sums.n > 0)).collect();
        let smaller = |arms: &[Sums; 2]| arms.iter().map(units).min().unwrap_or(0);
        let enough = |arms: &&[Sums; 2]| smaller(arms) >= MIN_UNITS_PER_ARM;
        let mut counted: Vec<[Sums; 2]> = all.iter().filter(enough).copied().collect();
        if counted.is_empty() {
            counted.extend(all.iter().max_by_key(|arms| smaller(arms)).copied());
        }
        let found: Vec<Result<OfEpoch, NotComputable>> =
            counted.iter().map(|arms| OfEpoch::of(kind, arms)).collect();
        let (absolute, relative) = (
            weighted(found.iter().map(|it| it.as_ref().map(|it| it.absolute).map_err(|why| *why))),
            weighted(found.iter().map(|it| it.as_ref().map_err(|why| *why).and_then(|it| it.relative))),
        );
        Compared {
            units: [0, 1].map(|arm| sum(&counted, arm, units)),
            nonzero: [0, 1].map(|arm| sum(&counted, arm, nonzero)),
            means: means(kind, &counted),
            absolute,
            relative,
            adjusted: found.iter().flatten().any(|it| it.adjusted),
            epochs: counted,
            kind,
        }
    }
}

impl Epoch<'_> {
    pub(super) fn exposed(&self, variant: &VariantKey) -> u64 {
        self.exposed.get(variant).copied().unwrap_or(0)
    }

    fn totals(&self, metric: &MetricKey, variant: &VariantKey) -> Sums {
        self.totals.get(&(metric, variant)).map_or_else(Sums::default, |sums| **sums)
    }
}

impl Compared {
    /// Units in both.
    pub(super) fn all_units(&self) -> u64 {
        self.units.iter().fold(0, |sum, units| sum.saturating_add(*units))
    }

    /// p-value of "worse by more than the margin".
    pub(super) fn non_inferiority(&self, margin: f64, harm: Direction) -> Result<f64, NotComputable> {
        if let ([arms], MetricKind::Conversion) = (self.epochs.as_slice(), self.kind) {
            let [control, treatment] = arms.each_ref().map(|sums| (nonzero(sums), units(sums)));
            return non_inferiority_of_rates(&Table::new(control, treatment)?, margin, harm);
        }
        let samples = |arms: &[Sums; 2]| {
            let [control, treatment] = arms.each_ref().map(|sums| sample(self.kind, sums));
            Ok((control?, treatment?))
        };
        if let [arms] = self.epochs.as_slice() {
            let (control, treatment) = samples(arms)?;
            return non_inferiority_of_means(&control, &treatment, margin, harm);
        }
        let (factor, harmless) = match harm {
            Direction::LowerIsHarm => (1.0 - margin, Alternative::Larger),
            Direction::HigherIsHarm => (1.0 + margin, Alternative::Smaller),
        };
        let contrasts = self.epochs.iter().map(|arms| {
            let (control, treatment) = samples(arms)?;
            let tolerated =
                Sample::new(control.n(), factor * control.mean(), factor * factor * control.variance())?;
            Contrast::welch(&tolerated, &treatment)
        });
        Ok(weighted(contrasts)?.p_value(0.0, harmless))
    }
}

impl OfEpoch {
    fn of(kind: MetricKind, [control, treatment]: &[Sums; 2]) -> Result<Self, NotComputable> {
        // A covariate that is zero everywhere, or whose ratio has no denominator, adjusts nothing.
        if let Ok(adjusted) = adjusted(kind, control, treatment)
            && adjusted.theta() != 0.0
            && let Ok(absolute) = adjusted.difference()
        {
            return Ok(Self { absolute, relative: adjusted_relative_lift(&adjusted), adjusted: true });
        }
        let (control, treatment) = (sample(kind, control)?, sample(kind, treatment)?);
        Ok(Self {
            absolute: Contrast::welch(&control, &treatment)?,
            relative: relative_lift(&control, &treatment),
            adjusted: false,
        })
    }
}

/// Contrasts of independent epochs as one, each weighted by 1/SE².
fn weighted(
    contrasts: impl Iterator<Item = Result<Contrast, NotComputable>>,
) -> Result<Contrast, NotComputable> {
    let mut first = Err(NotComputable::NoUnits);
    let mut found = Vec::new();
    for contrast in contrasts {
        match contrast {
            Ok(contrast) => found.push(contrast),
            Err(why @ (NotComputable::SumsTooLarge | NotComputable::InconsistentSums)) => return Err(why),
            Err(why) => first = Err(why),
        }
    }
    match found.as_slice() {
        [] => first,
        [one] => Ok(*one),
        several => {
            let information = |it: &Contrast| it.standard_error().powi(-2);
            let all: f64 = several.iter().map(information).sum();
            let estimate = several.iter().map(|it| it.estimate() * (information(it) / all)).sum();
            Contrast::new(estimate, all.sqrt().recip(), Reference::Normal)
        }
    }
}

fn means(kind: MetricKind, epochs: &[[Sums; 2]]) -> [Option<f64>; 2] {
    let (mut weighted, mut weight) = ([0.0; 2], 0.0);
    for arms in epochs {
        let [control, treatment] = arms.each_ref().map(|sums| sample(kind, sums));
        let (Ok(control), Ok(treatment)) = (control, treatment) else { continue };
        let units = treatment.n() as f64;
        weight += units;
        for (sum, sample) in weighted.iter_mut().zip([control, treatment]) {
            *sum += units * sample.mean();
        }
    }
    weighted.map(|sum| (weight > 0.0).then_some(sum / weight))
}

/// The value per unit that people know the metric by.
fn sample(kind: MetricKind, sums: &Sums) -> Result<Sample, NotComputable> {
    match kind {
        MetricKind::Conversion | MetricKind::Count => Sample::of_means(&of_means(sums), Scale::COUNT),
        MetricKind::Continuous => Sample::of_means(&of_means(sums), Scale::AMOUNT),
        // Both parts are kept in the same steps, so the steps cancel out.
        MetricKind::Ratio => ratio_sample(&of_ratio(sums), RatioScales::COUNTS),
    }
}

fn adjusted(kind: MetricKind, control: &Sums, treatment: &Sums) -> Result<Adjusted, NotComputable> {
    match kind {
        MetricKind::Conversion | MetricKind::Count => {
            Adjusted::of_means(&of_cuped(control), &of_cuped(treatment), Scale::COUNT)
        }
        MetricKind::Continuous => Adjusted::of_means(&of_cuped(control), &of_cuped(treatment), Scale::AMOUNT),
        MetricKind::Ratio => {
            Adjusted::of_ratios(&of_ratio_cuped(control), &of_ratio_cuped(treatment), RatioScales::COUNTS)
        }
    }
}

fn of_means(sums: &Sums) -> MeanSums {
    let ([sum, ..], [sum_sq, ..]) = (sums.sum, sums.products);
    MeanSums { n: units(sums), sum, sum_sq, nonzero: nonzero(sums) }
}

fn of_cuped(sums: &Sums) -> CupedSums {
    let ([_, sum_x, ..], [_, sum_xy, _, _, sum_sq_x, ..]) = (sums.sum, sums.products);
    CupedSums { y: of_means(sums), sum_x, sum_sq_x, sum_xy }
}

fn of_ratio(sums: &Sums) -> RatioSums {
    let [_, _, sum_den, _] = sums.sum;
    let [_, _, sum_num_den, _, _, _, _, sum_sq_den, _, _] = sums.products;
    RatioSums { numerator: of_means(sums), sum_den, sum_sq_den, sum_num_den }
}

fn of_ratio_cuped(sums: &Sums) -> RatioCupedSums {
    let [_, x, _, dx] = sums.sum;
    let [_, yx, _, ydx, xx, xd, xdx, _, ddx, dxdx] = sums.products;
    RatioCupedSums {
        after: of_ratio(sums),
        sum_num_before: x,
        sum_sq_num_before: xx,
        sum_den_before: dx,
        sum_sq_den_before: dxdx,
        sum_num_before_den_before: xdx,
        sum_num_num_before: yx,
        sum_num_den_before: ydx,
        sum_den_num_before: xd,
        sum_den_den_before: ddx,
    }
}

fn shares(allocation: &Allocation) -> Vec<(&VariantKey, u32)> {
    let planned = allocation.shares.iter().filter(|(_, buckets)| *buckets > 0);
    let mut shares: Vec<_> = planned.map(|(variant, buckets)| (variant, *buckets)).collect();
    shares.sort_unstable();
    shares
}

fn sum(epochs: &[[Sums; 2]], arm: usize, of: fn(&Sums) -> u64) -> u64 {
    epochs.iter().filter_map(|arms| arms.get(arm)).fold(0, |sum, sums| sum.saturating_add(of(sums)))
}

fn units(sums: &Sums) -> u64 {
    u64::try_from(sums.n).unwrap_or(0)
}

fn nonzero(sums: &Sums) -> u64 {
    u64::try_from(sums.nonzero).unwrap_or(0)
}
