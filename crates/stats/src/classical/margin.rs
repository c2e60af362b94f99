use std::f64::consts::PI;

use super::table::Table;
use super::z_test::ZTest;
use crate::NotComputable;
use crate::contrast::{Alternative, Contrast, Interval, Reference};

/// The hypothesis about two rates from which evidence must lead away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Null {
    /// rate of B − rate of A equals this.
    Difference(f64),
    /// rate of B / rate of A equals this.
    Ratio(f64),
}

/// Score test of two proportions against any null (Farrington and Manning 1990; Miettinen and Nurminen 1985 without
/// their factor N/(N−1)): the variance is taken at the rates that fit the data best among those the null allows.
///
/// # Errors
/// [`NotComputable::OutOfRange`] for a difference outside (−1, 1) or a ratio that is not positive;
/// [`NotComputable::NothingConverted`] or [`NotComputable::EverythingConverted`] when the fit under the null leaves no
/// variance.
pub fn score_test(table: &Table, null: Null, alternative: Alternative) -> Result<ZTest, NotComputable> {
    let (n_a, n_b) = (table.control.units() as f64, table.treatment.units() as f64);
    let (numerator, weight, [q_a, q_b]) = match null {
        Null::Difference(difference) => {
            if !(difference > -1.0 && difference < 1.0) {
                let allowed = "between -1 and 1";
                return Err(NotComputable::OutOfRange {
                    argument: "null difference",
                    allowed,
                    got: difference,
                });
            }
            (table.difference() - difference, 1.0, rates_at_difference(table, difference))
        }
        Null::Ratio(ratio) => {
            NotComputable::unless_positive("null ratio", ratio)?;
            let numerator = table.treatment.rate() - ratio * table.control.rate();
            (numerator, ratio, rates_at_ratio(table, ratio))
        }
    };
    let variance = q_b * (1.0 - q_b) / n_b + weight * weight * q_a * (1.0 - q_a) / n_a;
    if variance > 0.0 {
        return Ok(ZTest::new(numerator / variance.sqrt(), alternative));
    }
    table.mixed()?;
    Err(NotComputable::NoVariance)
}

/// The z test with which spotify-confidence compares two rates against a relative margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarginTest {
    /// rate of B − rate of A.
    pub difference: f64,
    /// The difference under the null, taken as a constant; zero without a margin.
    pub null: f64,
    /// p-value against that null.
    pub p_value: f64,
    /// Interval for the difference.
    pub interval: Interval,
}

/// Unpooled z test of `null = ±margin · rate of A`: larger than −margin·rate, smaller than +margin·rate, or two-sided
/// around zero, in which case the margin is ignored. Treats the null as known, so [`score_test`] with a ratio is the
/// sharper form; this one is for comparison.
///
/// # Errors
/// [`NotComputable::TooFewUnits`], [`NotComputable::NoVariance`], [`NotComputable::OutOfRange`].
pub fn margin_z_test(
    table: &Table,
    margin: f64,
    alternative: Alternative,
    alpha: f64,
) -> Result<MarginTest, NotComputable> {
    let margin = NotComputable::unless_non_negative("margin", margin)?;
    let (control, treatment) = (table.control.sample()?, table.treatment.sample()?);
    let variance = control.variance_of_mean() + treatment.variance_of_mean();
    let contrast = Contrast::new(table.difference(), variance.sqrt(), Reference::Normal)?;
    let null = match alternative {
        Alternative::TwoSided => 0.0,
        Alternative::Larger => -margin * control.mean(),
        Alternative::Smaller => margin * control.mean(),
    };
    Ok(MarginTest {
        difference: contrast.estimate(),
        null,
        p_value: contrast.p_value(null, alternative),
        interval: contrast.interval(alpha, alternative)?,
    })
}

/// The most likely rates of A and B with q_B = `ratio`·q_A: a root of a quadratic, in the form that does not cancel.
fn rates_at_ratio(table: &Table, ratio: f64) -> [f64; 2] {
    let (n_a, n_b) = (table.control.units() as f64, table.treatment.units() as f64);
    let (y_a, y_b) = (table.control.converted() as f64, table.treatment.converted() as f64);
    let a = (n_a + n_b) * ratio;
    let b = -(n_b * ratio + y_b + n_a + y_a * ratio);
    let c = y_a + y_b;
    let q_a = 2.0 * c / (-b + (b * b - 4.0 * a * c).max(0.0).sqrt());
    let q_a = q_a.min(1.0).min(1.0 / ratio);
    [q_a, ratio * q_a]
}

/// The most likely rates of A and B with q_B = q_A + `difference`: a root of a cubic, by its trigonometric form.
fn rates_at_difference(table: &Table, difference: f64) -> [f64; 2] {
    let pooled = table.pooled();
    if difference == 0.0 {
        return [pooled.converted / pooled.units; 2];
    }
    let theta = table.control.units() as f64 / table.treatment.units() as f64;
    let (p_a, p_b) = (table.control.rate(), table.treatment.rate());
    let a = 1.0 + theta;
    let b = -(1.0 + theta + p_b + theta * p_a + difference * (theta + 2.0));
    let c = difference * difference + difference * (2.0 * p_b + theta + 1.0) + p_b + theta * p_a;
    let e = -p_b * difference * (1.0 + difference);
    let third = b / (3.0 * a);
    let v = third.powi(3) - b * c / (6.0 * a * a) + e / (2.0 * a);
    let u = (third * third - c / (3.0 * a)).max(0.0).sqrt().copysign(v);
    let cosine = if u == 0.0 { 0.0 } else { (v / u.powi(3)).clamp(-1.0, 1.0) };
    let q_b = 2.0 * u * ((PI + cosine.acos()) / 3.0).cos() - third;
    let q_b = q_b.clamp(difference.max(0.0), (1.0 + difference).min(1.0));
    [q_b - difference, q_b]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log_likelihood(table: &Table, [q_a, q_b]: [f64; 2]) -> f64 {
        let term = |count: u64, rate: f64| if count == 0 { 0.0 } else { count as f64 * rate.ln() };
        term(table.control.converted(), q_a)
            + term(table.control.unconverted(), 1.0 - q_a)
            + term(table.treatment.converted(), q_b)
            + term(table.treatment.unconverted(), 1.0 - q_b)
    }

    proptest! {
        #[test]
        fn no_allowed_rate_fits_better(
            a in 0_u64..=50, b in 0_u64..=80, null in -0.6..0.6_f64, other in 0.0..1.0_f64,
        ) {
            let table = Table::new((a, 50), (b, 80)).unwrap();
            let best = log_likelihood(&table, rates_at_difference(&table, null));
            let q_a = (-null).max(0.0) + other * (1.0 - null.abs());
            prop_assert!(log_likelihood(&table, [q_a, q_a + null]) <= best + 1e-9);

            let ratio = 1.0 + null;
            let best = log_likelihood(&table, rates_at_ratio(&table, ratio));
            let q_a = other * (1.0 / ratio).min(1.0);
            prop_assert!(log_likelihood(&table, [q_a, ratio * q_a]) <= best + 1e-9);
        }
    }

    #[test]
    fn refusals() {
        let table = Table::new((0, 10), (0, 10)).unwrap();
        let test = |null| score_test(&table, null, Alternative::Smaller);
        assert_eq!(test(Null::Difference(0.0)), Err(NotComputable::NothingConverted));
        assert_eq!(test(Null::Ratio(0.9)), Err(NotComputable::NothingConverted));
        let everything = Table::new((10, 10), (10, 10)).unwrap();
        let refused = score_test(&everything, Null::Ratio(1.0), Alternative::Smaller);
        assert_eq!(refused, Err(NotComputable::EverythingConverted));
        for null in
            [Null::Difference(1.0), Null::Difference(f64::NAN), Null::Ratio(0.0), Null::Ratio(f64::INFINITY)]
        {
            assert!(matches!(test(null), Err(NotComputable::OutOfRange { .. })), "{null:?}");
        }
        assert_eq!(margin_z_test(&table, 0.1, Alternative::Larger, 0.05), Err(NotComputable::NoVariance));
        assert!(margin_z_test(&table, -0.1, Alternative::Larger, 0.05).is_err());
    }

    #[test]
    fn nothing_converted_still_speaks_against_a_large_difference() {
        let table = Table::new((0, 1000), (0, 1000)).unwrap();
        let test = score_test(&table, Null::Difference(-0.05), Alternative::Larger).unwrap();
        assert!(test.p_value < 1e-6);
    }
}
