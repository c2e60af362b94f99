//! `edgeseal login`, `logout` and `whoami`: keep a token for a control plane, drop it, ask whose it is.

use std::path::PathBuf;

use clap::Args;
use edgeseal_core::ids::Environment;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api_client::{Api, ApiToken, Call, ControlUrl, LoginFileArgs, ServerArgs, Target, WireArgs};
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::http_client::block_on;
use crate::login_file::Login;
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::printable::printable;

/// Flags of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Address of the control plane, such as `https://edgeseal.example.com`
    #[arg(env = "EDGESEAL_CONTROL")]
    url: String,
    /// Environment that later commands speak of [default: the token's]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// File with the API token, '-' for standard input [default: ask for it]
    #[arg(long, value_name = "FILE", env = "EDGESEAL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    wire: WireArgs,
    #[command(flatten)]
    login_file: LoginFileArgs,
}

/// Flags of `logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    #[command(flatten)]
    login_file: LoginFileArgs,
}

/// Flags of `whoami`.
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// What the control plane knows of the token that asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// Public part of the token.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) scope: String,
    /// The only environment it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<Environment>,
    /// When it ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// Asks for the token, tries it, and keeps it.
pub(crate) fn login(args: &LoginArgs, output: Output) -> Outcome {
    let control = ControlUrl::parse(&args.url)?;
    let insecure_http = args.wire.insecure_http;
    control.refuse_plain_http(insecure_http)?;
    let asked = match &args.environment {
        Some(name) => Some(Environment::parse(name).or_usage(|| format!("--environment '{name}'"))?),
        None => None,
    };
    let file = args.login_file.file()?;
    let token = match &args.token_file {
        Some(path) => ApiToken::from_file(path)?,
        None => ApiToken::ask()?,
    };

    let target = Target { control: control.clone(), token: token.clone(), environment: None };
    let identity = block_on(Identity::of(&Api::to(target, output)?))?;
    let environment = match (asked, &identity.environment) {
        (Some(asked), Some(bound)) if asked != *bound => {
            return Err(Failure::no(format_args!(
                "the token is good for environment '{bound}' only, and '{asked}' was asked for: create another token, \
                 or leave out --environment"
            )));
        }
        (asked, bound) => asked.or_else(|| bound.clone()),
    };
    file.write(&Login { control: control.clone(), token, environment: environment.clone(), insecure_http })?;
    if output.json {
        output.json(&json!({
            "format": JSON_FORMAT,
            "control": control.to_string(),
            "identity": identity,
            "environment": environment,
            "loginFile": file.path(),
        }))?;
    } else {
        output.line(format_args!(
            "{} to {control} as {}",
            output.paint(Tone::Good, "logged in"),
            identity.in_words()
        ))?;
        output.remark(format_args!("the token is in {} until `edgeseal logout`", file.path().display()));
    }
    Ok(Exit::Ok)
}

/// Forgets the login. The token itself lives on until it is revoked.
pub(crate) fn logout(args: &LogoutArgs, output: Output) -> Outcome {
    let file = args.login_file.file()?;
    let removed = file.remove()?;
    if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "removed": removed, "loginFile": file.path() }))?;
    } else if removed {
        output.line(format_args!("removed {}", file.path().display()))?;
        output.remark("the token still works elsewhere: end it with `edgeseal token revoke ID`");
    } else {
        output.line("nobody was logged in")?;
    }
    Ok(Exit::Ok)
}

/// Asks the control plane whose token this is.
pub(crate) fn whoami(args: &WhoamiArgs, output: Output) -> Outcome {
    let api = Api::of_server(&args.server, output)?;
    let identity = block_on(Identity::of(&api))?;
    let control = &api.target().control;
    if output.json {
        output.json(&json!({
            "format": JSON_FORMAT,
            "control": control.to_string(),
            "identity": identity,
            "environment": api.target().environment,
        }))?;
    } else {
        output.line(format_args!("{} at {control}", identity.in_words()))?;
    }
    Ok(Exit::Ok)
}

impl Identity {
    /// Asks who `api` is.
    pub(crate) async fn of(api: &Api) -> Outcome<Self> {
        Ok(api.fetch(Call::get("/whoami")).await?)
    }

    fn in_words(&self) -> String {
        let environment = match &self.environment {
            Some(environment) => format!("environment '{environment}'"),
            None => "every environment".to_owned(),
        };
        let end =
            self.expires_at.as_deref().map(|end| format!(", until {}", printable(end))).unwrap_or_default();
        let Self { id, name, scope, .. } = self;
        format!("'{}' ({}, {environment}{end}), token {}", printable(name), printable(scope), printable(id))
    }
}
