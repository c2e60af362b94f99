//! `edgeseal edge list`: the edges that reported lately, and how far behind each is.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::print_json_items;
use crate::api_client::{Api, ApiArgs, Call};
use crate::exit::{Exit, Outcome};
use crate::http_client::block_on;
use crate::output::{Output, Tone};
use crate::printable::{Cell, span, table, text_at};

/// Seconds without a word after which an edge counts as silent; it reports every 10.
pub(crate) const SILENT_AFTER_SECONDS: i64 = 30;
/// Age of the status document after which an edge counts as cut off: it is signed anew every 10 seconds, lives 30.
pub(crate) const OLD_AFTER_SECONDS: i64 = 30;

/// What to do with edges.
#[derive(Debug, Subcommand)]
pub(crate) enum EdgeCommand {
    /// List the edges that reported lately
    List(ListArgs),
}

/// Flags of `edge list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub(crate) fn run(args: &ListArgs, output: Output) -> Outcome {
    let api = Api::connect(&args.api, output)?;
    let items = block_on(edges(&api))?;
    if output.json {
        print_json_items(output, items)?;
        return Ok(Exit::Ok);
    }
    if items.is_empty() {
        output.line("no edge has reported")?;
        return Ok(Exit::Ok);
    }
    let newest = newest_snapshot(&items);
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let seen = seconds(item, "/seenAgoSeconds");
            let silent = if seen > SILENT_AFTER_SECONDS { Tone::Bad } else { Tone::Good };
            let behind = if number(item, "/cv") < newest { Tone::Warn } else { Tone::Good };
            let age = seconds(item, "/configAgeMs") / 1_000;
            let old = if age > OLD_AFTER_SECONDS { Tone::Warn } else { Tone::Good };
            [
                Cell::from(text_at(item, "/id")),
                text_at(item, "/version").into(),
                text_at(item, "/source").into(),
                Cell::toned(text_at(item, "/cv"), behind),
                text_at(item, "/ep").into(),
                Cell::toned(span(age), old),
                Cell::toned(format!("{} ago", span(seen)), silent),
            ]
        })
        .collect();
    table(output, ["EDGE", "VERSION", "HEARS BY", "SNAPSHOT", "EPOCH", "CONFIG AGE", "SEEN"], &rows)?;
    Ok(Exit::Ok)
}

/// The edges of the environment.
pub(crate) async fn edges(api: &Api) -> Outcome<Vec<Value>> {
    Ok(api.list(api.here(Call::get("/edges")), None).await?)
}

/// The newest snapshot that any edge serves.
pub(crate) fn newest_snapshot(edges: &[Value]) -> u64 {
    edges.iter().map(|edge| number(edge, "/cv")).max().unwrap_or(0)
}

/// A whole number of an edge's report; 0 when it is not there.
pub(crate) fn number(edge: &Value, pointer: &str) -> u64 {
    edge.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// A span of an edge's report; 0 when it is not there.
pub(crate) fn seconds(edge: &Value, pointer: &str) -> i64 {
    let found = edge.pointer(pointer);
    found.and_then(Value::as_i64).or_else(|| Some(found?.as_f64()? as i64)).unwrap_or(0)
}
