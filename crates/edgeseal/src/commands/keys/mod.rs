//! `edgeseal keys`: the keys of an environment at a control plane, and what may happen to each next.

pub(super) mod list;
mod steps;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::api_client::{Api, ApiArgs};
use crate::exit::{Exit, Outcome};
use crate::http_client::block_on;
use crate::master_key;
use crate::output::{JSON_FORMAT, Output, Tone};

/// Flags of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
    #[command(flatten)]
    api: ApiArgs,
}

/// What to do with the keys.
#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List all keys and what may happen to each next
    List,
    /// Print the public root key, which clients and edges pin
    Root(RootArgs),
    /// Take the next step of a rotation: publish a successor, or activate the published one
    Rotate(RotateArgs),
    /// End keys that no longer sign, once nothing they signed is alive
    Retire(RetireArgs),
    /// Refuse whatever a leaked key signed from now on; a fresh key takes over at once
    Revoke(RevokeArgs),
    /// Print an HMAC secret, to hand it to the servers that verify
    ExportHmac(ExportArgs),
    /// Make the master key that a control plane encrypts private keys under; asks nobody
    NewMasterKey(NewMasterKeyArgs),
}

#[derive(Debug, Args)]
struct RootArgs {
    /// Write it here instead of printing it
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// Which key
    #[arg(long = "use", value_enum, default_value_t = UseArg::Edge)]
    use_: UseArg,
    /// Skip the wait; clients without the new key refuse what it signs until they refresh
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct RetireArgs {
    /// The key's kid [default: every retiring key whose wait is over]
    // One kid in 64 begins with a hyphen: base64url.
    #[arg(allow_hyphen_values = true)]
    kid: Option<String>,
    /// Which keys; only HMAC needs to be named
    #[arg(long = "use", value_enum, conflicts_with = "kid")]
    use_: Option<UseArg>,
    /// Skip the wait and revoke the key, because it leaked: what it signed is refused from now on
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// The key's kid
    #[arg(allow_hyphen_values = true)]
    kid: String,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Which version [default: the one that signs]
    #[arg(long, value_name = "N")]
    secret_version: Option<u32>,
}

#[derive(Debug, Args)]
struct NewMasterKeyArgs {
    /// The file to make; one that exists is left alone
    file: PathBuf,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UseArg {
    /// Signs tokens
    Edge,
    /// Signs snapshots and status documents
    Control,
    /// Signs answers of the HMAC profile
    Hmac,
}

/// Runs the chosen one.
pub(crate) fn run(args: &KeysArgs, output: Output) -> Outcome {
    if let KeysCommand::NewMasterKey(NewMasterKeyArgs { file }) = &args.command {
        return new_master_key(file, output);
    }
    let api = Api::connect(&args.api, output)?;
    block_on(async {
        match &args.command {
            KeysCommand::List => list::list(&api, output).await,
            KeysCommand::Root(args) => list::root(args, &api, output).await,
            KeysCommand::Rotate(args) => steps::rotate(args, &api, output).await,
            KeysCommand::Retire(args) => steps::retire(args, &api, output).await,
            KeysCommand::Revoke(args) => steps::revoke(args, &api, output).await,
            KeysCommand::ExportHmac(args) => list::export_hmac(args, &api, output).await,
            KeysCommand::NewMasterKey(_) => Ok(()),
        }
    })?;
    Ok(Exit::Ok)
}

fn new_master_key(path: &Path, output: Output) -> Outcome {
    master_key::create(path)?;
    if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "file": path }))?;
    } else {
        output.line(format_args!(
            "{} the master key {}",
            output.paint(Tone::Good, "made"),
            path.display()
        ))?;
        output.remark(
            "without it the private keys in the database are lost: back it up, and apart from the database",
        );
    }
    Ok(Exit::Ok)
}
