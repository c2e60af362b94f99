//! `edgeseal evaluate`: which variants a unit gets, and why. Nothing is signed and nobody is asked.

use std::path::Path;

use clap::Args;
use edgeseal_core::attributes::{Attributes, MAX_ATTRIBUTES_BYTES};
use edgeseal_core::evaluate::{Forced, Outcome as Evaluated, Request, evaluate};
use edgeseal_core::explain::{Explanation, explain};
use edgeseal_core::ids::{UnitId, UnitType};
use edgeseal_core::ruleset::{Experiment, Halts, Ruleset};
use serde::Serialize;
use serde_json::Value;

use crate::data_dir::read_bounded;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::ruleset_source::SourceArgs;

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// The unit's id
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    unit: String,
    /// What the unit is
    #[arg(long, value_name = "TYPE", default_value = "user")]
    unit_type: String,
    /// The unit's attributes: a JSON object, or @FILE
    #[arg(long, value_name = "JSON", default_value = "{}")]
    attributes: String,
    /// Only this experiment [default: all of the unit's type]
    #[arg(long, value_name = "KEY")]
    experiment: Option<String>,
    /// Show every question that was asked, and the answer
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    format: u32,
    environment: &'a str,
    snapshot_version: u64,
    unit_type: &'a str,
    assignments: Vec<Assignment<'a>>,
}

#[derive(Serialize)]
struct Assignment<'a> {
    experiment: &'a str,
    version: u64,
    reason: &'static str,
    variant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// Evaluates and prints.
pub(crate) fn run(args: &EvaluateArgs, output: Output) -> Outcome {
    let unit = UnitId::parse(&args.unit).or_usage(|| "--unit")?;
    let unit_type =
        UnitType::parse(&args.unit_type).or_usage(|| format!("--unit-type '{}'", args.unit_type))?;
    let attributes = parse_attributes(&args.attributes)?;
    let snapshot = args.source.snapshot()?;
    let ruleset = snapshot.compile().map_err(anyhow::Error::from)?;

    let request = Request { unit, attributes: &attributes, forced: &Forced::default(), previous: None };
    let halts = Halts::none();
    let assignments = chosen(&ruleset, &unit_type, args.experiment.as_deref())?
        .into_iter()
        .map(|experiment| {
            let outcome = evaluate(&ruleset, &halts, experiment, &request);
            let explanation = args.explain.then(|| explain(&ruleset, &halts, experiment, &request));
            assignment(experiment, &outcome, explanation)
        })
        .collect();
    let report = Report {
        format: JSON_FORMAT,
        environment: ruleset.environment().as_str(),
        snapshot_version: ruleset.version(),
        unit_type: unit_type.as_str(),
        assignments,
    };
    if output.json {
        output.json(&report)?
    } else {
        print(&report, output)?
    }
    Ok(Exit::Ok)
}

/// Attributes given on the command line, or in a file after `@`.
pub(crate) fn parse_attributes(text: &str) -> Outcome<Attributes> {
    let bytes = match text.strip_prefix('@') {
        Some(path) => read_bounded(Path::new(path), MAX_ATTRIBUTES_BYTES as u64)
            .or_unreachable(|| format!("cannot read the attributes '{path}'"))?,
        None => text.as_bytes().to_vec(),
    };
    Attributes::parse(&bytes).or_usage(|| "--attributes")
}

fn chosen<'r>(ruleset: &'r Ruleset, unit_type: &UnitType, key: Option<&str>) -> Outcome<Vec<&'r Experiment>> {
    let Some(key) = key else { return Ok(ruleset.experiments_of(unit_type).collect()) };
    match ruleset.find(key) {
        Some(experiment) if experiment.unit_type() == unit_type => Ok(vec![experiment]),
        Some(experiment) => Err(Failure::usage(format_args!(
            "experiment '{key}' randomises '{}', not '{unit_type}': give --unit-type {}",
            experiment.unit_type(),
            experiment.unit_type()
        ))),
        None => {
            let known: Vec<_> =
                ruleset.experiments().iter().map(|experiment| experiment.key().as_str()).collect();
            Err(Failure::usage(format_args!(
                "there is no experiment '{key}': there are {}",
                known.join(", ")
            )))
        }
    }
}

fn assignment<'r>(
    experiment: &'r Experiment,
    outcome: &Evaluated<'r>,
    explanation: Option<Explanation>,
) -> Assignment<'r> {
    Assignment {
        experiment: experiment.key().as_str(),
        version: experiment.version(),
        reason: outcome.reason.as_str(),
        variant: outcome.variant.map(|variant| variant.key().as_str()),
        payload: outcome.variant.and_then(|variant| variant.payload()),
        explanation,
    }
}

fn print(report: &Report<'_>, output: Output) -> Outcome<()> {
    if report.assignments.is_empty() {
        output.line(format_args!("no experiment randomises '{}'", report.unit_type))?;
    }
    for assignment in &report.assignments {
        let (variant, tone) =
            assignment.variant.map_or(("not in it", Tone::Dim), |variant| (variant, Tone::Good));
        let payload = assignment.payload.map(|payload| format!("  {payload}")).unwrap_or_default();
        output.line(format_args!(
            "{:<24} {:<20} {}{payload}",
            assignment.experiment,
            output.paint(tone, format_args!("{variant:<20}")),
            assignment.reason
        ))?;
        for step in assignment.explanation.iter().flat_map(|explanation| &explanation.steps) {
            let answer =
                if step.answer { output.paint(Tone::Good, "yes") } else { output.paint(Tone::Warn, "no ") };
            output.line(format_args!("    {:<14} {answer}  {}", step.question, step.detail))?;
        }
    }
    Ok(())
}
