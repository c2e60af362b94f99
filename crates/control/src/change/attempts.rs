//! A change from the first read to the commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{AuditEntry, Commit, CommitError, EnvironmentWrite};
use serde_json::{Value, json};

use super::{AuditNote, Changed, Context, Decision, MAX_COMMIT_ATTEMPTS};
use crate::answer::Answer;
use crate::control::{Control, blocking};
use crate::environment::EnvironmentState;
use crate::error::{ControlError, Fault};
use crate::keys::random_bytes;
use crate::publish::{self, Misfit, Planned, Refused, Wanted, Written};

/// Pause after the first conflict, at most; it doubles up to [`LONGEST_PAUSE_MS`].
const FIRST_PAUSE_MS: u64 = 4;
/// Longest pause after a conflict.
const LONGEST_PAUSE_MS: u64 = 250;

/// How a door renders its answer; `None` for doors that have none to keep.
pub(crate) type Rendering<'r, T> = Option<&'r (dyn Fn(&Changed<T>) -> Answer + Send + Sync)>;
/// What decides.
type Decide<'d, T> =
    &'d (dyn Fn(&EnvironmentState, Timestamp) -> Result<Decision<T>, ControlError> + Send + Sync);
/// What says where a misfit is, to people who know the changed documents.
type Locate<'l> = &'l (dyn Fn(&Misfit, &[(edgeseal_store::Kind, String)]) -> Fault + Send + Sync);

/// How a change ended.
pub(crate) enum Outcome<T> {
    /// It was made, or would be.
    Changed(Changed<T>, Option<Answer>),
    /// It was made by an earlier request.
    Repeated(Answer),
}

impl Control {
    /// Changes an environment. `decide` is pure; it runs again when somebody else committed first.
    ///
    /// # Errors
    /// What `decide` refuses; [`ControlError::Invalid`] when the documents do not fit together;
    /// [`ControlError::PublisherNeeded`]; [`ControlError::Busy`] after too many conflicts; [`ControlError::Store`].
    pub async fn change<T: Send>(
        &self,
        environment: &Environment,
        context: &Context,
        decide: impl Fn(&EnvironmentState, Timestamp) -> Result<Decision<T>, ControlError> + Send + Sync,
    ) -> Result<Changed<T>, ControlError> {
        match self.attempt(environment, context, &decide, None, &Misfit::among).await? {
            Outcome::Changed(changed, _) => Ok(changed),
            Outcome::Repeated(_) => Err(ControlError::Internal { attempt: "changing an environment" }),
        }
    }

    /// As [`Control::change`], and renders the answer before committing, so that it is kept in the same commit when the
    /// context has an idempotency key. A dry run keeps nothing.
    ///
    /// # Errors
    /// As [`Control::change`]; [`ControlError::IdempotencyMismatch`] and [`ControlError::InFlight`].
    pub async fn change_answered<T: Send>(
        &self,
        environment: &Environment,
        context: &Context,
        decide: impl Fn(&EnvironmentState, Timestamp) -> Result<Decision<T>, ControlError> + Send + Sync,
        answer: impl Fn(&Changed<T>) -> Answer + Send + Sync,
    ) -> Result<Answer, ControlError> {
        answered(self.attempt(environment, context, &decide, Some(&answer), &Misfit::among).await?)
    }

    /// Does what time asks for, if anything.
    pub(crate) async fn housekeep(&self, environment: &Environment) -> Result<(), ControlError> {
        let decide = |_: &EnvironmentState, _| Ok(Decision::nothing(()));
        self.attempt_wanted(environment, &Context::system(), &decide, None, &Misfit::among, true)
            .await
            .map(drop)
    }

    /// The common way of all changes.
    pub(crate) async fn attempt<T: Send>(
        &self,
        environment: &Environment,
        context: &Context,
        decide: Decide<'_, T>,
        rendering: Rendering<'_, T>,
        locate: Locate<'_>,
    ) -> Result<Outcome<T>, ControlError> {
        self.attempt_wanted(environment, context, decide, rendering, locate, false).await
    }

    async fn attempt_wanted<T: Send>(
        &self,
        environment: &Environment,
        context: &Context,
        decide: Decide<'_, T>,
        rendering: Rendering<'_, T>,
        locate: Locate<'_>,
        housekeeping: bool,
    ) -> Result<Outcome<T>, ControlError> {
        let keeps = rendering.is_some() && !context.dry_run;
        let (_underway, repeated) = if keeps { self.look_up(context).await? } else { (None, None) };
        if let Some(answer) = repeated {
            return Ok(Outcome::Repeated(answer));
        }
        let slot = match self.slot(environment) {
            Some(slot) => slot,
            None => self.refreshed(environment).await?,
        };
        let _place = slot.waiting.try_acquire().map_err(|_| ControlError::Busy)?;
        let _turn = slot.changing.lock().await;
        for attempt in 0..MAX_COMMIT_ATTEMPTS {
            let before = self.refreshed(environment).await?.known();
            let now = self.now();
            let Decision { documents, keyring, notes, alerts, reply } = decide(&before, now)?;
            let changed: Vec<_> = documents.iter().map(|it| (it.kind, it.key.clone())).collect();
            let wanted = Wanted { documents, keyring, housekeeping };
            let planned = self.plan(&before, wanted, context, now).await?;
            let planned = match planned {
                Ok(planned) => planned,
                Err(Refused::Other(error)) => return Err(error),
                Err(Refused::Misfit(misfit)) => {
                    return Err(ControlError::Invalid { faults: vec![locate(&misfit, &changed)] });
                }
            };
            let Some(Planned { after, write, written, published, altered }) = planned else {
                let changed = Changed { reply, state: before, published: false, changed: false };
                let answer = rendering.map(|render| render(&changed));
                return match self.keep_only(context, answer.as_ref().filter(|_| keeps), now).await? {
                    Some(earlier) => Ok(Outcome::Repeated(earlier)),
                    None => Ok(Outcome::Changed(changed, answer)),
                };
            };
            if altered && !context.may_publish {
                return Err(ControlError::PublisherNeeded);
            }
            let changed = Changed { reply, state: Arc::new(after), published, changed: true };
            let answer = rendering.map(|render| render(&changed));
            if context.dry_run {
                return Ok(Outcome::Changed(changed, answer));
            }
            let mut commit = self.commit_of(context, Some(write), now);
            commit.alerts = alerts;
            commit.audit = audit(environment, context, written, notes, &changed, now);
            commit.idempotency = match answer.as_ref().filter(|_| keeps) {
                Some(answer) => self.kept(context, answer, now)?,
                None => None,
            };
            match self.store.commit(commit).await {
                Ok(sequence) => {
                    let Changed { state, published, .. } = &changed;
                    tracing::info!(
                        %environment, sequence, cv = state.head.cv, ep = state.head.ep, published, "changed"
                    );
                    self.publishes.fetch_add(u64::from(*published), Ordering::Relaxed);
                    if !slot.adopt(Arc::clone(state), &self.config.policy(), now) {
                        tracing::error!(
                            %environment, cv = state.head.cv, ep = state.head.ep,
                            "committed, but edges have newer versions: the store was restored from an older backup"
                        );
                    }
                    return Ok(Outcome::Changed(changed, answer));
                }
                Err(CommitError::Conflict) => {
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                    pause(attempt).await?;
                }
                Err(CommitError::IdempotencyTaken) => {
                    return self.answer_of_another(context).await.map(Outcome::Repeated);
                }
                // Nobody knows whether it was applied; the next read asks for the sequence and finds out.
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(ControlError::Busy)
    }

    async fn plan(
        &self,
        before: &Arc<EnvironmentState>,
        wanted: Wanted,
        context: &Context,
        now: Timestamp,
    ) -> Result<Result<Option<Planned>, Refused>, ControlError> {
        let (before, actor) = (Arc::clone(before), context.actor.clone());
        let master = Arc::clone(&self.master);
        blocking(move || publish::plan(&before, wanted, &actor, now, &master)).await
    }

    pub(super) fn commit_of(
        &self,
        context: &Context,
        environment: Option<EnvironmentWrite>,
        at: Timestamp,
    ) -> Commit {
        Commit {
            actor: context.actor.clone(),
            at,
            environment,
            tokens: Vec::new(),
            audit: Vec::new(),
            idempotency: None,
            alerts: Vec::new(),
        }
    }
}

/// The answer of a change that has one.
pub(crate) fn answered<T>(outcome: Outcome<T>) -> Result<Answer, ControlError> {
    match outcome {
        Outcome::Repeated(answer) | Outcome::Changed(_, Some(answer)) => Ok(answer),
        Outcome::Changed(_, None) => Err(ControlError::Internal { attempt: "answering a change" }),
    }
}

/// Everything that the audit log is told about a change.
pub(super) fn audit<T>(
    environment: &Environment,
    context: &Context,
    written: Vec<Written>,
    notes: Vec<AuditNote>,
    changed: &Changed<T>,
    now: Timestamp,
) -> Vec<AuditEntry> {
    let documents = written.into_iter().map(|document| {
        let mut detail = json!({ "revision": document.revision });
        if let (Value::Object(members), Value::Object(more)) = (&mut detail, document.detail) {
            members.extend(more);
        }
        let kind = Some(document.kind.as_str().to_owned());
        AuditNote { action: document.action.to_owned(), kind, key: Some(document.key), detail }
    });
    let publication = changed.published.then(|| {
        let state = &changed.state;
        let detail = json!({
            "cv": state.head.cv,
            "ep": state.head.ep,
            "experiments": state.snapshot.experiments.len(),
        });
        AuditNote { action: "snapshot.publish".to_owned(), kind: None, key: None, detail }
    });
    let all = notes.into_iter().chain(documents).chain(publication);
    all.map(|note| entry(note, Some(environment), context, now)).collect()
}

pub(super) fn entry(
    note: AuditNote,
    environment: Option<&Environment>,
    context: &Context,
    now: Timestamp,
) -> AuditEntry {
    let AuditNote { action, kind, key, detail } = note;
    AuditEntry {
        at_ms: now.unix_ms(),
        actor: context.actor.clone(),
        action,
        environment: environment.cloned(),
        kind,
        key,
        request: context.request.clone(),
        detail,
    }
}

/// Waits for a random while, longer with every conflict, so that two processes do not keep step.
async fn pause(attempt: u32) -> Result<(), ControlError> {
    let longest = FIRST_PAUSE_MS.saturating_mul(1_u64 << attempt.min(16)).min(LONGEST_PAUSE_MS);
    let [random] = *random_bytes::<1>()?;
    let wait = longest.saturating_mul(u64::from(random)) / 255;
    tokio::time::sleep(Duration::from_millis(wait)).await;
    Ok(())
}

#[cfg(test)]
mod tests;
