//! Environments: listing, reading, creating.

use axum::response::Response;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::Kind;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::at;
use super::call::{Call, json, respond};
use super::operation::{Access, Operation, Reach};
use super::parameter::{NAME_PATTERN, Parameter};
use crate::answer::Answer;
use crate::auth::Scope;
use crate::body::views::EnvironmentView;
use crate::environment::EnvironmentState;
use crate::pagination::Page;
use crate::problem::{Code, Problem};

const LIST: &str = "environments";

/// An environment to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewEnvironment")]
struct NewEnvironment {
    /// Its name: ASCII letters, digits, '_', '-' and '.', at most 64, beginning with a letter or digit.
    #[schemars(with = "String", regex(pattern = NAME_PATTERN), length(min = 1, max = 64))]
    name: Environment,
}

pub(super) fn operations() -> Vec<Operation> {
    let name = || Parameter {
        schema: serde_json::json!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": NAME_PATTERN }),
        ..Parameter::text("name", 64, "The environment.")
    };
    vec![
        Operation::get(at("/environments"), "listEnvironments", "List environments, by name")
            .tag("environments")
            .describe("A token that is bound to one environment sees that one.")
            .allow(Access::Scope(Scope::Viewer), Reach::Nothing)
            .paged()
            .replies::<Page<EnvironmentView>>(StatusCode::OK, "One page.")
            .by(list),
        Operation::post(at("/environments"), "createEnvironment", "Create an environment")
            .tag("environments")
            .describe("Makes its keys and publishes an empty snapshot.")
            .allow(Access::Scope(Scope::Admin), Reach::Installation)
            .takes::<NewEnvironment>()
            .replies::<EnvironmentView>(StatusCode::CREATED, "It exists now.")
            .by(create),
        Operation::get(at("/environments/{name}"), "getEnvironment", "Read one environment")
            .tag("environments")
            .allow(Access::Scope(Scope::Viewer), Reach::PathEnvironment)
            .path_parameter(name())
            .replies::<EnvironmentView>(StatusCode::OK, "The environment.")
            .by(read_one),
    ]
}

async fn list(call: Call) -> Result<Response, Problem> {
    let wanted = call.query.page(LIST)?;
    let after = wanted.after.as_deref().unwrap_or_default();
    let visible = |name: &Environment| call.caller.environment.as_ref().is_none_or(|bound| bound == name);
    let mut records = call.control().store().environments().await?;
    records.retain(|record| visible(&record.name) && record.name.as_str() > after);
    let page = Page::cut(LIST, records, wanted.limit, |record| record.name.to_string());
    let mut items = Vec::with_capacity(page.items.len());
    for record in page.items {
        let state = call.control().state(&record.name).await?;
        items.push(view(&state, record.created_at));
    }
    json(StatusCode::OK, &Page { items, next_cursor: page.next_cursor })
}

#[tracing::instrument(name = "control.environment.create", skip_all)]
async fn create(mut call: Call) -> Result<Response, Problem> {
    let NewEnvironment { name } = call.json().await?;
    let location = at(&format!("/environments/{name}"));
    let now = call.control().now();
    let answer = call
        .control()
        .create_environment_answered(&call.context(), &name, |changed| Answer {
            status: 201,
            etag: None,
            location: Some(location.clone()),
            // A view of texts and numbers always has a JSON form.
            body: serde_json::to_value(view(&changed.state, now)).unwrap_or_default(),
        })
        .await?;
    respond(answer)
}

async fn read_one(call: Call) -> Result<Response, Problem> {
    let state = call.control().state(&call.environment).await?;
    let records = call.control().store().environments().await?;
    let record = records.into_iter().find(|record| record.name == call.environment);
    let record = record.ok_or_else(|| {
        let detail = format!("environment '{}' does not exist", call.environment);
        Problem::new(Code::UnknownEnvironment, detail)
    })?;
    json(StatusCode::OK, &view(&state, record.created_at))
}

fn view(state: &EnvironmentState, created_at: Timestamp) -> EnvironmentView {
    EnvironmentView {
        name: state.name.clone(),
        created_at: created_at.into(),
        cv: state.head.cv,
        ep: state.head.ep,
        keyset_version: state.head.keyset_ver,
        root: state.keyring.root().jwk("root"),
        experiments: state.count(Kind::Experiment),
        published_at: state.published_at.into(),
    }
}
