//! New environments.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgeseal_core::ids::Environment;
use edgeseal_store::CommitError;
use serde_json::json;

use super::attempts::{Outcome, Rendering, answered, audit};
use super::{AuditNote, Changed, Context};
use crate::answer::Answer;
use crate::control::{Control, MAX_ENVIRONMENTS};
use crate::error::ControlError;
use crate::publish;

impl Control {
    /// Makes an environment: keys, an empty snapshot, and the first version of everything.
    ///
    /// # Errors
    /// [`ControlError::EnvironmentExists`], [`ControlError::TooManyEnvironments`], or as [`Control::change`].
    pub async fn create_environment(
        &self,
        context: &Context,
        name: &Environment,
    ) -> Result<Changed<()>, ControlError> {
        match self.create(context, name, None).await? {
            Outcome::Changed(changed, _) => Ok(changed),
            Outcome::Repeated(_) => Err(ControlError::Internal { attempt: "creating an environment" }),
        }
    }

    /// As [`Control::create_environment`], with an answer to keep.
    ///
    /// # Errors
    /// As both.
    pub async fn create_environment_answered(
        &self,
        context: &Context,
        name: &Environment,
        answer: impl Fn(&Changed<()>) -> Answer + Send + Sync,
    ) -> Result<Answer, ControlError> {
        answered(self.create(context, name, Some(&answer)).await?)
    }

    async fn create(
        &self,
        context: &Context,
        name: &Environment,
        rendering: Rendering<'_, ()>,
    ) -> Result<Outcome<()>, ControlError> {
        let keeps = rendering.is_some() && !context.dry_run;
        let (_underway, repeated) = if keeps { self.look_up(context).await? } else { (None, None) };
        if let Some(answer) = repeated {
            return Ok(Outcome::Repeated(answer));
        }
        let exists = || ControlError::EnvironmentExists { name: name.clone() };
        let there = self.store.environments().await?;
        if there.iter().any(|record| record.name == *name) {
            return Err(exists());
        }
        if there.len() >= MAX_ENVIRONMENTS {
            return Err(ControlError::TooManyEnvironments { limit: MAX_ENVIRONMENTS });
        }
        if !context.may_publish {
            return Err(ControlError::PublisherNeeded);
        }
        let now = self.now();
        let (state, write) = publish::plan_new(name, now, &self.master)?;
        let changed = Changed { reply: (), state: Arc::new(state), published: true, changed: true };
        let answer = rendering.map(|render| render(&changed));
        if context.dry_run {
            return Ok(Outcome::Changed(changed, answer));
        }
        let root = changed.state.keyring.root().kid();
        let note = AuditNote {
            action: "environment.create".to_owned(),
            kind: Some("environment".to_owned()),
            key: Some(name.to_string()),
            detail: json!({ "root": root }),
        };
        let mut commit = self.commit_of(context, Some(write), now);
        commit.audit = audit(name, context, Vec::new(), vec![note], &changed, now);
        commit.idempotency = match answer.as_ref().filter(|_| keeps) {
            Some(answer) => self.kept(context, answer, now)?,
            None => None,
        };
        match self.store.commit(commit).await {
            Ok(_) => {
                tracing::info!(environment = %name, %root, "environment created");
                self.publishes.fetch_add(1, Ordering::Relaxed);
                self.meet(Arc::clone(&changed.state));
                Ok(Outcome::Changed(changed, answer))
            }
            Err(CommitError::Conflict) => Err(exists()),
            Err(CommitError::IdempotencyTaken) => {
                self.answer_of_another(context).await.map(Outcome::Repeated)
            }
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
