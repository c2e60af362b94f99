use super::table::{Conversions, Table};
use crate::NotComputable;
use crate::contrast::Interval;
use crate::special::{beta_isf, beta_ppf, norm_isf};

/// How the interval of a single proportion is formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalMethod {
    /// Inverts the score test (Wilson 1927).
    Wilson,
    /// Covers at least 1 − α for every rate (Clopper and Pearson 1934).
    ClopperPearson,
    /// Wilson's centre with a simple half-width (Agresti and Coull 1998).
    AgrestiCoull,
}

/// Interval for one conversion rate, within [0, 1].
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1.
pub fn proportion_interval(
    arm: &Conversions,
    alpha: f64,
    method: IntervalMethod,
) -> Result<Interval, NotComputable> {
    let alpha = NotComputable::unless_probability("alpha", alpha)?;
    Ok(match method {
        IntervalMethod::Wilson => wilson(arm, norm_isf(alpha / 2.0)),
        IntervalMethod::ClopperPearson => clopper_pearson(arm, alpha / 2.0),
        IntervalMethod::AgrestiCoull => agresti_coull(arm, norm_isf(alpha / 2.0)),
    })
}

/// Interval for the difference of two conversion rates, from the Wilson interval of each (Newcombe 1998, method 10).
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1.
pub fn newcombe_interval(table: &Table, alpha: f64) -> Result<Interval, NotComputable> {
    let quantile = norm_isf(NotComputable::unless_probability("alpha", alpha)? / 2.0);
    let (a, b) = (wilson(&table.control, quantile), wilson(&table.treatment, quantile));
    let (rate_a, rate_b) = (table.control.rate(), table.treatment.rate());
    let difference = table.difference();
    Ok(Interval {
        lower: difference - (rate_b - b.lower).hypot(a.upper - rate_a),
        upper: difference + (b.upper - rate_b).hypot(rate_a - a.lower),
    })
}

fn wilson(arm: &Conversions, quantile: f64) -> Interval {
    let (n, square) = (arm.units() as f64, quantile * quantile);
    let half_width = quantile * (n * arm.variance() + square / 4.0).sqrt() / (n + square);
    within_unit(wilson_centre(arm, square), half_width)
}

fn agresti_coull(arm: &Conversions, quantile: f64) -> Interval {
    let square = quantile * quantile;
    let centre = wilson_centre(arm, square);
    let half_width = quantile * (centre * (1.0 - centre) / (arm.units() as f64 + square)).sqrt();
    within_unit(centre, half_width)
}

fn wilson_centre(arm: &Conversions, square: f64) -> f64 {
    (arm.converted() as f64 + square / 2.0) / (arm.units() as f64 + square)
}

fn within_unit(centre: f64, half_width: f64) -> Interval {
    Interval { lower: (centre - half_width).max(0.0), upper: (centre + half_width).min(1.0) }
}

fn clopper_pearson(arm: &Conversions, tail: f64) -> Interval {
    let (converted, unconverted) = (arm.converted() as f64, arm.unconverted() as f64);
    Interval {
        lower: if arm.converted() == 0 { 0.0 } else { beta_ppf(tail, converted, unconverted + 1.0) },
        upper: if arm.unconverted() == 0 { 1.0 } else { beta_isf(tail, converted + 1.0, unconverted) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_holds_the_rate_and_stays_within_the_unit_interval() {
        for (converted, units) in
            [(0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (7, 1_000_000), (999_999, 1_000_000)]
        {
            let arm = Conversions::new(converted, units).unwrap();
            for method in
                [IntervalMethod::Wilson, IntervalMethod::ClopperPearson, IntervalMethod::AgrestiCoull]
            {
                let Interval { lower, upper } = proportion_interval(&arm, 0.05, method).unwrap();
                assert!(0.0 <= lower && lower <= arm.rate() + 1e-15, "{method:?} {converted}/{units}");
                assert!(arm.rate() - 1e-15 <= upper && upper <= 1.0, "{method:?} {converted}/{units}");
            }
        }
    }

    #[test]
    fn alpha_is_a_probability() {
        let table = Table::new((1, 2), (1, 2)).unwrap();
        for alpha in [0.0, 1.0, 2.0, f64::NAN] {
            assert!(newcombe_interval(&table, alpha).is_err());
            assert!(proportion_interval(&table.control, alpha, IntervalMethod::Wilson).is_err());
        }
    }
}
