//! The sealed configuration of an environment, as far as its signature goes.

use serde_json::Value;

use super::TokenKind;
use super::claims::{Claims, begun, issued_by};
use super::error::{Malformation, VerifyError};
use super::keyset::Keyset;
use super::verify::open;
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
    let json = open(token, TokenKind::Snapshot, keyset, environment, now)?;
    let (claims, iss, iat) = parse(&json).map_err(VerifyError::Malformed)?;
    begun(iat, now)?;
    issued_by(&iss, environment)?;
    Ok(claims)
}

fn parse(json: &[u8]) -> Result<(Value, Environment, Timestamp), Malformation> {
    let claims = Claims::parse(json)?;
    let mut head = claims.only(&["iss", "iat"]);
    Ok((claims.into_value(), head.environment()?, head.time("iat")?))
}
