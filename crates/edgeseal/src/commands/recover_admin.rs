//! `edgeseal recover-admin`: another admin token, for whoever lost all of them and can reach the database itself.

use std::path::PathBuf;

use clap::Args;
use edgeseal_control::recover_admin_token;
use serde_json::json;

use crate::cli::DataDirArgs;
use crate::clock;
use crate::data_dir::file;
use crate::databases::Database;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::http_client::block_on;
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::plane::{refused, write_secret};

/// Flags of `recover-admin`.
#[derive(Debug, Args)]
pub(crate) struct RecoverAdminArgs {
    /// Database of the control plane [default: the one of `serve` in the data directory]
    #[arg(long, value_name = "URL", env = "EDGESEAL_DATABASE", hide_env_values = true)]
    database: Option<String>,
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Write the token into this new file, readable by its owner only, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Creates the token; the audit log says so. A running control plane takes it at once.
pub(crate) fn run(args: &RecoverAdminArgs, output: Output) -> Outcome {
    let database = match &args.database {
        Some(url) => Database::parse(url)?,
        None => {
            let path = args.data_dir.data_dir.join(file::DATABASE);
            if !path.exists() {
                return Err(Failure::unreachable(format_args!(
                    "there is no database '{}': name one with --database, or the directory with --data-dir",
                    path.display()
                )));
            }
            Database::Sqlite(path)
        }
    };
    let token = block_on(async {
        let store = database.open().await?;
        let token = recover_admin_token(&*store, clock::now()).await.map_err(refused);
        store.close().await;
        token
    })?;
    if let Some(path) = &args.out {
        write_secret(path, &token).or_unreachable(|| format!("cannot write '{}'", path.display()))?;
        output.remark(format_args!("the admin token is in {}", path.display()));
    } else if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "adminToken": token.as_str() }))?;
    } else {
        output.line(output.paint(Tone::Good, token.as_str()))?;
    }
    Ok(Exit::Ok)
}
