//! The flags that say which control plane to ask, and with which token.

use std::path::PathBuf;

use clap::Args;
use edgeseal_core::ids::Environment;

use super::target::{ControlUrl, Target};
use super::token::ApiToken;
use crate::exit::{Failure, Outcome};
use crate::login_file::{Login, LoginFile};
use crate::output::Output;

/// Flags of everything that asks the control plane.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Address of the control plane [default: where `edgeseal login` was]
    // Ids of its own: `edge` has flags of the same names that mean something else, and global flags are told apart by id.
    #[arg(id = "api-control", long = "control", global = true, value_name = "URL", env = "EDGESEAL_CONTROL")]
    control: Option<String>,
    /// File with the API token, '-' for standard input [default: the token that `edgeseal login` took]
    #[arg(
        id = "api-token-file",
        long = "token-file",
        global = true,
        value_name = "FILE",
        env = "EDGESEAL_TOKEN_FILE"
    )]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    wire: WireArgs,
    #[command(flatten)]
    login_file: LoginFileArgs,
}

/// How well the wire has to be protected.
#[derive(Debug, Clone, Args)]
pub(crate) struct WireArgs {
    /// Send the token over plain http to another machine, where everybody in between can read it
    #[arg(id = "api-insecure-http", long = "insecure-http", global = true, env = "EDGESEAL_INSECURE_HTTP",
          value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) insecure_http: bool,
}

/// Where `login` keeps what it was told.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginFileArgs {
    /// File that `login` writes [default: edgeseal/login.json in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE", env = "EDGESEAL_LOGIN_FILE")]
    login_file: Option<PathBuf>,
}

/// Flags of everything that asks for something within an environment.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiArgs {
    /// Which environment [default: the login's, else the token's, else 'production']
    #[arg(id = "api-environment", long = "environment", global = true, value_name = "NAME",
          env = "EDGESEAL_ENVIRONMENT", value_parser = Environment::parse)]
    environment: Option<Environment>,
    #[command(flatten)]
    server: ServerArgs,
}

impl LoginFileArgs {
    /// The login file, whether it exists or not.
    pub(crate) fn file(&self) -> Outcome<LoginFile> {
        LoginFile::locate(self.login_file.as_deref())
    }
}

impl ServerArgs {
    /// Whom to ask, with which token, and the environment that was logged in for.
    pub(crate) fn target(&self, output: Output) -> Outcome<Target> {
        let login = self.login(output)?;
        let control = match (&self.control, &login) {
            (Some(url), _) => ControlUrl::parse(url)?,
            (None, Some(login)) => login.control.clone(),
            (None, None) => {
                return Err(Failure::usage(
                    "no control plane is named: log in with `edgeseal login URL`, or give --control URL and --token-file FILE",
                ));
            }
        };
        // A stored token is for the control plane that gave it, and for no other.
        let login = login.filter(|login| login.control == control);
        let accepted = self.wire.insecure_http || login.as_ref().is_some_and(|login| login.insecure_http);
        control.refuse_plain_http(accepted)?;
        let token = match (&self.token_file, &login) {
            (Some(path), _) => ApiToken::from_file(path)?,
            (None, Some(login)) => login.token.clone(),
            (None, None) => {
                return Err(Failure::usage(format_args!(
                    "there is no token for '{control}': log in with `edgeseal login {control}`, or name a file with \
                     --token-file"
                )));
            }
        };
        Ok(Target { control, token, environment: login.and_then(|login| login.environment) })
    }

    /// With both flags given, nobody needs the login file, so a broken one does no harm.
    fn login(&self, output: Output) -> Outcome<Option<Login>> {
        if self.control.is_some() && self.token_file.is_some() {
            return Ok(None);
        }
        self.login_file.file()?.read(output)
    }
}

impl ApiArgs {
    /// Whom to ask, with which token, for which environment.
    pub(crate) fn target(&self, output: Output) -> Outcome<Target> {
        let mut target = self.server.target(output)?;
        if let Some(environment) = &self.environment {
            target.environment = Some(environment.clone());
        }
        Ok(target)
    }

    /// The environment that this command line (or its variables) named.
    pub(crate) fn environment(&self) -> Option<&Environment> {
        self.environment.as_ref()
    }
}
