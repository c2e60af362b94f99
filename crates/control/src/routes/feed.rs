//! `GET /edge/bundle`: what an edge should have, for edges that ask instead of listening.

use axum::response::Response;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::at;
use super::call::{Call, json};
use super::documents::MAX_REVISION;
use super::operation::{Access, Operation, Reach};
use super::parameter::Parameter;
use crate::auth::Scope;
use crate::keys::EdgeKeys;
use crate::problem::Problem;

/// What an edge does not have yet.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EdgeBundle")]
struct Bundle<'a> {
    /// What the edge signs with; secret. Sent together with the keyset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<KeysView>")]
    keys: Option<&'a EdgeKeys>,
    /// The keyset, `edgeseal-keyset+jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    keyset: Option<&'a str>,
    /// The snapshot, `edgeseal-snapshot+jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a str>,
    /// The status document, `edgeseal-status+jwt`.
    status: &'a str,
}

/// What an edge signs with.
#[derive(JsonSchema)]
#[schemars(rename = "EdgeKeys")]
#[expect(dead_code, reason = "describes what `EdgeKeys` looks like as JSON")]
struct KeysView {
    /// The root key's public half as a JWK.
    root: Value,
    /// The edge key.
    signer: SignerView,
    /// The HMAC secrets that are in use.
    hmac: Vec<SecretView>,
}

/// A key that signs.
#[derive(JsonSchema)]
#[schemars(rename = "EdgeSigner")]
#[expect(dead_code, reason = "describes what `EdgeKeys` looks like as JSON")]
struct SignerView {
    /// Its kid.
    kid: String,
    /// Its seed, 32 bytes in base64url.
    seed: String,
}

/// An HMAC secret in use.
#[derive(JsonSchema)]
#[schemars(rename = "EdgeHmacSecret")]
#[expect(dead_code, reason = "describes what `EdgeKeys` looks like as JSON")]
struct SecretView {
    /// Its version.
    version: u32,
    /// `active` or `retiring`.
    state: String,
    /// The secret in base64url.
    secret: String,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(at("/edge/bundle"), "getEdgeBundle", "Fetch what an edge does not have yet")
            .tag("edges")
            .describe("The answer holds signing keys: only tokens of scope 'edge' get it.")
            .allow(Access::Scope(Scope::Edge), Reach::Environment)
            .query(Parameter::number("keyset", 0, MAX_REVISION, "Version of the keyset that the edge has."))
            .query(Parameter::number("cv", 0, MAX_REVISION, "Version of the snapshot that the edge has."))
            .query(Parameter::number(
                "ep",
                0,
                MAX_REVISION,
                "Epoch of the status document that the edge has.",
            ))
            .replies::<Bundle<'static>>(StatusCode::OK, "What is newer, and the status document in any case.")
            .by(bundle),
    ]
}

async fn bundle(call: Call) -> Result<Response, Problem> {
    let version = |name| call.query.number(name, 0, MAX_REVISION);
    let (keyset, cv, _ep) = (version("keyset")?, version("cv")?, version("ep")?);
    let current = call.control().subscribe(&call.environment).await?.borrow().clone();
    let set = &current.set;
    let with_keys = keyset != Some(set.keyset_ver);
    json(
        StatusCode::OK,
        &Bundle {
            keys: with_keys.then_some(&*current.keys),
            keyset: with_keys.then_some(&*set.keyset),
            snapshot: (cv != Some(set.cv)).then_some(&*set.snapshot),
            status: &set.status,
        },
    )
}
