//! `edgeseal leak-test`: plays many users against an edge and whatever caches stand before it, and looks for what
//! must never happen: an answer of another unit, an answer that a cache may mix up, a distribution off its weights.

mod distribution;
mod headers;
mod probe;
mod report;

use std::cmp::Reverse;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;

use clap::Args;
use edgeseal_control::keys::random_bytes;
use edgeseal_core::ids::{Environment, UnitType};
use edgeseal_core::snapshot::{ExperimentRecord, ExperimentState, Snapshot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;
use crate::commands::evaluate::parse_attributes;
use crate::commands::verify::trust::{Trust, TrustArgs};
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::http_client;
use crate::output::Output;
use crate::ruleset_source::SourceArgs;
use probe::{Probe, Tally};
use report::Report;

/// Most units of one run: every one of them is held until the report.
const MAX_UNITS: u64 = 10_000_000;
/// Most requests under way at once.
const MAX_CONCURRENCY: u64 = 1_024;

/// Flags of `leak-test`.
#[derive(Debug, Args)]
pub(crate) struct LeakTestArgs {
    /// Address to test: the edge, or the CDN in front of it
    #[arg(value_name = "URL")]
    url: String,
    /// How many synthetic units to play
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=MAX_UNITS))]
    units: u64,
    /// How many requests are under way at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=MAX_CONCURRENCY))]
    concurrency: u64,
    /// What the units are
    #[arg(long, value_name = "TYPE", default_value = "user")]
    unit_type: String,
    /// Attributes of every unit: a JSON object, or @FILE
    #[arg(long, value_name = "JSON", default_value = "{}")]
    attributes: String,
    /// Names the synthetic units, to repeat a run [default: random]
    #[arg(long, value_name = "TEXT")]
    seed: Option<String>,
    /// Root key to trust: a JWK, or a file with one [default: root.jwk in the data directory]
    #[arg(long, value_name = "JWK|FILE", env = "EDGESEAL_ROOT_KEY")]
    root_key: Option<String>,
    /// Look for leaks only; the weights are not known
    #[arg(long)]
    skip_distribution: bool,
    /// The environment, when the weights are not known
    #[arg(long, value_name = "NAME", default_value = "production", env = "EDGESEAL_ENVIRONMENT")]
    environment: String,
    #[command(flatten)]
    source: SourceArgs,
}

/// Plays the units and prints what was found.
pub(crate) fn run(args: &LeakTestArgs, output: Output) -> Outcome {
    let weights = if args.skip_distribution { None } else { Some(known_weights(&args.source)?) };
    let environment = match &weights {
        Some(snapshot) => snapshot.iss.clone(),
        None => Environment::parse(&args.environment)
            .or_usage(|| format!("--environment '{}'", args.environment))?,
    };
    let unit_type =
        UnitType::parse(&args.unit_type).or_usage(|| format!("--unit-type '{}'", args.unit_type))?;
    let attributes = parse_attributes(&args.attributes)?;
    let seed = match &args.seed {
        Some(seed) => seed.clone(),
        None => random_bytes::<4>()
            .map_err(anyhow::Error::from)?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    let tally = http_client::block_on(async {
        let edge = args.url.trim_end_matches('/').to_owned();
        let trust_args =
            TrustArgs::of_edge(edge.clone(), args.root_key.clone(), args.source.data_dir.clone());
        let trust = Trust::establish(&trust_args, &environment, clock::now()).await?;
        for step in trust.steps.iter().filter(|step| step.outcome == "not_checked") {
            output.remark(format_args!("{}: {}", step.name, step.detail));
        }
        let keyset = trust.keyset.or_no(|| format!("the keyset of '{edge}' is refused"))?;
        let probe = Probe::new(edge, environment.clone(), unit_type, &attributes, keyset, seed.clone())?;
        play(Arc::new(probe), args, weights.as_ref(), output).await
    })?;

    let distribution = weights.as_ref().map(|snapshot| distribution::test(snapshot, &args.unit_type, &tally));
    let report = Report::new(args.url.clone(), seed, &tally, distribution);
    report.print(output)?;
    Ok(report.verdict())
}

fn known_weights(source: &SourceArgs) -> Outcome<Snapshot> {
    source.snapshot().map_err(|failure| match failure.exit {
        Exit::Usage => Failure::usage(
            "the weights are not known, so the distribution cannot be tested: name the edge's experiments file with \
             --experiments or its data directory with --data-dir, or look for leaks only with --skip-distribution",
        ),
        _ => failure,
    })
}

async fn play(
    probe: Arc<Probe>,
    args: &LeakTestArgs,
    weights: Option<&Snapshot>,
    output: Output,
) -> Outcome<Tally> {
    let quiet = output.quiet || output.json || !stderr().is_terminal();
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} units, {per_sec}, {eta} left")
        .map_err(anyhow::Error::from)?;
    let progress = ProgressBar::with_draw_target(Some(args.units), target).with_style(style);

    // The first one alone: a wrong address is told at once, not ten thousand times.
    let mut tally = Tally::default();
    probe.unit(0, &mut tally).await?;
    progress.inc(1);
    let tally = probe.clone().units(1..args.units, args.concurrency, tally, &progress).await?;
    progress.finish_and_clear();

    let experiment = weights.and_then(|snapshot| open_experiment(snapshot, &args.unit_type));
    let mut tally = tally;
    probe.identity_headers(experiment, args.units, &mut tally).await?;
    Ok(tally)
}

/// An experiment for the HMAC route, one that everybody is in if there is such a one.
fn open_experiment<'s>(snapshot: &'s Snapshot, unit_type: &str) -> Option<&'s str> {
    let ours = snapshot.experiments.iter().filter(|record| record.ut.as_str() == unit_type);
    let hurdles = |record: &&ExperimentRecord| {
        (
            record.state != ExperimentState::Running,
            record.audience.is_some(),
            record.layer.is_some(),
            Reverse(record.traffic),
        )
    };
    ours.min_by_key(hurdles).map(|record| record.key.as_str())
}
