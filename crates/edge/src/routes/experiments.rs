//! `GET /v1/experiments/{key}` with `x-user-id`: one experiment in the HMAC profile, for trusted servers that already
//! speak the published pattern. No browser may read it: whoever holds the secret can forge assignments.

use edgeseal_core::evaluate::{self, Forced, evaluate};
use edgeseal_core::ids::UnitId;
use edgeseal_core::sealing::hmac_profile::{HMAC_WINDOW_SECONDS, HmacSignError, sign};
use edgeseal_core::sealing::{HmacAssignment, TOKEN_WINDOW_SECONDS};
use edgeseal_core::time::Timestamp;
use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Request, Response, cacheable, unit_type};
use crate::caching::{NO_STORE, entity_tag};
use crate::config::TOKEN_MAX_AGE_SECONDS;
use crate::problem::{Code, Problem, quote};
use crate::request::{Query, path_tail};
use crate::{Shared, published};

const IDENTITY: HeaderName = HeaderName::from_static("x-user-id");
const SIGNATURE: HeaderName = HeaderName::from_static("x-experiment-signature");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The signed assignment of one unit in one experiment.
pub(crate) async fn read(app: &Shared, request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    let Some(secrets) = &live.hmac else {
        let detail =
            "the HMAC profile is off: no secret is configured; use /v1/assignments, or configure a secret";
        return Err(Problem::new(Code::ProfileDisabled, detail));
    };
    let unit = identity(request.headers())?;
    let query = Query::parse(request.uri(), &["ut", "attrs"])?;
    let unit_type = unit_type(live, query.unit_type())?;
    let attributes = query.attributes()?;
    let key = path_tail(request.uri(), "/v1/experiments/")?;
    let experiment = live.ruleset.find(&key).ok_or_else(|| {
        let detail = format!("experiment '{}' does not exist in this environment", quote(&key));
        Problem::new(Code::UnknownExperiment, detail)
    })?;

    let not_assigned = |reason: &'static str| {
        let detail = "the unit is not in the experiment; show the default";
        Problem::new(Code::NotAssigned, detail).with("reason", reason)
    };
    if *experiment.unit_type() != *unit_type {
        return Err(not_assigned("unit_type"));
    }
    let question =
        evaluate::Request { unit, attributes: &attributes, forced: Forced::none(), previous: None };
    let outcome = evaluate(&live.ruleset, &live.halts, experiment, &question);
    live.counters.count(experiment, &outcome);
    let Some(variant) = outcome.variant else { return Err(not_assigned(outcome.reason.as_str())) };

    let now = app.clock.now();
    // Rounded like a token's issue time: equal requests within a minute get equal bytes.
    let issued_at = now.floor_to_seconds(TOKEN_WINDOW_SECONDS);
    let assignment = sign(secrets, experiment.key(), unit, variant.key(), experiment.version(), issued_at)
        .map_err(|error| {
            let code = match error {
                HmacSignError::DelimiterInUnitId => Code::IdentityInvalid,
                HmacSignError::NumberOutOfRange => Code::NotReady,
            };
            Problem::new(code, error.to_string())
        })?;
    Ok(reply(request.headers(), &assignment, lifetime(now, issued_at, app.config.hmac_public)))
}

/// The unit: exactly one header with exactly one id in it. Two headers, or one with a comma, mean two units to some
/// caches and one to others, which then share an entry.
fn identity(headers: &HeaderMap) -> Result<UnitId<'_>, Problem> {
    let mut fields = headers.get_all(IDENTITY).iter();
    let Some(field) = fields.next() else {
        return Err(Problem::new(Code::IdentityMissing, "name the unit in the header 'x-user-id'"));
    };
    if fields.next().is_some() || field.as_bytes().contains(&b',') {
        let detail = "header 'x-user-id' must be sent once, with one id and no comma";
        return Err(Problem::new(Code::IdentityRepeated, detail));
    }
    let invalid = |what: String| Problem::new(Code::IdentityInvalid, format!("header 'x-user-id' {what}"));
    let text = std::str::from_utf8(field.as_bytes()).map_err(|_| invalid("is not UTF-8".into()))?;
    UnitId::parse(text).map_err(|error| invalid(error.to_string()))
}

fn lifetime(now: Timestamp, issued_at: Timestamp, public: bool) -> HeaderValue {
    let seconds = issued_at.plus_seconds(HMAC_WINDOW_SECONDS).seconds_since(now);
    if seconds <= 0 {
        return NO_STORE;
    }
    let max_age = seconds.min(TOKEN_MAX_AGE_SECONDS);
    let value = if public {
        format!("public, max-age={max_age}, s-maxage={seconds}")
    } else {
        format!("private, max-age={max_age}")
    };
    HeaderValue::try_from(value).unwrap_or(NO_STORE)
}

fn reply(request: &HeaderMap, assignment: &HmacAssignment, cache_control: HeaderValue) -> Response {
    let signature = assignment.signature();
    let body = assignment.to_json().into();
    let mut response = cacheable(request, JSON, cache_control, entity_tag(signature), body);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("x-user-id"));
    // Lower-case hex always fits a header.
    headers.insert(SIGNATURE, HeaderValue::from_str(signature).unwrap_or(HeaderValue::from_static("")));
    response
}

#[cfg(test)]
mod tests;
