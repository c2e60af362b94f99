//! `experiment history` and `experiment diff`: what an experiment was, and what changed.

use std::num::NonZeroUsize;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::path;
use crate::api_client::{Api, Call};
use crate::commands::changes::{self, Difference};
use crate::commands::{print_json, print_json_items};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::printable::{Cell, table, text_at, time_at};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The experiment's key
    key: String,
    /// At most so many revisions [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The experiment's key
    key: String,
    /// Revision to compare [default: the one before --to]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Revision to compare with [default: the newest]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Diff {
    from: u64,
    to: u64,
    changes: Vec<Difference>,
}

pub(super) async fn list(args: &HistoryArgs, api: &Api, output: Output) -> Outcome<()> {
    let call = api.here(Call::get(format!("{}/revisions", path(&args.key)?)));
    let items = api.list(call, args.limit.map(NonZeroUsize::get)).await?;
    if output.json {
        return print_json_items(output, items);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let at = time_at(item, "/at");
            [text_at(item, "/revision"), at, text_at(item, "/action"), text_at(item, "/actor/name")]
                .map(Cell::from)
        })
        .collect();
    table(output, ["REVISION", "AT (UTC)", "ACTION", "BY"], &rows)
}

pub(super) async fn diff(args: &DiffArgs, api: &Api, output: Output) -> Outcome<()> {
    let path = path(&args.key)?;
    let to = match args.to {
        Some(to) => to,
        None => newest(&path, api).await?,
    };
    let from = match args.from {
        Some(from) => from,
        None if to > 1 => to - 1,
        None => {
            return Err(Failure::no(format_args!(
                "'{}' has one revision only: there is nothing to compare",
                args.key
            )));
        }
    };
    let call = api.here(Call::get(format!("{path}/diff"))).query("from", from).query("to", to);
    let answer = api.send(call).await?;
    if output.json {
        return print_json(output, answer);
    }
    let diff: Diff = serde_json::from_value(answer).map_err(anyhow::Error::from)?;
    output.line(format_args!("{} from revision {} to {}", args.key, diff.from, diff.to))?;
    if diff.changes.is_empty() {
        return output.line("    no difference");
    }
    changes::print(output, &diff.changes)
}

async fn newest(path: &str, api: &Api) -> Outcome<u64> {
    let newest = api.list(api.here(Call::get(format!("{path}/revisions"))), Some(1)).await?;
    let revision = newest.first().and_then(|item| item.get("revision").and_then(Value::as_u64));
    revision.ok_or_else(|| Failure::no("it has no revisions"))
}
