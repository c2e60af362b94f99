//! Changes of API tokens, which belong to no environment.

use edgeseal_store::{CommitError, TokenWrite};

use super::attempts::entry;
use super::{AuditNote, Context};
use crate::answer::Answer;
use crate::control::Control;
use crate::error::ControlError;

impl Control {
    /// Changes API tokens, and keeps `answer` when the context has an idempotency key.
    ///
    /// # Errors
    /// [`ControlError::IdempotencyMismatch`], [`ControlError::InFlight`], [`ControlError::Store`];
    /// [`ControlError::Busy`] when a new token's id is taken: draw another.
    pub async fn change_tokens(
        &self,
        context: &Context,
        writes: Vec<TokenWrite>,
        audit: Vec<AuditNote>,
        answer: Answer,
    ) -> Result<Answer, ControlError> {
        let (_underway, repeated) = self.look_up(context).await?;
        if let Some(answer) = repeated {
            return Ok(answer);
        }
        let now = self.now();
        let mut commit = self.commit_of(context, None, now);
        commit.tokens = writes;
        commit.audit = audit.into_iter().map(|note| entry(note, None, context, now)).collect();
        commit.idempotency = self.kept(context, &answer, now)?;
        match self.store.commit(commit).await {
            Ok(_) => {
                self.tokens.send_modify(|count| *count = count.wrapping_add(1));
                Ok(answer)
            }
            Err(CommitError::Conflict) => Err(ControlError::Busy),
            Err(CommitError::IdempotencyTaken) => self.answer_of_another(context).await,
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
