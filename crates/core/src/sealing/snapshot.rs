//! The sealed configuration of an environment, as far as its signature goes.

use serde_json::Value;

use super::TokenKind;
use super::claims::{Claims, When, begun, issued_by};
use super::error::{Malformation, VerifyError};
use super::keyset::Keyset;
use super::status::Status;
use super::verify::{check_signer, open};
use crate::ids::Environment;
use crate::time::Timestamp;

/// Checks a snapshot token and gives its claims, for the snapshot module to understand.
///
/// A snapshot has no end: an edge serves the last good one for as long as it must. Whether it is newer than the
/// one at hand is the edge's to compare (`cv`).
///
/// # Errors
/// [`VerifyError`], as ordered there; `E_NOT_YET` for an `iat` in the future, never `E_EXPIRED`.
pub fn verify_snapshot(
    token: &str,
    keyset: &Keyset,
    environment: &Environment,
    now: Timestamp,
) -> Result<Value, VerifyError> {
    check(token, keyset, environment, When::Now(now))
}

/// Checks a snapshot token that was read back from one's own disk: as [`verify_snapshot`], but whatever the time, and
/// also if its control key has been retired since; not if `status` revokes that key.
///
/// # Errors
/// [`VerifyError`], as ordered there; never `E_NOT_YET`.
pub fn verify_snapshot_at_rest(
    token: &str,
    keyset: &Keyset,
    environment: &Environment,
    status: Option<&Status>,
) -> Result<Value, VerifyError> {
    let claims = check(token, keyset, environment, When::AtRest)?;
    if let Some(status) = status {
        check_signer(token, status)?;
    }
    Ok(claims)
}

fn check(token: &str, keyset: &Keyset, environment: &Environment, when: When) -> Result<Value, VerifyError> {
    let json = open(token, TokenKind::Snapshot, keyset, environment, when)?;
    let (claims, iss, iat) = parse(&json).map_err(VerifyError::Malformed)?;
    if let When::Now(now) = when {
        begun(iat, now)?;
    }
    issued_by(&iss, environment)?;
    Ok(claims)
}

fn parse(json: &[u8]) -> Result<(Value, Environment, Timestamp), Malformation> {
    let claims = Claims::parse(json)?;
    let mut head = claims.only(&["iss", "iat"]);
    Ok((claims.into_value(), head.environment()?, head.time("iat")?))
}
