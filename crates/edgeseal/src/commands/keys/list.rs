//! `keys list`, `keys root` and `keys export-hmac`: what there is.

use std::fs;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{KeyRecord, KeyState};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{ExportArgs, RootArgs};
use crate::api_client::{Api, ApiError, Call};
use crate::exit::{Failure, OrExit, Outcome};
use crate::output::{JSON_FORMAT, Output, Tone};

/// The keys of an environment.
#[derive(Debug, Deserialize)]
pub(crate) struct Keys {
    pub(crate) environment: Environment,
    pub(crate) root: Root,
    pub(crate) keys: Vec<Value>,
    pub(crate) hmac: Vec<Secret>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Root {
    pub(crate) kid: String,
    pub(crate) jwk: Value,
}

#[derive(Debug, Deserialize, serde::Serialize)]
pub(crate) struct Secret {
    pub(crate) version: u32,
    pub(crate) state: KeyState,
    pub(crate) since: i64,
}

/// One key, as far as the list tells it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) kid: String,
    pub(crate) use_: String,
    pub(crate) state: KeyState,
    /// Seconds until it may take its next step; `None` when no step is due by time.
    pub(crate) wait_seconds: Option<i64>,
    pub(crate) revoked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    secret_version: u32,
    secret_hex: String,
}

impl Keys {
    /// Asks for them.
    pub(crate) async fn of(api: &Api) -> Outcome<Self> {
        Ok(api.fetch(api.here(Call::get("/keys"))).await?)
    }

    /// The keys that rotate.
    pub(crate) fn listed(&self) -> Outcome<Vec<Listed>> {
        self.keys.iter().map(Listed::read).collect()
    }
}

impl Listed {
    fn read(value: &Value) -> Outcome<Self> {
        let mut record = value.clone();
        let member =
            |record: &mut Value, name: &str| record.as_object_mut().and_then(|members| members.remove(name));
        let wait_seconds = member(&mut record, "waitSeconds").and_then(|seconds| seconds.as_i64());
        let revoked = member(&mut record, "revoked").is_some_and(|revoked| revoked == true);
        let record: KeyRecord = serde_json::from_value(record)
            .or_unreachable(|| "the control plane listed a key in an unknown form")?;
        Ok(Self {
            kid: record.kid.to_string(),
            use_: record.use_.as_str().to_owned(),
            state: record.state,
            wait_seconds,
            revoked,
        })
    }

    fn next(&self) -> String {
        let step = if self.state == KeyState::Published { "activated" } else { "retired" };
        match self.wait_seconds {
            _ if self.revoked => "revoked".to_owned(),
            None => String::new(),
            Some(0) => format!("may be {step} now"),
            Some(seconds) => format!("may be {step} in {seconds} seconds"),
        }
    }
}

pub(super) async fn list(api: &Api, output: Output) -> Outcome<()> {
    let keys = Keys::of(api).await?;
    if output.json {
        return output.json(&json!({
            "format": JSON_FORMAT,
            "environment": keys.environment,
            "root": keys.root.kid,
            "keys": keys.keys,
            "hmac": keys.hmac,
        }));
    }
    let painted = |state: KeyState| {
        let tone = if state == KeyState::Active { Tone::Good } else { Tone::Dim };
        output.paint(tone, format_args!("{:<10}", state.as_str()))
    };
    output.line(format_args!("environment '{}'", keys.environment))?;
    output.line(format_args!(
        "  {:<8} {:<24} pinned by clients: `edgeseal keys root`",
        "root", keys.root.kid
    ))?;
    for key in keys.listed()? {
        let line = format!("  {:<8} {:<24} {} {}", key.use_, key.kid, painted(key.state), key.next());
        output.line(line.trim_end())?;
    }
    for secret in &keys.hmac {
        let name = format!("secret version {}", secret.version);
        output.line(format!("  {:<8} {name:<24} {}", "hmac", painted(secret.state)).trim_end())?;
    }
    Ok(())
}

pub(super) async fn root(args: &RootArgs, api: &Api, output: Output) -> Outcome<()> {
    let jwk = Keys::of(api).await?.root.jwk;
    // The very form of root.jwk in a data directory, with and without --json: other tools read it.
    let Some(path) = &args.out else { return output.json(&jwk) };
    let text = serde_json::to_string_pretty(&jwk).map_err(anyhow::Error::from)? + "\n";
    fs::write(path, text).or_unreachable(|| format!("cannot write '{}'", path.display()))?;
    output.remark(format_args!("wrote {}", path.display()));
    Ok(())
}

pub(super) async fn export_hmac(args: &ExportArgs, api: &Api, output: Output) -> Outcome<()> {
    let none = || Failure::no("there is no such HMAC secret: `edgeseal keys list` shows their versions");
    let version = match args.secret_version {
        Some(version) => version,
        None => {
            let keys = Keys::of(api).await?;
            let active = keys.hmac.iter().find(|secret| secret.state == KeyState::Active);
            active.ok_or_else(none)?.version
        }
    };
    let call = api.here(Call::get(format!("/keys/hmac/{version}")));
    let exported: Exported = match api.fetch(call).await {
        Ok(exported) => exported,
        Err(ApiError::Refused(problem)) if problem.status() == StatusCode::NOT_FOUND => return Err(none()),
        Err(error) => return Err(error.into()),
    };
    output.remark("whoever has this secret can sign any assignment for anyone: keep it on servers, out of browsers and logs");
    let hex = Zeroizing::new(exported.secret_hex);
    let hex = hex.as_str();
    if output.json {
        let version = exported.secret_version;
        return output.json(&json!({ "format": JSON_FORMAT, "secretVersion": version, "secretHex": hex }));
    }
    output.line(hex)
}
