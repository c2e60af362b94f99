//! What can be done with every kind of document: list, create, read, replace, delete, and its history.

mod kinds;

use std::marker::PhantomData;

use axum::response::Response;
use edgeseal_store::{Kind, Revision};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::at;
use super::call::{Call, etag, json, respond, tagged};
use super::operation::{Access, Operation, Reach};
use super::parameter::Parameter;
use super::query::Query;
use crate::answer::Answer;
use crate::auth::Scope;
use crate::body::views::{DocumentView, RevisionView};
use crate::change::Changed;
use crate::diff::{self, Difference};
use crate::environment::{DocumentBody, EnvironmentState};
use crate::lifecycle;
use crate::pagination::Page;
use crate::problem::{Code, Problem};

pub(super) use kinds::{Experiment, Filter, Group, Holdout, Layer, Metric, Resource};

/// Revisions are counted from 1; no document ever has this many.
pub(super) const MAX_REVISION: u64 = 999_999_999_999_999_999;

/// [`DocumentView`] of one kind, for the document of the API.
pub(super) struct Described<R>(PhantomData<R>);

impl<R: Resource> JsonSchema for Described<R> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        R::NAME.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let definition = generator.subschema_for::<R::Definition>();
        let mut schema = DocumentView::<'static>::json_schema(generator);
        if let Some(Value::Object(members)) = schema.get_mut("properties") {
            members.insert("definition".into(), definition.to_value());
            let absent: &[&str] = match R::KIND {
                Kind::Experiment => &["capacity"],
                Kind::Layer => &["state", "version"],
                _ => &["capacity", "state", "version"],
            };
            for name in absent {
                members.remove(*name);
            }
        }
        let description = format!("One {} in its newest revision.", R::KIND.as_str());
        schema.insert("description".into(), description.into());
        schema
    }
}

/// What changed between two revisions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevisionDiff")]
struct RevisionDiff {
    /// The older revision.
    from: u64,
    /// The newer one.
    to: u64,
    /// Each place that differs.
    changes: Vec<Difference>,
}

pub(super) fn operations<R: Resource>() -> Vec<Operation> {
    let (name, list) = (R::NAME, at(&format!("/{}", R::PLURAL)));
    let one = format!("{list}/{{key}}");
    let kind = R::KIND.as_str();
    let plural = format!("{}{}", name, "s");
    let read =
        |operation: Operation| operation.tag(R::TAG).allow(Access::Scope(Scope::Viewer), Reach::Environment);
    let write =
        |operation: Operation| operation.tag(R::TAG).allow(Access::Scope(Scope::Editor), Reach::Environment);
    let key = || Parameter::key("The key.");
    let revision = || Parameter::number("revision", 1, MAX_REVISION, "Which revision, from 1.");
    let filters = |operation: Operation| R::filters().into_iter().fold(operation, Operation::query);
    vec![
        filters(read(Operation::get(
            list.clone(),
            format!("list{plural}"),
            format!("List {}, by key", R::PLURAL),
        )))
        .paged()
        .replies::<Page<Described<R>>>(StatusCode::OK, "One page.")
        .by(list_page::<R>),
        write(Operation::post(list, format!("create{name}"), format!("Create one of the {}", R::PLURAL)))
            .describe("Takes a publisher's token if it alters what edges serve.")
            .takes::<R::Definition>()
            .replies_tagged::<Described<R>>(StatusCode::CREATED, "It exists now.")
            .by(create::<R>),
        read(Operation::get(one.clone(), format!("get{name}"), format!("Read one {kind}")))
            .path_parameter(key())
            .replies_tagged::<Described<R>>(StatusCode::OK, "Its newest revision.")
            .by(read_one::<R>),
        write(Operation::put(one.clone(), format!("replace{name}"), format!("Replace one {kind}")))
            .describe("Takes a publisher's token if it alters what edges serve.")
            .path_parameter(key())
            .takes::<R::Definition>()
            .refuses(&[409])
            .replies_tagged::<Described<R>>(
                StatusCode::OK,
                "Its new revision, or the old one if nothing changed.",
            )
            .by(replace::<R>),
        write(Operation::delete(one.clone(), format!("delete{name}"), format!("Delete one {kind}")))
            .describe("Its history stays, and its revisions go on if the key is used again.")
            .path_parameter(key())
            .must_match()
            .refuses(&[409, 422])
            .replies_empty("It is gone.")
            .by(delete::<R>),
        read(Operation::get(
            format!("{one}/revisions"),
            format!("list{name}Revisions"),
            format!("History of one {kind}, newest first"),
        ))
        .path_parameter(key())
        .paged()
        .replies::<Page<RevisionView>>(StatusCode::OK, "One page.")
        .by(revisions::<R>),
        read(Operation::get(
            format!("{one}/revisions/{{revision}}"),
            format!("get{name}Revision"),
            format!("One revision of one {kind}"),
        ))
        .path_parameter(key())
        .path_parameter(revision())
        .replies::<RevisionView>(StatusCode::OK, "The revision.")
        .by(revision_one::<R>),
        read(Operation::get(
            format!("{one}/diff"),
            format!("diff{name}"),
            format!("What changed between two revisions of one {kind}"),
        ))
        .path_parameter(key())
        .query(Parameter::number("from", 1, MAX_REVISION, "The older revision.").required())
        .query(Parameter::number("to", 1, MAX_REVISION, "The newer revision.").required())
        .replies::<RevisionDiff>(StatusCode::OK, "The differences.")
        .by(difference::<R>),
    ]
}

async fn list_page<R: Resource>(call: Call) -> Result<Response, Problem> {
    let wanted = call.query.page(R::PLURAL)?;
    let filter = R::filter(&call.query)?;
    let state = call.control().state(&call.environment).await?;
    let documents = state.iter_after(R::KIND, wanted.after.as_deref().unwrap_or_default());
    let views = documents
        .filter(|document| filter(document))
        .filter_map(|document| DocumentView::of(&state, document));
    json(StatusCode::OK, &Page::cut(R::PLURAL, views, wanted.limit, |view| view.key.to_owned()))
}

#[tracing::instrument(name = "control.document.create", skip_all, fields(kind = R::KIND.as_str()))]
async fn create<R: Resource>(mut call: Call) -> Result<Response, Problem> {
    let body: DocumentBody = call.json::<R::Definition>().await?.into();
    let key = body.key().to_owned();
    let location = at(&format!("/{}/{key}", R::PLURAL));
    let answer = call
        .control()
        .change_answered(
            &call.environment,
            &call.context(),
            move |state, _| lifecycle::create(state, body.clone()),
            move |changed| Answer { location: Some(location.clone()), ..shown(201, R::KIND, &key, changed) },
        )
        .await?;
    respond(answer)
}

async fn read_one<R: Resource>(call: Call) -> Result<Response, Problem> {
    let state = call.control().state(&call.environment).await?;
    let document = state.require(R::KIND, call.path("key"))?;
    let view = DocumentView::of(&state, document).ok_or_else(|| missing::<R>(&call))?;
    tagged(view.revision, &view)
}

#[tracing::instrument(name = "control.document.replace", skip_all, fields(kind = R::KIND.as_str()))]
async fn replace<R: Resource>(mut call: Call) -> Result<Response, Problem> {
    let key = path_key::<R>(&call)?;
    let expected = call.if_match()?;
    let body: DocumentBody = call.json::<R::Definition>().await?.into();
    if body.key() != key {
        let detail = format!("the key is '{key}' in the path and another here; a key cannot be changed");
        return Err(Problem::at(Code::Invalid, "/key", detail));
    }
    let answer = call
        .control()
        .change_answered(
            &call.environment,
            &call.context(),
            move |state, _| lifecycle::update(state, body.clone(), expected),
            move |changed| shown(200, R::KIND, &key, changed),
        )
        .await?;
    respond(answer)
}

#[tracing::instrument(name = "control.document.delete", skip_all, fields(kind = R::KIND.as_str()))]
async fn delete<R: Resource>(call: Call) -> Result<Response, Problem> {
    let key = path_key::<R>(&call)?;
    let expected = call.if_match()?;
    let answer = call
        .control()
        .change_answered(
            &call.environment,
            &call.context(),
            move |state, _| lifecycle::delete(state, R::KIND, &key, expected),
            |_| Answer { status: 204, etag: None, location: None, body: Value::Null },
        )
        .await?;
    respond(answer)
}

async fn revisions<R: Resource>(call: Call) -> Result<Response, Problem> {
    let key = path_key::<R>(&call)?;
    let wanted = call.query.page("revisions")?;
    let before = match wanted.after.as_deref().map(str::parse::<u64>) {
        None => None,
        Some(Ok(before)) => Some(before),
        Some(Err(_)) => return Err(Problem::new(Code::InvalidCursor, "the cursor is of another list")),
    };
    exists(&call).await?;
    let store = call.control().store();
    let found =
        store.revisions(&call.environment, R::KIND, &key, before, wanted.limit.saturating_add(1)).await?;
    if found.is_empty() && before.is_none() {
        return Err(missing::<R>(&call));
    }
    let views = found.into_iter().map(RevisionView::from);
    let page = Page::cut("revisions", views, wanted.limit, |view| view.revision.to_string());
    json(StatusCode::OK, &page)
}

async fn revision_one<R: Resource>(call: Call) -> Result<Response, Problem> {
    let key = path_key::<R>(&call)?;
    exists(&call).await?;
    let text = call.path("revision");
    let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    let number = number.ok_or_else(|| Problem::not_found("revision", text))?;
    let found = revision_of::<R>(&call, &key, number).await?;
    json(StatusCode::OK, &RevisionView::from(found))
}

async fn difference<R: Resource>(call: Call) -> Result<Response, Problem> {
    let key = path_key::<R>(&call)?;
    let from = Query::needed(call.query.number("from", 1, MAX_REVISION)?, "from")?;
    let to = Query::needed(call.query.number("to", 1, MAX_REVISION)?, "to")?;
    exists(&call).await?;
    let older = revision_of::<R>(&call, &key, from).await?;
    let newer = revision_of::<R>(&call, &key, to).await?;
    let changes = diff::diff(older.body.as_ref(), newer.body.as_ref());
    json(StatusCode::OK, &RevisionDiff { from, to, changes })
}

async fn revision_of<R: Resource>(call: &Call, key: &str, number: u64) -> Result<Revision, Problem> {
    // Beyond what a database counts there is nothing to ask for.
    let found = match number {
        1..=MAX_REVISION => call.control().store().revision(&call.environment, R::KIND, key, number).await?,
        _ => None,
    };
    found.ok_or_else(|| {
        let detail = format!("{} '{key}' has no revision {number}", R::KIND.as_str());
        Problem::new(Code::NotFound, detail)
    })
}

/// Makes sure that there is such an environment, for questions that only the store answers.
async fn exists(call: &Call) -> Result<(), Problem> {
    call.control().state(&call.environment).await?;
    Ok(())
}

/// The key in the path; what cannot be a key is the key of nothing.
pub(super) fn path_key<R: Resource>(call: &Call) -> Result<String, Problem> {
    let key = call.path("key");
    if R::is_key(key) { Ok(key.to_owned()) } else { Err(missing::<R>(call)) }
}

fn missing<R: Resource>(call: &Call) -> Problem {
    Problem::not_found(R::KIND.as_str(), call.path("key"))
}

/// The answer that shows a document as it is after a change.
pub(super) fn shown<T>(status: u16, kind: Kind, key: &str, changed: &Changed<T>) -> Answer {
    let state: &EnvironmentState = &changed.state;
    let view = state.find(kind, key).and_then(|document| DocumentView::of(state, document));
    Answer {
        status,
        etag: view.as_ref().map(|view| etag(view.revision)),
        location: None,
        // A view of texts and numbers always has a JSON form.
        body: view.and_then(|view| serde_json::to_value(view).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
