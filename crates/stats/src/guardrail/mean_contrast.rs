use super::Direction;
use crate::NotComputable;
use crate::classical::Table;
use crate::sample::Sample;
use crate::sequential::{AsymptoticSequence, Sides};
use crate::sums::{MeanSums, Scale};

/// Units in both arms at which the sequence is tightest. A fourfold error delays an alarm by 10 to 15 %.
pub const DEFAULT_N_STAR: f64 = 20_000.0;

/// Is the treatment's mean worse than the margin tolerates? For counts, amounts, ratios and high rates.
///
/// The contrast (1−m)·mean_A − mean_B, or mean_B − (1+m)·mean_A, is above zero exactly when harm exceeds the margin, and
/// never divides by a mean. Its standard error is the larger of Welch's and of one from both arms pooled: with a small
/// treatment arm and a rare event Welch's alone pauses falsely at up to eighteen times the nominal rate. Evidence is the
/// one-sided asymptotic confidence sequence's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanContrast {
    direction: Direction,
    factor: f64,
    sequence: AsymptoticSequence,
    burn_in: BurnIn,
}

/// Both arms in one allocation epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EpochArms {
    /// A count or an amount per unit.
    Means {
        /// The control's sums.
        control: MeanSums,
        /// The treatment's sums.
        treatment: MeanSums,
        /// Integer steps per 1.
        scale: Scale,
    },
    /// Yes or no per unit.
    Rates(Table),
    /// A ratio or a covariate-adjusted metric.
    Linearised(LinearisedArms),
}

/// A ratio or covariate-adjusted metric, whose variances are those of its linearised per-unit value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearisedArms {
    /// The control's value and variance.
    pub control: Sample,
    /// The treatment's value and variance.
    pub treatment: Sample,
    /// Variance of the linearised value over both arms as one sample, with ratio and θ of that sample.
    pub pooled_variance: f64,
    /// Units of both arms whose numerator, or metric, is not zero.
    pub nonzero: u64,
}

/// What an epoch must have before it counts: the sequence holds in the limit of a late start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurnIn {
    /// Units in each arm.
    pub units_per_arm: u64,
    /// Units with a value other than zero that the smaller arm is expected to hold, by the pooled rate; for yes/no
    /// metrics zeros too.
    pub nonzero: u64,
}

/// What is still missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Units in the smaller arm.
    Units {
        /// So far.
        have: u64,
        /// Needed.
        need: u64,
    },
    /// Units with a value other than zero, as [`BurnIn::nonzero`] counts them.
    Nonzero {
        /// So far.
        have: u64,
        /// Needed.
        need: u64,
    },
    /// Units of a yes/no metric that did not convert, counted in the same way.
    Zeros {
        /// So far.
        have: u64,
        /// Needed.
        need: u64,
    },
}

/// What the sums say about harm beyond the margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HarmEvidence {
    /// Log evidence of harm; zero during the burn-in.
    pub log_e: f64,
    /// The contrast in standard errors.
    pub z: f64,
    /// The contrast, above zero when harm exceeds the margin, in the metric's unit.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower bound of the contrast at the guardrail's level, above zero exactly when `log_e` reaches it; none during the
    /// burn-in.
    pub bound: Option<f64>,
    /// What is missing in the epoch with the most units, while no epoch is past the burn-in.
    pub burn_in: Option<Missing>,
}

impl BurnIn {
    /// For counts and rates.
    pub const COUNTS: Self = Self { units_per_arm: 200, nonzero: 25 };
    /// For money and whatever else has a long tail.
    pub const AMOUNTS: Self = Self { units_per_arm: 2000, nonzero: 100 };
}

impl MeanContrast {
    /// With a margin relative to the control, tuned for `n_star` units at the guardrail's `alpha`, and
    /// [`BurnIn::COUNTS`].
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless the margin is zero or more, and below one when lower is harm, `n_star` is
    /// above zero and `alpha` lies in (0, ½).
    pub fn new(margin: f64, direction: Direction, n_star: f64, alpha: f64) -> Result<Self, NotComputable> {
        let factor = direction.tolerated_factor(margin)?;
        let sequence = AsymptoticSequence::new(n_star, alpha, Sides::One)?;
        Ok(Self { direction, factor, sequence, burn_in: BurnIn::COUNTS })
    }

    /// The same with another burn-in.
    #[must_use]
    pub fn with_burn_in(self, burn_in: BurnIn) -> Self {
        Self { burn_in, ..self }
    }

    /// Log evidence of harm from cumulative sums, one entry per allocation epoch.
    ///
    /// Epochs are weighted by their information, 1/SE². Those in their own burn-in are left out while another is past
    /// its, and so are those that cannot be compared yet: no units, one unit, no variance.
    ///
    /// # Errors
    /// Why the largest epoch cannot be compared, when none can; [`NotComputable::SumsTooLarge`] and
    /// [`NotComputable::InconsistentSums`] for any epoch.
    pub fn evidence(&self, epochs: &[EpochArms]) -> Result<HarmEvidence, NotComputable> {
        let mut incomparable = NotComputable::NoUnits;
        let mut compared = Vec::with_capacity(epochs.len());
        for epoch in epochs {
            match self.compare(epoch) {
                Ok(comparison) => compared.push(comparison),
                Err(
                    reason @ (NotComputable::NoUnits
                    | NotComputable::TooFewUnits
                    | NotComputable::NoVariance
                    | NotComputable::NothingConverted
                    | NotComputable::EverythingConverted),
                ) => incomparable = reason,
                Err(reason) => return Err(reason),
            }
        }
        let largest = compared.iter().max_by_key(|epoch| epoch.units).ok_or(incomparable)?;
        let past_burn_in: Vec<EpochComparison> =
            compared.iter().filter(|epoch| epoch.missing.is_none()).copied().collect();

        if past_burn_in.is_empty() {
            let sum = WeightedSum::of(&compared)?;
            return Ok(HarmEvidence {
                log_e: 0.0,
                z: sum.z,
                estimate: sum.estimate,
                standard_error: sum.standard_error,
                bound: None,
                burn_in: largest.missing,
            });
        }
        let sum = WeightedSum::of(&past_burn_in)?;
        Ok(HarmEvidence {
            log_e: self.sequence.log_e(sum.z, sum.units)?,
            z: sum.z,
            estimate: sum.estimate,
            standard_error: sum.standard_error,
            bound: Some(sum.estimate - self.sequence.z_bound(sum.units)? * sum.standard_error),
            burn_in: None,
        })
    }

    fn compare(&self, epoch: &EpochArms) -> Result<EpochComparison, NotComputable> {
        let arms = match epoch {
            EpochArms::Means { control, treatment, scale } => {
                let both = control.merged(*treatment)?;
                let arms = LinearisedArms {
                    control: Sample::of_means(control, *scale)?,
                    treatment: Sample::of_means(treatment, *scale)?,
                    pooled_variance: Sample::of_means(&both, *scale)?.variance(),
                    nonzero: both.nonzero,
                };
                ComparableArms { pooled: [arms.pooled_variance; 2], zeros_too: false, arms }
            }
            EpochArms::Rates(table) => self.comparable_rates(table)?,
            EpochArms::Linearised(arms) => {
                NotComputable::unless_non_negative("pooled_variance", arms.pooled_variance)?;
                ComparableArms { pooled: [arms.pooled_variance; 2], zeros_too: false, arms: *arms }
            }
        };
        self.compare_arms(&arms)
    }

    /// Rates, with the pooled variances p(1−p) at the rates that both arms would have exactly at the margin.
    fn comparable_rates(&self, table: &Table) -> Result<ComparableArms, NotComputable> {
        let unbiased = |arm: &crate::classical::Conversions| {
            let plain = arm.sample()?;
            let n = plain.n() as f64;
            Sample::new(plain.n(), plain.mean(), plain.variance() * (n / (n - 1.0)))
        };
        let (control, treatment) = (unbiased(&table.control)?, unbiased(&table.treatment)?);
        let nonzero = table
            .control
            .converted()
            .checked_add(table.treatment.converted())
            .ok_or(NotComputable::SumsTooLarge)?;
        let expected_units = control.n() as f64 + self.factor * treatment.n() as f64;
        let control_rate = (nonzero as f64 / expected_units).min(1.0);
        let treatment_rate = (self.factor * control_rate).min(1.0);
        let pooled = [control_rate * (1.0 - control_rate), treatment_rate * (1.0 - treatment_rate)];
        let arms = LinearisedArms { control, treatment, pooled_variance: pooled[0], nonzero };
        Ok(ComparableArms { arms, pooled, zeros_too: true })
    }

    fn compare_arms(&self, comparable: &ComparableArms) -> Result<EpochComparison, NotComputable> {
        let LinearisedArms { control, treatment, nonzero, .. } = &comparable.arms;
        let tolerated = self.factor * control.mean();
        let difference = match self.direction {
            Direction::LowerIsHarm => tolerated - treatment.mean(),
            Direction::HigherIsHarm => treatment.mean() - tolerated,
        };
        let squared_factor = self.factor * self.factor;
        let welch = treatment.variance_of_mean() + squared_factor * control.variance_of_mean();
        let [pooled_control, pooled_treatment] = comparable.pooled;
        let pooled =
            pooled_treatment / treatment.n() as f64 + squared_factor * pooled_control / control.n() as f64;
        let squared_error = welch.max(pooled);
        if squared_error == 0.0 {
            return Err(NotComputable::NoVariance);
        }
        let units = control.n().checked_add(treatment.n()).ok_or(NotComputable::SumsTooLarge)?;
        let smaller = control.n().min(treatment.n());
        let missing = self.burn_in.missing(smaller, units, *nonzero, comparable.zeros_too);
        let information = NotComputable::unless_positive("information", 1.0 / squared_error)?;
        Ok(EpochComparison { difference, information, units, missing })
    }
}

impl BurnIn {
    fn missing(&self, smaller_arm: u64, units: u64, nonzero: u64, zeros_too: bool) -> Option<Missing> {
        if smaller_arm < self.units_per_arm {
            return Some(Missing::Units { have: smaller_arm, need: self.units_per_arm });
        }
        // What the smaller arm holds by the pooled rate, rounded down; it fits, because units ≥ smaller_arm.
        let expected = |count: u64| (u128::from(count) * u128::from(smaller_arm) / u128::from(units)) as u64;
        let have = expected(nonzero);
        if have < self.nonzero {
            return Some(Missing::Nonzero { have, need: self.nonzero });
        }
        let have = expected(units.saturating_sub(nonzero));
        (zeros_too && have < self.nonzero).then_some(Missing::Zeros { have, need: self.nonzero })
    }
}

/// The `n_star` that catches a relative harm fastest, for a metric with this coefficient of variation (standard
/// deviation / mean) before the start: 2·CV²·(3.4/harm)².
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless both are above zero.
pub fn n_star_to_catch(relative_harm: f64, coefficient_of_variation: f64) -> Result<f64, NotComputable> {
    NotComputable::unless_positive("relative_harm", relative_harm)?;
    NotComputable::unless_positive("coefficient_of_variation", coefficient_of_variation)?;
    let standard_errors = 3.4 * coefficient_of_variation / relative_harm;
    NotComputable::unless_positive("n_star", 2.0 * standard_errors * standard_errors)
}

struct ComparableArms {
    arms: LinearisedArms,
    /// Pooled variances of a control's and of a treatment's unit.
    pooled: [f64; 2],
    zeros_too: bool,
}

#[derive(Clone, Copy)]
struct EpochComparison {
    difference: f64,
    /// 1/SE².
    information: f64,
    units: u64,
    missing: Option<Missing>,
}

/// Epochs as one contrast: Σ D·I / Σ I with standard error 1/√ΣI.
struct WeightedSum {
    estimate: f64,
    standard_error: f64,
    z: f64,
    units: u64,
}

impl WeightedSum {
    fn of(epochs: &[EpochComparison]) -> Result<Self, NotComputable> {
        let information: f64 = epochs.iter().map(|epoch| epoch.information).sum();
        NotComputable::unless_positive("information", information)?;
        let estimate =
            epochs.iter().map(|epoch| epoch.difference * (epoch.information / information)).sum::<f64>();
        let units = epochs.iter().try_fold(0u64, |sum, epoch| sum.checked_add(epoch.units));
        Ok(Self {
            estimate,
            standard_error: 1.0 / information.sqrt(),
            z: NotComputable::unless_finite("z", estimate * information.sqrt())?,
            units: units.ok_or(NotComputable::SumsTooLarge)?,
        })
    }
}

#[cfg(test)]
mod tests;
