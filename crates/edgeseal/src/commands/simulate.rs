//! `edgeseal simulate`: how often a rule pauses harmless experiments, and how soon it pauses harmful ones.

mod events;
mod play;
mod random;
mod report;
mod rule;
mod world;

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, ValueEnum};
use edgeseal_core::definition::{MetricKind, OnHarm};
use edgeseal_guardrail::{GuardrailMetric, Settings};
use edgeseal_stats::guardrail::{DEFAULT_N_STAR, Direction};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{EXIT_CODES_HELP, Exit, Failure, Outcome};
use crate::fraction::{parse, part};
use crate::output::Output;
use play::{Ended, Rule, Simulation};
use report::Report;
use world::{Names, World};

/// Most checks of one experiment.
const MAX_CHECKS: u64 = 10_000_000;
/// Most units between two checks.
const MAX_UNITS: u64 = 100_000_000;

/// Flags of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES_HELP)]
pub(crate) struct SimulateArgs {
    /// Which rule pauses
    #[arg(long, value_enum, default_value_t = RuleArg::Edgeseal)]
    rule: RuleArg,
    /// What the rule sees
    #[arg(long, value_enum, default_value_t = Through::Aggregates)]
    through: Through,
    /// Conversion rate of the control
    #[arg(long, value_name = "RATE", default_value = "5%", value_parser = part)]
    baseline: f64,
    /// Change of the rate in the treatment, such as -20%; 0% is a harmless experiment
    #[arg(long, value_name = "CHANGE", default_value = "0%", value_parser = parse, allow_hyphen_values = true)]
    lift: f64,
    /// Change of both rates from start to end
    #[arg(long, value_name = "CHANGE", default_value = "0%", value_parser = parse, allow_hyphen_values = true)]
    drift: f64,
    /// Harm that is tolerated
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = parse)]
    margin: f64,
    /// How the metric is judged
    #[arg(long, value_enum, default_value_t = MetricArg::Conversion)]
    metric: MetricArg,
    /// The treatment's share; several for a ramp in stages of the same length, such as 1%,10%,50%
    #[arg(long, value_name = "SHARE", default_value = "50%", value_parser = part, value_delimiter = ',')]
    treatment_share: Vec<f64>,
    /// Units between two checks, in both variants together
    #[arg(long, value_name = "N", default_value_t = 400)]
    units_per_check: u64,
    /// Minutes between two checks
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    check_minutes: f64,
    /// Days that an experiment runs
    #[arg(long, value_name = "N", default_value_t = 14.0)]
    days: f64,
    /// Experiments
    #[arg(long, value_name = "N", default_value = "1000")]
    experiments: NonZeroU64,
    /// Chance that the guardrail ever pauses a harmless experiment
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = part)]
    guardrail_alpha: f64,
    /// Another number, other draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuleArg {
    /// The guardrail
    Edgeseal,
    /// Chi-square p < 0.05 on the last hour and a rate below 0.95 of the control's
    Naive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Through {
    /// Totals, drawn for each check
    Aggregates,
    /// Every unit: evaluated, sealed, reported, verified, stored in SQLite, rolled up and judged
    Events,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetricArg {
    /// By how conversions split, up to a rate of 20 %
    Conversion,
    /// By means, as counts are
    Count,
}

/// Simulates and prints.
pub(crate) fn run(args: &SimulateArgs, output: Output) -> Outcome {
    let simulation = simulation(args)?;
    let experiments = args.experiments.get();
    let progress = progress(args, &simulation, output)?;
    let started = std::time::Instant::now();
    let ended: Vec<Ended> = match args.through {
        Through::Aggregates => simulation.play_all(experiments, || progress.inc(1)),
        Through::Events => {
            if args.rule == RuleArg::Naive || args.treatment_share.len() > 1 {
                return Err(Failure::usage(
                    "--through events takes the rule 'edgeseal' and one --treatment-share",
                ));
            }
            events::play_all(&simulation, experiments, || progress.inc(1))?
        }
    };
    progress.finish_and_clear();
    let report = Report::new(&simulation, &ended);
    report.print(output)?;
    output.remark(format_args!("{:.1} s", started.elapsed().as_secs_f64()));
    Ok(Exit::Ok)
}

fn simulation(args: &SimulateArgs) -> Outcome<Simulation> {
    if !(args.check_minutes > 0.0 && args.check_minutes.is_finite() && args.days > 0.0) {
        return Err(Failure::usage("--check-minutes and --days must be above 0"));
    }
    let checks = (args.days * 24.0 * 60.0 / args.check_minutes).floor() as u64;
    if checks < args.treatment_share.len() as u64 || checks > MAX_CHECKS {
        return Err(Failure::usage(format_args!(
            "that is {checks} checks; there may be 1 a stage to {MAX_CHECKS}"
        )));
    }
    if !(1..=MAX_UNITS).contains(&args.units_per_check) {
        return Err(Failure::usage(format_args!("--units-per-check must be from 1 to {MAX_UNITS}")));
    }
    if !(0.0..1.0).contains(&args.margin) || args.guardrail_alpha >= 0.5 {
        return Err(Failure::usage("--margin must be below 100%, and --guardrail-alpha below 50%"));
    }
    let names = Names::new().map_err(anyhow::Error::from)?;
    let [control, treatment] = names.variants.clone();
    let rule = match args.rule {
        RuleArg::Naive => Rule::Naive { checks: (60.0 / args.check_minutes).round() as usize },
        RuleArg::Edgeseal => Rule::Edgeseal(Box::new(Settings {
            experiment: names.experiment.clone(),
            control,
            treatments: vec![treatment],
            sticky: false,
            metrics: vec![GuardrailMetric {
                key: names.metric.clone(),
                kind: match args.metric {
                    MetricArg::Conversion => MetricKind::Conversion,
                    MetricArg::Count => MetricKind::Count,
                },
                direction: Direction::LowerIsHarm,
                margin: args.margin,
            }],
            alpha: args.guardrail_alpha,
            n_star: DEFAULT_N_STAR,
            on_harm: OnHarm::Pause,
        })),
    };
    Ok(Simulation {
        world: World {
            baseline: args.baseline,
            lift: args.lift,
            drift: args.drift,
            stages: args.treatment_share.clone(),
            units_per_check: args.units_per_check,
            checks: checks as u32,
        },
        names,
        rule,
        check_ms: (args.check_minutes * 60_000.0) as i64,
        seed: args.seed,
    })
}

fn progress(args: &SimulateArgs, simulation: &Simulation, output: Output) -> Outcome<ProgressBar> {
    let target =
        if output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
    let style =
        ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left").map_err(anyhow::Error::from)?;
    // Through events an experiment takes minutes, so its checks are counted.
    let steps = match args.through {
        Through::Aggregates => args.experiments.get(),
        Through::Events => args.experiments.get().saturating_mul(u64::from(simulation.world.checks)),
    };
    let progress = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
    progress.enable_steady_tick(Duration::from_millis(200));
    Ok(progress)
}
