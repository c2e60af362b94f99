//! `edgeseal environment`: the environments of a control plane.

use clap::{Args, Subcommand};
use edgeseal_core::ids::Environment;
use serde_json::json;

use super::{print_json, print_json_items};
use crate::api_client::{Api, Call, ServerArgs};
use crate::exit::{Exit, OrExit, Outcome};
use crate::http_client::block_on;
use crate::output::{Output, Tone};
use crate::printable::{Cell, table, text_at, time_at};

/// Flags of `environment`.
#[derive(Debug, Args)]
pub(crate) struct EnvironmentArgs {
    #[command(subcommand)]
    command: EnvironmentCommand,
    #[command(flatten)]
    server: ServerArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum EnvironmentCommand {
    /// List environments
    List,
    /// Create an environment with keys of its own and nothing to run yet
    Create {
        /// Its name
        name: String,
    },
}

/// Runs the chosen one.
pub(crate) fn run(args: &EnvironmentArgs, output: Output) -> Outcome {
    let api = Api::of_server(&args.server, output)?;
    block_on(async {
        match &args.command {
            EnvironmentCommand::List => list(&api, output).await,
            EnvironmentCommand::Create { name } => create(name, &api, output).await,
        }
    })?;
    Ok(Exit::Ok)
}

async fn list(api: &Api, output: Output) -> Outcome<()> {
    let items = api.list(Call::get("/environments"), None).await?;
    if output.json {
        return print_json_items(output, items);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            [
                text_at(item, "/name"),
                text_at(item, "/experiments"),
                text_at(item, "/cv"),
                text_at(item, "/ep"),
                time_at(item, "/publishedAt"),
                time_at(item, "/createdAt"),
            ]
            .map(Cell::from)
        })
        .collect();
    table(output, ["NAME", "EXPERIMENTS", "SNAPSHOT", "EPOCH", "PUBLISHED (UTC)", "CREATED (UTC)"], &rows)
}

async fn create(name: &str, api: &Api, output: Output) -> Outcome<()> {
    let name = Environment::parse(name).or_usage(|| format!("'{name}' as the name of an environment"))?;
    let created = api.send(Call::post("/environments", json!({ "name": name }))).await?;
    if output.json {
        return print_json(output, created);
    }
    output.line(format_args!("{} environment '{name}'", output.paint(Tone::Good, "created")))?;
    output.remark(format_args!(
        "its clients pin the root key: edgeseal keys root --environment {name} --out root.jwk"
    ));
    Ok(())
}
