//! A whole experiments file at once: what it says becomes what is, in one commit.
//!
//! The file is the truth, states included, so any change of state is allowed; unusual ones get a note. What the file
//! does not name stays, unless it is to be pruned. Applying the same file again changes nothing.

use std::collections::BTreeSet;

use edgeseal_core::definition::{Definition, ExperimentDefinition};
use edgeseal_core::ids::Environment;
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_store::Kind;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::change::{AuditNote, Changed, Context, Decision, DocumentChange, Outcome, Rendering, answered};
use crate::control::Control;
use crate::diff::{Difference, diff};
use crate::environment::{DocumentBody, EnvironmentState, GroupDefinition};
use crate::error::{ControlError, Fault, state_word};
use crate::lifecycle::{Verb, action};
use crate::publish::Misfit;

/// What applying a definition does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Plan {
    /// The changes, by kind and key.
    pub changes: Vec<PlannedChange>,
    /// What people should look at.
    pub notes: Vec<String>,
}

/// What happens to one document.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct PlannedChange {
    /// `create`, `update`, `delete`; for an experiment whose state changes `start`, `pause`, `resume`, `stop`, `withdraw`.
    pub action: &'static str,
    /// Its kind.
    #[schemars(with = "String")]
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// What differs, when there was one before and is one afterwards.
    pub changes: Vec<Difference>,
}

impl Control {
    /// Makes an environment what a definition says.
    ///
    /// # Errors
    /// As [`Control::change`]; pointers of [`ControlError::Invalid`] lead into `definition`.
    /// [`ControlError::OtherEnvironment`] when it is for another one.
    pub async fn apply(
        &self,
        environment: &Environment,
        context: &Context,
        definition: &Definition,
        prune: bool,
    ) -> Result<Changed<Plan>, ControlError> {
        match self.attempt_apply(environment, context, definition, prune, None).await? {
            Outcome::Changed(changed, _) => Ok(changed),
            Outcome::Repeated(_) => Err(ControlError::Internal { attempt: "applying a definition" }),
        }
    }

    /// As [`Control::apply`], with an answer to keep.
    ///
    /// # Errors
    /// As both [`Control::apply`] and [`Control::change_answered`].
    pub async fn apply_answered(
        &self,
        environment: &Environment,
        context: &Context,
        definition: &Definition,
        prune: bool,
        answer: impl Fn(&Changed<Plan>) -> Answer + Send + Sync,
    ) -> Result<Answer, ControlError> {
        answered(self.attempt_apply(environment, context, definition, prune, Some(&answer)).await?)
    }

    async fn attempt_apply(
        &self,
        environment: &Environment,
        context: &Context,
        definition: &Definition,
        prune: bool,
        rendering: Rendering<'_, Plan>,
    ) -> Result<Outcome<Plan>, ControlError> {
        let decide = |state: &EnvironmentState, _| decide(state, definition, prune);
        let locate = |misfit: &Misfit, _: &[(Kind, String)]| in_file(misfit, definition);
        self.attempt(environment, context, &decide, rendering, &locate).await
    }
}

/// Compares an environment with a definition. Pure.
///
/// # Errors
/// [`ControlError::OtherEnvironment`]; [`ControlError::Invalid`] for keys that are there twice.
pub fn decide(
    state: &EnvironmentState,
    definition: &Definition,
    prune: bool,
) -> Result<Decision<Plan>, ControlError> {
    if definition.environment != state.name {
        let (addressed, named) = (state.name.clone(), definition.environment.clone());
        return Err(ControlError::OtherEnvironment { addressed, named });
    }
    let wanted = bodies(definition);
    let named = refuse_duplicates(&wanted)?;
    let (mut plan, mut documents) = (Plan::default(), Vec::new());
    for (_, body) in &wanted {
        if let Some(change) = compare(state, body, &mut plan)? {
            documents.push(change);
        }
    }
    let mut left = 0_usize;
    for document in Kind::ALL.into_iter().flat_map(|kind| state.iter(kind)) {
        let (kind, key) = (document.kind, &*document.key);
        if named.contains(&(kind, key)) {
            continue;
        }
        if !prune {
            left += 1;
            continue;
        }
        if let Some(state) =
            document.experiment().map(|it| it.state).filter(|it| *it == ExperimentState::Running)
        {
            plan.notes.push(format!("experiment '{key}' is {} and will be deleted", state_word(state)));
        }
        plan.changes.push(PlannedChange { action: "delete", kind, key: key.to_owned(), changes: Vec::new() });
        documents.push(DocumentChange::delete(kind, key, action(kind, Verb::Delete)));
    }
    if left > 0 {
        plan.notes.push(if left == 1 {
            "1 thing is not in the file and stays; prune to delete it".to_owned()
        } else {
            format!("{left} things are not in the file and stay; prune to delete them")
        });
    }
    plan.changes.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
    let count = |action| plan.changes.iter().filter(|change| change.action == action).count();
    let note = AuditNote {
        action: "apply".to_owned(),
        kind: None,
        key: None,
        detail: json!({
            "changes": plan.changes.len(),
            "creates": count("create"),
            "deletes": count("delete"),
            "prune": prune,
        }),
    };
    Ok(Decision { documents, notes: vec![note], ..Decision::nothing(plan) })
}

/// The documents of a definition, each with its place in it.
fn bodies(definition: &Definition) -> Vec<(String, DocumentBody)> {
    let mut all = Vec::new();
    for (place, experiment) in definition.experiments.iter().enumerate() {
        all.push((format!("/experiments/{place}"), DocumentBody::from(experiment.clone())));
    }
    for (place, layer) in definition.layers.iter().enumerate() {
        all.push((format!("/layers/{place}"), DocumentBody::from(layer.clone())));
    }
    for (place, holdout) in definition.holdouts.iter().enumerate() {
        all.push((format!("/holdouts/{place}"), DocumentBody::from(holdout.clone())));
    }
    for (key, values) in &definition.groups {
        let group = GroupDefinition { key: key.clone(), values: values.clone() };
        all.push((format!("/groups/{key}"), DocumentBody::from(group)));
    }
    for (place, metric) in definition.metrics.iter().enumerate() {
        all.push((format!("/metrics/{place}"), DocumentBody::from(metric.clone())));
    }
    all
}

fn refuse_duplicates(wanted: &[(String, DocumentBody)]) -> Result<BTreeSet<(Kind, &str)>, ControlError> {
    let (mut named, mut faults) = (BTreeSet::new(), Vec::new());
    for (place, body) in wanted {
        let (kind, key) = (body.kind(), body.key());
        if !named.insert((kind, key)) {
            let detail = format!("{} '{key}' is defined twice; keys are unique", kind.as_str());
            faults.push(Fault { pointer: format!("{place}/key"), detail });
        }
    }
    if faults.is_empty() { Ok(named) } else { Err(ControlError::Invalid { faults }) }
}

/// What has to happen to one document of the file.
fn compare(
    state: &EnvironmentState,
    body: &DocumentBody,
    plan: &mut Plan,
) -> Result<Option<DocumentChange>, ControlError> {
    let (kind, key) = (body.kind(), body.key());
    let Some(old) = state.find(kind, key).and_then(|document| document.body.as_ref()) else {
        let change = PlannedChange { action: "create", kind, key: key.to_owned(), changes: Vec::new() };
        plan.changes.push(change);
        return Ok(Some(DocumentChange::put(body.clone(), action(kind, Verb::Create))));
    };
    if old == body {
        return Ok(None);
    }
    let json = |body: &DocumentBody| {
        serde_json::to_value(body).map_err(|_| ControlError::Internal { attempt: "comparing a document" })
    };
    let (from, to): (Value, Value) = (json(old)?, json(body)?);
    let mut step = Step { word: "update", action: action(kind, Verb::Update) };
    if let (DocumentBody::Experiment(old), DocumentBody::Experiment(new)) = (old, body)
        && let Some(taken) = state_step(old, new)
    {
        if taken.is_unusual(old.state) {
            plan.notes.push(format!(
                "experiment '{key}' goes from {} to {}",
                state_word(old.state),
                state_word(new.state)
            ));
        }
        step = taken;
    }
    plan.changes.push(PlannedChange {
        action: step.word,
        kind,
        key: key.to_owned(),
        changes: diff(Some(&from), Some(&to)),
    });
    Ok(Some(DocumentChange::put(body.clone(), step.action)))
}

/// A change of state, or an update.
struct Step {
    word: &'static str,
    action: &'static str,
}

fn state_step(old: &ExperimentDefinition, new: &ExperimentDefinition) -> Option<Step> {
    use ExperimentState::{Draft, Paused, Running, Stopped};
    let (word, action) = match (old.state, new.state) {
        (old, new) if old == new => return None,
        (Paused, Running) => ("resume", "experiment.resume"),
        (_, Running) => ("start", "experiment.start"),
        (_, Paused) => ("pause", "experiment.pause"),
        (_, Stopped) => ("stop", "experiment.stop"),
        (_, Draft) => ("withdraw", "experiment.withdraw"),
    };
    Some(Step { word, action })
}

impl Step {
    /// Whether the API would not allow it as a step of its own.
    fn is_unusual(&self, from: ExperimentState) -> bool {
        use ExperimentState::{Draft, Paused, Running};
        !matches!(
            (from, self.word),
            (Draft, "start") | (Running, "pause") | (Paused, "resume") | (Running | Paused, "stop")
        )
    }
}

/// Where a misfit is in the file; words when it is in a document that the file does not have.
fn in_file(misfit: &Misfit, definition: &Definition) -> Fault {
    let place = misfit.document.as_ref().and_then(|(kind, key)| {
        let at = |collection: &str, place: Option<usize>| place.map(|place| format!("/{collection}/{place}"));
        match kind {
            Kind::Experiment => {
                at("experiments", definition.experiments.iter().position(|it| it.key.as_str() == key))
            }
            Kind::Layer => at("layers", definition.layers.iter().position(|it| it.key.as_str() == key)),
            Kind::Holdout => at("holdouts", definition.holdouts.iter().position(|it| it.key.as_str() == key)),
            Kind::Metric => at("metrics", definition.metrics.iter().position(|it| it.key.as_str() == key)),
            Kind::Group => {
                definition.groups.keys().any(|group| group.as_str() == key).then(|| format!("/groups/{key}"))
            }
        }
    });
    match place {
        Some(place) => {
            // In a file a group is its list of values, as a document it has a member for them.
            let within = misfit.pointer.strip_prefix("/values").filter(|_| place.starts_with("/groups/"));
            let pointer = format!("{place}{}", within.unwrap_or(&misfit.pointer));
            Fault { pointer, detail: misfit.detail.clone() }
        }
        None if misfit.document.is_none() => {
            Fault { pointer: misfit.pointer.clone(), detail: misfit.detail.clone() }
        }
        None => misfit.among(&[]),
    }
}

#[cfg(test)]
mod tests;
