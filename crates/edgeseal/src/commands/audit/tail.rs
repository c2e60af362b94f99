//! `audit tail`: the newest records, and those to come.

use std::time::Duration;

use clap::Args;
use edgeseal_core::ids::Environment;
use serde_json::{Value, json};

use crate::api_client::{Api, ApiError, Call};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::printable::{printable, text_at, value};

/// How often `--follow` asks.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Longest pause between two questions while the control plane does not answer.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// Most records that are asked for at once.
const PAGE: u32 = 200;
/// Most records that are caught up with at once; whoever fell further behind has the log itself.
const MAX_CAUGHT_UP: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// How many records
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE)))]
    lines: u32,
    /// Go on with what happens from now on
    #[arg(long)]
    follow: bool,
    /// Only this experiment
    #[arg(long, value_name = "KEY", conflicts_with_all = ["kind", "key"])]
    experiment: Option<String>,
    /// Only what this token did, by its id
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only this action; with a '.' at its end all that begin so: 'experiment.'
    #[arg(long)]
    action: Option<String>,
    /// Only things of this kind: experiment, layer, holdout, group, metric, key, token
    #[arg(long)]
    kind: Option<String>,
    /// Only the thing with this key or id
    #[arg(long)]
    key: Option<String>,
}

pub(super) async fn run(
    args: &TailArgs,
    environment: Option<&Environment>,
    api: &Api,
    output: Output,
) -> Outcome {
    let call = args.call(environment);
    let mut records = page(api, call.clone().query("limit", args.lines)).await?;
    records.truncate(args.lines as usize);
    records.reverse();
    if output.json && !args.follow {
        output.json(&json!({ "format": JSON_FORMAT, "records": records }))?;
        return Ok(Exit::Ok);
    }
    print(&records, output)?;
    if args.follow {
        follow(api, &call, records.last().map_or(0, number), output).await?;
    }
    Ok(Exit::Ok)
}

/// Prints what comes, until somebody ends it; a control plane that is away for a while is waited for.
async fn follow(api: &Api, call: &Call, mut newest: u64, output: Output) -> Outcome<()> {
    let mut interval = FOLLOW_INTERVAL;
    loop {
        tokio::time::sleep(interval).await;
        match since(api, call, newest).await {
            Ok(records) => {
                print(&records, output)?;
                newest = records.last().map_or(newest, number);
                interval = FOLLOW_INTERVAL;
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.exit != Exit::Unreachable {
                    return Err(failure);
                }
                output.remark(format_args!("{:#}; still trying", failure.error));
                interval = MAX_INTERVAL.min(interval * 2);
            }
        }
    }
}

impl TailArgs {
    fn call(&self, environment: Option<&Environment>) -> Call {
        let (kind, key) = match &self.experiment {
            Some(experiment) => (Some("experiment"), Some(experiment)),
            None => (self.kind.as_deref(), self.key.as_ref()),
        };
        Call::get("/audit")
            .maybe("environment", environment)
            .maybe("actor", self.actor.as_ref())
            .maybe("action", self.action.as_ref())
            .maybe("kind", kind)
            .maybe("key", key)
    }
}

/// Records after the number `newest`, oldest first.
async fn since(api: &Api, call: &Call, newest: u64) -> Result<Vec<Value>, ApiError> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let before = found.last().map(number);
        let records = page(api, call.clone().query("limit", PAGE).maybe("before", before)).await?;
        let goes_on = records.len() == PAGE as usize && records.last().map_or(0, number) > newest;
        found.extend(records.into_iter().filter(|record| number(record) > newest));
        if !goes_on || found.len() >= MAX_CAUGHT_UP {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

async fn page(api: &Api, call: Call) -> Result<Vec<Value>, ApiError> {
    let mut body = api.send(call).await?;
    Ok(match body.get_mut("items").map(Value::take) {
        Some(Value::Array(records)) => records,
        _ => Vec::new(),
    })
}

fn number(record: &Value) -> u64 {
    record.get("number").and_then(Value::as_u64).unwrap_or(0)
}

fn print(records: &[Value], output: Output) -> Outcome<()> {
    for record in records {
        if output.json {
            output.json_line(record)?;
            continue;
        }
        let entry = record.get("entry").unwrap_or(&Value::Null);
        let thing = match text_at(entry, "/key").as_str() {
            "-" => String::new(),
            key => format!(" {key}"),
        };
        let environment = match text_at(entry, "/environment").as_str() {
            "-" => String::new(),
            environment => format!(" in {environment}"),
        };
        let detail = entry.get("detail").filter(|detail| !detail.is_null()).map(value).unwrap_or_default();
        let line = format!(
            "{:>6}  {}  {}{thing}{environment} by {}  {}",
            number(record),
            output.paint(Tone::Dim, at(entry)),
            text_at(entry, "/action"),
            text_at(entry, "/actor/name"),
            output.paint(Tone::Dim, printable(&detail)),
        );
        output.line(line.trim_end())?;
    }
    Ok(())
}

/// When, to the second in UTC.
fn at(entry: &Value) -> String {
    let at =
        entry.get("at_ms").and_then(Value::as_i64).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| text_at(entry, "/at"), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
