//! The traffic of a simulated experiment, and what is counted of it.

use edgeseal_core::bucket::BUCKETS;
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use edgeseal_store::{Aggregate, AggregateKey, Allocation, Sums, UnitValues};

use super::random::Random;

/// What happens to whom.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// Conversion rate of the control at the start.
    pub(super) baseline: f64,
    /// Relative change of the rate in the treatment.
    pub(super) lift: f64,
    /// Relative change of all rates from the start to the end.
    pub(super) drift: f64,
    /// The treatment's share, in stages of the same length; each is an allocation epoch.
    pub(super) stages: Vec<f64>,
    /// Units that come by between two checks.
    pub(super) units_per_check: u64,
    /// Checks until the end.
    pub(super) checks: u32,
}

/// The names of everything.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) experiment: ExperimentKey,
    pub(super) metric: MetricKey,
    pub(super) unit_type: UnitType,
    /// Control and treatment.
    pub(super) variants: [VariantKey; 2],
}

/// Control and treatment between two checks, or over many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) exposed: [u64; 2],
    pub(super) converted: [u64; 2],
}

/// Everything so far, by stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Totals(Vec<Counts>);

impl Names {
    pub(super) fn new() -> Result<Self, edgeseal_core::ids::NameError> {
        Ok(Self {
            experiment: ExperimentKey::parse("simulated")?,
            metric: MetricKey::parse("conversion")?,
            unit_type: UnitType::parse("user")?,
            variants: [VariantKey::parse("control")?, VariantKey::parse("treatment")?],
        })
    }
}

impl World {
    /// The stage of a check.
    pub(super) fn stage(&self, check: u32) -> usize {
        let stages = self.stages.len() as u64;
        (u64::from(check) * stages / u64::from(self.checks)) as usize
    }

    /// Rates of control and treatment.
    pub(super) fn rates(&self, check: u32) -> [f64; 2] {
        let passed = f64::from(check) / f64::from(self.checks);
        let control = (self.baseline * (1.0 + self.drift * passed)).clamp(0.0, 1.0);
        [control, (control * (1.0 + self.lift)).clamp(0.0, 1.0)]
    }

    /// What happens until a check.
    pub(super) fn draw(&self, check: u32, random: &mut Random) -> Counts {
        let treatment = random.binomial(self.units_per_check, self.stages[self.stage(check)]);
        let exposed = [self.units_per_check - treatment, treatment];
        let rates = self.rates(check);
        Counts { exposed, converted: [0, 1].map(|arm| random.binomial(exposed[arm], rates[arm])) }
    }

    /// How the experiment is divided up in each stage that has begun.
    pub(super) fn allocations(&self, names: &Names, check: u32) -> Vec<Allocation> {
        let begun = self.stages.iter().enumerate().take(self.stage(check) + 1);
        let allocation = |(stage, share): (usize, &f64)| {
            let treatment = (share * f64::from(BUCKETS)).round() as u32;
            let [control_key, treatment_key] = names.variants.clone();
            Allocation {
                xv: xv(stage),
                at_ms: 0,
                unit_type: names.unit_type.clone(),
                shares: vec![(control_key, BUCKETS - treatment), (treatment_key, treatment)],
            }
        };
        begun.map(allocation).collect()
    }
}

/// The experiment's version in a stage.
pub(super) fn xv(stage: usize) -> u64 {
    stage as u64 + 1
}

impl Totals {
    pub(super) fn new(world: &World) -> Self {
        Self(vec![Counts::default(); world.stages.len()])
    }

    pub(super) fn add(&mut self, stage: usize, counts: &Counts) {
        self.0[stage].add(counts);
    }

    /// Over all stages.
    pub(super) fn sum(&self) -> Counts {
        self.0.iter().fold(Counts::default(), |mut sum, counts| {
            sum.add(counts);
            sum
        })
    }

    /// As the roll-up keeps them.
    pub(super) fn aggregates(&self, names: &Names) -> Vec<Aggregate> {
        let mut aggregates = Vec::with_capacity(4 * self.0.len());
        for (stage, counts) in self.0.iter().enumerate() {
            for (arm, variant) in names.variants.iter().enumerate() {
                if counts.exposed[arm] == 0 {
                    continue;
                }
                let mut add = |metric: Option<&MetricKey>, sums| {
                    let (experiment, variant) = (names.experiment.clone(), variant.clone());
                    let key = AggregateKey { experiment, xv: xv(stage), variant, metric: metric.cloned() };
                    aggregates.push(Aggregate { key, sums });
                };
                let n = counts.exposed[arm] as i64;
                let one = Sums::of_unit(&UnitValues { y: 1, ..UnitValues::default() }).unwrap_or_default();
                let converted = counts.converted[arm];
                add(None, Sums { n, ..Sums::default() });
                add(
                    Some(&names.metric),
                    Sums {
                        n,
                        nonzero: converted as i64,
                        sum: one.sum.map(|of_one| of_one * i128::from(converted)),
                        products: one.products.map(|of_one| of_one * i128::from(converted)),
                    },
                );
            }
        }
        aggregates
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        for arm in [0, 1] {
            self.exposed[arm] += other.exposed[arm];
            self.converted[arm] += other.converted[arm];
        }
    }

    /// What is left without some of it.
    pub(super) fn remove(&mut self, other: &Self) {
        for arm in [0, 1] {
            self.exposed[arm] -= other.exposed[arm];
            self.converted[arm] -= other.converted[arm];
        }
    }
}

#[cfg(test)]
pub(super) fn example() -> World {
    World { baseline: 0.05, lift: 0.0, drift: 0.0, stages: vec![0.5], units_per_check: 400, checks: 100 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_rates_follow_the_checks() {
        let world = World { stages: vec![0.01, 0.1, 0.5], drift: -0.5, lift: -0.2, ..example() };
        let stages: Vec<_> = [0, 33, 34, 66, 67, 99].map(|check| world.stage(check)).into();
        assert_eq!(stages, [0, 0, 1, 1, 2, 2]);
        let [control, treatment] = world.rates(50);
        assert!((control - 0.0375).abs() < 1e-12 && (treatment - 0.03).abs() < 1e-12);
        let allocations = world.allocations(&Names::new().unwrap(), 40);
        let shares: Vec<_> = allocations.iter().map(|it| (it.xv, it.shares[1].1)).collect();
        assert_eq!(shares, [(1, 10_000), (2, 100_000)]);
    }

    #[test]
    fn totals_are_what_the_roll_up_would_keep() {
        let mut totals = Totals::new(&example());
        totals.add(0, &Counts { exposed: [3, 2], converted: [1, 2] });
        totals.add(0, &Counts { exposed: [1, 0], converted: [1, 0] });
        assert_eq!(totals.sum(), Counts { exposed: [4, 2], converted: [2, 2] });
        let found = totals.aggregates(&Names::new().unwrap());
        let sums: Vec<_> = found
            .iter()
            .map(|it| (it.sums.n, it.sums.nonzero, it.sums.sum[0], it.sums.products[0]))
            .collect();
        assert_eq!(sums, [(4, 0, 0, 0), (4, 2, 2, 2), (2, 0, 0, 0), (2, 2, 2, 2)]);
    }
}
