//! Requests that come twice: the second gets the answer of the first.

use edgeseal_core::time::Timestamp;
use edgeseal_store::{Commit, CommitError, IdempotencyRecord};

use super::Context;
use crate::answer::{self, Answer, IdempotencyKey};
use crate::control::Control;
use crate::error::ControlError;

impl Control {
    /// Takes the idempotency key, if there is one, and looks for an answer that it has already.
    pub(super) async fn look_up(
        &self,
        context: &Context,
    ) -> Result<(Option<answer::Underway>, Option<Answer>), ControlError> {
        let Some(idempotency) = &context.idempotency else { return Ok((None, None)) };
        let underway = self.in_flight.enter(&context.actor.id, &idempotency.key)?;
        let answer = self.earlier_answer(context, idempotency).await?;
        Ok((Some(underway), answer))
    }

    async fn earlier_answer(
        &self,
        context: &Context,
        idempotency: &IdempotencyKey,
    ) -> Result<Option<Answer>, ControlError> {
        let record = self.store.answered(&context.actor.id, &idempotency.key).await?;
        record.map(|record| answer::recall(&record, idempotency, &self.master)).transpose()
    }

    /// Another process answered the same request while this one worked on it.
    pub(super) async fn answer_of_another(&self, context: &Context) -> Result<Answer, ControlError> {
        let Some(idempotency) = &context.idempotency else {
            return Err(ControlError::Internal { attempt: "repeating an answer" });
        };
        self.earlier_answer(context, idempotency).await?.ok_or(ControlError::InFlight)
    }

    pub(super) fn kept(
        &self,
        context: &Context,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, ControlError> {
        let Some(idempotency) = &context.idempotency else { return Ok(None) };
        answer::keep(answer, &context.actor.id, idempotency, &self.master, now).map(Some)
    }

    /// Keeps the answer of a change that changed nothing; gives the earlier one if there is one after all.
    pub(super) async fn keep_only(
        &self,
        context: &Context,
        answer: Option<&Answer>,
        now: Timestamp,
    ) -> Result<Option<Answer>, ControlError> {
        let Some(record) = answer.map(|answer| self.kept(context, answer, now)).transpose()?.flatten() else {
            return Ok(None);
        };
        let commit = Commit { idempotency: Some(record), ..self.commit_of(context, None, now) };
        match self.store.commit(commit).await {
            Ok(_) => Ok(None),
            Err(CommitError::IdempotencyTaken) => self.answer_of_another(context).await.map(Some),
            Err(CommitError::Conflict) => Err(ControlError::Busy),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
