use super::table::Table;
use super::tails::{CountDistribution, binomial_ln_pmf, exact_p_value};
use crate::NotComputable;
use crate::contrast::Alternative;

/// The odds of B divided by those of A, in the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OddsRatio {
    /// A number, 0 or more.
    Finite(f64),
    /// A has no odds and B has some.
    Infinite,
    /// Nothing or everything converted in both arms.
    Undefined,
}

/// Fisher's exact test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FisherTest {
    /// The sample odds ratio.
    pub odds_ratio: OddsRatio,
    /// Exact given both margins; 1 when the margins leave a single possible table.
    pub p_value: f64,
}

/// Fisher's exact test of a 2×2 table; `Smaller` means that B's odds are below A's.
///
/// # Errors
/// [`NotComputable::OutOfRange`] above [`FISHER_UNITS_MAX`] units, where the sum over tables takes seconds and the
/// chi-square test has all the digits one can use.
pub fn fisher_exact(table: &Table, alternative: Alternative) -> Result<FisherTest, NotComputable> {
    let hypergeometric = Hypergeometric::new(table)?;
    let p_value = exact_p_value(&hypergeometric, table.treatment.converted(), alternative);
    Ok(FisherTest { odds_ratio: odds_ratio(table), p_value })
}

/// The largest number of units in both arms for which [`fisher_exact`] is computed.
pub const FISHER_UNITS_MAX: u64 = 10_000_000_000_000;

fn odds_ratio(table: &Table) -> OddsRatio {
    let (a, b) = (table.control, table.treatment);
    let numerator = b.converted() as f64 * a.unconverted() as f64;
    let denominator = a.converted() as f64 * b.unconverted() as f64;
    if denominator > 0.0 {
        OddsRatio::Finite(numerator / denominator)
    } else if numerator > 0.0 {
        OddsRatio::Infinite
    } else {
        OddsRatio::Undefined
    }
}

/// Conversions of B when both margins are fixed and conversion has nothing to do with the arm.
struct Hypergeometric {
    units_a: u64,
    units_b: u64,
    converted: u64,
}

impl Hypergeometric {
    fn new(table: &Table) -> Result<Self, NotComputable> {
        let (units_a, units_b) = (table.control.units(), table.treatment.units());
        match units_a.checked_add(units_b) {
            Some(units) if units <= FISHER_UNITS_MAX => Ok(Self {
                units_a,
                units_b,
                converted: table.control.converted() + table.treatment.converted(),
            }),
            _ => Err(NotComputable::OutOfRange {
                argument: "units",
                allowed: "at most 10^13 for an exact test",
                got: units_a as f64 + units_b as f64,
            }),
        }
    }
}

impl CountDistribution for Hypergeometric {
    fn support(&self) -> (u64, u64) {
        (self.converted.saturating_sub(self.units_a), self.converted.min(self.units_b))
    }

    fn mode(&self) -> u64 {
        let (first, last) = self.support();
        let product = (u128::from(self.converted) + 1) * (u128::from(self.units_b) + 1);
        let mode = product / (u128::from(self.units_a) + u128::from(self.units_b) + 2);
        u64::try_from(mode).unwrap_or(last).clamp(first, last)
    }

    /// A binomial probability for each arm at the pooled rate, divided by that of their sum.
    fn ln_pmf(&self, count: u64) -> f64 {
        let units = self.units_a + self.units_b;
        let n = units as f64;
        let (p, q) = (self.converted as f64 / n, (units - self.converted) as f64 / n);
        if p == 0.0 || q == 0.0 {
            return 0.0;
        }
        binomial_ln_pmf(count as f64, self.units_b as f64, p, q)
            + binomial_ln_pmf((self.converted - count) as f64, self.units_a as f64, p, q)
            - binomial_ln_pmf(self.converted as f64, n, p, q)
    }

    fn ratio_up(&self, count: u64) -> f64 {
        let (in_b, in_a) = (count, self.converted - count);
        (self.units_b - in_b) as f64 / (in_b + 1) as f64 * (in_a as f64 / (self.units_a - in_a + 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_possible_table_is_no_evidence() {
        let table = Table::new((0, 50), (0, 70)).unwrap();
        for alternative in [Alternative::TwoSided, Alternative::Smaller, Alternative::Larger] {
            let test = fisher_exact(&table, alternative).unwrap();
            assert_eq!(test, FisherTest { odds_ratio: OddsRatio::Undefined, p_value: 1.0 });
        }
    }

    #[test]
    fn too_many_units_are_refused() {
        let table = Table::new((5, FISHER_UNITS_MAX), (5, 1)).err();
        assert_eq!(table, Some(NotComputable::MoreConversionsThanUnits));
        let table = Table::new((5, FISHER_UNITS_MAX), (1, 1)).unwrap();
        assert!(matches!(fisher_exact(&table, Alternative::Larger), Err(NotComputable::OutOfRange { .. })));
        let table = Table::new((5, u64::MAX), (1, 1)).unwrap();
        assert!(fisher_exact(&table, Alternative::Larger).is_err());
    }

    proptest! {
        #[test]
        fn all_tables_with_these_margins_have_probability_one(a in 0_u64..40, b in 0_u64..30) {
            let counts = Hypergeometric::new(&Table::new((a, 40), (b, 30)).unwrap()).unwrap();
            let (first, last) = counts.support();
            let total: f64 = (first..=last).map(|count| counts.ln_pmf(count).exp()).sum();
            prop_assert!((total - 1.0).abs() < 1e-12);
        }

        #[test]
        fn the_tails_share_the_observed_table(a in 0_u64..40, b in 0_u64..30) {
            let table = Table::new((a, 40), (b, 30)).unwrap();
            let p = |alternative| fisher_exact(&table, alternative).unwrap().p_value;
            let observed = Hypergeometric::new(&table).unwrap().ln_pmf(b).exp();
            let (smaller, larger) = (p(Alternative::Smaller), p(Alternative::Larger));
            prop_assert!((smaller + larger - 1.0 - observed).abs() < 1e-12);
            prop_assert!(p(Alternative::TwoSided) >= smaller.min(larger) - 1e-12);
        }
    }
}
