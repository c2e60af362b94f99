//! One operation of the API: who may call it, what it takes, what it answers, and the function that does it.
//!
//! The router enforces what stands here and the OpenAPI document says what stands here, so the two cannot differ.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::call::{Call, OpenCall};
use super::parameter::Parameter;
use crate::auth::Scope;
use crate::body::JSON_MEDIA;
use crate::problem::Problem;

/// Base of every route but the ones for machines that watch this process.
pub(crate) const BASE: &str = "/api/v1";
/// Most bytes of a request body, where nothing else is said.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, without a token.
    Open,
    /// Whoever has a token that is good.
    AnyToken,
    /// Tokens of this scope, and of those that contain it.
    Scope(Scope),
    /// Anybody whom the body vouches for, or without that, tokens of this scope.
    Optional(Scope),
}

/// What an operation reaches, which decides where a token that is bound to one environment is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing that belongs to an environment.
    Nothing,
    /// The environment of the query parameter `environment`, or else the token's own, or else the default one.
    Environment,
    /// The environment that the path names.
    PathEnvironment,
    /// The environment that the body names; the handler checks it.
    BodyEnvironment,
    /// Everything that the token may see: all environments, or its own.
    Visible,
    /// The whole installation: no place for tokens that are bound to one environment.
    Installation,
}

/// Makes a schema and leaves what it refers to with the generator.
pub(crate) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a body is, where nothing else is said.
pub(crate) const JSON: &[&str] = &[JSON_MEDIA];

/// What a request carries in its body.
#[derive(Clone)]
pub(crate) struct BodySpec {
    /// The media types that are taken.
    pub(crate) media: &'static [&'static str],
    pub(crate) schema: MakeSchema,
    pub(crate) required: bool,
    pub(crate) max_bytes: usize,
}

/// An answer that is no problem.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) description: &'static str,
    /// Media type and schema of the body; `None` for an answer without one.
    pub(crate) content: Option<(&'static str, Option<MakeSchema>)>,
    /// Carries an `ETag` to name in `If-Match`.
    pub(crate) etag: bool,
}

/// Whether a header has to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

/// Does an operation.
#[derive(Clone)]
pub(crate) enum Handler {
    Open(Arc<dyn Fn(OpenCall) -> BoxFuture<'static, Result<Response, Problem>> + Send + Sync>),
    Gated(Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Response, Problem>> + Send + Sync>),
}

/// One operation.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: Cow<'static, str>,
    pub(crate) id: Cow<'static, str>,
    pub(crate) tag: &'static str,
    pub(crate) summary: Cow<'static, str>,
    pub(crate) description: &'static str,
    pub(crate) access: Access,
    pub(crate) reach: Reach,
    pub(crate) query: Vec<Parameter>,
    pub(crate) path_parameters: Vec<Parameter>,
    pub(crate) body: Option<BodySpec>,
    pub(crate) replies: Vec<Reply>,
    /// Statuses of refusals beyond those that follow from the rest.
    pub(crate) refusals: Vec<u16>,
    /// Takes `If-Match`.
    pub(crate) precondition: Option<Presence>,
    /// Takes `Idempotency-Key`.
    pub(crate) idempotency: bool,
    pub(crate) handler: Handler,
}

impl Operation {
    fn new(
        method: Method,
        path: impl Into<Cow<'static, str>>,
        id: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        let unhandled =
            |_: OpenCall| -> BoxFuture<'static, _> { Box::pin(async { Err(Problem::internal()) }) };
        Self {
            method,
            path: path.into(),
            id: id.into(),
            tag: "",
            summary: summary.into(),
            description: "",
            access: Access::Open,
            reach: Reach::Nothing,
            query: Vec::new(),
            path_parameters: Vec::new(),
            body: None,
            replies: Vec::new(),
            refusals: Vec::new(),
            precondition: None,
            idempotency: false,
            handler: Handler::Open(Arc::new(unhandled)),
        }
    }

    /// A reading operation.
    pub(crate) fn get(
        path: impl Into<Cow<'static, str>>,
        id: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Method::GET, path, id, summary)
    }

    /// An operation that takes `Idempotency-Key` unless it says otherwise.
    pub(crate) fn post(
        path: impl Into<Cow<'static, str>>,
        id: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { idempotency: true, ..Self::new(Method::POST, path, id, summary) }
    }

    /// An operation that replaces something and asks for `If-Match`.
    pub(crate) fn put(
        path: impl Into<Cow<'static, str>>,
        id: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { precondition: Some(Presence::Required), ..Self::new(Method::PUT, path, id, summary) }
    }

    /// An operation that ends something.
    pub(crate) fn delete(
        path: impl Into<Cow<'static, str>>,
        id: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Method::DELETE, path, id, summary)
    }

    /// Which group of operations it belongs to.
    pub(crate) fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// What the summary does not say.
    pub(crate) fn describe(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Who may call it, and what it reaches.
    pub(crate) fn allow(mut self, access: Access, reach: Reach) -> Self {
        (self.access, self.reach) = (access, reach);
        if reach == Reach::Environment {
            self.query.insert(0, Parameter::environment());
        }
        self
    }

    /// A parameter of the query string.
    pub(crate) fn query(mut self, parameter: Parameter) -> Self {
        self.query.push(parameter);
        self
    }

    /// The parameters of a list in pages.
    pub(crate) fn paged(self) -> Self {
        self.query(Parameter::limit()).query(Parameter::cursor())
    }

    /// A parameter of the path.
    pub(crate) fn path_parameter(mut self, parameter: Parameter) -> Self {
        self.path_parameters.push(parameter.required());
        self
    }

    /// A body that has to be there.
    pub(crate) fn takes<T: JsonSchema>(self) -> Self {
        let body =
            BodySpec { media: JSON, schema: schema_of::<T>, required: true, max_bytes: MAX_BODY_BYTES };
        Self { body: Some(body), ..self }
    }

    /// A body that may be left away.
    pub(crate) fn may_take<T: JsonSchema>(self) -> Self {
        let body =
            BodySpec { media: JSON, schema: schema_of::<T>, required: false, max_bytes: MAX_BODY_BYTES };
        Self { body: Some(body), ..self }
    }

    /// A body of other media types.
    pub(crate) fn in_media(mut self, media: &'static [&'static str]) -> Self {
        if let Some(body) = &mut self.body {
            body.media = media;
        }
        self
    }

    /// With another bound on the body.
    pub(crate) fn up_to(mut self, max_bytes: usize) -> Self {
        if let Some(body) = &mut self.body {
            body.max_bytes = max_bytes;
        }
        self
    }

    /// An answer in JSON.
    pub(crate) fn replies<T: JsonSchema>(self, status: StatusCode, description: &'static str) -> Self {
        self.reply(status, description, Some(("application/json", Some(schema_of::<T>))), false)
    }

    /// An answer in JSON with an `ETag`.
    pub(crate) fn replies_tagged<T: JsonSchema>(self, status: StatusCode, description: &'static str) -> Self {
        self.reply(status, description, Some(("application/json", Some(schema_of::<T>))), true)
    }

    /// An answer of another media type.
    pub(crate) fn replies_in(
        self,
        status: StatusCode,
        description: &'static str,
        media: &'static str,
    ) -> Self {
        self.reply(status, description, Some((media, None)), false)
    }

    /// An answer without a body.
    pub(crate) fn replies_empty(self, description: &'static str) -> Self {
        self.reply(StatusCode::NO_CONTENT, description, None, false)
    }

    fn reply(
        mut self,
        status: StatusCode,
        description: &'static str,
        content: Option<(&'static str, Option<MakeSchema>)>,
        etag: bool,
    ) -> Self {
        self.replies.push(Reply { status, description, content, etag });
        self
    }

    /// Statuses of refusals that do not follow from the rest.
    pub(crate) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend_from_slice(statuses);
        self
    }

    /// `If-Match` is looked at when it is sent.
    pub(crate) fn may_match(self) -> Self {
        Self { precondition: Some(Presence::Optional), ..self }
    }

    /// `If-Match` has to be sent.
    pub(crate) fn must_match(self) -> Self {
        Self { precondition: Some(Presence::Required), ..self }
    }

    /// Repeating it does no harm, so it takes no `Idempotency-Key`.
    pub(crate) fn repeatable(self) -> Self {
        Self { idempotency: false, ..self }
    }

    /// What does it, once the gate let the caller in.
    pub(crate) fn by<F, Answer>(self, handler: F) -> Self
    where
        F: Fn(Call) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let handler = Handler::Gated(Arc::new(move |call| Box::pin(handler(call))));
        Self { handler, ..self }
    }

    /// What does it for anybody.
    pub(crate) fn openly_by<F, Answer>(self, handler: F) -> Self
    where
        F: Fn(OpenCall) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let handler = Handler::Open(Arc::new(move |call| Box::pin(handler(call))));
        Self { handler, ..self }
    }

    /// Every status that it may answer with when it refuses.
    pub(crate) fn refusal_statuses(&self) -> Vec<u16> {
        let mut statuses = self.refusals.clone();
        statuses.extend([400, 414]);
        if self.access != Access::Open {
            statuses.extend([401, 429, 500, 503]);
        }
        if matches!(self.access, Access::Scope(_) | Access::Optional(_)) {
            statuses.push(403);
        }
        if matches!(self.reach, Reach::Environment | Reach::PathEnvironment | Reach::BodyEnvironment) {
            statuses.extend([403, 404]);
        }
        if !self.path_parameters.is_empty() {
            statuses.push(404);
        }
        if self.body.is_some() {
            statuses.extend([408, 413, 415, 422]);
        }
        if self.precondition.is_some() {
            statuses.push(412);
        }
        if self.precondition == Some(Presence::Required) {
            statuses.push(428);
        }
        if self.idempotency {
            statuses.extend([409, 422]);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}
