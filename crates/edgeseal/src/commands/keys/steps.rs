//! `keys rotate`, `keys retire` and `keys revoke`: the steps of a key's life.

use edgeseal_core::sealing::KeyId;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{RetireArgs, RevokeArgs, RotateArgs, UseArg};
use crate::api_client::{Api, ApiError, Call};
use crate::commands::print_json;
use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// What was done, as the control plane tells it. A key has a kid, an HMAC secret a version.
#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Step {
    Published {
        kid: Option<KeyId>,
        secret_version: Option<u32>,
        wait_seconds: i64,
    },
    Activated {
        kid: Option<KeyId>,
        secret_version: Option<u32>,
        /// A kid or a version.
        #[serde(default)]
        retiring: Value,
        wait_seconds: Option<i64>,
    },
    Retired {
        #[serde(default)]
        kids: Vec<KeyId>,
        secret_version: Option<u32>,
    },
    Revoked {
        kid: KeyId,
        successor: Option<KeyId>,
    },
}

pub(super) async fn rotate(args: &RotateArgs, api: &Api, output: Output) -> Outcome<()> {
    take("rotate", json!({ "use": args.use_.as_str(), "force": args.force }), api, output).await
}

pub(super) async fn retire(args: &RetireArgs, api: &Api, output: Output) -> Outcome<()> {
    let mut body = Map::from_iter([("force".to_owned(), json!(args.force))]);
    if args.use_ == Some(UseArg::Hmac) {
        body.insert("use".to_owned(), json!("hmac"));
    }
    if let Some(kid) = &args.kid {
        body.insert("kid".to_owned(), json!(kid_arg(kid)?));
    }
    take("retire", Value::Object(body), api, output).await
}

pub(super) async fn revoke(args: &RevokeArgs, api: &Api, output: Output) -> Outcome<()> {
    take("revoke", json!({ "kid": kid_arg(&args.kid)? }), api, output).await
}

async fn take(verb: &str, body: Value, api: &Api, output: Output) -> Outcome<()> {
    let call = api.here(Call::post(format!("/keys/{verb}"), body));
    let answer = match api.send(call).await {
        Ok(step) => step,
        // A kid that nobody knows is a slip of whoever typed it.
        Err(ApiError::Refused(problem)) if problem.status() == StatusCode::NOT_FOUND => {
            return Err(Failure::usage(format_args!(
                "{}: `edgeseal keys list` shows them",
                problem.detail()
            )));
        }
        Err(error) => return Err(error.into()),
    };
    if output.json {
        return print_json(output, answer);
    }
    let step: Step = serde_json::from_value(answer).map_err(anyhow::Error::from)?;
    output.line(step.in_words())
}

fn kid_arg(text: &str) -> Outcome<KeyId> {
    KeyId::parse(text)
        .ok_or_else(|| Failure::usage(format_args!("'{text}' is no kid: `edgeseal keys list` shows them")))
}

impl Step {
    fn in_words(&self) -> String {
        match self {
            Step::Published { secret_version: Some(version), wait_seconds, .. } => format!(
                "published HMAC secret {version}: hand it to the servers that verify (edgeseal keys export-hmac \
                 --secret-version {version}) and rotate again in {wait_seconds} seconds"
            ),
            Step::Published { kid, wait_seconds, .. } => format!(
                "published {}: it signs nothing yet; rotate again in {wait_seconds} seconds to activate it",
                shown(kid.as_ref())
            ),
            Step::Activated { secret_version: Some(version), .. } => format!(
                "activated HMAC secret {version}; the previous one is still accepted until `edgeseal keys retire --use hmac`"
            ),
            Step::Activated { kid, retiring, wait_seconds, .. } => format!(
                "activated {}; {} is retiring: run `edgeseal keys retire` in {} seconds",
                shown(kid.as_ref()),
                retiring.as_str().unwrap_or("the key before"),
                wait_seconds.unwrap_or_default()
            ),
            Step::Retired { secret_version: Some(version), .. } => format!("retired HMAC secret {version}"),
            Step::Retired { kids, .. } => {
                let kids: Vec<_> = kids.iter().map(KeyId::to_string).collect();
                format!("retired {}", kids.join(", "))
            }
            Step::Revoked { kid, successor: Some(successor) } => format!(
                "revoked {kid}; {successor} signs from now on, and clients that do not know it yet refuse it until they refresh"
            ),
            Step::Revoked { kid, successor: None } => format!("revoked {kid}"),
        }
    }
}

impl UseArg {
    fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Control => "control",
            Self::Hmac => "hmac",
        }
    }
}

fn shown(kid: Option<&KeyId>) -> String {
    kid.map_or_else(|| "a key".to_owned(), KeyId::to_string)
}
