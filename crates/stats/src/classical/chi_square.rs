use super::table::Table;
use super::tails::excess;
use crate::NotComputable;
use crate::special::chi2_sf;

/// A chi-square statistic with one degree of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquareTest {
    /// The statistic, 0 or more.
    pub statistic: f64,
    /// Upper tail beyond it.
    pub p_value: f64,
}

/// Pearson's chi-square test of a 2×2 table, with or without Yates' correction.
///
/// # Errors
/// [`NotComputable::NothingConverted`], [`NotComputable::EverythingConverted`].
pub fn chi_square(table: &Table, yates: bool) -> Result<ChiSquareTest, NotComputable> {
    let pooled = table.mixed()?;
    let deviation = corrected_deviation(table, pooled.units, yates);
    Ok(ChiSquareTest::new(deviation * deviation * pooled.units * (pooled.units / pooled.spread(table))))
}

/// The likelihood-ratio test (G test) of a 2×2 table; Yates' correction moves every cell towards its expectation first.
///
/// # Errors
/// [`NotComputable::NothingConverted`], [`NotComputable::EverythingConverted`].
pub fn g_test(table: &Table, yates: bool) -> Result<ChiSquareTest, NotComputable> {
    let pooled = table.mixed()?;
    let deviation = corrected_deviation(table, pooled.units, yates).copysign(table.cross_difference());
    // All four cells deviate by the same amount, so G = 2 Σ E·h(±d/E) with h(u) = (1+u)ln(1+u) − u, which cancels nothing.
    let (a, b) = (table.control.units() as f64, table.treatment.units() as f64);
    let cells = [
        (b * pooled.converted, deviation),
        (b * pooled.unconverted, -deviation),
        (a * pooled.converted, -deviation),
        (a * pooled.unconverted, deviation),
    ];
    let sum: f64 = cells
        .into_iter()
        .map(|(margins, deviation)| {
            let expected = margins / pooled.units;
            expected * excess((deviation / expected).max(-1.0))
        })
        .sum();
    Ok(ChiSquareTest::new(2.0 * sum))
}

impl ChiSquareTest {
    fn new(statistic: f64) -> Self {
        Self { statistic, p_value: chi2_sf(statistic, 1.0) }
    }
}

/// How far each cell is from its expectation, |observed − expected|.
fn corrected_deviation(table: &Table, units: f64, yates: bool) -> f64 {
    let deviation = table.cross_difference().abs() / units;
    if yates { (deviation - 0.5).max(0.0) } else { deviation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cell_and_tables_without_a_test() {
        let empty_cell = Table::new((1, 1), (0, 1)).unwrap();
        assert!((g_test(&empty_cell, false).unwrap().statistic - 4.0 * 2_f64.ln()).abs() < 1e-12);
        let nothing = Table::new((0, 5), (0, 9)).unwrap();
        assert_eq!(chi_square(&nothing, true), Err(NotComputable::NothingConverted));
        let everything = Table::new((5, 5), (9, 9)).unwrap();
        assert_eq!(g_test(&everything, true), Err(NotComputable::EverythingConverted));
    }

    #[test]
    fn yates_never_overshoots() {
        let equal = Table::new((50, 100), (50, 101)).unwrap();
        let test = chi_square(&equal, true).unwrap();
        assert_eq!((test.statistic, test.p_value), (0.0, 1.0));
    }

    #[test]
    fn a_shift_in_the_traffic_known_from_the_literature() {
        // 821,588 against 815,482 units with equal planned shares, read as one more conversion table.
        let table = Table::new((821_588, 821_588 + 815_482), (815_482, 821_588 + 815_482)).unwrap();
        assert!(chi_square(&table, false).unwrap().p_value < 1e-5);
    }
}
