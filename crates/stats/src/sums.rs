//! The sums that the database keeps per experiment, arm, metric and allocation epoch, and the exact step from them to
//! means, variances and covariances.
//!
//! Every value is the total of one randomised unit, never of one event: squaring events understates the variance.
//! Amounts are fixed-point integers, so sums are exact and can be merged in any order; [`Scale`] says how many integer
//! steps make 1, and is applied once, when [`Sample`](crate::sample::Sample) values leave this module.

use crate::NotComputable;

/// Integer steps per 1 in which amounts are stored: six decimal places.
pub const AMOUNT_SCALE: u32 = 1_000_000;

/// Integer steps per 1 of a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u32);

impl Scale {
    /// Whole numbers: counts of events, yes or no.
    pub const COUNT: Self = Self(1);
    /// Amounts stored in millionths, [`AMOUNT_SCALE`].
    pub const AMOUNT: Self = Self(AMOUNT_SCALE);

    /// Steps per 1.
    pub fn steps(self) -> f64 {
        f64::from(self.0)
    }
}

/// One metric in one arm: units, Σy, Σy², and how many units have y ≠ 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeanSums {
    /// Exposed units.
    pub n: u64,
    /// Σy, in steps of the metric's scale.
    pub sum: i128,
    /// Σy², in squared steps.
    pub sum_sq: i128,
    /// Units with y ≠ 0.
    pub nonzero: u64,
}

/// [`MeanSums`] together with a covariate x known before the exposure; x = 0 for units without history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CupedSums {
    /// The metric itself.
    pub y: MeanSums,
    /// Σx.
    pub sum_x: i128,
    /// Σx².
    pub sum_sq_x: i128,
    /// Σxy.
    pub sum_xy: i128,
}

/// A ratio metric in one arm: numerator and denominator are totals of the same unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RatioSums {
    /// The numerator, with the units.
    pub numerator: MeanSums,
    /// Σd.
    pub sum_den: i128,
    /// Σd².
    pub sum_sq_den: i128,
    /// Σmd.
    pub sum_num_den: i128,
}

/// A ratio metric with the same ratio before the exposure as its covariate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RatioCupedSums {
    /// Numerator and denominator after the exposure, with the units.
    pub after: RatioSums,
    /// Σ of the numerator before.
    pub sum_num_before: i128,
    /// Σ of its squares.
    pub sum_sq_num_before: i128,
    /// Σ of the denominator before.
    pub sum_den_before: i128,
    /// Σ of its squares.
    pub sum_sq_den_before: i128,
    /// Σ numerator before × denominator before.
    pub sum_num_before_den_before: i128,
    /// Σ numerator × numerator before.
    pub sum_num_num_before: i128,
    /// Σ numerator × denominator before.
    pub sum_num_den_before: i128,
    /// Σ denominator × numerator before.
    pub sum_den_num_before: i128,
    /// Σ denominator × denominator before.
    pub sum_den_den_before: i128,
}

impl MeanSums {
    /// The sums with one more exposed unit whose total is still zero.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn with_unit(self) -> Result<Self, NotComputable> {
        Ok(Self { n: add_units(self.n, 1)?, ..self })
    }

    /// The sums after one unit's total changed from `before` to `after`.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`]; [`NotComputable::InconsistentSums`] when a unit with a total leaves sums in which
    /// none has one.
    pub fn with_change(self, before: i128, after: i128) -> Result<Self, NotComputable> {
        let arrived = add_units(self.nonzero, u64::from(after != 0))?;
        Ok(Self {
            n: self.n,
            sum: add(self.sum, subtract(after, before)?)?,
            sum_sq: add(self.sum_sq, subtract(multiply(after, after)?, multiply(before, before)?)?)?,
            nonzero: arrived.checked_sub(u64::from(before != 0)).ok_or(NotComputable::InconsistentSums)?,
        })
    }

    /// Both samples as one.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn merged(self, other: Self) -> Result<Self, NotComputable> {
        Ok(Self {
            n: add_units(self.n, other.n)?,
            sum: add(self.sum, other.sum)?,
            sum_sq: add(self.sum_sq, other.sum_sq)?,
            nonzero: add_units(self.nonzero, other.nonzero)?,
        })
    }

    pub(crate) fn variable(&self) -> Variable {
        Variable { n: self.n, sum: self.sum, sum_sq: self.sum_sq }
    }
}

impl CupedSums {
    /// The sums after the total of one unit with covariate `x` changed from `before` to `after`.
    ///
    /// # Errors
    /// As [`MeanSums::with_change`].
    pub fn with_change(self, before: i128, after: i128, x: i128) -> Result<Self, NotComputable> {
        let product = multiply(x, subtract(after, before)?)?;
        Ok(Self { y: self.y.with_change(before, after)?, sum_xy: add(self.sum_xy, product)?, ..self })
    }

    /// The sums with one more exposed unit whose total is still zero and whose covariate is `x`.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn with_unit(self, x: i128) -> Result<Self, NotComputable> {
        Ok(Self {
            y: self.y.with_unit()?,
            sum_x: add(self.sum_x, x)?,
            sum_sq_x: add(self.sum_sq_x, multiply(x, x)?)?,
            ..self
        })
    }

    /// Both samples as one.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn merged(self, other: Self) -> Result<Self, NotComputable> {
        Ok(Self {
            y: self.y.merged(other.y)?,
            sum_x: add(self.sum_x, other.sum_x)?,
            sum_sq_x: add(self.sum_sq_x, other.sum_sq_x)?,
            sum_xy: add(self.sum_xy, other.sum_xy)?,
        })
    }

    pub(crate) fn covariate(&self) -> Variable {
        Variable { n: self.y.n, sum: self.sum_x, sum_sq: self.sum_sq_x }
    }
}

impl RatioSums {
    /// The sums with one more exposed unit whose totals are still zero.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn with_unit(self) -> Result<Self, NotComputable> {
        Ok(Self { numerator: self.numerator.with_unit()?, ..self })
    }

    /// The sums after one unit's (numerator, denominator) changed from `before` to `after`.
    ///
    /// # Errors
    /// As [`MeanSums::with_change`].
    pub fn with_change(self, before: (i128, i128), after: (i128, i128)) -> Result<Self, NotComputable> {
        let denominator = MeanSums { n: 0, sum: self.sum_den, sum_sq: self.sum_sq_den, nonzero: 1 }
            .with_change(before.1, after.1)?;
        let product = subtract(multiply(after.0, after.1)?, multiply(before.0, before.1)?)?;
        Ok(Self {
            numerator: self.numerator.with_change(before.0, after.0)?,
            sum_den: denominator.sum,
            sum_sq_den: denominator.sum_sq,
            sum_num_den: add(self.sum_num_den, product)?,
        })
    }

    /// Both samples as one.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn merged(self, other: Self) -> Result<Self, NotComputable> {
        Ok(Self {
            numerator: self.numerator.merged(other.numerator)?,
            sum_den: add(self.sum_den, other.sum_den)?,
            sum_sq_den: add(self.sum_sq_den, other.sum_sq_den)?,
            sum_num_den: add(self.sum_num_den, other.sum_num_den)?,
        })
    }

    pub(crate) fn denominator(&self) -> Variable {
        Variable { n: self.numerator.n, sum: self.sum_den, sum_sq: self.sum_sq_den }
    }
}

impl RatioCupedSums {
    /// Both samples as one.
    ///
    /// # Errors
    /// [`NotComputable::SumsTooLarge`].
    pub fn merged(self, other: Self) -> Result<Self, NotComputable> {
        Ok(Self {
            after: self.after.merged(other.after)?,
            sum_num_before: add(self.sum_num_before, other.sum_num_before)?,
            sum_sq_num_before: add(self.sum_sq_num_before, other.sum_sq_num_before)?,
            sum_den_before: add(self.sum_den_before, other.sum_den_before)?,
            sum_sq_den_before: add(self.sum_sq_den_before, other.sum_sq_den_before)?,
            sum_num_before_den_before: add(self.sum_num_before_den_before, other.sum_num_before_den_before)?,
            sum_num_num_before: add(self.sum_num_num_before, other.sum_num_num_before)?,
            sum_num_den_before: add(self.sum_num_den_before, other.sum_num_den_before)?,
            sum_den_num_before: add(self.sum_den_num_before, other.sum_den_num_before)?,
            sum_den_den_before: add(self.sum_den_den_before, other.sum_den_den_before)?,
        })
    }

    /// The ratio before the exposure, as a ratio metric of its own.
    pub(crate) fn before(&self) -> RatioSums {
        let n = self.after.numerator.n;
        RatioSums {
            numerator: MeanSums { n, sum: self.sum_num_before, sum_sq: self.sum_sq_num_before, nonzero: n },
            sum_den: self.sum_den_before,
            sum_sq_den: self.sum_sq_den_before,
            sum_num_den: self.sum_num_before_den_before,
        }
    }
}

/// n, Σv and Σv² of one variable, in integer steps.
///
/// Moments are taken around the integer nearest to the mean. The centred sums are exact integers, and because the
/// remainder r obeys |r| ≤ n/2 and Σc² ≥ |r|, the subtraction Σc² − r²/n that follows in floating point loses at most one
/// bit: as accurate as forming n·Σv² − (Σv)² exactly, without its overflow at n·Σv² > 1.7e38.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) n: u64,
    pub(crate) sum: i128,
    pub(crate) sum_sq: i128,
}

impl Variable {
    /// Mean in steps.
    pub(crate) fn mean(&self) -> Result<f64, NotComputable> {
        if self.n == 0 {
            return Err(NotComputable::NoUnits);
        }
        Ok(self.sum as f64 / self.n as f64)
    }

    /// Unbiased sample variance in squared steps.
    pub(crate) fn variance(&self) -> Result<f64, NotComputable> {
        let sum_of_squares = self.covariance(self, self.sum_sq)?;
        if sum_of_squares < 0.0 { Err(NotComputable::InconsistentSums) } else { Ok(sum_of_squares) }
    }

    /// Unbiased sample covariance with another variable of the same units, given Σ of their product.
    pub(crate) fn covariance(&self, other: &Self, sum_of_products: i128) -> Result<f64, NotComputable> {
        if self.n == 0 {
            return Err(NotComputable::NoUnits);
        }
        if self.n == 1 {
            return Err(NotComputable::TooFewUnits);
        }
        let n = i128::from(self.n);
        let (centre, remainder) = self.centre();
        let (other_centre, other_remainder) = other.centre();
        // Σ(v−c)(w−d) = Σvw − c·Σw − d·(Σv − n·c); the last bracket is the remainder, so it is small.
        let centred = subtract(
            subtract(sum_of_products, multiply(centre, other.sum)?)?,
            multiply(other_centre, subtract(self.sum, multiply(n, centre)?)?)?,
        )?;
        let n = n as f64;
        Ok((centred as f64 - remainder as f64 * (other_remainder as f64 / n)) / (n - 1.0))
    }

    /// The integer nearest to the mean, and Σv − n times it.
    fn centre(&self) -> (i128, i128) {
        let n = i128::from(self.n);
        let (floor, rest) = (self.sum.div_euclid(n), self.sum.rem_euclid(n));
        if rest > n / 2 { (floor + 1, rest - n) } else { (floor, rest) }
    }
}

fn add(a: i128, b: i128) -> Result<i128, NotComputable> {
    a.checked_add(b).ok_or(NotComputable::SumsTooLarge)
}

fn subtract(a: i128, b: i128) -> Result<i128, NotComputable> {
    a.checked_sub(b).ok_or(NotComputable::SumsTooLarge)
}

fn multiply(a: i128, b: i128) -> Result<i128, NotComputable> {
    a.checked_mul(b).ok_or(NotComputable::SumsTooLarge)
}

fn add_units(a: u64, b: u64) -> Result<u64, NotComputable> {
    a.checked_add(b).ok_or(NotComputable::SumsTooLarge)
}

#[cfg(test)]
mod tests;
