//! API tokens: listing, creating, revoking.

use axum::response::Response;
use edgeseal_core::ids::Environment;
use edgeseal_store::{ApiToken, TokenWrite};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::at;
use super::call::{Call, json as reply, respond};
use super::operation::{Access, Operation, Reach};
use super::parameter::{NAME_PATTERN, Parameter};
use crate::answer::Answer;
use crate::auth::{NewToken, Scope, Token, is_id};
use crate::body::views::TokenView;
use crate::change::AuditNote;
use crate::error::ControlError;
use crate::pagination::Page;
use crate::problem::{Code, Problem};

const LIST: &str = "tokens";
/// Longest name of a token, in characters.
const MAX_NAME_CHARS: usize = 128;
/// Longest life that can be asked for, in seconds: ten years.
const MAX_LIFE_SECONDS: i64 = 10 * 366 * 24 * 3_600;

/// A token to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NewApiToken")]
struct TokenRequest {
    /// What people call it; no control characters.
    #[schemars(length(min = 1, max = MAX_NAME_CHARS), regex(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"))]
    name: String,
    /// What it may do.
    scope: ScopeName,
    /// The only environment it is good for; absent: all of them.
    #[serde(default)]
    #[schemars(with = "Option<String>", regex(pattern = NAME_PATTERN), length(min = 1, max = 64))]
    environment: Option<Environment>,
    /// Seconds until it ends by itself; absent: it does not.
    #[serde(default)]
    #[schemars(range(min = 1, max = MAX_LIFE_SECONDS))]
    expires_in_seconds: Option<i64>,
}

/// What a token may do.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Scope")]
enum ScopeName {
    /// Reads everything but secrets.
    Viewer,
    /// Prepares: writes what no edge sees yet.
    Editor,
    /// Changes what edges serve.
    Publisher,
    /// Keys, tokens and environments.
    Admin,
    /// An edge: fetches what it serves, signing keys included, and reports.
    Edge,
    /// A server that sends events.
    Ingest,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Viewer => Self::Viewer,
            ScopeName::Editor => Self::Editor,
            ScopeName::Publisher => Self::Publisher,
            ScopeName::Admin => Self::Admin,
            ScopeName::Edge => Self::Edge,
            ScopeName::Ingest => Self::Ingest,
        }
    }
}

pub(super) fn operations() -> Vec<Operation> {
    let id = || Parameter {
        schema: json!({ "type": "string", "pattern": "^[a-z0-9]{16}$" }),
        ..Parameter::text("id", 16, "The token's id.")
    };
    let admin = |operation: Operation| {
        operation.tag("tokens").allow(Access::Scope(Scope::Admin), Reach::Installation)
    };
    vec![
        admin(Operation::get(at("/tokens"), "listTokens", "List API tokens, without their secrets"))
            .paged()
            .replies::<Page<TokenView<'static>>>(StatusCode::OK, "One page.")
            .by(list),
        admin(Operation::post(at("/tokens"), "createToken", "Create an API token"))
            .describe("The answer is the only place where the token itself is ever shown.")
            .takes::<TokenRequest>()
            .replies::<TokenView<'static>>(StatusCode::CREATED, "The token.")
            .by(create),
        admin(Operation::delete(at("/tokens/{id}"), "revokeToken", "Revoke an API token"))
            .describe("Counts at once. The last token that can create others is not revoked.")
            .path_parameter(id())
            .refuses(&[409])
            .replies_empty("It is not good any more.")
            .by(revoke),
    ]
}

async fn list(call: Call) -> Result<Response, Problem> {
    let wanted = call.query.page(LIST)?;
    let mut tokens = call.control().store().tokens().await?;
    // Oldest first; the id settles what was created in the same millisecond.
    tokens.sort_by_cached_key(place);
    let rest = match &wanted.after {
        None => tokens.as_slice(),
        Some(after) => {
            tokens.get(tokens.partition_point(|token| place(token) <= *after)..).unwrap_or_default()
        }
    };
    let page = Page::cut(LIST, rest, wanted.limit, |token| place(token));
    let items: Vec<TokenView<'_>> = page.items.into_iter().map(TokenView::from).collect();
    reply(StatusCode::OK, &Page { items, next_cursor: page.next_cursor })
}

/// Sorts like the time of creation.
fn place(token: &ApiToken) -> String {
    format!("{:020} {}", token.created_at.unix_ms().max(0), token.id)
}

#[tracing::instrument(name = "control.token.create", skip_all)]
async fn create(mut call: Call) -> Result<Response, Problem> {
    let TokenRequest { name, scope, environment, expires_in_seconds } = call.json().await?;
    let characters = name.chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&characters) || name.chars().any(char::is_control) {
        let detail = format!("'name' must have 1 to {MAX_NAME_CHARS} characters and no control characters");
        return Err(Problem::at(Code::Invalid, "/name", detail));
    }
    if expires_in_seconds.is_some_and(|seconds| !(1..=MAX_LIFE_SECONDS).contains(&seconds)) {
        let detail = format!("'expiresInSeconds' must be from 1 to {MAX_LIFE_SECONDS}");
        return Err(Problem::at(Code::Invalid, "/expiresInSeconds", detail));
    }
    let control = call.control();
    if let Some(environment) = &environment {
        match control.state(environment).await {
            Ok(_) => {}
            Err(error @ ControlError::NoEnvironment { .. }) => {
                return Err(Problem::at(Code::Invalid, "/environment", error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let now = control.now();
    let expires_at = expires_in_seconds.map(|seconds| now.plus_seconds(seconds));
    let scope = Scope::from(scope);
    let new = NewToken { name, scope, environment, expires_at };
    let (token, text) = Token::generate(new, &call.caller.actor, now).map_err(|error| {
        tracing::error!(%error, "cannot create a token");
        Problem::internal()
    })?;
    let view = TokenView::from(&token).with_secret(&text);
    let answer = Answer {
        status: 201,
        etag: None,
        location: None,
        // A view of texts and numbers always has a JSON form.
        body: serde_json::to_value(view).unwrap_or_default(),
    };
    let detail = json!({ "name": token.name, "scope": token.scope, "environment": token.environment });
    let note = note("token.create", &token.id, detail);
    let writes = vec![TokenWrite::Create(token)];
    respond(control.change_tokens(&call.context(), writes, vec![note], answer).await?)
}

#[tracing::instrument(name = "control.token.revoke", skip_all)]
async fn revoke(call: Call) -> Result<Response, Problem> {
    let id = call.path("id");
    let unknown = || Problem::not_found("token", id);
    if !is_id(id) {
        return Err(unknown());
    }
    let control = call.control();
    let (now, tokens) = (control.now(), control.store().tokens().await?);
    let token = tokens.iter().find(|token| token.id == id).ok_or_else(unknown)?;
    let answer = Answer { status: 204, etag: None, location: None, body: Value::Null };
    if token.revoked_at.is_some() {
        return respond(answer);
    }
    let rules = |token: &ApiToken| {
        token.scope == Scope::Admin.as_str()
            && token.environment.is_none()
            && token.revoked_at.is_none()
            && token.expires_at.is_none_or(|expires_at| now < expires_at)
    };
    if rules(token) && !tokens.iter().any(|other| other.id != id && rules(other)) {
        let detail = "this is the last token that can create others: create another one first";
        return Err(Problem::new(Code::WrongState, detail));
    }
    let note = note("token.revoke", id, json!({ "name": token.name }));
    let writes = vec![TokenWrite::Revoke { id: id.to_owned(), at: now }];
    respond(control.change_tokens(&call.context(), writes, vec![note], answer).await?)
}

fn note(action: &str, id: &str, detail: Value) -> AuditNote {
    AuditNote { action: action.to_owned(), kind: Some("token".to_owned()), key: Some(id.to_owned()), detail }
}

#[cfg(test)]
mod tests;
