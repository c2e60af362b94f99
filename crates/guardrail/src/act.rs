//! What the guardrail needs the control plane to do.

use async_trait::async_trait;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_store::NewAlert;
use serde_json::Value;

/// What the control plane has to offer. Everything may be asked again, by this guardrail or by another one.
#[async_trait]
pub trait Actions: Send + Sync {
    /// Pauses an experiment that runs under the version of the order, and puts the alert into the outbox in the same
    /// transaction. Whoever comes second finds it paused, and nobody is told twice.
    ///
    /// # Errors
    /// [`ActError`]; nothing was done then, or nobody knows.
    async fn pause(&self, order: &PauseOrder) -> Result<Acted, ActError>;

    /// Puts an alert into the outbox, unless one of its id is there.
    ///
    /// # Errors
    /// [`ActError`]; nothing was done then, or nobody knows.
    async fn alert(&self, alert: &NewAlert) -> Result<(), ActError>;
}

/// What to pause, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct PauseOrder {
    /// In which environment.
    pub environment: Environment,
    /// Which experiment.
    pub experiment: ExperimentKey,
    /// Under which version. Under another one it is left alone: somebody went on knowingly.
    pub xv: u64,
    /// Why, in words.
    pub reason: String,
    /// Why, in numbers, for the audit log; an object.
    pub detail: Value,
    /// Whom to tell.
    pub alert: NewAlert,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It is paused now.
    Paused,
    /// It was paused already.
    AlreadyPaused,
    /// It has another version, is over, or is gone.
    Moved,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ActError(pub String);
