//! What a store keeps of events once they are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use edgeseal_core::events::{FailureCode, Quarantined};
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};

use crate::columns::is_storable;
use crate::error::StoreError;
use crate::event_records::UnitRef;

/// How far the roll-up of an environment has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollUpHead {
    /// Grows by one with every [`RollUp`]. Whoever writes names the sequence that it read.
    pub sequence: u64,
    /// [`StoredEvent::number`](crate::StoredEvent::number) of the last event that is counted.
    pub cursor: u64,
}

/// One step of the roll-up, in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RollUp {
    /// [`RollUpHead::sequence`] that the step was computed on. Anything else in the store: conflict.
    pub expected: u64,
    /// The last event that is counted after this step; it never goes back, and may stay (in a backfill).
    pub cursor: u64,
    /// Contributions as they are now, each replacing what was there; each at most once.
    pub contributions: Vec<Contribution>,
    /// What is added to aggregates. Those of one key are added together.
    pub aggregates: Vec<AggregateDelta>,
    /// What is added to health. Those of one key are added together.
    pub health: Vec<HealthCount>,
    /// Events that turned out not to count. Notes that the store has already are passed over.
    pub quarantined: Vec<Quarantined>,
    /// What the roll-up keeps for itself of each experiment, as JSON that the store does not read; replaced.
    pub settings: Vec<(ExperimentKey, String)>,
}

/// What one unit adds to one experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// To which experiment.
    pub experiment: ExperimentKey,
    /// Whose it is.
    pub unit: UnitRef,
    /// The variant of its first exposure.
    pub variant: VariantKey,
    /// The allocation epoch of its first exposure.
    pub xv: u64,
    /// When its first exposure was, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// Whether it counts.
    pub state: UnitState,
    /// Whether its variant changed within a session.
    pub drifted: bool,
    /// What it adds to each metric. A metric that is not here adds zeros.
    pub values: BTreeMap<MetricKey, UnitValues>,
}

/// Whether a unit counts in an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    /// It does.
    Counted,
    /// It was seen in two variants, so nobody knows what it shows.
    Excluded,
}

/// A unit's totals of one metric, in fixed point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnitValues {
    /// After its first exposure.
    pub y: i128,
    /// Before it: the covariate.
    pub x: i128,
    /// The denominator of a ratio, after.
    pub d: i128,
    /// The denominator of a ratio, before.
    pub dx: i128,
}

/// What an aggregate is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AggregateKey {
    /// Which experiment.
    pub experiment: ExperimentKey,
    /// Which allocation epoch.
    pub xv: u64,
    /// Which variant.
    pub variant: VariantKey,
    /// Which metric; `None`: exposed units.
    pub metric: Option<MetricKey>,
}

/// Exact sums over units: of the variables y, x, d, dx of [`UnitValues`] and of their products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Units.
    pub n: i64,
    /// Units with y ≠ 0.
    pub nonzero: i64,
    /// Σy, Σx, Σd, Σdx.
    pub sum: [i128; 4],
    /// Σ of yy, yx, yd, ydx, xx, xd, xdx, dd, ddx, dxdx.
    pub products: [i128; 10],
}

impl Sums {
    /// The sums of one unit; `None` when a product is beyond 128 bits.
    pub fn of_unit(values: &UnitValues) -> Option<Self> {
        let UnitValues { y, x, d, dx } = *values;
        Some(Self {
            n: 1,
            nonzero: i64::from(y != 0),
            sum: [y, x, d, dx],
            products: [
                y.checked_mul(y)?,
                y.checked_mul(x)?,
                y.checked_mul(d)?,
                y.checked_mul(dx)?,
                x.checked_mul(x)?,
                x.checked_mul(d)?,
                x.checked_mul(dx)?,
                d.checked_mul(d)?,
                d.checked_mul(dx)?,
                dx.checked_mul(dx)?,
            ],
        })
    }

    /// Both together; `None` when one of the sums is beyond its bits.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        self.combined(other, i64::checked_add, i128::checked_add)
    }

    /// These without the others; `None` when one of the sums is beyond its bits.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        self.combined(other, i64::checked_sub, i128::checked_sub)
    }

    fn combined(
        &self,
        other: &Self,
        count: fn(i64, i64) -> Option<i64>,
        total: fn(i128, i128) -> Option<i128>,
    ) -> Option<Self> {
        let mut combined = Self {
            n: count(self.n, other.n)?,
            nonzero: count(self.nonzero, other.nonzero)?,
            sum: self.sum,
            products: self.products,
        };
        for (one, other) in combined.sum.iter_mut().zip(other.sum) {
            *one = total(*one, other)?;
        }
        for (one, other) in combined.products.iter_mut().zip(other.products) {
            *one = total(*one, other)?;
        }
        Some(combined)
    }
}

/// What is added to an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateDelta {
    /// Which one.
    pub key: AggregateKey,
    /// How much.
    pub delta: Sums,
}

/// An aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// What of.
    pub key: AggregateKey,
    /// How much.
    pub sums: Sums,
}

/// How often something happened within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCount {
    /// Where and what.
    pub key: HealthKey,
    /// How often.
    pub count: u64,
}

/// What a [`HealthCount`] counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HealthKey {
    /// When its hour begins, in milliseconds since the Unix epoch.
    pub hour_ms: i64,
    /// In which experiment; `None` for what concerns the whole environment.
    pub experiment: Option<ExperimentKey>,
    /// What.
    pub kind: HealthKind,
}

/// What is counted for an experiment's health.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthKind {
    /// Units with their first exposure.
    Exposures,
    /// Units that were excluded.
    Exclusions,
    /// Reports of drift.
    Drift,
    /// Reports of a leak.
    Leak,
    /// Reports of a token that did not verify.
    VerificationFailed(FailureCode),
    /// Events that were refused, by the code of the rejection.
    Rejected(String),
}

impl HealthKind {
    /// The two words that the database uses; the second one may be empty.
    pub fn as_words(&self) -> (&'static str, &str) {
        match self {
            Self::Exposures => ("exposures", ""),
            Self::Exclusions => ("exclusions", ""),
            Self::Drift => ("drift", ""),
            Self::Leak => ("leak", ""),
            Self::VerificationFailed(code) => ("verification_failed", code.as_str()),
            Self::Rejected(code) => ("rejected", code),
        }
    }

    /// Reads the words.
    pub fn parse(kind: &str, code: &str) -> Option<Self> {
        Some(match kind {
            "exposures" => Self::Exposures,
            "exclusions" => Self::Exclusions,
            "drift" => Self::Drift,
            "leak" => Self::Leak,
            "verification_failed" => Self::VerificationFailed(FailureCode::parse(code)?),
            "rejected" => Self::Rejected(code.to_owned()),
            _ => return None,
        })
    }
}

impl fmt::Display for HealthKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_words() {
            (kind, "") => f.write_str(kind),
            (kind, code) => write!(f, "{kind}({code})"),
        }
    }
}

/// How an experiment was divided up during one allocation epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The epoch.
    pub xv: u64,
    /// When it began, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What was randomised.
    pub unit_type: UnitType,
    /// How many buckets each variant had.
    pub shares: Vec<(VariantKey, u32)>,
}

impl RollUp {
    /// Checks what no backend could keep: numbers beyond a signed 64-bit column, text with a NUL character, one unit's
    /// contribution twice. Gives what is added to each aggregate and to each health count, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check(&self) -> Result<Added<'_>, StoreError> {
        let mut numbers = vec![("sequence", self.expected.saturating_add(1)), ("cursor", self.cursor)];
        let mut units = BTreeSet::new();
        for contribution in &self.contributions {
            numbers.push(("experiment version", contribution.xv));
            if !units.insert((&contribution.experiment, &contribution.unit)) {
                return Err(refused(format!("a contribution to '{}' comes twice", contribution.experiment)));
            }
        }
        let mut aggregates: BTreeMap<&AggregateKey, Sums> = BTreeMap::new();
        for AggregateDelta { key, delta } in &self.aggregates {
            numbers.push(("experiment version", key.xv));
            let known = aggregates.entry(key).or_default();
            *known = known.plus(delta).ok_or_else(|| overflow(key))?;
        }
        let mut health: BTreeMap<&HealthKey, i64> = BTreeMap::new();
        for HealthCount { key, count } in &self.health {
            let known = health.entry(key).or_default();
            *known = i64::try_from(*count)
                .ok()
                .and_then(|count| known.checked_add(count))
                .ok_or_else(|| refused(format!("the count of {} is beyond {}", key.kind, i64::MAX)))?;
        }
        if let Some((what, number)) = numbers.into_iter().find(|(_, number)| i64::try_from(*number).is_err())
        {
            return Err(refused(format!("the {what} {number} is beyond {}", i64::MAX)));
        }
        let settings = self.settings.iter().map(|(_, text)| ("settings", text.as_str()));
        let codes = self.health.iter().map(|count| ("code", count.key.kind.as_words().1));
        match settings.chain(codes).find(|(_, text)| !is_storable(text)) {
            Some((what, _)) => Err(refused(format!("the {what} have a NUL character"))),
            None => Ok(Added { aggregates, health }),
        }
    }
}

impl RollUp {
    /// Checks the step against how far the roll-up has come, and how far it could: the number of the newest event.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn check_after(&self, before: RollUpHead, newest: u64) -> Result<(), StoreError> {
        let (stored, new) = (before.cursor, self.cursor);
        if new < stored {
            return Err(refused(format!("the cursor would go back from {stored} to {new}")));
        }
        if new > newest {
            return Err(refused(format!("the cursor {new} is beyond the newest event, {newest}")));
        }
        Ok(())
    }

    /// The head after the step.
    pub fn head(&self) -> RollUpHead {
        RollUpHead { sequence: self.expected.saturating_add(1), cursor: self.cursor }
    }
}

/// What a [`RollUp`] adds, one entry for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added<'a> {
    /// To aggregates.
    pub aggregates: BTreeMap<&'a AggregateKey, Sums>,
    /// To health.
    pub health: BTreeMap<&'a HealthKey, i64>,
}

/// An aggregate after something is added.
///
/// # Errors
/// [`StoreError::Refused`] when a sum is beyond its bits, or fewer than no units would be left.
pub fn added(key: &AggregateKey, stored: &Sums, delta: &Sums) -> Result<Sums, StoreError> {
    let sums = stored.plus(delta).ok_or_else(|| overflow(key))?;
    if sums.n < 0 || sums.nonzero < 0 {
        return Err(refused(format!("an aggregate of '{}' would have fewer than no units", key.experiment)));
    }
    Ok(sums)
}

fn overflow(key: &AggregateKey) -> StoreError {
    let metric = key.metric.as_ref().map_or("exposures", MetricKey::as_str);
    refused(format!("a sum of '{metric}' in '{}' is beyond 128 bits", key.experiment))
}

pub(crate) fn refused(detail: String) -> StoreError {
    StoreError::Refused { attempt: "rolling up events", detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_taken_away_again_leaves_nothing() {
        let unit = Sums::of_unit(&UnitValues { y: 3, x: -5, d: 7, dx: 11 }).unwrap();
        assert_eq!(unit.products, [9, -15, 21, 33, 25, -35, -55, 49, 77, 121]);
        let both = unit.plus(&unit).unwrap();
        assert_eq!((both.n, both.nonzero, both.sum), (2, 2, [6, -10, 14, 22]));
        assert_eq!(both.minus(&unit).unwrap().minus(&unit), Some(Sums::default()));
    }

    #[test]
    fn sums_beyond_their_bits_are_none() {
        let most = Sums { sum: [i128::MAX, 0, 0, 0], ..Sums::default() };
        let one = Sums { sum: [1, 0, 0, 0], ..Sums::default() };
        assert_eq!(most.plus(&one), None);
        let many = Sums { n: i64::MIN, ..Sums::default() };
        assert_eq!(many.minus(&Sums { n: 1, ..Sums::default() }), None);
        assert_eq!(Sums::of_unit(&UnitValues { y: i128::MAX / 2, ..UnitValues::default() }), None);
    }

    #[test]
    fn health_reads_back_from_its_words() {
        let code = FailureCode::parse("E_SUBJECT").unwrap();
        for kind in [
            HealthKind::Exposures,
            HealthKind::Exclusions,
            HealthKind::Drift,
            HealthKind::Leak,
            HealthKind::VerificationFailed(code),
            HealthKind::Rejected("too_old".into()),
        ] {
            let (word, code) = kind.as_words();
            assert_eq!(HealthKind::parse(word, code), Some(kind.clone()));
        }
        assert_eq!(HealthKind::parse("verification_failed", "made up"), None);
    }
}
