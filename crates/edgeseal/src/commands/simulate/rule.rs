//! When to pause: by the guardrail, or by the rule that many have.

use std::collections::VecDeque;

use edgeseal_guardrail::{Decision, Look, Settings, judge};
use edgeseal_stats::classical::{Table, chi_square};
use edgeseal_store::{Aggregate, Allocation, GuardrailState, Watched};
use serde::Serialize;

use super::world::{Counts, xv};

/// Level of the naive rule.
const NAIVE_ALPHA: f64 = 0.05;
/// Share of the control's rate below which the naive rule pauses.
const NAIVE_DROP: f64 = 0.95;

/// Why an experiment was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// The metric.
    Metric,
    /// The sample ratio.
    SampleRatio,
}

/// The guardrail's judge, with what it found so far.
#[derive(Debug, Clone)]
pub(super) struct Guardrail<'s> {
    settings: &'s Settings,
    states: Vec<GuardrailState>,
}

impl<'s> Guardrail<'s> {
    pub(super) fn new(settings: &'s Settings) -> Self {
        Self { settings, states: Vec::new() }
    }

    /// One look.
    pub(super) fn look(
        &mut self,
        stage: usize,
        allocations: &[Allocation],
        aggregates: &[Aggregate],
        now_ms: i64,
    ) -> Option<Cause> {
        let judgement = judge(&Look {
            settings: self.settings,
            xv: xv(stage),
            running: true,
            allocations,
            aggregates,
            states: &self.states,
            now_ms,
        });
        for state in judgement.states {
            match self.states.iter_mut().find(|known| known.key() == state.key()) {
                Some(known) => *known = known.overwritten_by(&state),
                None => self.states.push(state),
            }
        }
        let (Decision::Pause(alarm) | Decision::Alert(alarm)) = judgement.decision else { return None };
        let sample_ratio = alarm.verdicts.first().is_some_and(|it| it.watched == Watched::SampleRatio);
        Some(if sample_ratio { Cause::SampleRatio } else { Cause::Metric })
    }
}

/// The rule that many have: a chi-square test at 5 % on the last hour, and a rate 5 % below the control's.
#[derive(Debug, Clone)]
pub(super) struct Naive {
    checks: usize,
    window: VecDeque<Counts>,
    sum: Counts,
}

impl Naive {
    /// Over a window of so many checks.
    pub(super) fn new(checks: usize) -> Self {
        Self { checks: checks.max(1), window: VecDeque::new(), sum: Counts::default() }
    }

    /// One look, with what happened since the last.
    pub(super) fn look(&mut self, counts: &Counts) -> Option<Cause> {
        self.window.push_back(*counts);
        self.sum.add(counts);
        if self.window.len() > self.checks
            && let Some(oldest) = self.window.pop_front()
        {
            self.sum.remove(&oldest);
        }
        let Counts { exposed, converted } = self.sum;
        let table = Table::new((converted[0], exposed[0]), (converted[1], exposed[1])).ok()?;
        let found = chi_square(&table, false).ok()?;
        let lower = table.treatment.rate() < NAIVE_DROP * table.control.rate();
        (found.p_value < NAIVE_ALPHA && lower).then_some(Cause::Metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_rule_forgets_what_is_an_hour_old() {
        let harm = Counts { exposed: [200, 200], converted: [20, 5] };
        let none = Counts { exposed: [200, 200], converted: [10, 10] };
        assert_eq!(Naive::new(12).look(&harm), Some(Cause::Metric));
        let mut naive = Naive::new(2);
        assert_eq!(naive.look(&none), None);
        assert_eq!(naive.look(&none), None);
        assert_eq!(naive.look(&none), None);
        assert_eq!(naive.sum.exposed, [400, 400]);
        assert_eq!(Naive::new(12).look(&Counts::default()), None);
    }
}
