use super::tails::{CountDistribution, binomial_ln_pmf, exact_p_value};
use crate::NotComputable;
use crate::contrast::{Alternative, Reference, p_value};

/// Events of one arm and the exposure in which they happened (units, or time).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Events {
    count: u64,
    exposure: f64,
}

impl Events {
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless the exposure is positive; beyond 10¹³ events.
    pub fn new(count: u64, exposure: f64) -> Result<Self, NotComputable> {
        if count > EVENTS_MAX {
            let allowed = "at most 10^13";
            return Err(NotComputable::OutOfRange { argument: "events", allowed, got: count as f64 });
        }
        Ok(Self { count, exposure: NotComputable::unless_positive("exposure", exposure)? })
    }
}

/// The largest count of events: the exact tests sum over counts.
const EVENTS_MAX: u64 = 10_000_000_000_000;

/// How two event rates are compared. All assume that events are independent: for several events per unit, compare
/// per-unit means instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateMethod {
    /// Score test given the total count.
    Score,
    /// Square-root transform (Anscombe's 3/8).
    SquareRoot,
    /// Exact binomial test given the total count.
    ExactConditional,
    /// The same, counting the observed value half.
    MidP,
}

/// A comparison of two event rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateTest {
    /// Standard normal under the null; the exact methods have none.
    pub statistic: Option<f64>,
    /// p-value.
    pub p_value: f64,
}

/// Tests whether rate of B / rate of A equals `null_ratio`.
///
/// # Errors
/// [`NotComputable::NothingConverted`] when neither arm has an event, [`NotComputable::OutOfRange`] for a ratio that is
/// not positive.
pub fn compare_rates(
    control: &Events,
    treatment: &Events,
    null_ratio: f64,
    method: RateMethod,
    alternative: Alternative,
) -> Result<RateTest, NotComputable> {
    NotComputable::unless_positive("null ratio", null_ratio)?;
    if control.count == 0 && treatment.count == 0 {
        return Err(NotComputable::NothingConverted);
    }
    // Under the null, each event belongs to B with odds `odds`.
    let odds =
        NotComputable::unless_positive("null odds", null_ratio * treatment.exposure / control.exposure)?;
    let (a, b) = (control.count as f64, treatment.count as f64);
    let normal = |statistic| RateTest {
        statistic: Some(statistic),
        p_value: p_value(statistic, Reference::Normal, alternative),
    };
    let split = Binomial { trials: control.count + treatment.count, odds };
    let exact = || exact_p_value(&split, treatment.count, alternative);
    Ok(match method {
        RateMethod::Score => normal((b - a * odds) / ((a + b) * odds).sqrt()),
        RateMethod::SquareRoot => {
            normal(2.0 * ((b + 0.375).sqrt() - ((a + 0.375) * odds).sqrt()) / (1.0 + odds).sqrt())
        }
        RateMethod::ExactConditional => RateTest { statistic: None, p_value: exact() },
        RateMethod::MidP => {
            RateTest { statistic: None, p_value: exact() - 0.5 * split.ln_pmf(treatment.count).exp() }
        }
    })
}

struct Binomial {
    trials: u64,
    odds: f64,
}

impl CountDistribution for Binomial {
    fn support(&self) -> (u64, u64) {
        (0, self.trials)
    }

    fn mode(&self) -> u64 {
        let p = self.odds / (1.0 + self.odds);
        (((self.trials + 1) as f64 * p) as u64).min(self.trials)
    }

    fn ln_pmf(&self, count: u64) -> f64 {
        binomial_ln_pmf(
            count as f64,
            self.trials as f64,
            self.odds / (1.0 + self.odds),
            1.0 / (1.0 + self.odds),
        )
    }

    fn ratio_up(&self, count: u64) -> f64 {
        (self.trials - count) as f64 / (count + 1) as f64 * self.odds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals() {
        assert!(
            Events::new(1, 0.0).is_err()
                && Events::new(1, f64::NAN).is_err()
                && Events::new(u64::MAX, 1.0).is_err()
        );
        let (none, some) = (Events::new(0, 1.0).unwrap(), Events::new(3, 1.0).unwrap());
        let test = |a, b, ratio| compare_rates(a, b, ratio, RateMethod::Score, Alternative::TwoSided);
        assert_eq!(test(&none, &none, 1.0), Err(NotComputable::NothingConverted));
        assert!(test(&none, &some, 0.0).is_err());
        assert!(test(&none, &some, 1.0).is_ok());
    }

    proptest! {
        #[test]
        fn the_tails_share_the_observed_count(a in 0_u64..60, b in 1_u64..60, ratio in 0.2..5.0_f64) {
            let (control, treatment) = (Events::new(a, 2.0).unwrap(), Events::new(b, 3.0).unwrap());
            let p = |alternative| {
                compare_rates(&control, &treatment, ratio, RateMethod::ExactConditional, alternative).unwrap().p_value
            };
            let observed = Binomial { trials: a + b, odds: ratio * 1.5 }.ln_pmf(b).exp();
            prop_assert!((p(Alternative::Smaller) + p(Alternative::Larger) - 1.0 - observed).abs() < 1e-12);
        }
    }
}
