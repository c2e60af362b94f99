//! The OpenAPI document, made from the operations that the router serves and from the types they read and write.
//!
//! OpenAPI 3.1 speaks JSON Schema 2020-12, so the schemas are those of `schemars`, the same library and the same
//! definitions as the schema of the experiments file.

mod bounds;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::problem::{PROBLEM_JSON, ProblemBody};
use crate::routes::{self, Access, MAX_IDEMPOTENCY_KEY_CHARS, Operation, Parameter, Presence, Reply};

/// Where schemas live in the document.
const SCHEMAS: &str = "/components/schemas";

/// The document as pretty JSON, ending in a line feed.
pub fn openapi_json() -> String {
    // A document of maps and texts always has a JSON form.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub(crate) fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths = BTreeMap::<String, Map<String, Value>>::new();
    for operation in routes::all() {
        let item = paths.entry(operation.path.to_string()).or_default();
        item.insert(operation.method.as_str().to_ascii_lowercase(), described(&operation, &mut generator));
    }
    generator.subschema_for::<ProblemBody<'static>>();
    let mut schemas = generator.take_definitions(true);
    let missing = bounds::tighten(&mut schemas);
    debug_assert!(missing.is_empty(), "bounds of {missing:?}, which no definition has");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Edgeseal control plane",
            "version": "1",
            "description": "Experiments, keys and edges. Times are RFC 3339 in UTC; a definition has the form of the \
                experiments file. Refusals are problem documents (RFC 9457) with a `code` that never changes its meaning.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": routes::TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals(),
            "headers": { "RequestId": {
                "description": "Names the request in logs and in the audit log; taken over from the request.",
                "schema": { "type": "string", "maxLength": 64 },
            } },
            "securitySchemes": { "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API token, `edgeseal_<id>_<secret>`. The scopes viewer, editor, publisher and admin \
                    contain one another in this order; edge and ingest stand apart.",
            } },
        },
    })
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut described = Map::new();
    let mut set = |name: &str, value: Value| described.insert(name.to_owned(), value);
    set("operationId", operation.id.as_ref().into());
    set("tags", json!([operation.tag]));
    set("summary", operation.summary.as_ref().into());
    if !operation.description.is_empty() {
        set("description", operation.description.into());
    }
    set(
        "security",
        match operation.access {
            Access::Open => json!([]),
            Access::AnyToken => json!([{ "token": [] }]),
            Access::Scope(scope) => json!([{ "token": [scope.as_str()] }]),
            Access::Optional(scope) => json!([{}, { "token": [scope.as_str()] }]),
        },
    );
    let parameters = parameters(operation);
    if !parameters.is_empty() {
        set("parameters", parameters.into());
    }
    if let Some(body) = &operation.body {
        let schema = (body.schema)(generator).to_value();
        let media: Map<String, Value> =
            body.media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        set("requestBody", json!({ "required": body.required, "content": media }));
    }
    set("responses", responses(operation, generator).into());
    described.into()
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let placed = |place: &'static str| {
        move |parameter: &Parameter| -> Value {
            json!({
                "name": parameter.name,
                "in": place,
                "required": parameter.required,
                "description": parameter.description,
                "schema": parameter.schema,
            })
        }
    };
    let mut parameters: Vec<Value> = operation.path_parameters.iter().map(placed("path")).collect();
    parameters.extend(operation.query.iter().map(placed("query")));
    if let Some(presence) = operation.precondition {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": presence == Presence::Required,
            "description": "The ETag of what was read.",
            "schema": { "type": "string", "pattern": "^\"[1-9][0-9]{0,17}\"$" },
        }));
    }
    if operation.idempotency {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "A repetition under the same key within 24 hours gets the same answer and changes nothing.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_IDEMPOTENCY_KEY_CHARS,
                "pattern": "^[!-~]+$",
            },
        }));
    }
    if operation.id == "streamEdge" {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "description": "Version of the snapshot that the edge has; it is not sent again.",
            "schema": { "type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$" },
        }));
    }
    parameters
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses = Map::new();
    for reply in &operation.replies {
        responses.insert(reply.status.as_str().to_owned(), answer(operation, reply, generator));
    }
    for status in operation.refusal_statuses() {
        let reference = json!({ "$ref": format!("#/components/responses/{}", refusal_name(status)) });
        responses.entry(status.to_string()).or_insert(reference);
    }
    responses
}

fn answer(operation: &Operation, reply: &Reply, generator: &mut SchemaGenerator) -> Value {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".into(), json!({ "$ref": "#/components/headers/RequestId" }));
    if reply.etag {
        headers.insert(
            "ETag".into(),
            json!({ "description": "The revision, for `If-Match`.", "schema": { "type": "string" } }),
        );
    }
    if operation.method == Method::POST && reply.status == StatusCode::CREATED {
        headers.insert(
            "Location".into(),
            json!({ "description": "Where it is now.", "schema": { "type": "string" } }),
        );
    }
    let mut answer = json!({ "description": reply.description, "headers": headers });
    if let (Some((media, schema)), Some(members)) = (reply.content, answer.as_object_mut()) {
        let schema = match schema {
            Some(schema) => schema(generator).to_value(),
            None => json!({ "type": "string" }),
        };
        members.insert("content".into(), json!({ media: { "schema": schema } }));
    }
    answer
}

fn refusals() -> Map<String, Value> {
    let mut all: Vec<u16> = routes::all().iter().flat_map(Operation::refusal_statuses).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(|status| {
            let refusal = json!({
                "description": meaning(status),
                "headers": { "X-Request-Id": { "$ref": "#/components/headers/RequestId" } },
                "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            });
            (refusal_name(status), refusal)
        })
        .collect()
}

fn refusal_name(status: u16) -> String {
    let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    phrase.unwrap_or("Refused").chars().filter(char::is_ascii_alphabetic).collect()
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request is malformed, or a parameter is unknown, repeated or out of bounds.",
        401 => "There is no valid API token; the answer is the same whatever is wrong with it.",
        403 => "The token may not do this, or not in this environment.",
        404 => "There is no such thing, or no such environment.",
        408 => "The body did not arrive in time.",
        409 => "Something else stands in the way: it exists already, or its state does not allow this.",
        412 => "It changed since it was read.",
        413 => "The body is too large.",
        414 => "The URL is too long.",
        415 => "The body is not declared as what it has to be, which is JSON almost everywhere.",
        422 => "The body is JSON, but not what this takes; `errors` says where.",
        428 => "`If-Match` is missing.",
        429 => "Too many requests without a valid token came from this address.",
        500 => "A fault on this side; the log names it by the request id.",
        503 => "The database or a bounded resource is not available; try again.",
        _ => "Refused.",
    }
}

#[cfg(test)]
mod tests;
