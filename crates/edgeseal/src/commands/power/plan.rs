//! From a question to a plan. Pure.

use edgeseal_stats::NotComputable;
use edgeseal_stats::contrast::Alternative;
use edgeseal_stats::guardrail::{DEFAULT_N_STAR, DEFAULT_RESERVE, GuardrailBudget};
use edgeseal_stats::power::{
    Design, Looks, adjusted_variance, detectable_rate_difference, detectable_relative_lift,
    guardrail_detection_units, information_per_unit, run_time, units_for_means, units_for_rates,
};
use edgeseal_stats::sequential::{AsymptoticSequence, Sides};
use edgeseal_stats::winner::{HYBRID_SEQUENTIAL_SHARE, Mode};
use serde::Serialize;

/// Relative harms for which the guardrail's delay is estimated.
const HARMS: [f64; 4] = [0.05, 0.1, 0.2, 0.5];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) metric: Metric,
    pub(super) question: Question,
    pub(super) mode: Mode,
    pub(super) alpha: f64,
    pub(super) power: f64,
    pub(super) treatments: u32,
    /// Of the experiment's units, for each treatment.
    pub(super) treatment_share: f64,
    pub(super) success_metrics: u32,
    pub(super) guardrails: u32,
    pub(super) guardrail_alpha: f64,
    pub(super) per_day: Option<f64>,
    pub(super) traffic: f64,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Metric {
    /// Conversions.
    Rate(f64),
    /// Counts, amounts.
    Mean { mean: f64, deviation: f64, correlation: f64 },
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// Units, for a relative change.
    Units { lift: f64 },
    /// The smallest relative change, for units in the smallest variant.
    Change { units: u64 },
    /// The smallest relative change, for days.
    ChangeIn { days: u32 },
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// Units in the smallest variant.
    pub(super) planned_units: u64,
    /// Units in all variants.
    pub(super) all_units: u64,
    /// Days in whole weeks.
    pub(super) days: Option<u32>,
    /// The relative change that is found, upwards unless a fall was asked for.
    pub(super) rise: f64,
    /// The same downwards, where it was the question.
    pub(super) fall: Option<f64>,
    /// Level of one guardrail in one treatment.
    pub(super) guardrail_level: f64,
    /// How soon it notices harm.
    pub(super) detection: Vec<Detection>,
}

/// When harm is expected to be noticed.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detection {
    /// Relative, negative.
    pub(super) harm: f64,
    /// Units in all variants.
    pub(super) all_units: u64,
    /// Units in the harmful one.
    pub(super) treatment_units: u64,
    /// Days.
    pub(super) days: Option<f64>,
}

impl Request {
    /// The plan.
    pub(super) fn plan(&self) -> Result<Plan, NotComputable> {
        let treatment_share = self.treatment_share;
        let control_share = 1.0 - f64::from(self.treatments) * treatment_share;
        let smallest_share = treatment_share.min(control_share);
        let design = self.design(control_share)?;
        let (smallest, rise, fall) = match self.question {
            Question::Units { lift } => {
                let treatment_units = self.units(&design, lift)?;
                (treatment_units * smallest_share / treatment_share, lift, None)
            }
            Question::Change { units } => {
                let treatment_units = units as f64 * treatment_share / smallest_share;
                let (rise, fall) = self.changes(&design, treatment_units);
                (units as f64, rise?, fall.ok())
            }
            Question::ChangeIn { days } => {
                let all = f64::from(days) * self.per_day()?.unwrap_or(0.0) * self.traffic;
                let (rise, fall) = self.changes(&design, all * treatment_share);
                (all * smallest_share, rise?, fall.ok())
            }
        };
        let all_units = (smallest / smallest_share).ceil();
        let days = match (self.question, self.per_day()?) {
            (Question::ChangeIn { days }, _) => Some(days),
            (_, None) => None,
            (_, Some(per_day)) => Some(run_time(all_units, per_day, self.traffic)?.days()),
        };
        let level = self.guardrail_level()?;
        Ok(Plan {
            planned_units: smallest.ceil() as u64,
            all_units: all_units as u64,
            days,
            rise,
            fall,
            guardrail_level: level,
            detection: self.detection(level, control_share),
        })
    }

    fn design(&self, control_share: f64) -> Result<Design, NotComputable> {
        // The hybrid mode is planned for its planned look, which has most of α.
        let (alpha, looks) = match self.mode {
            Mode::FixedHorizon => (self.alpha, Looks::Single),
            Mode::Hybrid => ((1.0 - HYBRID_SEQUENTIAL_SHARE) * self.alpha, Looks::Single),
            Mode::Sequential => (self.alpha, Looks::Any),
        };
        Ok(Design::new(alpha, self.power)?
            .with_control_per_treatment(control_share / self.treatment_share)?
            .with_looks(looks)
            .among_comparisons(self.success_metrics.saturating_mul(self.treatments))?
            .with_guardrails(self.guardrails))
    }

    /// Treatment units for a relative change.
    fn units(&self, design: &Design, lift: f64) -> Result<f64, NotComputable> {
        match self.metric {
            Metric::Rate(rate) => units_for_rates(design, rate, rate * lift),
            Metric::Mean { mean, .. } => units_for_means(design, self.variance()?, mean * lift),
        }
    }

    /// The smallest relative rise and fall that treatment units show.
    fn changes(
        &self,
        design: &Design,
        treatment_units: f64,
    ) -> (Result<f64, NotComputable>, Result<f64, NotComputable>) {
        let change = |sign| match self.metric {
            Metric::Rate(rate) => Ok(detectable_rate_difference(design, rate, treatment_units, sign)? / rate),
            Metric::Mean { mean, .. } => {
                detectable_relative_lift(design, mean, self.variance()?, treatment_units, sign)
            }
        };
        (change(Alternative::Larger), change(Alternative::Smaller))
    }

    /// Of one unit's value, after the covariate.
    fn variance(&self) -> Result<f64, NotComputable> {
        match self.metric {
            Metric::Rate(rate) => Ok(rate * (1.0 - rate)),
            Metric::Mean { deviation, correlation, .. } => {
                adjusted_variance(deviation * deviation, correlation)
            }
        }
    }

    fn per_day(&self) -> Result<Option<f64>, NotComputable> {
        match self.per_day {
            Some(per_day) if !(per_day > 0.0 && per_day.is_finite()) => {
                Err(NotComputable::OutOfRange { argument: "units per day", allowed: "above 0", got: per_day })
            }
            per_day => Ok(per_day),
        }
    }

    /// What one guardrail in one treatment has of the budget when all are there from the start.
    fn guardrail_level(&self) -> Result<f64, NotComputable> {
        let budget = GuardrailBudget::new(self.guardrail_alpha, self.treatments)?;
        let (_, level) = budget.draw((1.0 - DEFAULT_RESERVE) / f64::from(self.guardrails.max(1)))?;
        Ok(level.alpha())
    }

    /// Guardrails do not adjust by a covariate, so the metric's own variance counts.
    fn detection(&self, level: f64, control_share: f64) -> Vec<Detection> {
        let (mean, variance) = match self.metric {
            Metric::Rate(rate) => (rate, rate * (1.0 - rate)),
            Metric::Mean { mean, deviation, .. } => (mean.abs(), deviation * deviation),
        };
        let compared = self.treatment_share + control_share;
        let of_harm = |harm: f64| -> Result<Detection, NotComputable> {
            let sequence = AsymptoticSequence::new(DEFAULT_N_STAR, level, Sides::One)?;
            let information = information_per_unit(variance, self.treatment_share / compared, 1.0)?;
            let units = guardrail_detection_units(&sequence, harm * mean, information)? as f64 / compared;
            let per_day = self.per_day()?.map(|per_day| per_day * self.traffic);
            Ok(Detection {
                harm: -harm,
                all_units: units.ceil() as u64,
                treatment_units: (units * self.treatment_share).ceil() as u64,
                days: per_day.map(|per_day| units / per_day),
            })
        };
        HARMS.into_iter().filter_map(|harm| of_harm(harm).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(metric: Metric, question: Question) -> Request {
        Request {
            metric,
            question,
            mode: Mode::FixedHorizon,
            alpha: 0.05,
            power: 0.8,
            treatments: 1,
            treatment_share: 0.5,
            success_metrics: 1,
            guardrails: 0,
            guardrail_alpha: 0.01,
            per_day: Some(10_000.0),
            traffic: 0.5,
        }
    }

    #[test]
    fn a_plan_that_everybody_knows() {
        // 5 % against 5.5 %, α 0.05 two-sided, power 0.8: 31 231 a variant (pooled variance under the null).
        let plan = request(Metric::Rate(0.05), Question::Units { lift: 0.1 }).plan().unwrap();
        assert!((31_200..31_260).contains(&plan.planned_units), "{plan:?}");
        assert_eq!((plan.all_units.div_ceil(2), plan.days), (plan.planned_units, Some(14)));
    }

    #[test]
    fn units_and_change_are_each_other_s_inverse() {
        for metric in [Metric::Rate(0.05), Metric::Mean { mean: 20.0, deviation: 60.0, correlation: 0.5 }] {
            for treatment_share in [0.5, 0.1, 0.8] {
                let asked = Request { treatment_share, ..request(metric, Question::Units { lift: 0.07 }) };
                let units = asked.plan().unwrap().planned_units;
                let back = Request { question: Question::Change { units }, ..asked }.plan().unwrap();
                // For means the units ignore that a lift's error grows with the lift.
                assert!((back.rise - 0.07).abs() < 0.006, "{metric:?} {treatment_share} {back:?}");
                assert!(back.fall.unwrap() < 0.0);
            }
        }
    }

    #[test]
    fn what_costs_units() {
        let base = request(Metric::Rate(0.05), Question::Units { lift: 0.1 });
        let units = |request: Request| request.plan().unwrap().all_units;
        let of_base = units(base);
        assert!(units(Request { mode: Mode::Hybrid, ..base }) > of_base);
        assert!(
            units(Request { mode: Mode::Sequential, ..base }) > units(Request { mode: Mode::Hybrid, ..base })
        );
        assert!(units(Request { guardrails: 3, ..base }) > of_base);
        assert!(units(Request { success_metrics: 2, ..base }) > of_base);
        assert!(units(Request { treatment_share: 0.1, ..base }) > of_base);
    }

    #[test]
    fn larger_harm_is_noticed_sooner() {
        let plan = request(Metric::Rate(0.05), Question::Units { lift: 0.1 }).plan().unwrap();
        assert_eq!(plan.detection.len(), 4);
        assert!(plan.detection.windows(2).all(|pair| pair[0].all_units > pair[1].all_units));
        // Simulated: half of them notice −20 % with 8 536 exposed at 0.01; this is on the safe side, at 0.008.
        let found = plan.detection[2];
        assert!((8_500..16_000).contains(&found.treatment_units), "{found:?}");
        assert!((found.days.unwrap() - found.all_units as f64 / 5_000.0).abs() < 0.01);
    }

    #[test]
    fn what_is_no_plan() {
        let no = |metric, question| request(metric, question).plan().is_err();
        assert!(no(Metric::Rate(0.05), Question::Units { lift: 0.0 }));
        assert!(no(Metric::Rate(0.6), Question::Units { lift: 1.0 }), "a rate above 100 %");
        assert!(no(
            Metric::Mean { mean: 0.0, deviation: 1.0, correlation: 0.0 },
            Question::Units { lift: 0.1 }
        ));
        assert!(no(
            Metric::Mean { mean: 1.0, deviation: 0.0, correlation: 0.0 },
            Question::Units { lift: 0.1 }
        ));
        assert!(no(
            Metric::Mean { mean: 1.0, deviation: f64::NAN, correlation: 0.0 },
            Question::Units { lift: 0.1 }
        ));
    }
}
