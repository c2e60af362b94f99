//! A request that was let in, and the gate that lets it in.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use edgeseal_core::ids::Environment;
use http::header::{AUTHORIZATION, ETAG, IF_MATCH, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::operation::{Access, BodySpec, JSON, Operation, Reach};
use super::query::Query;
use crate::answer::{Answer, IdempotencyKey};
use crate::auth::{Caller, Scope};
use crate::body;
use crate::change::Context;
use crate::control::Control;
use crate::problem::{Code, Problem, quote};
use crate::router::{Desk, RequestId};

/// Most bytes of a request target; beyond it: 414.
pub(crate) const MAX_URL_BYTES: usize = 8 * 1024;
/// Most characters of an `Idempotency-Key`.
pub(crate) const MAX_IDEMPOTENCY_KEY_CHARS: usize = 128;

/// A request of a route that is open to anybody.
pub(crate) struct OpenCall {
    /// What the whole API shares.
    pub(crate) desk: Arc<Desk>,
    /// Its parameters.
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    address: Option<IpAddr>,
    body_spec: Option<BodySpec>,
    /// Never locked: see [`Call`].
    body: Mutex<Body>,
}

/// A request whose caller may make it.
pub(crate) struct Call {
    /// What the whole API shares.
    pub(crate) desk: Arc<Desk>,
    /// Who calls.
    pub(crate) caller: Caller,
    /// The environment that the request is about; the default one where it is about none.
    pub(crate) environment: Environment,
    /// Its parameters.
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    path: Vec<(String, String)>,
    request_id: String,
    idempotency: Option<String>,
    body_spec: Option<BodySpec>,
    /// Never locked: a body alone may not be shared between threads, and nothing shares it.
    body: Mutex<Body>,
    fingerprint: Sha256,
}

/// Lets a request of an open operation in.
pub(crate) fn open(
    operation: &Operation,
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<OpenCall, Problem> {
    let (parts, body) = request.into_parts();
    check_length(&parts.uri)?;
    let query = Query::parse(parts.uri.query(), &operation.query)?;
    Ok(OpenCall {
        desk,
        query,
        address: address(&parts),
        headers: parts.headers,
        body_spec: operation.body.clone(),
        body: Mutex::new(body),
    })
}

fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

impl OpenCall {
    /// The holder of the token that came along and has this scope; `None` when none came.
    pub(crate) async fn caller(&self, needed: Scope) -> Result<Option<Caller>, Problem> {
        if !self.headers.contains_key(AUTHORIZATION) {
            return Ok(None);
        }
        let caller = self.desk.auth.authenticate(&self.desk, &self.headers, self.address).await?;
        check_scope(&caller, needed)?;
        Ok(Some(caller))
    }

    /// The body, of a media type that the operation takes.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        read_body(&self.desk, self.body_spec.as_ref(), &self.headers, body).await
    }
}

/// Reads a body that has to be of a media type that the operation takes.
async fn read_body(
    desk: &Desk,
    spec: Option<&BodySpec>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Problem> {
    body::check_media_type(headers, spec.map(|spec| spec.media).unwrap_or_default())?;
    let limit = spec.map_or(0, |spec| spec.max_bytes);
    body::read(headers, body, limit, desk.settings.body_read_timeout).await
}

fn check_scope(caller: &Caller, needed: Scope) -> Result<(), Problem> {
    if caller.scope.allows(needed) {
        return Ok(());
    }
    let detail = format!("this takes a token of scope '{needed}', and this one has '{}'", caller.scope);
    Err(Problem::new(Code::ScopeInsufficient, detail))
}

/// Lets a request in: who calls, whether they may, what about. The body is read later, by whoever needs it, so that
/// strangers cannot make us read it.
pub(crate) async fn admit(
    operation: &Operation,
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Call, Problem> {
    let (mut parts, body) = request.into_parts();
    check_length(&parts.uri)?;
    let caller = desk.auth.authenticate(&desk, &parts.headers, address(&parts)).await?;
    if let Access::Scope(needed) = operation.access {
        check_scope(&caller, needed)?;
    }
    let query = Query::parse(parts.uri.query(), &operation.query)?;
    let path = path_parameters(&mut parts).await?;
    let environment = environment(operation.reach, &caller, &query, &path)?;
    let idempotency = if operation.idempotency { idempotency_key(&parts.headers)? } else { None };
    let mut fingerprint = Sha256::new();
    for part in [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default()] {
        fingerprint.update(part.as_bytes());
        fingerprint.update(b"\0");
    }
    fingerprint.update(environment.as_str().as_bytes());
    fingerprint.update(b"\0");
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
    Ok(Call {
        desk,
        caller,
        environment,
        query,
        headers: parts.headers,
        path,
        request_id,
        idempotency,
        body_spec: operation.body.clone(),
        body: Mutex::new(body),
        fingerprint,
    })
}

fn check_length(uri: &http::Uri) -> Result<(), Problem> {
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_URL_BYTES) {
        let detail = format!("the URL may have at most {MAX_URL_BYTES} bytes");
        return Err(Problem::new(Code::UrlTooLong, detail));
    }
    Ok(())
}

async fn path_parameters(parts: &mut Parts) -> Result<Vec<(String, String)>, Problem> {
    let extracted = Path::<Vec<(String, String)>>::from_request_parts(parts, &()).await;
    let malformed = |_| Problem::new(Code::MalformedPath, "the path is not percent-encoded UTF-8");
    extracted.map(|Path(path)| path).map_err(malformed)
}

/// The environment that a request is about, if its token is good there.
fn environment(
    reach: Reach,
    caller: &Caller,
    query: &Query,
    path: &[(String, String)],
) -> Result<Environment, Problem> {
    let named = match reach {
        Reach::Environment | Reach::Visible => query.environment()?,
        Reach::PathEnvironment => {
            let name = path.first().map(|(_, value)| value.as_str()).unwrap_or_default();
            let unknown = |_| {
                let detail = format!("environment '{}' does not exist", quote(name));
                Problem::new(Code::UnknownEnvironment, detail)
            };
            Some(Environment::parse(name).map_err(unknown)?)
        }
        Reach::Installation if caller.environment.is_some() => {
            let detail = "this concerns the whole installation, and this token is bound to one environment";
            return Err(Problem::new(Code::EnvironmentForbidden, detail));
        }
        Reach::Nothing | Reach::BodyEnvironment | Reach::Installation => None,
    };
    let environment = named.or_else(|| caller.environment.clone()).unwrap_or_default();
    caller.check(&environment)?;
    Ok(environment)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=MAX_IDEMPOTENCY_KEY_CHARS).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!(
                "'idempotency-key' must be 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters, sent once"
            );
            Err(Problem::new(Code::InvalidHeader, detail))
        }
    }
}

impl Call {
    /// The control plane.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.desk.control
    }

    /// A parameter of the path, as sent; the empty text if there is none of that name.
    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The body, which has to be JSON of the form of `T`.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let bytes = self.read().await?;
        body::check_media_type(&self.headers, JSON)?;
        body::parse(&bytes)
    }

    /// The body as it is, of a media type that the operation takes.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        read_body(&self.desk, self.body_spec.as_ref(), &self.headers, body).await
    }

    /// The body, or the default where there is none.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T, Problem> {
        let bytes = self.read().await?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        body::check_media_type(&self.headers, JSON)?;
        body::parse(&bytes)
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        let limit = self.body_spec.as_ref().map_or(0, |spec| spec.max_bytes);
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let bytes = body::read(&self.headers, body, limit, self.desk.settings.body_read_timeout).await?;
        self.fingerprint.update(&bytes);
        Ok(bytes)
    }

    /// The revision that `If-Match` asks for.
    ///
    /// # Errors
    /// A problem when it is missing, or not an entity tag of this API.
    pub(crate) fn if_match(&self) -> Result<u64, Problem> {
        self.if_match_sent()?.ok_or_else(|| {
            let detail = "send 'if-match' with the ETag of what you read, so that nobody's change is lost";
            Problem::new(Code::PreconditionRequired, detail)
        })
    }

    /// The revision that `If-Match` asks for, if it was sent.
    ///
    /// # Errors
    /// A problem when it is not an entity tag of this API.
    pub(crate) fn if_match_sent(&self) -> Result<Option<u64>, Problem> {
        let mut values = self.headers.get_all(IF_MATCH).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        let revision = || text.strip_prefix('"')?.strip_suffix('"')?.parse::<u64>().ok();
        match (revision().filter(|revision| etag(*revision) == text), values.next()) {
            (Some(revision), None) => Ok(Some(revision)),
            _ => {
                let detail = "'if-match' must be one ETag as this API hands it out, such as \"3\"";
                Err(Problem::new(Code::InvalidHeader, detail))
            }
        }
    }

    /// Who changes, for the change loop; after the body was read.
    pub(crate) fn context(&self) -> Context {
        Context {
            actor: self.caller.actor.clone(),
            may_publish: self.caller.scope.allows(Scope::Publisher),
            request: Some(self.request_id.clone()),
            dry_run: false,
            idempotency: self
                .idempotency
                .clone()
                .map(|key| IdempotencyKey { key, fingerprint: self.fingerprint.clone().finalize().into() }),
        }
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer has no JSON form");
        Problem::internal()
    })?;
    let mut response = (status, text).into_response();
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A JSON answer that stands for one revision of a thing.
pub(crate) fn tagged(revision: u64, body: &impl Serialize) -> Result<Response, Problem> {
    let mut response = json(StatusCode::OK, body)?;
    if let Ok(etag) = HeaderValue::try_from(etag(revision)) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// An answer as the change loop keeps it.
pub(crate) fn respond(answer: Answer) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answer.status).map_err(|_| Problem::internal())?;
    let mut response =
        if answer.body.is_null() { status.into_response() } else { json(status, &answer.body)? };
    for (name, value) in [(ETAG, answer.etag), (LOCATION, answer.location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
