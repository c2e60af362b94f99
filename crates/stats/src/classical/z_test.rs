use super::table::Table;
use crate::NotComputable;
use crate::contrast::{Alternative, Reference, p_value};

/// A statistic that is standard normal under the null, and its p-value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZTest {
    /// Standard errors from the null, positive when B is larger.
    pub z: f64,
    /// Probability of a statistic at least as extreme.
    pub p_value: f64,
}

impl ZTest {
    pub(crate) fn new(z: f64, alternative: Alternative) -> Self {
        Self { z, p_value: p_value(z, Reference::Normal, alternative) }
    }
}

/// Two proportions with the pooled standard error.
///
/// # Errors
/// [`NotComputable::NothingConverted`], [`NotComputable::EverythingConverted`]; [`NotComputable::NoVariance`] when the rate
/// rounds to one.
pub fn pooled_z_test(table: &Table, alternative: Alternative) -> Result<ZTest, NotComputable> {
    let pooled = table.mixed()?;
    // In the order of the textbook, whose rounding other tools share: near a rate of one that costs half the digits, which
    // chi_square, its square, keeps.
    let rate = pooled.converted / pooled.units;
    let variance =
        rate * (1.0 - rate) * (1.0 / table.control.units() as f64 + 1.0 / table.treatment.units() as f64);
    if variance == 0.0 {
        return Err(NotComputable::NoVariance);
    }
    Ok(ZTest::new((table.treatment.rate() - table.control.rate()) / variance.sqrt(), alternative))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classical::chi_square;

    proptest! {
        #[test]
        fn its_square_is_pearsons_statistic(a in 0_u64..50, b in 1_u64..50) {
            let table = Table::new((a, 100), (b, 70)).unwrap();
            let z = pooled_z_test(&table, Alternative::TwoSided).unwrap();
            let pearson = chi_square(&table, false).unwrap();
            prop_assert!((z.z * z.z - pearson.statistic).abs() <= 1e-12 * pearson.statistic.max(1.0));
            prop_assert!((z.p_value - pearson.p_value).abs() <= 1e-12);
        }
    }

    #[test]
    fn no_mixture_no_test() {
        let table = Table::new((0, 10), (0, 10)).unwrap();
        assert_eq!(pooled_z_test(&table, Alternative::TwoSided), Err(NotComputable::NothingConverted));
    }
}
