use crate::NotComputable;

/// How long an experiment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunTime {
    weeks: u32,
}

impl RunTime {
    /// # Errors
    /// [`NotComputable::OutOfRange`] unless it is at least one week and at most [`RUN_TIME_DAYS_MAX`].
    pub fn from_weeks(weeks: u32) -> Result<Self, NotComputable> {
        if weeks == 0 || weeks > RUN_TIME_DAYS_MAX / DAYS_PER_WEEK {
            let allowed = "from 1 to 521";
            return Err(NotComputable::OutOfRange { argument: "weeks", allowed, got: f64::from(weeks) });
        }
        Ok(Self { weeks })
    }

    /// Whole weeks, at least one.
    pub fn weeks(self) -> u32 {
        self.weeks
    }

    /// The same in days.
    pub fn days(self) -> u32 {
        self.weeks * DAYS_PER_WEEK
    }
}

/// Time until `units` of all arms together have been exposed, when `eligible_units_per_day` arrive and `traffic_share` of
/// them takes part; rounded up to whole weeks.
///
/// # Errors
/// [`NotComputable::OutOfRange`] unless units and arrivals are positive and the share lies in (0, 1];
/// [`NotComputable::NoSolution`] beyond [`RUN_TIME_DAYS_MAX`].
pub fn run_time(
    units: f64,
    eligible_units_per_day: f64,
    traffic_share: f64,
) -> Result<RunTime, NotComputable> {
    NotComputable::unless_positive("units", units)?;
    NotComputable::unless_positive("eligible units per day", eligible_units_per_day)?;
    if !(traffic_share > 0.0 && traffic_share <= 1.0) {
        let allowed = "above 0 and at most 1";
        return Err(NotComputable::OutOfRange { argument: "traffic share", allowed, got: traffic_share });
    }
    let days = (units / (eligible_units_per_day * traffic_share)).ceil();
    if days > f64::from(RUN_TIME_DAYS_MAX) {
        return Err(NotComputable::NoSolution);
    }
    RunTime::from_weeks((days as u32).div_ceil(DAYS_PER_WEEK)).map_err(|_| NotComputable::NoSolution)
}

/// Ten years: a plan beyond this is a plan not to find out.
pub const RUN_TIME_DAYS_MAX: u32 = 3_650;

const DAYS_PER_WEEK: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_whole_weeks() {
        let weeks = |units| run_time(units, 1_000.0, 0.5).unwrap().weeks();
        assert_eq!([1.0, 3_500.0, 3_500.5, 7_000.0, 7_001.0].map(weeks), [1, 1, 2, 2, 3]);
        assert_eq!(run_time(7_001.0, 1_000.0, 0.5).unwrap().days(), 21);
    }

    #[test]
    fn refusals() {
        for (units, per_day, share) in [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.1)] {
            assert!(matches!(run_time(units, per_day, share), Err(NotComputable::OutOfRange { .. })));
        }
        assert!(run_time(f64::NAN, 1.0, 1.0).is_err() && run_time(1.0, 1.0, f64::NAN).is_err());
        assert_eq!(run_time(1e9, 1.0, 1.0), Err(NotComputable::NoSolution));
        assert!(RunTime::from_weeks(0).is_err() && RunTime::from_weeks(522).is_err());
        assert_eq!(RunTime::from_weeks(521).unwrap().days(), 3_647);
    }
}
