//! The token: `GET /v1/assignments/{unit}` for caches, `POST /v1/assignments` for everything that does not fit a URL.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgeseal_core::answer::{AnswerContext, answer};
use edgeseal_core::attributes::Attributes;
use edgeseal_core::evaluate::{self, ForceError, Forced};
use edgeseal_core::ids::{ExperimentKey, UnitId, UnitType, VariantKey};
use edgeseal_core::sealing::{
    AssignmentClaims, Expected, SubjectTag, TOKEN_WINDOW_SECONDS, VerifyError, verify_assignment,
};
use edgeseal_core::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{JWT, Request, Response, cacheable, uncacheable, unit_type};
use crate::caching::{NO_STORE, entity_tag, until_expiry};
use crate::memo::{Asked, Recall, Sealed};
use crate::metrics::last_signature;
use crate::problem::{Code, Problem, quote};
use crate::published::Live;
use crate::request::{self, DEFAULT_UNIT_TYPE, Query, json_object, path_tail};
use crate::{Shared, published};

/// `1` asks for `server-timing`.
const TIMING_REQUEST: &str = "x-edgeseal-timing";
/// Says why a previous token was not used.
const PREVIOUS_REFUSED: HeaderName = HeaderName::from_static("x-edgeseal-previous");
/// Characters of the signature that make the entity tag: 132 bits that differ for different claims.
const ETAG_CHARS: usize = 22;

/// `GET /v1/assignments/{unit}?ut=&attrs=&cv=&fresh=`: the same question has the same answer for a minute, for every
/// cache.
pub(crate) async fn read(app: &Shared, request: Request) -> Result<Response, Problem> {
    let live = app.live.load();
    let live = published(&live)?;
    let uri = request.uri();
    let unit = path_tail(uri, "/v1/assignments/")?;
    let unit = unit_in_path(&unit)?;
    let query = Query::parse(uri, &["ut", "attrs", "cv", "fresh"])?;
    let known_version = query.version()?;
    let now = app.clock.now();

    let asked = [query.unit_type(), unit.as_str(), query.attributes.unwrap_or_default()].join("\0");
    let asked = Asked {
        generation: live.generation,
        window: now.floor_to_seconds(TOKEN_WINDOW_SECONDS).unix_seconds(),
        request: &asked,
    };
    let mut timing = Timing::default();
    let (sealed, recall) = match app.memo.find(asked) {
        Some(sealed) => (sealed, Recall::Hit),
        None => {
            let unit_type = unit_type(live, query.unit_type())?;
            let attributes = query.attributes()?;
            app.memo.get_or_seal(asked, || {
                let question = evaluate::Request {
                    unit,
                    attributes: &attributes,
                    forced: Forced::none(),
                    previous: None,
                };
                seal(app, live, &unit_type, &question, now, &mut timing)
            })
        }
    };
    match recall {
        Recall::Hit => app.metrics.memo_hits.inc(),
        Recall::Miss => app.metrics.memo_misses.inc(),
    };

    // The client knows of a newer snapshot than this edge: at its URL a cache must not keep our older answer.
    let behind = known_version > live.ruleset.version();
    // Asked past the caches, after one of them gave another unit's token: nobody will ask at this URL again.
    let unkept = behind || query.fresh.is_some();
    let cache_control = if unkept { NO_STORE } else { until_expiry(now, sealed.expires_at) };
    let mut response = cacheable(request.headers(), JWT, cache_control, sealed.etag, sealed.token);
    if !unkept {
        live.tags.apply(response.headers_mut());
    }
    timing.tell(request.headers(), recall, response.headers_mut());
    Ok(response)
}

// URL parsers of browsers and caches resolve `.` and `..` even when percent-encoded, so such a URL would mean one
// thing to a cache and another to us.
fn unit_in_path(text: &str) -> Result<UnitId<'_>, Problem> {
    if matches!(text, "." | "..") {
        let detail = "the unit id is a dot segment, which URL parsers resolve away; ask for it by POST";
        return Err(Problem::new(Code::InvalidUnit, detail));
    }
    request::unit_id(text)
}

/// `POST /v1/assignments`: with attributes of any kind, a previous token for sticky experiments, and forced variants
/// for QA. Kept by nobody.
pub(crate) async fn write(app: &Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let members = json_object(&parts.headers, body, app.config.body_read_timeout).await?;
    let asked = Body::take(members)?;
    let live = app.live.load();
    let live = published(&live)?;
    let now = app.clock.now();

    let unit = request::unit_id(&asked.unit)?;
    let unit_type = unit_type(live, &asked.unit_type)?;
    let forced = asked.forced(live)?;
    let (previous, refused) = match asked.previous(live, &unit_type, unit, now) {
        Ok(previous) => (previous, None),
        Err(error) => (None, Some(error.code())),
    };
    let mut timing = Timing::default();
    let question = evaluate::Request {
        unit,
        attributes: &asked.attributes,
        forced: &forced,
        previous: previous.as_ref(),
    };
    let sealed = seal(app, live, &unit_type, &question, now, &mut timing);

    let mut response = uncacheable(JWT, sealed.token);
    if let Some(code) = refused {
        response.headers_mut().insert(PREVIOUS_REFUSED, HeaderValue::from_static(code));
    }
    timing.tell(&parts.headers, Recall::Miss, response.headers_mut());
    Ok(response)
}

/// Evaluates and signs.
fn seal(
    app: &Shared,
    live: &Live,
    unit_type: &UnitType,
    question: &evaluate::Request<'_>,
    now: Timestamp,
    timing: &mut Timing,
) -> Sealed {
    let _span =
        tracing::debug_span!("edge.assign", snapshot = live.ruleset.version(), epoch = live.status.ep)
            .entered();
    let context = AnswerContext {
        now,
        life_seconds: i64::from(app.config.token_life_seconds),
        epoch: live.status.ep,
        sealer: &live.sealer,
    };
    let started = Instant::now();
    let answer = answer(&live.ruleset, &live.halts, unit_type, question, &context, |experiment, outcome| {
        live.counters.count(experiment, outcome);
    });
    timing.signing = last_signature();
    timing.evaluation = started.elapsed().saturating_sub(timing.signing);
    app.metrics.evaluation_seconds.observe(timing.evaluation.as_secs_f64());
    let signature = answer.token.rsplit('.').next().unwrap_or_default();
    Sealed {
        etag: entity_tag(signature.get(..ETAG_CHARS).unwrap_or(signature)),
        expires_at: answer.expires_at,
        token: Bytes::from(answer.token),
    }
}

/// Where the time of one answer went.
#[derive(Default)]
struct Timing {
    evaluation: Duration,
    signing: Duration,
}

impl Timing {
    /// Adds `server-timing` (milliseconds) if the client asked for it.
    fn tell(&self, request: &HeaderMap, recall: Recall, reply: &mut HeaderMap) {
        if request.get(TIMING_REQUEST).is_none_or(|value| value != "1") {
            return;
        }
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let value = match recall {
            Recall::Hit => "memo;desc=hit".to_owned(),
            Recall::Miss => {
                format!(
                    "eval;dur={:.4}, sign;dur={:.4}, memo;desc=miss",
                    ms(self.evaluation),
                    ms(self.signing)
                )
            }
        };
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.insert("server-timing", value);
        }
    }
}

/// The body of a POST.
struct Body {
    unit: String,
    unit_type: Cow<'static, str>,
    attributes: Attributes,
    previous: Option<String>,
    force: Map<String, Value>,
}

impl Body {
    fn take(mut members: Map<String, Value>) -> Result<Self, Problem> {
        let malformed = |name: &str, what: &str| {
            Problem::new(Code::MalformedBody, format!("member '{name}' must be {what}"))
        };
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(name, "text")),
        };
        let (unit, unit_type, previous) = (text("unit")?, text("unitType")?, text("previous")?);
        let mut object = |name: &str| match members.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(malformed(name, "an object")),
        };
        let (attributes, force) = (object("attributes")?, object("force")?);
        if let Some(name) = members.keys().next() {
            let detail = format!(
                "member '{}' is unknown; use unit, unitType, attributes, previous, force",
                quote(name)
            );
            return Err(Problem::new(Code::UnknownMember, detail));
        }
        Ok(Self {
            unit: unit.ok_or_else(|| malformed("unit", "given, as text"))?,
            unit_type: unit_type.map_or(Cow::Borrowed(DEFAULT_UNIT_TYPE), Cow::Owned),
            attributes: Attributes::from_object(attributes).map_err(request::attributes_problem)?,
            previous,
            force,
        })
    }

    fn forced(&self, live: &Live) -> Result<Forced, Problem> {
        let mut wanted = Vec::with_capacity(self.force.len());
        for (experiment, variant) in &self.force {
            let Value::String(variant) = variant else {
                let detail = format!("'force' must name a variant for experiment '{}'", quote(experiment));
                return Err(Problem::new(Code::MalformedBody, detail));
            };
            // What is no key at all names nothing that exists; say so the same way.
            let unknown = |what: ForceError| force_problem(&what);
            if ExperimentKey::parse(experiment).is_err() {
                return Err(unknown(ForceError::UnknownExperiment(quote(experiment).into_owned())));
            }
            let variant = VariantKey::parse(variant).map_err(|_| {
                unknown(ForceError::UnknownVariant {
                    experiment: experiment.clone(),
                    variant: quote(variant).into_owned(),
                })
            })?;
            wanted.push((experiment.as_str(), variant));
        }
        Forced::resolve(&live.ruleset, wanted.iter().map(|(experiment, variant)| (*experiment, variant)))
            .map_err(|error| force_problem(&error))
    }

    /// The claims of the previous token, if there is one that this unit may still use.
    fn previous(
        &self,
        live: &Live,
        unit_type: &UnitType,
        unit: UnitId<'_>,
        now: Timestamp,
    ) -> Result<Option<AssignmentClaims>, VerifyError> {
        let Some(token) = &self.previous else { return Ok(None) };
        let environment = live.ruleset.environment();
        let subject = SubjectTag::of(environment, unit_type, unit);
        let expected = Expected { environment, subject, now, status: Some(&live.status), memory: None };
        Ok(Some(verify_assignment(token, &live.keyset, &expected)?.into_claims()))
    }
}

fn force_problem(error: &ForceError) -> Problem {
    let code = match error {
        ForceError::UnknownExperiment(_) => Code::UnknownExperiment,
        ForceError::UnknownVariant { .. } => Code::UnknownVariant,
    };
    Problem::new(code, format!("{error}; remove it from 'force'")).with_status(http::StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests;
