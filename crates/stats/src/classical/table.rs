use crate::NotComputable;
use crate::sample::Sample;

/// Units of one arm, and how many of them converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversions {
    converted: u64,
    units: u64,
}

/// Conversions of both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Arm A.
    pub control: Conversions,
    /// Arm B.
    pub treatment: Conversions,
}

impl Conversions {
    /// # Errors
    /// [`NotComputable::NoUnits`], [`NotComputable::MoreConversionsThanUnits`].
    pub fn new(converted: u64, units: u64) -> Result<Self, NotComputable> {
        if units == 0 {
            return Err(NotComputable::NoUnits);
        }
        if converted > units {
            return Err(NotComputable::MoreConversionsThanUnits);
        }
        Ok(Self { converted, units })
    }

    /// Converting units.
    pub fn converted(&self) -> u64 {
        self.converted
    }

    /// All units.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Units that did not convert.
    pub fn unconverted(&self) -> u64 {
        self.units - self.converted
    }

    /// Share of units that converted.
    pub fn rate(&self) -> f64 {
        self.converted as f64 / self.units as f64
    }

    /// p(1 − p), without Bessel's correction; keeps its digits near 0 and near 1.
    pub fn variance(&self) -> f64 {
        self.rate() * (self.unconverted() as f64 / self.units as f64)
    }

    /// The rate as a mean of zeros and ones with variance [`p(1 − p)`](Self::variance).
    ///
    /// # Errors
    /// [`NotComputable::TooFewUnits`] below two units.
    pub fn sample(&self) -> Result<Sample, NotComputable> {
        Sample::new(self.units, self.rate(), self.variance())
    }
}

impl Table {
    /// # Errors
    /// Those of [`Conversions::new`], for either arm.
    pub fn new(control: (u64, u64), treatment: (u64, u64)) -> Result<Self, NotComputable> {
        Ok(Self {
            control: Conversions::new(control.0, control.1)?,
            treatment: Conversions::new(treatment.0, treatment.1)?,
        })
    }

    /// Rate of B − rate of A, from the exact numerator y_B·n_A − y_A·n_B.
    pub fn difference(&self) -> f64 {
        self.cross_difference() / (self.control.units as f64 * self.treatment.units as f64)
    }

    /// Both arms as one.
    pub(crate) fn pooled(&self) -> Pooled {
        Pooled {
            converted: self.control.converted as f64 + self.treatment.converted as f64,
            unconverted: self.control.unconverted() as f64 + self.treatment.unconverted() as f64,
            units: self.control.units as f64 + self.treatment.units as f64,
        }
    }

    /// `Err` when no unit converted or every unit did, in both arms.
    pub(crate) fn mixed(&self) -> Result<Pooled, NotComputable> {
        let pooled = self.pooled();
        if pooled.converted == 0.0 {
            Err(NotComputable::NothingConverted)
        } else if pooled.unconverted == 0.0 {
            Err(NotComputable::EverythingConverted)
        } else {
            Ok(pooled)
        }
    }

    /// y_B(n_A − y_A) − y_A(n_B − y_B), formed in integers: it is y_B·n_A − y_A·n_B.
    pub(crate) fn cross_difference(&self) -> f64 {
        let b = u128::from(self.treatment.converted) * u128::from(self.control.units);
        let a = u128::from(self.control.converted) * u128::from(self.treatment.units);
        if b >= a { (b - a) as f64 } else { -((a - b) as f64) }
    }
}

pub(crate) struct Pooled {
    pub(crate) converted: f64,
    pub(crate) unconverted: f64,
    pub(crate) units: f64,
}

impl Pooled {
    /// n_A·n_B·s·f / n, the scale of the cross difference.
    pub(crate) fn spread(&self, table: &Table) -> f64 {
        let units = table.control.units as f64 * table.treatment.units as f64;
        units * (self.converted / self.units) * self.unconverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        assert_eq!(Conversions::new(0, 0), Err(NotComputable::NoUnits));
        assert_eq!(Conversions::new(2, 1), Err(NotComputable::MoreConversionsThanUnits));
        assert_eq!(Table::new((0, 1), (0, 1)).unwrap().mixed().err(), Some(NotComputable::NothingConverted));
        assert_eq!(
            Table::new((1, 1), (2, 2)).unwrap().mixed().err(),
            Some(NotComputable::EverythingConverted)
        );
        assert_eq!(Conversions::new(1, 1).unwrap().sample(), Err(NotComputable::TooFewUnits));
    }

    #[test]
    fn differences_do_not_cancel() {
        let n = 1_000_000_000_000;
        let table = Table::new((n - 10, n), (n - 50, n)).unwrap();
        assert_eq!(table.difference(), -40.0 / n as f64);
    }
}
