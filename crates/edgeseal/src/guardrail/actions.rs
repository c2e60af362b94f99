//! The guardrail acts through the control plane, as everybody does.

use std::sync::Arc;

use async_trait::async_trait;
use edgeseal_control::lifecycle::Transition;
use edgeseal_control::{Context, Control, ControlError, Decision, DocumentChange, EnvironmentState};
use edgeseal_core::definition::ExperimentDefinition;
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_guardrail::{ActError, Acted, Actions, PauseOrder};
use edgeseal_store::{Actor, AuditEntry, Commit, CommitError, NewAlert};
use serde_json::{Value, json};

/// Pauses by the control plane's one door for changes.
pub(crate) struct ThroughControl {
    control: Arc<Control>,
}

impl ThroughControl {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }
}

#[async_trait]
impl Actions for ThroughControl {
    async fn pause(&self, order: &PauseOrder) -> Result<Acted, ActError> {
        let context = Context { actor: actor(), ..Context::system() };
        let decide = |state: &EnvironmentState, _: Timestamp| decide(state, order);
        let changed = self.control.change(&order.environment, &context, decide).await;
        changed.map(|changed| changed.reply).map_err(|error| ActError(error.to_string()))
    }

    async fn alert(&self, alert: &NewAlert) -> Result<(), ActError> {
        let at = self.control.now();
        let commit = Commit {
            actor: actor(),
            at,
            environment: None,
            tokens: Vec::new(),
            audit: vec![AuditEntry {
                at_ms: at.unix_ms(),
                actor: actor(),
                action: "guardrail.alert".to_owned(),
                environment: Some(alert.environment.clone()),
                kind: alert.experiment.as_ref().map(|_| "experiment".to_owned()),
                key: alert.experiment.as_ref().map(ToString::to_string),
                request: None,
                detail: serde_json::from_str(&alert.body).unwrap_or(Value::Null),
            }],
            idempotency: None,
            alerts: vec![alert.clone()],
        };
        match self.control.store().commit(commit).await {
            // Its id is taken: somebody alerted already.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(error) => Err(ActError(error.to_string())),
        }
    }
}

/// Runs under the commit's own view of the environment, so of two guardrails only the first finds something to pause.
fn decide(state: &EnvironmentState, order: &PauseOrder) -> Result<Decision<Acted>, ControlError> {
    let key = &order.experiment;
    let Some(experiment) = state.experiment(key.as_str()) else { return Ok(Decision::nothing(Acted::Moved)) };
    let served = state.snapshot.experiments.iter().find(|record| record.key == *key);
    if served.is_none_or(|record| record.xv != order.xv) {
        return Ok(Decision::nothing(Acted::Moved));
    }
    match experiment.state {
        ExperimentState::Running => pause(experiment, order),
        ExperimentState::Paused => Ok(Decision::nothing(Acted::AlreadyPaused)),
        ExperimentState::Draft | ExperimentState::Stopped => Ok(Decision::nothing(Acted::Moved)),
    }
}

fn pause(experiment: &ExperimentDefinition, order: &PauseOrder) -> Result<Decision<Acted>, ControlError> {
    let step = Transition::Pause;
    let Some(next) = step.apply(experiment)? else { return Ok(Decision::nothing(Acted::AlreadyPaused)) };
    let detail = json!({ "reason": format!("guardrail: {}", order.reason), "guardrail": order.detail });
    let change = DocumentChange::put(next, step.action()).with_detail(detail);
    Ok(Decision { alerts: vec![order.alert.clone()], ..Decision::one(change, Acted::Paused) })
}

fn actor() -> Actor {
    Actor { id: "guardrail".to_owned(), name: "guardrail".to_owned() }
}
