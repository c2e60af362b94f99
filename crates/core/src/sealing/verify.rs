//! Whether a token may be used: every check in its order.

use std::collections::BTreeMap;

use super::TokenKind;
use super::assignment::{AssignedVariant, AssignmentClaims};
use super::claims::{When, issued_by};
use super::error::{KeyRefusal, RolledBack, VerifyError, shorten};
use super::jws::{Parts, header};
use super::keys::KeyId;
use super::keyset::{Keyset, KeysetKey};
use super::memory::Memory;
use super::status::Status;
use super::steps::{Observer, Silent, Step, StepName, Telling};
use super::subject::SubjectTag;
use crate::ids::{Environment, ExperimentKey};
use crate::time::Timestamp;

/// What the one who checks a token knows: who asks, where, when, and what was seen before.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The environment that must have issued the token.
    pub environment: &'a Environment,
    /// The tag of the unit that asks, computed from its own id.
    pub subject: SubjectTag,
    /// The time of the check.
    pub now: Timestamp,
    /// The last status document that was accepted. What it halts or revokes counts even after it ended: a
    /// revocation is never taken back by losing the connection.
    pub status: Option<&'a Status>,
    /// What this client has accepted before.
    pub memory: Option<&'a Memory>,
}

/// Checks an assignment token: whether it is genuine, alive, and this unit's.
///
/// # Errors
/// The first [`VerifyError`] in the order of its variants, with one exception: claims are read only under a good
/// signature, so malformed claims that nobody signed are `E_SIGNATURE`. `E_HALTED` and the `E_ROLLBACK` of a single
/// experiment come from [`VerifiedAssignments::usable`]; the token stays good for its other experiments.
pub fn verify_assignment(
    token: &str,
    keyset: &Keyset,
    expected: &Expected<'_>,
) -> Result<VerifiedAssignments, VerifyError> {
    check(token, keyset, expected, &mut Silent)
}

/// As [`verify_assignment`], the same code, telling each step with its outcome; steps after a failed one are told
/// as not checked.
///
/// # Errors
/// As [`verify_assignment`].
pub fn verify_assignment_observed(
    token: &str,
    keyset: &Keyset,
    expected: &Expected<'_>,
    observer: &mut dyn FnMut(Step),
) -> Result<VerifiedAssignments, VerifyError> {
    check(token, keyset, expected, &mut Telling(observer))
}

fn check(
    token: &str,
    keyset: &Keyset,
    expected: &Expected<'_>,
    observer: &mut impl Observer,
) -> Result<VerifiedAssignments, VerifyError> {
    let Expected { environment, subject, now, status, memory } = *expected;
    let kind = TokenKind::Assignment;

    let parts = Parts::parse(token, kind.max_bytes()).map_err(VerifyError::Malformed);
    let parts = observer.step(StepName::Form, parts, |_| format!("3 parts, {} bytes", token.len()))?;

    observer.step(StepName::Type, check_kind(&parts, kind), |()| format!("'{}'", kind.typ()))?;

    let key = check_key(&parts, kind, keyset, environment, When::Now(now));
    let key = observer.step(StepName::Key, key, |key| {
        format!("{} ({}, {})", key.kid, key.use_.as_str(), key.state.as_str())
    })?;

    match status {
        None => observer.skip(StepName::Revocation, "no status document at hand"),
        Some(status) => {
            observer.step(StepName::Revocation, check_revocation(key, status, environment), |()| {
                format!("not revoked as of status epoch {}", status.ep)
            })?
        }
    }

    observer.step(StepName::Signature, check_signature(&parts, key), |()| {
        format!("Ed25519 over {} bytes", parts.signed.len())
    })?;

    let claims = AssignmentClaims::parse(&parts.claims).map_err(VerifyError::Malformed);
    let claims = observer.step(StepName::Claims, claims, |claims| {
        format!("snapshot version {}, experiments: {}", claims.cv, claims.a.len())
    })?;

    let life = claims.lifetime();
    observer.step(StepName::Expiry, life.not_expired(now), |()| {
        format!("ends in {} s", life.exp.seconds_since(now))
    })?;
    observer.step(StepName::Begin, life.begun(now), |()| {
        format!("issued {} s ago", now.seconds_since(life.iat))
    })?;

    observer
        .step(StepName::Audience, check_audience(&claims, environment), |()| format!("'{}'", claims.aud))?;

    observer.step(StepName::Subject, check_subject(&claims, subject), |()| {
        format!("{}, unit type '{}'", claims.sub, claims.ut)
    })?;

    match memory {
        None => observer.skip(StepName::Rollback, "no memory of earlier tokens"),
        Some(memory) => observer.step(StepName::Rollback, memory.check_claims(&claims), |()| {
            format!("not older than snapshot version {}, status epoch {}", memory.cv, memory.ep)
        })?,
    }

    let refused = refused_experiments(&claims, status, memory);
    match status {
        None => observer.skip(StepName::Halts, "no status document at hand"),
        Some(_) => observer.step(StepName::Halts, Ok(()), |()| {
            format!("{} of {} experiments refused", refused.len(), claims.a.len())
        })?,
    }
    Ok(VerifiedAssignments { claims, refused })
}

/// Checks an assignment token that comes back late, to say whose events these are: whether it is genuine, was alive,
/// and ended at most `max_late_seconds` before `now`. Gives its claims and the key that signed it.
///
/// Nothing may be shown because of it. So who asks does not matter, nor what was halted since, and a key that has
/// been retired meanwhile still counts while the keyset lists it; a revoked one does not.
///
/// # Errors
/// As [`verify_assignment`]; never `E_SUBJECT`, `E_ROLLBACK` or `E_HALTED`.
pub fn verify_late_assignment(
    token: &str,
    keyset: &Keyset,
    status: Option<&Status>,
    environment: &Environment,
    now: Timestamp,
    max_late_seconds: i64,
) -> Result<(AssignmentClaims, KeyId), VerifyError> {
    let kind = TokenKind::Assignment;
    let parts = Parts::parse(token, kind.max_bytes()).map_err(VerifyError::Malformed)?;
    check_kind(&parts, kind)?;
    let key = check_key(&parts, kind, keyset, environment, When::AtRest)?;
    if let Some(status) = status {
        check_revocation(key, status, environment)?;
    }
    check_signature(&parts, key)?;
    let claims = AssignmentClaims::parse(&parts.claims).map_err(VerifyError::Malformed)?;
    let life = claims.lifetime();
    if now >= life.exp.plus_seconds(max_late_seconds) {
        return Err(VerifyError::Expired { expired_at: life.exp, now });
    }
    life.begun(now)?;
    check_audience(&claims, environment)?;
    Ok((claims, key.kid.clone()))
}

/// An assignment token that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedAssignments {
    claims: AssignmentClaims,
    refused: BTreeMap<ExperimentKey, VerifyError>,
}

impl VerifiedAssignments {
    /// What the token says.
    pub fn claims(&self) -> &AssignmentClaims {
        &self.claims
    }

    /// What the token says, for good.
    pub fn into_claims(self) -> AssignmentClaims {
        self.claims
    }

    /// The unit's variant in one experiment; `None` when it is not in it: show the default, count no exposure.
    ///
    /// # Errors
    /// `E_ROLLBACK` when a newer version of the experiment was seen before, `E_HALTED` when it is halted.
    pub fn usable(&self, experiment: &ExperimentKey) -> Result<Option<&AssignedVariant>, VerifyError> {
        match self.refused.get(experiment) {
            Some(error) => Err(error.clone()),
            None => Ok(self.claims.a.get(experiment)),
        }
    }
}

/// Which experiments of a good token must not be shown, and why.
fn refused_experiments(
    claims: &AssignmentClaims,
    status: Option<&Status>,
    memory: Option<&Memory>,
) -> BTreeMap<ExperimentKey, VerifyError> {
    let refusal = |key: &ExperimentKey, xv: u64| {
        let seen = memory.and_then(|memory| memory.xv.get(key).copied()).unwrap_or(0);
        if xv < seen {
            let what = RolledBack::ExperimentVersion(key.clone());
            return Some(VerifyError::Rollback { what, found: xv, seen });
        }
        let cause = status?.halts(key, xv)?;
        Some(VerifyError::Halted { experiment: key.clone(), cause })
    };
    claims.a.iter().filter_map(|(key, variant)| Some((key.clone(), refusal(key, variant.xv)?))).collect()
}

/// The checks that snapshots and status documents share with assignment tokens; gives the signed claims.
pub(super) fn open(
    token: &str,
    kind: TokenKind,
    keyset: &Keyset,
    environment: &Environment,
    when: When,
) -> Result<Vec<u8>, VerifyError> {
    let parts = Parts::parse(token, kind.max_bytes()).map_err(VerifyError::Malformed)?;
    check_kind(&parts, kind)?;
    let key = check_key(&parts, kind, keyset, environment, when)?;
    check_signature(&parts, key)?;
    Ok(parts.claims)
}

/// Whether the key that a token names still counts under `status`. It reads the header only: verify the token first.
///
/// Snapshots and status documents are verified by the keyset alone, which lists a leaked key until the next one comes;
/// whoever holds a status document asks this as well.
///
/// # Errors
/// `E_KEY` when the status revokes the key, `E_MALFORMED` when there is no header to read.
pub fn check_signer(token: &str, status: &Status) -> Result<(), VerifyError> {
    let header = header(token).map_err(VerifyError::Malformed)?;
    match status.rev.iter().find(|kid| kid.as_str() == header.kid) {
        None => Ok(()),
        Some(kid) => Err(VerifyError::Key(KeyRefusal::Revoked { kid: kid.clone(), ep: status.ep })),
    }
}

pub(super) fn check_kind(parts: &Parts<'_>, kind: TokenKind) -> Result<(), VerifyError> {
    if parts.header.typ == kind.typ() {
        return Ok(());
    }
    Err(VerifyError::Type { expected: kind, found: shorten(&parts.header.typ) })
}

/// The header has to agree with the key, and every key here is Ed25519 (RFC 8037, RFC 9864).
pub(super) fn check_algorithm(parts: &Parts<'_>) -> Result<(), VerifyError> {
    match parts.header.alg.as_str() {
        "EdDSA" | "Ed25519" => Ok(()),
        other => Err(VerifyError::Key(KeyRefusal::Algorithm { found: shorten(other) })),
    }
}

fn check_key<'k>(
    parts: &Parts<'_>,
    kind: TokenKind,
    keyset: &'k Keyset,
    environment: &Environment,
    when: When,
) -> Result<&'k KeysetKey, VerifyError> {
    check_algorithm(parts)?;
    if keyset.iss != *environment {
        let (keyset, expected) = (keyset.iss.as_str().to_owned(), environment.as_str().to_owned());
        return Err(VerifyError::Key(KeyRefusal::ForeignKeyset { keyset, expected }));
    }
    match when {
        When::Now(now) => keyset.key_for(&parts.header.kid, kind, now),
        // A key that has been retired since was not when it signed.
        When::AtRest => keyset.key_of_use(&parts.header.kid, kind),
    }
    .map_err(VerifyError::Key)
}

fn check_revocation(key: &KeysetKey, status: &Status, environment: &Environment) -> Result<(), VerifyError> {
    issued_by(&status.iss, environment)?;
    if status.rev.contains(&key.kid) {
        return Err(VerifyError::Key(KeyRefusal::Revoked { kid: key.kid.clone(), ep: status.ep }));
    }
    Ok(())
}

fn check_signature(parts: &Parts<'_>, key: &KeysetKey) -> Result<(), VerifyError> {
    if key.public.verifies(parts.signed.as_bytes(), &parts.signature) {
        return Ok(());
    }
    Err(VerifyError::Signature)
}

fn check_audience(claims: &AssignmentClaims, environment: &Environment) -> Result<(), VerifyError> {
    issued_by(&claims.iss, environment)?;
    if claims.aud.strip_prefix("edgeseal:") == Some(environment.as_str()) {
        return Ok(());
    }
    let (expected, found) = (format!("edgeseal:{environment}"), shorten(&claims.aud));
    Err(VerifyError::Audience { claim: "aud", expected, found })
}

fn check_subject(claims: &AssignmentClaims, subject: SubjectTag) -> Result<(), VerifyError> {
    if claims.sub.ct_eq(&subject) {
        return Ok(());
    }
    Err(VerifyError::Subject { expected: subject, found: claims.sub })
}
