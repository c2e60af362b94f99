//! Signing keys and HMAC secrets of an environment: listing them, and the steps of their lives.

use axum::response::Response;
use edgeseal_core::sealing::KeyId;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::at;
use super::call::{Call, json, respond};
use super::operation::{Access, Operation, Reach};
use super::parameter::Parameter;
use crate::answer::Answer;
use crate::auth::Scope;
use crate::change::{AuditNote, Changed};
use crate::error::ControlError;
use crate::keys::{self, Rotating, Step};
use crate::problem::{Code, Problem};

/// Pattern of a key id: base64url of 16 bytes.
const KID_PATTERN: &str = "^[A-Za-z0-9_-]{21}[AQgw]$";

/// What to rotate.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RotateRequest")]
struct RotateRequest {
    /// Which keys, or the HMAC secrets.
    #[serde(rename = "use")]
    use_: Rotating,
    /// Skip the wait, and accept failed verifications.
    #[serde(default)]
    force: bool,
}

/// What to retire: one key, all whose wait is over, or the previous HMAC secret.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RetireRequest")]
struct RetireRequest {
    /// The key; absent: all whose wait is over.
    #[schemars(with = "Option<String>", regex(pattern = KID_PATTERN))]
    kid: Option<KeyId>,
    /// `hmac` for the previous HMAC secret; then no `kid`.
    #[serde(rename = "use")]
    use_: Option<RetireUse>,
    /// Skip the wait, and accept failed verifications.
    force: bool,
}

/// The one use that retiring takes.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RetireUse {
    /// Secrets of the HMAC profile.
    Hmac,
}

/// What to revoke.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RevokeRequest")]
struct RevokeRequest {
    /// The key that leaked.
    #[schemars(with = "String", regex(pattern = KID_PATTERN))]
    kid: KeyId,
}

pub(super) fn operations() -> Vec<Operation> {
    let step = |verb: &'static str, summary: &'static str| {
        Operation::post(at(&format!("/keys/{verb}")), format!("{verb}Keys"), summary)
            .tag("keys")
            .allow(Access::Scope(Scope::Admin), Reach::Environment)
            .replies::<StepView>(StatusCode::OK, "What was done.")
    };
    vec![
        Operation::get(at("/keys"), "listKeys", "List the keys and what may happen to each next")
            .tag("keys")
            .allow(Access::Scope(Scope::Viewer), Reach::Environment)
            .replies::<KeyListView>(StatusCode::OK, "The keys, public halves only.")
            .by(list),
        Operation::get(
            at("/keys/hmac/{version}"),
            "exportHmacSecret",
            "Read one HMAC secret, for servers that verify",
        )
        .tag("keys")
        .describe("The audit log says who read it.")
        .allow(Access::Scope(Scope::Admin), Reach::Environment)
        .path_parameter(Parameter::number("version", 1, u32::MAX.into(), "Which secret."))
        .refuses(&[404])
        .replies::<ExportedView>(StatusCode::OK, "The secret.")
        .by(export_hmac),
        step("rotate", "Publish a successor, or let the published one sign")
            .takes::<RotateRequest>()
            .by(rotate),
        step("retire", "Let signatures of old keys count no more").may_take::<RetireRequest>().by(retire),
        step("revoke", "End a key that leaked, at once").takes::<RevokeRequest>().by(revoke),
    ]
}

async fn list(call: Call) -> Result<Response, Problem> {
    let control = call.control();
    let state = control.state(&call.environment).await?;
    json(StatusCode::OK, &keys::list(&state, &control.config().policy(), control.now()))
}

#[tracing::instrument(name = "control.key.rotate", skip_all)]
async fn rotate(mut call: Call) -> Result<Response, Problem> {
    let RotateRequest { use_, force } = call.json().await?;
    let (control, policy) = (call.control(), call.control().config().policy());
    let answer = control
        .change_answered(
            &call.environment,
            &call.context(),
            |state, now| keys::rotate(state, use_, control.master(), now, &policy, force),
            told,
        )
        .await?;
    respond(answer)
}

#[tracing::instrument(name = "control.key.retire", skip_all)]
async fn retire(mut call: Call) -> Result<Response, Problem> {
    let RetireRequest { kid, use_, force } = call.json_or_default().await?;
    if kid.is_some() && use_.is_some() {
        let detail = "name a key or 'use', not both: HMAC secrets have no kid";
        return Err(Problem::at(Code::Invalid, "/use", detail));
    }
    let (control, policy) = (call.control(), call.control().config().policy());
    let use_ = use_.map(|RetireUse::Hmac| Rotating::Hmac);
    let answer = control
        .change_answered(
            &call.environment,
            &call.context(),
            |state, now| keys::retire(state, kid.as_ref(), use_, now, &policy, force),
            told,
        )
        .await?;
    respond(answer)
}

#[tracing::instrument(name = "control.key.revoke", skip_all)]
async fn revoke(mut call: Call) -> Result<Response, Problem> {
    let RevokeRequest { kid } = call.json().await?;
    let (control, policy) = (call.control(), call.control().config().policy());
    let answer = control
        .change_answered(
            &call.environment,
            &call.context(),
            |state, now| keys::revoke(state, &kid, control.master(), now, &policy),
            told,
        )
        .await?;
    respond(answer)
}

#[tracing::instrument(name = "control.key.export", skip_all)]
async fn export_hmac(call: Call) -> Result<Response, Problem> {
    let text = call.path("version");
    let number = text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    let not_found = || Problem::not_found("HMAC secret", text);
    let number = number.ok_or_else(not_found)?;
    let control = call.control();
    let state = control.state(&call.environment).await?;
    let exported = state.keyring.export_hmac(Some(number), control.master()).map_err(ControlError::from)?;
    let exported = exported.ok_or_else(not_found)?;
    let body = ExportedView {
        secret_version: exported.version,
        secret_hex: exported.secret.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let note = AuditNote {
        action: "key.export".to_owned(),
        kind: Some("key".to_owned()),
        key: Some(format!("hmac/{number}")),
        detail: serde_json::json!({ "environment": call.environment }),
    };
    // Told before it is handed out: whoever has the secret is in the log.
    let told = Answer { status: 200, etag: None, location: None, body: Value::Null };
    control.change_tokens(&call.context(), Vec::new(), vec![note], told).await?;
    json(StatusCode::OK, &body)
}

fn told(changed: &Changed<Step>) -> Answer {
    // A step of texts and numbers always has a JSON form.
    let body = serde_json::to_value(&changed.reply).unwrap_or_default();
    Answer { status: 200, etag: None, location: None, body }
}

/// The keys of an environment.
#[derive(JsonSchema)]
#[schemars(rename = "Keys")]
#[expect(dead_code, reason = "describes what `KeyList` looks like as JSON")]
struct KeyListView {
    /// The environment.
    environment: String,
    /// The root key, for clients to pin.
    root: RootView,
    /// The keys that rotate.
    keys: Vec<KeyView>,
    /// The HMAC secrets, without the secrets.
    hmac: Vec<SecretView>,
}

/// A root key.
#[derive(JsonSchema)]
#[schemars(rename = "RootKey")]
#[expect(dead_code, reason = "describes what `RootListed` looks like as JSON")]
struct RootView {
    /// Its kid.
    kid: String,
    /// Its public half.
    jwk: Value,
}

/// One key and its life so far, in seconds since the Unix epoch.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Key")]
#[expect(dead_code, reason = "describes what `KeyListed` looks like as JSON")]
struct KeyView {
    /// The key's kid.
    kid: String,
    /// Its public half in base64url.
    public: String,
    /// What it signs: `edge` or `control`.
    #[serde(rename = "use")]
    use_: String,
    /// `published`, `active`, `retiring` or `retired`.
    state: String,
    /// When it was made.
    created_at: i64,
    /// When it entered the keyset.
    published_at: i64,
    /// When it began to sign.
    activated_at: Option<i64>,
    /// When it stopped signing.
    retiring_at: Option<i64>,
    /// When its signatures ceased to count.
    retired_at: Option<i64>,
    /// Seconds until it may take its next step.
    wait_seconds: Option<i64>,
    /// Whether it was revoked; absent: it was not.
    revoked: Option<bool>,
}

/// One HMAC secret.
#[derive(JsonSchema)]
#[schemars(rename = "HmacSecret")]
#[expect(dead_code, reason = "describes what `SecretListed` looks like as JSON")]
struct SecretView {
    /// Its version.
    version: u32,
    /// `published`, `active` or `retiring`.
    state: String,
    /// When it came into this state, in seconds since the Unix epoch.
    since: i64,
}

/// An HMAC secret in the clear: whoever has it can sign any assignment for anyone.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ExportedHmacSecret")]
struct ExportedView {
    /// Its version.
    secret_version: u32,
    /// The secret in lower-case hex.
    secret_hex: String,
}

/// A step in the life of a key or an HMAC secret.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeyStep")]
#[expect(dead_code, reason = "describes what `Step` looks like as JSON")]
struct StepView {
    /// `published`, `activated`, `retired` or `revoked`.
    step: String,
    /// The key that the step is about.
    kid: Option<String>,
    /// The keys that were retired.
    kids: Option<Vec<String>>,
    /// The key that took the place of a revoked one.
    successor: Option<String>,
    /// The HMAC secret that the step is about.
    secret_version: Option<u32>,
    /// The key or version that stopped signing.
    retiring: Option<Value>,
    /// Seconds until the next step may be taken.
    wait_seconds: Option<i64>,
}

#[cfg(test)]
mod tests;
