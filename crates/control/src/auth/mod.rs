//! Who calls: API tokens and what they may do.
//!
//! A token is looked up with every request, so a revocation counts at once. Whatever is wrong with one, the answer is
//! the same, so that nobody learns which tokens exist.

mod failures;
mod first;
mod scope;
mod token;
mod usage;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, ApiToken, StoreError};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::failures::Failures;
use self::usage::Usage;
use crate::problem::{Code, Problem};
use crate::router::Desk;

pub use first::{first_admin_token, recover_admin_token};
pub use scope::Scope;
pub(crate) use token::is_id;
pub use token::{NewToken, NoRandomness, Token};

/// Checks tokens, and keeps count of the bad ones.
pub(crate) struct Auth {
    failures: Failures,
    usage: Usage,
}

/// The holder of a good token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who that is, for documents and the audit log.
    pub(crate) actor: Actor,
    /// What they may do.
    pub(crate) scope: Scope,
    /// The only environment where they may; `None`: all of them.
    pub(crate) environment: Option<Environment>,
    /// When the token ends by itself.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Caller {
    /// Whether the token is good in `environment`.
    pub(crate) fn check(&self, environment: &Environment) -> Result<(), Problem> {
        match &self.environment {
            Some(bound) if bound != environment => {
                let detail = format!("this token is bound to environment '{bound}', not '{environment}'");
                Err(Problem::new(Code::EnvironmentForbidden, detail))
            }
            _ => Ok(()),
        }
    }

    fn of(stored: ApiToken) -> Option<Self> {
        let scope = Scope::parse(&stored.scope)?;
        Some(Self {
            actor: Actor { id: stored.id, name: stored.name },
            scope,
            environment: stored.environment,
            expires_at: stored.expires_at,
        })
    }
}

impl Auth {
    /// Allows each client address so many failures a minute.
    pub(crate) fn new(failures_per_minute: u32) -> Self {
        Self { failures: Failures::new(failures_per_minute), usage: Usage::default() }
    }

    /// Finds out who calls.
    ///
    /// An address that failed too often is not even looked up any more, unless it names a token that was good before:
    /// one client's failures must not shut out the others behind the same address.
    ///
    /// # Errors
    /// 401, the same whatever is wrong; 429 for an address that failed too often; 503 when the store does not answer.
    pub(crate) async fn authenticate(
        &self,
        desk: &Desk,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, Problem> {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let presented = bearer(headers).and_then(Token::parse);
        let known = presented.is_some_and(|token| self.usage.knows(token.id()));
        if !known && let Some(wait) = self.failures.wait(address, Instant::now()) {
            desk.metrics.auth_failed();
            return Err(too_many(wait));
        }
        let now = desk.control.now();
        if let Some(token) = presented
            && let Some(stored) = desk.control.store().token(token.id()).await?
            && token.matches(&stored)
            && is_good(&stored, now)
            && let Some(caller) = Caller::of(stored)
        {
            self.usage.note(&caller.actor.id, now);
            return Ok(caller);
        }
        desk.metrics.auth_failed();
        if let Some(wait) = self.failures.wait(address, Instant::now()) {
            return Err(too_many(wait));
        }
        self.failures.note(address, Instant::now());
        let detail = "this takes a valid API token: send 'authorization: Bearer edgeseal_…'";
        Err(Problem::new(Code::Unauthenticated, detail))
    }

    /// Whether a token that was let in is still good.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not say.
    pub(crate) async fn still_good(&self, desk: &Desk, id: &str) -> Result<bool, StoreError> {
        let stored = desk.control.store().token(id).await?;
        Ok(stored.is_some_and(|stored| is_good(&stored, desk.control.now())))
    }

    /// Tells the store which tokens were used since the last time.
    pub(crate) async fn write_usage(&self, desk: &Desk) {
        let used = self.usage.take();
        if !used.is_empty()
            && let Err(error) = desk.control.store().tokens_used(&used).await
        {
            tracing::warn!(%error, tokens = used.len(), "cannot note when tokens were last used; going on without");
        }
    }
}

fn is_good(stored: &ApiToken, now: Timestamp) -> bool {
    stored.revoked_at.is_none() && stored.expires_at.is_none_or(|expires_at| now < expires_at)
}

fn too_many(wait: std::time::Duration) -> Problem {
    let detail = "too many requests without a valid token came from this address; wait a minute";
    Problem::new(Code::TooManyFailures, detail).retry_after(wait)
}

/// The token of an `authorization` header that appears exactly once.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests;
