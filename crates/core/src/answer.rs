//! The answer to "which variants does this unit get?": evaluation sealed as one token.
//!
//! The native edge and the Worker both enter here, so they give the same bytes for the same question.

use std::fmt::Write;

use crate::evaluate::{Outcome, Request, evaluate};
use crate::ids::UnitType;
use crate::ruleset::{Experiment, Halts, Ruleset};
use crate::sealing::{MAX_TOKEN_LIFE_SECONDS, Sealer, SubjectTag, TOKEN_WINDOW_SECONDS};
use crate::time::Timestamp;

/// What an edge adds to the question: the time, its key, and how fresh its status is.
#[derive(Clone, Copy)]
pub struct AnswerContext<'a> {
    /// Now.
    pub now: Timestamp,
    /// Life of the token in seconds, from the rounded issue time; clamped to
    /// [`TOKEN_WINDOW_SECONDS`] … [`MAX_TOKEN_LIFE_SECONDS`].
    pub life_seconds: i64,
    /// Status epoch that the edge knows, `ep`.
    pub epoch: u64,
    /// Signs with the edge's key.
    pub sealer: &'a Sealer,
}

/// A signed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The token: a compact JWS of type `edgeseal-assignment+jwt`.
    pub token: String,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

/// Evaluates every experiment of `unit_type` for one unit and seals the result.
///
/// `observe` sees each experiment's outcome, for metrics. An experiment that the unit is not in is absent from the
/// token.
pub fn answer(
    ruleset: &Ruleset,
    halts: &Halts,
    unit_type: &UnitType,
    request: &Request<'_>,
    context: &AnswerContext<'_>,
    observe: impl FnMut(&Experiment, &Outcome<'_>),
) -> Answer {
    let issued_at = context.now.floor_to_seconds(TOKEN_WINDOW_SECONDS);
    let life_seconds = context.life_seconds.clamp(TOKEN_WINDOW_SECONDS, MAX_TOKEN_LIFE_SECONDS);
    let expires_at = issued_at.plus_seconds(life_seconds);
    let claims =
        write_claims(ruleset, halts, unit_type, request, context.epoch, (issued_at, expires_at), observe);
    Answer { token: context.sealer.seal(claims.as_bytes()), expires_at }
}

// By hand, because this is the hot path: the pieces that depend only on the ruleset were written when it was compiled.
// Nothing needs escaping: names have an alphabet without quotes, tags and digests are base64url, payloads are JSON.
fn write_claims(
    ruleset: &Ruleset,
    halts: &Halts,
    unit_type: &UnitType,
    request: &Request<'_>,
    epoch: u64,
    (issued_at, expires_at): (Timestamp, Timestamp),
    mut observe: impl FnMut(&Experiment, &Outcome<'_>),
) -> String {
    let environment = ruleset.environment();
    let subject = SubjectTag::of(environment, unit_type, request.unit);
    let mut claims = String::with_capacity(1024);
    // Writing into a String cannot fail.
    let _ = write!(
        claims,
        r#"{{"iss":"{environment}","aud":"edgeseal:{environment}","sub":"{subject}","ut":"{unit_type}","#,
    );
    let _ = write!(
        claims,
        r#""iat":{},"exp":{},"cv":{},"ep":{epoch},"cd":"{}","a":{{"#,
        issued_at.unix_seconds(),
        expires_at.unix_seconds(),
        ruleset.version(),
        request.attributes.digest(),
    );
    let mut first = true;
    for experiment in ruleset.experiments_of(unit_type) {
        let outcome = evaluate(ruleset, halts, experiment, request);
        observe(experiment, &outcome);
        let Some(variant) = outcome.variant else { continue };
        if !first {
            claims.push(',');
        }
        first = false;
        claims.push_str(&variant.claim_head);
        claims.push_str(outcome.reason.as_str());
        claims.push_str(&variant.claim_tail);
    }
    claims.push_str("}}");
    claims
}

#[cfg(test)]
mod tests;
