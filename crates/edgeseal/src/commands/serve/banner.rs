//! What a person sees when `serve` is up: where, and a line to copy.

use std::net::SocketAddr;

use edgeseal_control::EnvironmentState;
use edgeseal_store::Kind;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::ServeArgs;
use crate::data_dir::DEFAULT_DATA_DIR;
use crate::exit::Outcome;
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::plane::url_of;

/// Address that `edgeseal verify` asks by default.
const DEFAULT_EDGE: &str = "http://localhost:8080";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Banner {
    format: u32,
    url: String,
    control: String,
    environment: String,
    snapshot_version: u64,
    experiments: usize,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_once")]
    admin_token: Option<Zeroizing<String>>,
    #[serde(skip)]
    program: String,
    #[serde(skip)]
    verify: String,
}

impl Banner {
    pub(super) fn new(
        args: &ServeArgs,
        edge: SocketAddr,
        control: String,
        state: &EnvironmentState,
        admin_token: Option<Zeroizing<String>>,
    ) -> Self {
        let url = url_of(edge);
        let program = std::env::args()
            .next()
            .filter(|name| name.contains('/'))
            .unwrap_or_else(|| "edgeseal".to_owned());
        let mut verify = format!("curl -s {url}/v1/assignments/user-1 | {program} verify - --unit user-1");
        if url != DEFAULT_EDGE {
            verify += &format!(" --edge {url}");
        }
        let environment = state.name.to_string();
        if environment != "production" {
            verify += &format!(" --environment {environment}");
        }
        let data_dir = &args.source.data_dir.data_dir;
        if data_dir.as_os_str() != DEFAULT_DATA_DIR {
            verify += &format!(" --data-dir '{}'", data_dir.display());
        }
        Self {
            format: JSON_FORMAT,
            url,
            control,
            environment,
            snapshot_version: state.head.cv,
            experiments: state.count(Kind::Experiment),
            admin_token,
            program,
            verify,
        }
    }

    pub(super) fn print(&self, output: Output) -> Outcome<()> {
        if output.json {
            return output.json_line(self);
        }
        let Self { url, control, program, .. } = self;
        if let Some(token) = &self.admin_token {
            // Also for the quiet: there is no other way to learn it.
            let token = output.paint(Tone::Good, token.as_str());
            output.line(format_args!("first admin token, shown this once: {token}\n"))?;
        }
        if output.quiet {
            return Ok(());
        }
        let dim = |text: &str| output.paint(Tone::Dim, format_args!("{text:<12}"));
        output.line(format_args!(
            "edgeseal serves {} experiments of environment '{}' (snapshot version {})\n",
            self.experiments, self.environment, self.snapshot_version
        ))?;
        output.line(format_args!("  {} {url}/v1/assignments/{{unit}}", dim("assignments")))?;
        output.line(format_args!("  {} {url}/v1/keyset  {url}/.well-known/jwks.json", dim("keys")))?;
        output.line(format_args!("  {} {url}/v1/status  {url}/v1/stream", dim("status")))?;
        output.line(format_args!("  {} {url}/ofrep/v1/evaluate/flags", dim("OpenFeature")))?;
        output.line(format_args!("  {} {url}/metrics  {url}/healthz", dim("operations")))?;
        output
            .line(format_args!("  {} {control}/api/v1  {control}/api/v1/openapi.json\n", dim("control")))?;
        output.line(format_args!("try   {}", output.paint(Tone::Good, &self.verify)))?;
        output.line(format_args!("next  {program} login {control}, then {program} experiment list\n"))
    }
}

fn shown_once<S: Serializer>(token: &Option<Zeroizing<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_deref().serialize(serializer)
}
