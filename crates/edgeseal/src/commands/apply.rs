//! `edgeseal apply`: makes an environment what an experiments file says, as a whole or not at all, and says what that
//! changes.

use std::path::PathBuf;

use clap::Args;
use edgeseal_core::ids::Environment;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::changes::{self, Difference};
use super::login::Identity;
use crate::api_client::{Api, ApiArgs, ApiError, Call};
use crate::exit::{Exit, Failure, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::http_client::block_on;
use crate::output::{Output, Tone};
use crate::printable::printable;

/// Where the definition stands in the body that is sent, so in the pointers of the answer.
const DEFINITION: &str = "/definition";

/// Flags of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Experiments file, YAML or (by its ending) JSON
    #[arg(long, short = 'f', value_name = "FILE")]
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete what the file does not name; a running experiment is withdrawn
    #[arg(long)]
    prune: bool,
    /// With --dry-run: exit with 1 when something would change
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// What the control plane did, or would do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    changed: bool,
    #[serde(default)]
    cv: Option<u64>,
    #[serde(default)]
    changes: Vec<Step>,
    #[serde(default)]
    notes: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Step {
    action: String,
    kind: String,
    key: String,
    #[serde(default)]
    changes: Vec<Difference>,
}

/// Sends the file and prints the plan.
pub(crate) fn run(args: &ApplyArgs, output: Output) -> Outcome {
    let mut file = ExperimentsFile::load(&args.file)?;
    let api = Api::connect(&args.api, output)?;
    let (environment, answer) = block_on(async {
        let environment = settle_environment(args, &api, &mut file).await?;
        let definition = serde_json::to_value(file.definition()).map_err(anyhow::Error::from)?;
        let body = json!({ "definition": definition, "dryRun": args.dry_run, "prune": args.prune });
        let call = Call::post("/apply", body).query("environment", &environment);
        let answer = api.send(call).await.map_err(|error| at_lines(&file, error))?;
        Ok((environment, answer))
    })?;
    let plan: Plan = serde_json::from_value(answer.clone()).map_err(|error| {
        Failure::unreachable(format_args!(
            "the control plane answered in a form that this edgeseal does not know ({error}): use the version that it has"
        ))
    })?;
    if output.json {
        super::print_json(output, answer)?;
    } else {
        plan.print(args, &environment, output)?;
    }
    Ok(if args.exit_code && plan.changed { Exit::No } else { Exit::Ok })
}

/// The environment to change: the one asked for, else the file's own, else the login's, else the token's.
async fn settle_environment(args: &ApplyArgs, api: &Api, file: &mut ExperimentsFile) -> Outcome<Environment> {
    let asked = match args.api.environment().cloned() {
        None if !file.names_environment() => match &api.target().environment {
            Some(environment) => Some(environment.clone()),
            None => Identity::of(api).await?.environment,
        },
        asked => asked,
    };
    file.settle_environment(asked.as_ref())?;
    Ok(file.definition().environment.clone())
}

/// Faults of the file, each with its line and column; any other error as it is.
fn at_lines(file: &ExperimentsFile, error: ApiError) -> Failure {
    let ApiError::Refused(problem) = error else { return error.into() };
    if problem.status() != StatusCode::UNPROCESSABLE_ENTITY || problem.faults().is_empty() {
        return (*problem).into();
    }
    let lines = problem.faults().iter().map(|fault| {
        let (pointer, detail) = (fault.pointer.strip_prefix(DEFINITION), printable(&fault.detail));
        match pointer.unwrap_or(&fault.pointer) {
            // It does not lie in the file: a running experiment that another one still needs, say.
            "" => detail,
            pointer => file.refusal(pointer, &detail).to_string(),
        }
    });
    Failure::no(lines.collect::<Vec<_>>().join("\n"))
}

impl Plan {
    fn print(&self, args: &ApplyArgs, environment: &Environment, output: Output) -> Outcome<()> {
        for step in &self.changes {
            step.print(output)?;
        }
        for note in &self.notes {
            let note = note.as_str().map_or_else(|| note.to_string(), str::to_owned);
            output.line(format_args!("{} {}", output.paint(Tone::Warn, "note:"), printable(&note)))?;
        }
        let version = self.cv.map(|cv| format!(", snapshot version {cv}")).unwrap_or_default();
        let verdict = match (self.changed, args.dry_run) {
            (false, _) => {
                format!("no change: environment '{environment}' is as {} says{version}", args.file.display())
            }
            (true, true) => format!(
                "{} for environment '{environment}'; nothing was changed (dry run)",
                count(self.changes.len())
            ),
            (true, false) => {
                let done = output.paint(Tone::Good, "applied");
                format!("{done} {} to environment '{environment}'{version}", count(self.changes.len()))
            }
        };
        output.line(verdict)
    }
}

impl Step {
    fn print(&self, output: Output) -> Outcome<()> {
        let (rich, plain, tone) = sign(&self.action);
        let sign = output.paint(tone, if output.rich() { rich } else { plain });
        output.line(format_args!(
            "{sign} {:<8} {} {}",
            printable(&self.action),
            printable(&self.kind),
            printable(&self.key)
        ))?;
        changes::print(output, &self.changes)
    }
}

/// The sign of an action, for a terminal and for a pipe.
fn sign(action: &str) -> (&'static str, &'static str, Tone) {
    match action {
        "create" => ("+", "+", Tone::Good),
        "update" => ("~", "~", Tone::Warn),
        "delete" => ("-", "-", Tone::Bad),
        "start" | "resume" => ("▶", ">", Tone::Good),
        "pause" => ("⏸", "=", Tone::Warn),
        "stop" | "withdraw" => ("■", "x", Tone::Bad),
        _ => ("*", "*", Tone::Warn),
    }
}

fn count(changes: usize) -> String {
    if changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") }
}
