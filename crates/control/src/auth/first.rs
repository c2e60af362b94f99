//! Admin tokens that no admin creates: the first one of an installation, and one for whoever lost all.

use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, ApiToken, AuditEntry, Commit, CommitError, Store, TokenWrite};
use serde_json::json;
use zeroize::Zeroizing;

use super::Scope;
use super::token::{NewToken, Token};
use crate::change::Context;
use crate::control::Control;
use crate::error::ControlError;

/// Creates an admin token if there has never been any token at all; gives it to be shown once.
///
/// Its id is always the same, so of two processes that start at the same time one gets it.
///
/// # Errors
/// [`ControlError::Store`]; [`ControlError::Internal`] when the system gives no random bytes.
pub async fn first_admin_token(control: &Control) -> Result<Option<Zeroizing<String>>, ControlError> {
    if !control.store().tokens().await?.is_empty() {
        return Ok(None);
    }
    let (now, actor) = (control.now(), Context::system().actor);
    let new =
        NewToken { name: "first admin".to_owned(), scope: Scope::Admin, environment: None, expires_at: None };
    let (token, text) = Token::generate_first(new, &actor, now)
        .map_err(|_| ControlError::Internal { attempt: "drawing the first token" })?;
    match keep(&**control.store(), token, "token.create", actor, now).await {
        Ok(()) => Ok(Some(text)),
        Err(CommitError::Conflict | CommitError::IdempotencyTaken) => Ok(None),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

/// Creates another admin token, for whoever lost all of them and can reach the store itself.
///
/// # Errors
/// As [`first_admin_token`]; [`ControlError::Busy`] when the drawn id is taken: draw again.
pub async fn recover_admin_token(
    store: &dyn Store,
    now: Timestamp,
) -> Result<Zeroizing<String>, ControlError> {
    let actor = Context::system().actor;
    let new = NewToken {
        name: "recovered admin".to_owned(),
        scope: Scope::Admin,
        environment: None,
        expires_at: None,
    };
    let (token, text) = Token::generate(new, &actor, now)
        .map_err(|_| ControlError::Internal { attempt: "drawing a token" })?;
    match keep(store, token, "token.recover", actor, now).await {
        Ok(()) => Ok(text),
        Err(CommitError::Conflict | CommitError::IdempotencyTaken) => Err(ControlError::Busy),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

async fn keep(
    store: &dyn Store,
    token: ApiToken,
    action: &str,
    actor: Actor,
    now: Timestamp,
) -> Result<(), CommitError> {
    let entry = AuditEntry {
        at_ms: now.unix_ms(),
        actor: actor.clone(),
        action: action.to_owned(),
        environment: None,
        kind: Some("token".to_owned()),
        key: Some(token.id.clone()),
        request: None,
        detail: json!({ "name": token.name, "scope": token.scope }),
    };
    let commit = Commit {
        actor,
        at: now,
        environment: None,
        tokens: vec![TokenWrite::Create(token)],
        audit: vec![entry],
        idempotency: None,
        alerts: Vec::new(),
    };
    store.commit(commit).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn there_is_one_first_token_however_many_start() {
        let test = World::new().await;
        let (one, two) = tokio::join!(first_admin_token(&test.control), first_admin_token(&test.control));
        let tokens: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(tokens.len(), 1);
        let stored = test.control.store().tokens().await.unwrap();
        assert!(Token::parse(&tokens[0]).unwrap().matches(&stored[0]));
        assert_eq!(first_admin_token(&test.control).await.unwrap(), None);
        let audit = test.control.store().audit_after(0, 100).await.unwrap();
        assert_eq!(audit.iter().filter(|record| record.entry.contains("token.create")).count(), 1);
    }
}
