//! Power for a standardised effect, as power tables and other tools give it.

use super::noncentral_t::{noncentral_t_cdf, noncentral_t_sf};
use crate::NotComputable;
use crate::contrast::Alternative;
use crate::special::{find_root, norm_isf, norm_sf, t_isf};

/// Distribution of the statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// The variance is known.
    Normal,
    /// The variance is estimated from both samples together.
    StudentT,
}

/// A comparison of two means whose difference is `effect_size` standard deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EffectSizeTest {
    /// Cohen's d, or h for rates.
    pub effect_size: f64,
    /// Level of the test.
    pub alpha: f64,
    /// Units of the second arm per unit of the first.
    pub second_per_first: f64,
    /// Direction of the test.
    pub alternative: Alternative,
    /// How the statistic is distributed.
    pub distribution: Distribution,
}

impl EffectSizeTest {
    /// Probability of rejecting with `first_arm` units in the first arm.
    ///
    /// # Errors
    /// [`NotComputable::OutOfRange`]; [`NotComputable::TooFewUnits`] without degrees of freedom.
    pub fn power(&self, first_arm: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_finite("effect size", self.effect_size)?;
        NotComputable::unless_probability("alpha", self.alpha)?;
        NotComputable::unless_positive("ratio of the arms", self.second_per_first)?;
        NotComputable::unless_positive("units", first_arm)?;
        let second_arm = self.second_per_first * first_arm;
        let shift = self.effect_size / (1.0 / first_arm + 1.0 / second_arm).sqrt();
        let tail = if self.alternative == Alternative::TwoSided { self.alpha / 2.0 } else { self.alpha };
        let (above, below) = match self.distribution {
            Distribution::Normal => {
                let critical = norm_isf(tail);
                (norm_sf(critical - shift), norm_sf(critical + shift))
            }
            Distribution::StudentT => {
                let dof = first_arm + second_arm - 2.0;
                if dof <= 0.0 {
                    return Err(NotComputable::TooFewUnits);
                }
                let critical = t_isf(tail, dof);
                (noncentral_t_sf(critical, dof, shift), noncentral_t_cdf(-critical, dof, shift))
            }
        };
        Ok(match self.alternative {
            Alternative::TwoSided => (above + below).min(1.0),
            Alternative::Larger => above,
            Alternative::Smaller => below,
        })
    }

    /// Units of the first arm for this power.
    ///
    /// # Errors
    /// [`NotComputable::NoSolution`] when no number between 2 and 10¹⁵ gives it, as for an effect of zero or one in the
    /// wrong direction; those of [`power`](Self::power).
    pub fn units(&self, power: f64) -> Result<f64, NotComputable> {
        NotComputable::unless_probability("power", power)?;
        self.power(10.0)?;
        let missing =
            |log_units: f64| self.power(log_units.exp()).map_or(f64::NAN, |reached| power - reached);
        find_root(missing, FEWEST_UNITS.ln(), MOST_UNITS.ln()).map(f64::exp)
    }
}

const FEWEST_UNITS: f64 = 2.0;
const MOST_UNITS: f64 = 1e15;

/// Cohen's h = 2·asin √p₁ − 2·asin √p₂, the effect size of two rates.
///
/// # Errors
/// [`NotComputable::OutOfRange`] for a rate outside [0, 1].
pub fn cohens_h(first_rate: f64, second_rate: f64) -> Result<f64, NotComputable> {
    let angle = |got: f64| {
        if (0.0..=1.0).contains(&got) {
            Ok(2.0 * got.sqrt().asin())
        } else {
            Err(NotComputable::OutOfRange { argument: "rate", allowed: "from 0 to 1", got })
        }
    };
    Ok(angle(first_rate)? - angle(second_rate)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: EffectSizeTest = EffectSizeTest {
        effect_size: 0.2,
        alpha: 0.05,
        second_per_first: 1.0,
        alternative: Alternative::TwoSided,
        distribution: Distribution::StudentT,
    };

    #[test]
    fn without_an_effect_the_power_is_alpha() {
        for distribution in [Distribution::Normal, Distribution::StudentT] {
            for alternative in [Alternative::TwoSided, Alternative::Smaller, Alternative::Larger] {
                for units in [2.0, 3.0, 17.0, 1e4, 1e9] {
                    let test = EffectSizeTest { effect_size: 0.0, alternative, distribution, ..TEST };
                    let power = test.power(units).unwrap();
                    assert!((power - 0.05).abs() < 1e-9, "{distribution:?} {alternative:?} {units}: {power}");
                }
            }
        }
    }

    #[test]
    fn refusals() {
        assert!(TEST.power(0.0).is_err());
        assert_eq!(TEST.power(1.0), Err(NotComputable::TooFewUnits));
        assert_eq!(EffectSizeTest { effect_size: 0.0, ..TEST }.units(0.8), Err(NotComputable::NoSolution));
        let backwards = EffectSizeTest { alternative: Alternative::Smaller, ..TEST };
        assert_eq!(backwards.units(0.8), Err(NotComputable::NoSolution));
        assert!(TEST.units(1.0).is_err());
        assert!(cohens_h(1.1, 0.5).is_err() && cohens_h(0.5, f64::NAN).is_err());
    }
}
