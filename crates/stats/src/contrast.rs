//! An estimate with its standard error, and every statement that follows from the pair: statistic, p-value, interval.

use crate::NotComputable;
use crate::sample::Sample;
use crate::special::{norm_isf, norm_sf, t_isf, t_sf};

/// Which departures from the null count as evidence. Differences are treatment minus control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// Either direction.
    TwoSided,
    /// The treatment is smaller.
    Smaller,
    /// The treatment is larger.
    Larger,
}

/// The distribution of the statistic when the null holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reference {
    /// Standard normal.
    Normal,
    /// Student's t.
    StudentT {
        /// Degrees of freedom, not necessarily whole.
        dof: f64,
    },
}

/// An interval; a one-sided one is infinite on its open side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// An estimated difference and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    estimate: f64,
    standard_error: f64,
    reference: Reference,
}

impl Contrast {
    /// # Errors
    /// [`NotComputable::NoVariance`] for a standard error of zero, [`NotComputable::OutOfRange`] for values that are not
    /// finite, a negative standard error or degrees of freedom that are not positive.
    pub fn new(estimate: f64, standard_error: f64, reference: Reference) -> Result<Self, NotComputable> {
        if standard_error == 0.0 {
            return Err(NotComputable::NoVariance);
        }
        if let Reference::StudentT { dof } = reference {
            NotComputable::unless_positive("degrees of freedom", dof)?;
        }
        Ok(Self {
            estimate: NotComputable::unless_finite("estimate", estimate)?,
            standard_error: NotComputable::unless_positive("standard error", standard_error)?,
            reference,
        })
    }

    /// Treatment minus control with Welch's standard error and degrees of freedom.
    ///
    /// # Errors
    /// [`NotComputable::NoVariance`] when neither arm varies.
    pub fn welch(control: &Sample, treatment: &Sample) -> Result<Self, NotComputable> {
        let variance = control.variance_of_mean() + treatment.variance_of_mean();
        Self::new(treatment.mean() - control.mean(), variance.sqrt(), welch_reference(control, treatment))
    }

    /// The estimated difference.
    pub fn estimate(&self) -> f64 {
        self.estimate
    }

    /// Its standard error, above zero.
    pub fn standard_error(&self) -> f64 {
        self.standard_error
    }

    /// Which distribution the statistic is held against.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// The same with quantiles of another distribution.
    #[must_use]
    pub fn with_reference(self, reference: Reference) -> Self {
        Self { reference, ..self }
    }

    /// Standard errors between the estimate and `null`.
    pub fn statistic(&self, null: f64) -> f64 {
        (self.estimate - null) / self.standard_error
    }

    /// p-value of the hypothesis that the difference is `null`.
    pub fn p_value(&self, null: f64, alternative: Alternative) -> f64 {
        p_value(self.statistic(null), self.reference, alternative)
    }

    /// The values that a test at `alpha` does not reject.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless 0 < `alpha` < 1.
    pub fn interval(&self, alpha: f64, alternative: Alternative) -> Result<Interval, NotComputable> {
        let alpha = NotComputable::unless_probability("alpha", alpha)?;
        let tail = if alternative == Alternative::TwoSided { alpha / 2.0 } else { alpha };
        let quantile = match self.reference {
            Reference::Normal => norm_isf(tail),
            Reference::StudentT { dof } => t_isf(tail, dof),
        };
        let half_width = quantile * self.standard_error;
        let (lower, upper) = (self.estimate - half_width, self.estimate + half_width);
        Ok(match alternative {
            Alternative::TwoSided => Interval { lower, upper },
            Alternative::Smaller => Interval { lower: f64::NEG_INFINITY, upper },
            Alternative::Larger => Interval { lower, upper: f64::INFINITY },
        })
    }
}

/// p-value of a statistic; the upper tail is taken as such, so that it stays exact far beyond 1e-16.
pub(crate) fn p_value(statistic: f64, reference: Reference, alternative: Alternative) -> f64 {
    let upper_tail = |x| match reference {
        Reference::Normal => norm_sf(x),
        Reference::StudentT { dof } => t_sf(x, dof),
    };
    match alternative {
        Alternative::TwoSided => (2.0 * upper_tail(statistic.abs())).min(1.0),
        Alternative::Smaller => upper_tail(-statistic),
        Alternative::Larger => upper_tail(statistic),
    }
}

/// Degrees of freedom after Welch and Satterthwaite. The larger arm's share is divided out first, so that neither a tiny
/// nor a huge variance leaves the range of f64.
pub(crate) fn welch_reference(control: &Sample, treatment: &Sample) -> Reference {
    let (a, b) = (control.variance_of_mean(), treatment.variance_of_mean());
    let share = b / (a + b);
    let inverse = share * share / (treatment.n() as f64 - 1.0)
        + (1.0 - share) * (1.0 - share) / (control.n() as f64 - 1.0);
    if inverse > 0.0 { Reference::StudentT { dof: 1.0 / inverse } } else { Reference::Normal }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(n: u64, mean: f64, variance: f64) -> Sample {
        Sample::new(n, mean, variance).unwrap()
    }

    #[test]
    fn an_arm_without_variance_is_compared_but_two_are_not() {
        let (constant, varying) = (sample(100, 3.0, 0.0), sample(100, 3.0, 1.0));
        let contrast = Contrast::welch(&constant, &varying).unwrap();
        let Reference::StudentT { dof } = contrast.reference() else { panic!("not Welch") };
        assert!((dof - 99.0).abs() < 1e-9, "{dof}");
        assert_eq!(Contrast::welch(&constant, &constant), Err(NotComputable::NoVariance));
    }

    #[test]
    fn one_sided_intervals_are_open_on_their_side() {
        let contrast = Contrast::new(1.0, 0.5, Reference::Normal).unwrap();
        let larger = contrast.interval(0.05, Alternative::Larger).unwrap();
        assert_eq!(larger.upper, f64::INFINITY);
        assert!((larger.lower - (1.0 - 1.644_853_626_951_472_2 * 0.5)).abs() < 1e-12);
        assert_eq!(contrast.interval(0.05, Alternative::Smaller).unwrap().lower, f64::NEG_INFINITY);
    }

    #[test]
    fn refusals() {
        assert_eq!(Contrast::new(1.0, 0.0, Reference::Normal), Err(NotComputable::NoVariance));
        for (estimate, error) in [(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, -1.0), (f64::INFINITY, 1.0)] {
            let refused = Contrast::new(estimate, error, Reference::Normal);
            assert!(matches!(refused, Err(NotComputable::OutOfRange { .. })), "{estimate} {error}");
        }
        let contrast = Contrast::new(1.0, 1.0, Reference::Normal).unwrap();
        for alpha in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(contrast.interval(alpha, Alternative::TwoSided).is_err(), "{alpha}");
        }
    }

    proptest! {
        #[test]
        fn swapping_the_arms_turns_the_sign(
            (na, nb) in (2_u64..1_000_000, 2_u64..1_000_000), (ma, mb) in (-1e3..1e3_f64, -1e3..1e3_f64),
            (va, vb) in (1e-6..1e6_f64, 1e-6..1e6_f64),
        ) {
            let (a, b) = (sample(na, ma, va), sample(nb, mb, vb));
            let (there, back) = (Contrast::welch(&a, &b).unwrap(), Contrast::welch(&b, &a).unwrap());
            prop_assert_eq!(there.estimate(), -back.estimate());
            let (p, q) = (there.p_value(0.0, Alternative::Smaller), back.p_value(0.0, Alternative::Larger));
            prop_assert!((p - q).abs() <= 1e-9 * p.max(q), "{} {}", p, q);
        }

        #[test]
        fn an_interval_holds_zero_exactly_when_the_test_does_not_reject(estimate in -5.0..5.0_f64) {
            let contrast = Contrast::new(estimate, 1.0, Reference::StudentT { dof: 20.0 }).unwrap();
            let interval = contrast.interval(0.05, Alternative::TwoSided).unwrap();
            let holds = interval.lower <= 0.0 && 0.0 <= interval.upper;
            prop_assert_eq!(holds, contrast.p_value(0.0, Alternative::TwoSided) >= 0.05);
        }
    }
}
