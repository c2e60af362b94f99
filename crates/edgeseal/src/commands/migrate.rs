//! `edgeseal migrate`: creates or updates the schema of a database.

use clap::Args;
use serde_json::json;

use crate::databases::{Database, DatabaseArgs};
use crate::exit::{Exit, Outcome};
use crate::http_client::block_on;
use crate::output::{JSON_FORMAT, Output};

/// Flags of `migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs it. Safe to repeat, and to run from several machines at once.
pub(crate) fn run(args: &MigrateArgs, output: Output) -> Outcome {
    let database: Database = args.database.database()?;
    block_on(async { database.migrate().await })?;
    if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "migrated": true }))?;
    } else {
        output.line("the schema is up to date")?;
    }
    Ok(Exit::Ok)
}
