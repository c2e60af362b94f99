//! `GET /whoami`: what the caller's token is good for.

use axum::response::Response;
use edgeseal_core::ids::Environment;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::at;
use super::call::{Call, json};
use super::operation::{Access, Operation, Reach};
use crate::body::views::Time;
use crate::problem::Problem;

/// A token as its holder sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WhoAmI")]
struct WhoAmI {
    /// Id of the token.
    id: String,
    /// What people call it.
    name: String,
    /// What it may do.
    scope: &'static str,
    /// The only environment it is good for; absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    environment: Option<Environment>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(at("/whoami"), "whoAmI", "What the caller's token is good for")
            .tag("tokens")
            .allow(Access::AnyToken, Reach::Nothing)
            .replies::<WhoAmI>(StatusCode::OK, "The token, without its secret.")
            .by(who_am_i),
    ]
}

async fn who_am_i(call: Call) -> Result<Response, Problem> {
    let caller = call.caller;
    json(
        StatusCode::OK,
        &WhoAmI {
            id: caller.actor.id,
            name: caller.actor.name,
            scope: caller.scope.as_str(),
            environment: caller.environment,
            expires_at: caller.expires_at.map(Into::into),
        },
    )
}
