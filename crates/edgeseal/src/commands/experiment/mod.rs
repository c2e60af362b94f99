//! `edgeseal experiment`: the experiments of a control plane: which there are, what becomes of them, what they were.

mod history;

use std::num::NonZeroUsize;

use clap::{Args, Subcommand, ValueEnum};
use edgeseal_core::ids::{ExperimentKey, VariantKey};
use serde_json::{Map, Value};

use super::{key_arg, print_json};
use crate::api_client::{Api, ApiArgs, Call};
use crate::exit::{Exit, OrExit, Outcome};
use crate::http_client::block_on;
use crate::output::{Output, Tone};
use crate::printable::{Cell, printable, table, text_at, time_at};

/// Most characters of a reason, as the API takes them.
const MAX_REASON_CHARS: usize = 1_024;

/// Flags of `experiment`.
#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    #[command(subcommand)]
    command: ExperimentCommand,
    #[command(flatten)]
    api: ApiArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum ExperimentCommand {
    /// List experiments
    List(ListArgs),
    /// Show one experiment, its definition included
    Show(KeyArgs),
    /// Start a draft: units enter it from now on
    Start(TransitionArgs),
    /// Pause a running experiment: every edge and every connected client stops it at once
    Pause(TransitionArgs),
    /// Let a paused experiment run again
    Resume(TransitionArgs),
    /// End an experiment for good, with a winner for everybody or without
    Stop(StopArgs),
    /// List an experiment's revisions, newest first
    History(history::HistoryArgs),
    /// Compare two revisions of an experiment
    Diff(history::DiffArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only experiments in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Only experiments whose key, name or description holds this text
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    /// Only experiments with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only experiments of this owner
    #[arg(long)]
    owner: Option<String>,
    /// At most so many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArg {
    Draft,
    Running,
    Paused,
    Stopped,
}

#[derive(Debug, Args)]
struct KeyArgs {
    /// The experiment's key
    key: String,
}

#[derive(Debug, Args)]
struct TransitionArgs {
    /// The experiment's key
    key: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Only if this is still the experiment's revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
}

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    transition: TransitionArgs,
    /// Variant that everybody gets from now on [default: none, nobody is in the experiment]
    #[arg(long, value_name = "VARIANT")]
    winner: Option<String>,
}

/// Runs the chosen one.
pub(crate) fn run(args: &ExperimentArgs, output: Output) -> Outcome {
    let api = Api::connect(&args.api, output)?;
    block_on(async {
        match &args.command {
            ExperimentCommand::List(args) => list(args, &api, output).await,
            ExperimentCommand::Show(args) => show(args, &api, output).await,
            ExperimentCommand::Start(args) => transition("start", args, None, &api, output).await,
            ExperimentCommand::Pause(args) => transition("pause", args, None, &api, output).await,
            ExperimentCommand::Resume(args) => transition("resume", args, None, &api, output).await,
            ExperimentCommand::Stop(args) => {
                let winner = args.winner.as_deref();
                transition("stop", &args.transition, winner, &api, output).await
            }
            ExperimentCommand::History(args) => history::list(args, &api, output).await,
            ExperimentCommand::Diff(args) => history::diff(args, &api, output).await,
        }
    })?;
    Ok(Exit::Ok)
}

async fn list(args: &ListArgs, api: &Api, output: Output) -> Outcome<()> {
    let call = api
        .here(Call::get("/experiments"))
        .maybe("state", args.state.and_then(|state| Some(state.to_possible_value()?.get_name().to_owned())))
        .maybe("q", args.query.as_ref())
        .maybe("tag", args.tag.as_ref())
        .maybe("owner", args.owner.as_ref());
    let items = api.list(call, args.limit.map(NonZeroUsize::get)).await?;
    if output.json {
        return super::print_json_items(output, items);
    }
    if items.is_empty() {
        return output.line("no experiments");
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let definition = definition(item);
            let (state, tone) = state(definition);
            let key = Cell::from(text_at(definition, "/key"));
            let revision = text_at(item, "/revision");
            [
                key,
                Cell::toned(state, tone),
                traffic(definition).into(),
                variants(definition).into(),
                revision.into(),
                time_at(item, "/updatedAt").into(),
            ]
        })
        .collect();
    table(output, ["KEY", "STATE", "TRAFFIC", "VARIANTS", "REVISION", "UPDATED (UTC)"], &rows)
}

async fn show(args: &KeyArgs, api: &Api, output: Output) -> Outcome<()> {
    let item = api.send(api.here(Call::get(path(&args.key)?))).await?;
    if output.json {
        return print_json(output, item);
    }
    let definition = definition(&item);
    let (state, tone) = state(definition);
    output.line(format_args!(
        "{}  {}  revision {}, {} by {}",
        text_at(definition, "/key"),
        output.paint(tone, state),
        text_at(&item, "/revision"),
        time_at(&item, "/updatedAt"),
        text_at(&item, "/updatedBy/name"),
    ))?;
    let text = serde_json::to_string_pretty(definition).map_err(anyhow::Error::from)?;
    // Line breaks are ours: those within texts are escaped.
    for line in text.lines() {
        output.line(printable(line))?;
    }
    Ok(())
}

async fn transition(
    verb: &str,
    args: &TransitionArgs,
    winner: Option<&str>,
    api: &Api,
    output: Output,
) -> Outcome<()> {
    let mut body = Map::new();
    if let Some(reason) = &args.reason {
        body.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    if let Some(winner) = winner {
        let winner = VariantKey::parse(winner).or_usage(|| format!("--winner '{winner}'"))?;
        body.insert("winner".to_owned(), Value::from(winner.as_str()));
    }
    let call = Call::post(format!("{}/{verb}", path(&args.key)?), Value::Object(body));
    let item = api.send(api.here(call.if_revision(args.if_revision))).await?;
    if output.json {
        return print_json(output, item);
    }
    let definition = definition(&item);
    let (state, tone) = state(definition);
    let winner = match definition.get("winner").and_then(Value::as_str) {
        Some(winner) => format!(", everybody gets '{}'", printable(winner)),
        None => String::new(),
    };
    output.line(format_args!(
        "{} is {}{winner} (revision {})",
        args.key,
        output.paint(tone, state),
        text_at(&item, "/revision")
    ))
}

/// The definition within an answer.
fn definition(item: &Value) -> &Value {
    item.get("definition").unwrap_or(item)
}

fn path(key: &str) -> Outcome<String> {
    let key: ExperimentKey = key_arg(key)?;
    Ok(format!("/experiments/{key}"))
}

fn state(definition: &Value) -> (String, Tone) {
    // A definition leaves out what is the default.
    let state = definition.get("state").and_then(Value::as_str).unwrap_or("draft");
    let tone = match state {
        "running" => Tone::Good,
        "paused" => Tone::Warn,
        _ => Tone::Dim,
    };
    (printable(state), tone)
}

fn traffic(definition: &Value) -> String {
    match definition.get("traffic") {
        None => "100%".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(number) => format!("{number}%"),
    }
}

fn variants(definition: &Value) -> String {
    let variants = definition.get("variants").and_then(Value::as_array).into_iter().flatten();
    let named = variants.map(|variant| {
        let weight = variant.get("weight").and_then(Value::as_u64).unwrap_or(1);
        format!("{}:{weight}", text_at(variant, "/key"))
    });
    named.collect::<Vec<_>>().join(" ")
}

fn reason(text: &str) -> Result<String, String> {
    if (1..=MAX_REASON_CHARS).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err(format!("must have 1 to {MAX_REASON_CHARS} characters"))
}
