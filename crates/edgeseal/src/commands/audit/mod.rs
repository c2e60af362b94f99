//! `edgeseal audit`: who changed what, and whether anybody meddled with the record of it.

mod tail;
mod verify;

use clap::{Args, Subcommand};

use crate::api_client::{Api, ApiArgs};
use crate::exit::Outcome;
use crate::http_client::block_on;
use crate::output::Output;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
    #[command(flatten)]
    api: ApiArgs,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Print the newest records, oldest of them first; with --environment only that environment's
    Tail(tail::TailArgs),
    /// Fetch the whole log and check its hash chain on this machine
    Verify(verify::VerifyArgs),
}

/// Runs the chosen one.
pub(crate) fn run(args: &AuditArgs, output: Output) -> Outcome {
    let api = Api::connect(&args.api, output)?;
    // The log is that of the whole installation: a login's environment does not hide the rest of it.
    let environment = args.api.environment();
    block_on(async {
        match &args.command {
            AuditCommand::Tail(args) => tail::run(args, environment, &api, output).await,
            AuditCommand::Verify(args) => verify::run(args, &api, output).await,
        }
    })
}
