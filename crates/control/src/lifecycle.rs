//! The life of documents, as decisions for [`Control::change`](crate::Control::change): create, update, delete, and the
//! states of an experiment.
//!
//! ```text
//!            start            pause
//!   draft ─────────▶ running ───────▶ paused
//!                       │ ◀───────────  │
//!                       │     resume    │
//!                       └─── stop ──────┴──▶ stopped
//! ```

use edgeseal_core::definition::ExperimentDefinition;
use edgeseal_core::ids::VariantKey;
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_store::Kind;
use serde_json::{Map, Value, json};

use crate::change::{Decision, DocumentChange};
use crate::environment::{DocumentBody, EnvironmentState, StoredDocument};
use crate::error::{ControlError, Fault};

/// Creates a document.
///
/// # Errors
/// [`ControlError::Exists`]; [`ControlError::Invalid`] for an experiment that does not begin as a draft.
pub fn create(state: &EnvironmentState, body: DocumentBody) -> Result<Decision<()>, ControlError> {
    let (kind, key) = (body.kind(), body.key());
    if state.find(kind, key).is_some() {
        return Err(ControlError::Exists { kind, key: key.to_owned() });
    }
    if let DocumentBody::Experiment(experiment) = &body {
        if experiment.state != ExperimentState::Draft {
            return Err(invalid("/state", "a new experiment is a draft: create it, then start it"));
        }
        if experiment.winner.is_some() {
            return Err(invalid("/winner", "a winner is named when the experiment is stopped"));
        }
    }
    Ok(Decision::one(DocumentChange::put(body, action(kind, Verb::Create)), ()))
}

/// Replaces what a document says. State and winner of an experiment stay: they change by [`transition`].
///
/// # Errors
/// [`ControlError::NotFound`]; [`ControlError::Stale`] unless `expected` is its revision; [`ControlError::Invalid`].
pub fn update(
    state: &EnvironmentState,
    body: DocumentBody,
    expected: u64,
) -> Result<Decision<()>, ControlError> {
    let kind = body.kind();
    let stored = expected_revision(state.require(kind, body.key())?, Some(expected))?;
    if let (DocumentBody::Experiment(new), Some(old)) = (&body, stored.experiment()) {
        if new.state != old.state {
            return Err(invalid("/state", "the state changes by start, pause, resume and stop only"));
        }
        if new.winner != old.winner {
            return Err(invalid("/winner", "the winner is named by stop only"));
        }
    }
    Ok(Decision::one(DocumentChange::put(body, action(kind, Verb::Update)), ()))
}

/// Deletes a document; its history stays.
///
/// # Errors
/// [`ControlError::NotFound`]; [`ControlError::Stale`]; [`ControlError::WrongState`] for an experiment that runs.
pub fn delete(
    state: &EnvironmentState,
    kind: Kind,
    key: &str,
    expected: u64,
) -> Result<Decision<()>, ControlError> {
    let stored = expected_revision(state.require(kind, key)?, Some(expected))?;
    if let Some(experiment) = stored.experiment().filter(|it| it.state == ExperimentState::Running) {
        return Err(wrong_state(experiment, "deleted", "stop it first"));
    }
    Ok(Decision::one(DocumentChange::delete(kind, key, action(kind, Verb::Delete)), ()))
}

/// A step in an experiment's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// From draft to running.
    Start,
    /// From running to paused.
    Pause,
    /// From paused to running.
    Resume,
    /// From running or paused to stopped.
    Stop {
        /// The variant that everyone gets from now on; `None`: nobody gets any.
        winner: Option<VariantKey>,
    },
}

/// Takes a step in an experiment's life. One that was taken already changes nothing.
///
/// # Errors
/// [`ControlError::NotFound`]; [`ControlError::Stale`]; [`ControlError::WrongState`].
pub fn transition(
    state: &EnvironmentState,
    key: &str,
    step: &Transition,
    reason: Option<&str>,
    expected: Option<u64>,
) -> Result<Decision<()>, ControlError> {
    let stored = expected_revision(state.require(Kind::Experiment, key)?, expected)?;
    let broken = ControlError::Internal { attempt: "reading an experiment" };
    let experiment = stored.experiment().ok_or(broken)?;
    let Some(next) = step.apply(experiment)? else { return Ok(Decision::nothing(())) };
    let mut detail = Map::new();
    if let Some(reason) = reason {
        detail.insert("reason".to_owned(), json!(reason));
    }
    if let Some(winner) = &next.winner {
        detail.insert("winner".to_owned(), json!(winner));
    }
    Ok(Decision::one(DocumentChange::put(next, step.action()).with_detail(Value::Object(detail)), ()))
}

impl Transition {
    /// For history and audit log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Start => "experiment.start",
            Self::Pause => "experiment.pause",
            Self::Resume => "experiment.resume",
            Self::Stop { .. } => "experiment.stop",
        }
    }

    /// The experiment after this step; `None` when it was taken already.
    ///
    /// # Errors
    /// [`ControlError::WrongState`].
    pub fn apply(
        &self,
        experiment: &ExperimentDefinition,
    ) -> Result<Option<ExperimentDefinition>, ControlError> {
        use ExperimentState::{Draft, Paused, Running, Stopped};
        let to = |state, winner: &Option<VariantKey>| {
            let winner = winner.clone();
            Ok(Some(ExperimentDefinition { state, winner, ..experiment.clone() }))
        };
        let refused = |attempt, remedy| Err(wrong_state(experiment, attempt, remedy));
        match (self, experiment.state) {
            (Self::Start, Draft) | (Self::Resume, Paused) => to(Running, &None),
            (Self::Start | Self::Resume, Running) | (Self::Pause, Paused) => Ok(None),
            (Self::Start, Paused) => refused("started", "resume it instead"),
            (Self::Start, Stopped) => refused("started", "what is over stays so: create a new experiment"),
            (Self::Pause, Running) => to(Paused, &None),
            (Self::Pause, Draft) => refused("paused", "nobody is in it yet"),
            (Self::Pause, Stopped) => {
                refused("paused", "it is over; a winner is taken back by a change of the file")
            }
            (Self::Resume, Draft) => refused("resumed", "start it instead"),
            (Self::Resume, Stopped) => refused("resumed", "what is over stays so: create a new experiment"),
            (Self::Stop { winner }, Running | Paused) => to(Stopped, winner),
            (Self::Stop { winner }, Stopped) if *winner == experiment.winner => Ok(None),
            (Self::Stop { .. }, Stopped) => refused("stopped with another winner", "it is over"),
            (Self::Stop { .. }, Draft) => refused("stopped", "delete it instead"),
        }
    }
}

/// What happens to a document as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Update,
    Delete,
}

/// For history and audit log.
pub(crate) fn action(kind: Kind, verb: Verb) -> &'static str {
    match (kind, verb) {
        (Kind::Experiment, Verb::Create) => "experiment.create",
        (Kind::Experiment, Verb::Update) => "experiment.update",
        (Kind::Experiment, Verb::Delete) => "experiment.delete",
        (Kind::Layer, Verb::Create) => "layer.create",
        (Kind::Layer, Verb::Update) => "layer.update",
        (Kind::Layer, Verb::Delete) => "layer.delete",
        (Kind::Holdout, Verb::Create) => "holdout.create",
        (Kind::Holdout, Verb::Update) => "holdout.update",
        (Kind::Holdout, Verb::Delete) => "holdout.delete",
        (Kind::Group, Verb::Create) => "group.create",
        (Kind::Group, Verb::Update) => "group.update",
        (Kind::Group, Verb::Delete) => "group.delete",
        (Kind::Metric, Verb::Create) => "metric.create",
        (Kind::Metric, Verb::Update) => "metric.update",
        (Kind::Metric, Verb::Delete) => "metric.delete",
    }
}

fn expected_revision(
    stored: &StoredDocument,
    expected: Option<u64>,
) -> Result<&StoredDocument, ControlError> {
    match expected.filter(|expected| *expected != stored.revision) {
        None => Ok(stored),
        Some(expected) => Err(ControlError::Stale {
            kind: stored.kind,
            key: stored.key.to_string(),
            expected,
            current: stored.revision,
        }),
    }
}

fn wrong_state(
    experiment: &ExperimentDefinition,
    attempt: &'static str,
    remedy: &'static str,
) -> ControlError {
    ControlError::WrongState { key: experiment.key.to_string(), state: experiment.state, attempt, remedy }
}

fn invalid(pointer: &str, detail: &str) -> ControlError {
    ControlError::Invalid { faults: vec![Fault { pointer: pointer.to_owned(), detail: detail.to_owned() }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(state: &str) -> ExperimentDefinition {
        serde_json::from_value(json!({ "key": "e", "state": state, "variants": [{ "key": "a" }] })).unwrap()
    }

    #[test]
    fn every_step_from_every_state() {
        let stop = |winner: Option<&str>| Transition::Stop {
            winner: winner.map(|key| VariantKey::parse(key).unwrap()),
        };
        let table = [
            (Transition::Start, ["running", "=", "!", "!"]),
            (Transition::Pause, ["!", "paused", "=", "!"]),
            (Transition::Resume, ["!", "=", "running", "!"]),
            (stop(None), ["!", "stopped", "stopped", "="]),
            (stop(Some("a")), ["!", "stopped", "stopped", "!"]),
        ];
        for (step, results) in table {
            for (from, expected) in ["draft", "running", "paused", "stopped"].into_iter().zip(results) {
                let found = match step.apply(&experiment(from)) {
                    Ok(Some(next)) => crate::error::state_word(next.state),
                    Ok(None) => "=",
                    Err(ControlError::WrongState { .. }) => "!",
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(found, expected, "{step:?} from {from}");
            }
        }
    }

    #[test]
    fn stopping_names_the_winner() {
        let winner = Some(VariantKey::parse("a").unwrap());
        let step = Transition::Stop { winner: winner.clone() };
        let stopped = step.apply(&experiment("running")).unwrap().unwrap();
        assert_eq!(stopped.winner, winner);
        assert!(step.apply(&stopped).unwrap().is_none(), "again is no change");
    }
}
