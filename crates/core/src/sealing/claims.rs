//! Reading claims: typed, bounded, and named in the error when they do not fit.
//!
//! Unknown claims are ignored (RFC 7519 §4), so that an older client can read a newer edge; duplicate members are
//! refused at any depth. Numbers must be written as JSON integers from 0 to 2^53 - 1: `1.0`, `1e3` and `"1"` are
//! refused, because two readers could understand them differently.

use serde_json::{Map, Value};

use super::error::{ClaimProblem, Malformation, TokenPart, VerifyError, shorten};
use super::{CLOCK_SKEW_SECONDS, MAX_CLAIM_INTEGER, MAX_CLAIMS_DEPTH};
use crate::ids::Environment;
use crate::json::{self, Limits};
use crate::time::Timestamp;

/// An object of claims and where it sits.
pub(super) struct Claims {
    members: Map<String, Value>,
    path: String,
}

impl Claims {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformation> {
        let limits = Limits { max_bytes: bytes.len(), max_depth: MAX_CLAIMS_DEPTH };
        match json::parse(bytes, limits) {
            Ok(Value::Object(members)) => Ok(Self { members, path: String::new() }),
            Ok(_) => Err(Malformation::NotAnObject { part: TokenPart::Claims }),
            Err(error) => Err(Malformation::Json { part: TokenPart::Claims, error }),
        }
    }

    pub(super) fn nested(value: Value, path: String) -> Result<Self, Malformation> {
        match value {
            Value::Object(members) => Ok(Self { members, path }),
            _ => Err(Malformation::Claim { claim: path, problem: expected("an object") }),
        }
    }

    pub(super) fn optional(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    pub(super) fn required(&mut self, name: &str) -> Result<Value, Malformation> {
        self.optional(name).ok_or_else(|| self.problem(name, ClaimProblem::Missing))
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Map<String, Value>, Malformation> {
        match self.required(name)? {
            Value::Object(members) => Ok(members),
            _ => Err(self.problem(name, expected("an object"))),
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Malformation> {
        match self.required(name)? {
            Value::Array(items) => Ok(items),
            _ => Err(self.problem(name, expected("a list"))),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, Malformation> {
        match self.required(name)? {
            Value::String(text) => Ok(text),
            _ => Err(self.problem(name, expected("a string"))),
        }
    }

    /// A text that `read` understands; `what` names it with its article.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformation> {
        let text = self.text(name)?;
        read(&text).ok_or_else(|| self.problem(name, expected(what)))
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<u64, Malformation> {
        let value = self.required(name)?;
        as_integer(&value).ok_or_else(|| self.problem(name, expected(INTEGER)))
    }

    pub(super) fn time(&mut self, name: &str) -> Result<Timestamp, Malformation> {
        self.integer(name).map(seconds)
    }

    pub(super) fn optional_time(&mut self, name: &str) -> Result<Option<Timestamp>, Malformation> {
        match self.optional(name) {
            None => Ok(None),
            Some(value) => match as_integer(&value) {
                Some(integer) => Ok(Some(seconds(integer))),
                None => Err(self.problem(name, expected(INTEGER))),
            },
        }
    }

    pub(super) fn environment(&mut self) -> Result<Environment, Malformation> {
        self.read("iss", "the name of an environment", |text| Environment::parse(text).ok())
    }

    /// A copy of a few claims, to be read while the whole stays as it is.
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let members = self.members.iter().filter(|(name, _)| names.contains(&name.as_str()));
        Self {
            members: members.map(|(name, value)| (name.clone(), value.clone())).collect(),
            path: self.path.clone(),
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.members)
    }

    pub(super) fn problem(&self, name: &str, problem: ClaimProblem) -> Malformation {
        Malformation::Claim { claim: join(&self.path, name), problem }
    }
}

const INTEGER: &str = "an integer from 0 to 9007199254740991";

pub(super) fn expected(expected: &'static str) -> ClaimProblem {
    ClaimProblem::WrongType { expected }
}

pub(super) fn join(path: &str, name: &str) -> String {
    let name = shorten(name);
    if path.is_empty() { name } else { format!("{path}/{name}") }
}

pub(super) fn as_integer(value: &Value) -> Option<u64> {
    value.as_u64().filter(|integer| *integer <= MAX_CLAIM_INTEGER)
}

fn seconds(integer: u64) -> Timestamp {
    Timestamp::from_unix_seconds(i64::try_from(integer).unwrap_or(i64::MAX))
}

/// When a document is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// On its way in, at this time.
    Now(Timestamp),
    /// Read back from one's own disk: it was alive when it was put there, and neither a long night without network nor
    /// a clock that jumped makes it worse.
    AtRest,
}

/// When a token holds: from `iat` (and `nbf`, if it has one) to `exp`.
#[derive(Clone, Copy)]
pub(super) struct Lifetime {
    pub(super) iat: Timestamp,
    pub(super) exp: Timestamp,
    pub(super) nbf: Option<Timestamp>,
}

impl Lifetime {
    pub(super) fn read(claims: &mut Claims, limit: i64) -> Result<Self, Malformation> {
        let (iat, exp, nbf) = (claims.time("iat")?, claims.time("exp")?, claims.optional_time("nbf")?);
        let seconds = exp.seconds_since(iat);
        if seconds <= 0 {
            return Err(claims.problem("exp", ClaimProblem::EndsBeforeItBegins));
        }
        if seconds > limit {
            return Err(claims.problem("exp", ClaimProblem::LivesTooLong { seconds, limit }));
        }
        Ok(Self { iat, exp, nbf })
    }

    /// Whether it holds; at rest, time does not count.
    pub(super) fn holds(&self, when: When) -> Result<(), VerifyError> {
        let When::Now(now) = when else { return Ok(()) };
        self.not_expired(now)?;
        self.begun(now)
    }

    pub(super) fn not_expired(&self, now: Timestamp) -> Result<(), VerifyError> {
        if now >= self.exp.plus_seconds(CLOCK_SKEW_SECONDS) {
            return Err(VerifyError::Expired { expired_at: self.exp, now });
        }
        Ok(())
    }

    pub(super) fn begun(&self, now: Timestamp) -> Result<(), VerifyError> {
        begun(self.nbf.map_or(self.iat, |nbf| nbf.max(self.iat)), now)
    }
}

/// Refuses what begins in the future.
pub(super) fn begun(valid_from: Timestamp, now: Timestamp) -> Result<(), VerifyError> {
    if valid_from > now.plus_seconds(CLOCK_SKEW_SECONDS) {
        return Err(VerifyError::NotYet { valid_from, now });
    }
    Ok(())
}

/// Refuses what another environment issued.
pub(super) fn issued_by(iss: &Environment, environment: &Environment) -> Result<(), VerifyError> {
    if iss == environment {
        return Ok(());
    }
    Err(VerifyError::Audience {
        claim: "iss",
        expected: environment.as_str().to_owned(),
        found: shorten(iss.as_str()),
    })
}

/// Claims as JSON text. Members come in alphabetical order whichever features `serde_json` is built with,
/// because callers list them so.
pub(super) fn to_json(claims: &Value) -> Vec<u8> {
    claims.to_string().into_bytes()
}
