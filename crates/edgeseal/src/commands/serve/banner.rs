//! What a person sees when `serve` is up: where, and a line to copy.

use std::net::SocketAddr;

use serde::Serialize;

use super::ServeArgs;
use super::publisher::Publisher;
use crate::data_dir::DEFAULT_DATA_DIR;
use crate::exit::Outcome;
use crate::output::{JSON_FORMAT, Output, Tone};

/// Address that `edgeseal verify` asks by default.
const DEFAULT_EDGE: &str = "http://localhost:8080";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Banner {
    format: u32,
    url: String,
    environment: String,
    snapshot_version: u64,
    experiments: usize,
    #[serde(skip)]
    verify: String,
    #[serde(skip)]
    next: String,
}

impl Banner {
    pub(super) fn new(args: &ServeArgs, address: SocketAddr, publisher: &Publisher) -> Self {
        let (ip, port) = (address.ip(), address.port());
        // Both names of this machine reach it, and one of them is what `verify` asks by default.
        let url = if ip.is_loopback() || ip.is_unspecified() {
            format!("http://localhost:{port}")
        } else {
            format!("http://{address}")
        };
        let program = std::env::args()
            .next()
            .filter(|name| name.contains('/'))
            .unwrap_or_else(|| "edgeseal".to_owned());
        let mut verify = format!("curl -s {url}/v1/assignments/user-1 | {program} verify - --unit user-1");
        if url != DEFAULT_EDGE {
            verify += &format!(" --edge {url}");
        }
        let environment = publisher.snapshot().map(|snapshot| snapshot.iss.to_string()).unwrap_or_default();
        if environment != "production" {
            verify += &format!(" --environment {environment}");
        }
        let data_dir = &args.source.data_dir.data_dir;
        if data_dir.as_os_str() != DEFAULT_DATA_DIR {
            verify += &format!(" --data-dir '{}'", data_dir.display());
        }
        let next = if args.source.demo {
            format!(
                "make the sample yours: {program} snapshot example > experiments.yaml, then \
                 {program} serve --experiments experiments.yaml"
            )
        } else {
            "edit the experiments file: a good change is served within a second, a bad one is refused with its line"
                .to_owned()
        };
        Self {
            format: JSON_FORMAT,
            url,
            environment,
            snapshot_version: publisher.snapshot().map_or(0, |snapshot| snapshot.cv),
            experiments: publisher.snapshot().map_or(0, |snapshot| snapshot.experiments.len()),
            verify,
            next,
        }
    }

    pub(super) fn print(&self, output: Output) -> Outcome<()> {
        if output.json {
            return output.json_line(self);
        }
        if output.quiet {
            return Ok(());
        }
        let Self { url, environment, snapshot_version, experiments, verify, next, .. } = self;
        let dim = |text: &str| output.paint(Tone::Dim, format_args!("{text:<12}"));
        output.line(format_args!(
            "edgeseal serves {experiments} experiments of environment '{environment}' (snapshot version {snapshot_version})\n"
        ))?;
        output.line(format_args!("  {} {url}/v1/assignments/{{unit}}", dim("assignments")))?;
        output.line(format_args!("  {} {url}/v1/keyset  {url}/.well-known/jwks.json", dim("keys")))?;
        output.line(format_args!("  {} {url}/v1/status", dim("status")))?;
        output.line(format_args!("  {} {url}/ofrep/v1/evaluate/flags", dim("OpenFeature")))?;
        output.line(format_args!("  {} {url}/metrics  {url}/healthz\n", dim("operations")))?;
        output.line(format_args!("try   {}", output.paint(Tone::Good, verify)))?;
        output.line(format_args!("next  {next}\n"))
    }
}
