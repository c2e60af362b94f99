//! The judge: from what was counted and what was found before, to verdicts and what to do. Pure.

mod detail;
mod epochs;
mod history;
mod levels;
mod metric;
mod sample_ratio;
mod verdict;

use edgeseal_core::definition::OnHarm;
use edgeseal_core::ids::ExperimentKey;
use edgeseal_stats::sequential::MostEvidence;
use edgeseal_stats::srm::SrmFinding;
use edgeseal_store::{Aggregate, Allocation, GuardrailState, Watched};

use crate::settings::Settings;
use history::History;
use levels::{Pair, levels};

pub use detail::{Arm, DETAIL_FORMAT, Detail, Exposures, Method, WaitsFor};
pub use metric::{MIN_UNITS_PER_ARM, SPLIT_RATE_MAX};
pub use verdict::{Finding, Verdict, Withheld};

/// Everything that a judgement depends on.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What is watched.
    pub settings: &'a Settings,
    /// The experiment's version, which is its current allocation epoch.
    pub xv: u64,
    /// Whether it runs.
    pub running: bool,
    /// How it was divided up in each epoch.
    pub allocations: &'a [Allocation],
    /// What was counted, of this experiment.
    pub aggregates: &'a [Aggregate],
    /// What was found before, of this experiment.
    pub states: &'a [GuardrailState],
    /// When, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What was found, to be kept *before* the decision is acted on.
    pub states: Vec<GuardrailState>,
    /// What is concluded: the sample ratio first, then every metric in every treatment.
    pub verdicts: Vec<Verdict>,
    /// What to do.
    pub decision: Decision,
    /// Why there are no verdicts on metrics.
    pub withheld: Option<Withheld>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Pause the experiment and alert.
    Pause(Alarm),
    /// Alert only.
    Alert(Alarm),
}

/// Why something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// In which experiment.
    pub experiment: ExperimentKey,
    /// In which version. If it has another one by now, somebody went on knowingly: nothing is to be done.
    pub xv: u64,
    /// The verdicts that alarmed, the strongest first; at least one.
    pub verdicts: Vec<Verdict>,
}

/// Judges one look at an experiment.
///
/// Evidence only ever grows within a budget, and an alarm stands until a person resumes the experiment; what alarmed in
/// an earlier epoch is over. Numbers that give no answer never do anything.
///
/// An alarm counts as acted on only when [`acted`] of its verdicts is kept, so what is interrupted in between is done
/// again at the next look.
pub fn judge(look: &Look<'_>) -> Judgement {
    let settings = look.settings;
    let history = History::of(look.states, look.xv);
    let levels = levels(settings, &history);
    if !look.running {
        return settle(look, &history, &levels);
    }
    let epochs = epochs::epochs(look.allocations, look.aggregates, settings.sticky, history.closed, look.xv);
    let ratio = sample_ratio::verdict(&epochs, &history);
    let found = SrmFinding::from_evidence(MostEvidence::NONE.after(ratio.max_log_e));
    let withheld = (found == SrmFinding::Red).then_some(Withheld::SampleRatio);
    let mut verdicts = vec![ratio];
    for metric in &settings.metrics {
        for treatment in &settings.treatments {
            let Some(level) = levels.get(&(&metric.key, treatment)) else { continue };
            let compared = metric::Compared { settings, metric, treatment, epochs: &epochs };
            // The split of conversions shows wrong shares as harm, so it waits for them to look right.
            let shares_look_right = verdicts.first().is_none_or(sample_ratio::looks_right);
            verdicts.push(match withheld {
                Some(why) => metric::withheld(&compared, level, &history, why),
                None => metric::verdict(&compared, level, &history, shares_look_right),
            });
        }
    }
    let decision = decide(look, &verdicts);
    let states = verdicts.iter().map(|verdict| state(look, verdict, verdict.alarmed_at_ms)).collect();
    Judgement { states, verdicts, decision, withheld }
}

/// The findings behind an alarm, to be kept once it was acted on.
pub fn acted(look: &Look<'_>, alarm: &Alarm) -> Vec<GuardrailState> {
    alarm.verdicts.iter().map(|verdict| state(look, verdict, Some(look.now_ms))).collect()
}

fn decide(look: &Look<'_>, verdicts: &[Verdict]) -> Decision {
    let pauses = look.settings.on_harm == OnHarm::Pause;
    // People are told once. A pause is repeated for as long as the experiment runs, since something undid it.
    let calls = |it: &&Verdict| it.finding == Finding::Alarm && (pauses || it.alarmed_at_ms.is_none());
    let mut alarms: Vec<Verdict> = verdicts.iter().filter(calls).cloned().collect();
    if alarms.is_empty() {
        return Decision::Nothing;
    }
    let surplus = |it: &Verdict| it.max_log_e - it.threshold;
    alarms.sort_by(|one, other| surplus(other).total_cmp(&surplus(one)));
    let alarm = Alarm { experiment: look.settings.experiment.clone(), xv: look.xv, verdicts: alarms };
    if pauses { Decision::Pause(alarm) } else { Decision::Alert(alarm) }
}

/// An experiment that does not run shows no harm. What had reached its level was acted on, if only the note of it was
/// lost: it is taken now, so that resuming begins anew.
fn settle(
    look: &Look<'_>,
    history: &History<'_>,
    levels: &std::collections::BTreeMap<Pair<'_>, Result<levels::Level, edgeseal_stats::NotComputable>>,
) -> Judgement {
    let reached = |state: &GuardrailState| match (&state.watched, &state.variant) {
        (Watched::SampleRatio, _) => {
            SrmFinding::from_evidence(MostEvidence::NONE.after(state.max_log_e)) == SrmFinding::Red
        }
        (Watched::Metric(metric), Some(variant)) => levels
            .get(&(metric, variant))
            .and_then(|level| level.as_ref().ok())
            .is_some_and(|level| level.alarm.is_reached_by(MostEvidence::NONE.after(state.max_log_e))),
        _ => false,
    };
    let states = history.states().iter().filter(|it| it.alarmed_at_ms.is_none() && reached(it));
    let states = states.map(|it| GuardrailState {
        alarmed_at_ms: Some(look.now_ms),
        checked_at_ms: look.now_ms,
        ..(*it).clone()
    });
    Judgement { states: states.collect(), verdicts: Vec::new(), decision: Decision::Nothing, withheld: None }
}

fn state(look: &Look<'_>, verdict: &Verdict, alarmed_at_ms: Option<i64>) -> GuardrailState {
    GuardrailState {
        experiment: look.settings.experiment.clone(),
        xv: look.xv,
        watched: verdict.watched.clone(),
        variant: verdict.variant.clone(),
        max_log_e: verdict.max_log_e,
        alarmed_at_ms,
        detail: verdict.detail.to_json(),
        checked_at_ms: look.now_ms,
    }
}

#[cfg(test)]
mod tests;
