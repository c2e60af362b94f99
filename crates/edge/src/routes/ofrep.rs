//! OpenFeature Remote Evaluation Protocol 0.3: `POST /ofrep/v1/evaluate/flags` for all flags (browsers),
//! `POST /ofrep/v1/evaluate/flags/{key}` for one (servers). An experiment is a flag; its variant's payload, or the
//! variant's key where there is none, is the value. Without a value the client takes the default in its code
//! (`codeDefaultFlag`).
//!
//! Nothing here is signed: these clients trust the connection. The SDKs use tokens.

use bytes::Bytes;
use edgeseal_core::attributes::Attributes;
use edgeseal_core::evaluate::{self, Forced, Outcome, Reason, evaluate};
use edgeseal_core::ids::{UnitId, UnitType};
use edgeseal_core::ruleset::Experiment;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{Refusal, Request, Response, cacheable, uncacheable};
use crate::caching::entity_tag;
use crate::problem::{Code, Problem, mark_refusal, quote};
use crate::published::{Live, short_digest};
use crate::request::{DEFAULT_UNIT_TYPE, json_object, path_tail};
use crate::{Shared, published};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The client may keep it, but has to ask each time whether it is still true; no shared cache may.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Separates this digest from every other use of SHA-256.
const ETAG_DOMAIN: &[u8] = b"edgeseal/ofrep/1";

/// All flags for one context, with an entity tag over everything that they depend on.
pub(crate) async fn evaluate_all(app: &Shared, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let members = json_object(&parts.headers, body, app.config.body_read_timeout).await?;
    let context = Context::take(members)?;
    let live = app.live.load();
    let live = published(&live)?;

    let etag = context.entity_tag(live);
    let flags: Vec<_> = live.ruleset.experiments().iter().map(|flag| context.evaluate(live, flag)).collect();
    let body = json!({
        "flags": flags,
        "metadata": { "snapshotVersion": live.ruleset.version(), "statusEpoch": live.status.ep },
    });
    Ok(cacheable(&parts.headers, JSON, REVALIDATE, etag, Bytes::from(body.to_string())))
}

/// One flag for one context.
pub(crate) async fn evaluate_one(app: &Shared, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let key = path_tail(&parts.uri, "/ofrep/v1/evaluate/flags/")?.into_owned();
    let answer = async {
        let members = json_object(&parts.headers, body, app.config.body_read_timeout).await?;
        let context = Context::take(members)?;
        let live = app.live.load();
        let live = published(&live)?;
        let flag = live.ruleset.find(&key).ok_or_else(|| {
            let detail = format!("flag '{}' does not exist in this environment", quote(&key));
            Failure::new(StatusCode::NOT_FOUND, "FLAG_NOT_FOUND", detail)
        })?;
        Ok(uncacheable(JSON, context.evaluate(live, flag).to_string()))
    };
    answer.await.map_err(|failure: Failure| failure.of_flag(&key))
}

/// For whom flags are evaluated.
struct Context {
    unit: String,
    unit_type: UnitType,
    attributes: Attributes,
}

impl Context {
    // Other members beside `context` are left alone: the protocol may grow.
    fn take(mut members: Map<String, Value>) -> Result<Self, Failure> {
        let missing = || {
            let detail = "name the unit in the context as 'targetingKey'";
            Failure::new(StatusCode::BAD_REQUEST, "TARGETING_KEY_MISSING", detail.into())
        };
        let invalid = |detail: String| Failure::new(StatusCode::BAD_REQUEST, "INVALID_CONTEXT", detail);
        let mut context = match members.remove("context") {
            Some(Value::Object(context)) => context,
            None | Some(Value::Null) => return Err(missing()),
            Some(_) => return Err(invalid("'context' must be an object".into())),
        };
        let unit = match context.remove("targetingKey") {
            Some(Value::String(unit)) if !unit.is_empty() => unit,
            None | Some(Value::Null | Value::String(_)) => return Err(missing()),
            Some(_) => return Err(invalid("'targetingKey' must be text".into())),
        };
        UnitId::parse(&unit).map_err(|error| invalid(format!("'targetingKey' {error}")))?;
        let unit_type = match context.remove("unitType") {
            None => DEFAULT_UNIT_TYPE.to_owned(),
            Some(Value::String(name)) => name,
            Some(_) => return Err(invalid("'unitType' must be text".into())),
        };
        let unit_type = UnitType::parse(&unit_type)
            .map_err(|error| invalid(format!("'unitType' '{}' {error}", quote(&unit_type))))?;
        let attributes = Attributes::from_object(context).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { unit, unit_type, attributes })
    }

    /// Over the snapshot, the status, and the whole context.
    ///
    /// Not over the context digest: RFC 8785 rounds large integers, and an audience does not.
    fn entity_tag(&self, live: &Live) -> HeaderValue {
        // Members come in one order whatever the client's, and JSON values always serialise.
        let attributes = serde_json::to_vec(&self.attributes).unwrap_or_default();
        entity_tag(&short_digest(&[
            ETAG_DOMAIN,
            live.ruleset.environment().as_str().as_bytes(),
            &live.ruleset.version().to_be_bytes(),
            &live.status.ep.to_be_bytes(),
            self.unit_type.as_str().as_bytes(),
            self.unit.as_bytes(),
            &attributes,
        ]))
    }

    fn evaluate(&self, live: &Live, flag: &Experiment) -> Value {
        let outcome = if *flag.unit_type() == self.unit_type {
            // The id was checked when the context came in.
            UnitId::parse(&self.unit).ok().map(|unit| {
                let question = evaluate::Request {
                    unit,
                    attributes: &self.attributes,
                    forced: Forced::none(),
                    previous: None,
                };
                evaluate(&live.ruleset, &live.halts, flag, &question)
            })
        } else {
            None
        };
        if let Some(outcome) = &outcome {
            live.counters.count(flag, outcome);
        }
        success(live, flag, outcome)
    }
}

/// One flag's answer; `outcome` is absent when the experiment randomises another unit type.
fn success(live: &Live, flag: &Experiment, outcome: Option<Outcome<'_>>) -> Value {
    let mut answer = json!({
        "key": flag.key().as_str(),
        "reason": outcome.map_or("DEFAULT", |outcome| open_feature_reason(outcome.reason)),
        "metadata": {
            "edgesealReason": outcome.map_or("unit_type", |outcome| outcome.reason.as_str()),
            "experimentVersion": flag.version(),
            "snapshotVersion": live.ruleset.version(),
        },
    });
    if let (Some(variant), Value::Object(members)) =
        (outcome.and_then(|outcome| outcome.variant), &mut answer)
    {
        let value = variant.payload().cloned().unwrap_or_else(|| variant.key().as_str().into());
        members.insert("value".into(), value);
        members.insert("variant".into(), variant.key().as_str().into());
    }
    answer
}

/// OpenFeature's word for a reason (specification, types, "resolution reason").
fn open_feature_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Split | Reason::Sticky => "SPLIT",
        Reason::Forced => "TARGETING_MATCH",
        Reason::Winner => "STATIC",
        Reason::Draft | Reason::Paused | Reason::Stopped | Reason::Halted => "DISABLED",
        Reason::Holdout | Reason::Prerequisite | Reason::Audience | Reason::Layer | Reason::Traffic => {
            "DEFAULT"
        }
    }
}

/// A refusal in the protocol's own shape.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: &'static str,
    detail: String,
    flag: Option<String>,
    cause: Option<Code>,
}

impl Failure {
    fn new(status: StatusCode, error: &'static str, detail: String) -> Self {
        Self { status, error, detail, flag: None, cause: None }
    }

    fn of_flag(self, key: &str) -> Self {
        Self { flag: Some(quote(key).into_owned()), ..self }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let error = match problem.code() {
            Code::MalformedBody | Code::MalformedRequest => "PARSE_ERROR",
            _ => "GENERAL",
        };
        let failure = Self::new(problem.status(), error, problem.detail().to_owned());
        Self { cause: Some(problem.code()), ..failure }
    }
}

impl Refusal for Failure {
    fn into_response(self) -> Response {
        let mut body = json!({ "errorCode": self.error, "errorDetails": self.detail });
        if let (Some(key), Value::Object(members)) = (self.flag, &mut body) {
            members.insert("key".into(), key.into());
        }
        let mut response = Response::new(body.to_string().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        mark_refusal(self.cause.unwrap_or(Code::MalformedBody), headers);
        response
    }
}

#[cfg(test)]
mod tests;
