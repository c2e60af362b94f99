//! `edgeseal power`: how many units an experiment needs, what it can detect, how long it runs, and how soon its
//! guardrails would notice harm.

mod plan;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::exit::{EXIT_CODES_HELP, Exit, Failure, OrExit, Outcome};
use crate::fraction::{change, grouped, parse, part, percent};
use crate::output::{JSON_FORMAT, Output};
use crate::printable::table;
use plan::{Metric, Plan, Question, Request};

/// Flags of `power`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES_HELP)]
#[command(group = clap::ArgGroup::new("metric").required(true).args(["baseline", "mean"]))]
#[command(group = clap::ArgGroup::new("question").required(true).args(["lift", "units", "days"]))]
pub(crate) struct PowerArgs {
    /// Conversion rate of the control, such as 5%
    #[arg(long, value_name = "RATE", value_parser = part)]
    baseline: Option<f64>,
    /// Mean per unit of the control, for counts and amounts
    #[arg(long, value_name = "MEAN", requires = "deviation", allow_negative_numbers = true)]
    mean: Option<f64>,
    /// Standard deviation between units, for counts and amounts
    #[arg(long, value_name = "SD", requires = "mean")]
    deviation: Option<f64>,
    /// Correlation of the metric with its value before the exposure, which the analysis makes use of
    #[arg(long, value_name = "R", default_value_t = 0.0, requires = "mean", allow_negative_numbers = true)]
    correlation: f64,
    /// Smallest relative change worth finding, such as 5%: asks for units
    #[arg(long, value_name = "CHANGE", value_parser = parse, allow_hyphen_values = true)]
    lift: Option<f64>,
    /// Units in the smallest variant: asks for the smallest change that they show
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000_000_000_000))]
    units: Option<u64>,
    /// Days: asks for the smallest change that they show
    #[arg(long, value_name = "N", requires = "per_day", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: Option<u32>,
    /// Chance of a false winner
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = part)]
    alpha: f64,
    /// Chance of finding such a change
    #[arg(long, value_name = "SHARE", default_value = "80%", value_parser = part)]
    power: f64,
    /// How a winner will be declared
    #[arg(long, value_enum, default_value_t = ModeArg::Hybrid)]
    mode: ModeArg,
    /// Variants besides the control
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    treatments: u32,
    /// Share of the experiment's units that each of them gets [default: the same as the control]
    #[arg(long, value_name = "SHARE", value_parser = part)]
    treatment_share: Option<f64>,
    /// Metrics of which each may bring the win
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    success_metrics: u32,
    /// Metrics that must not get worse
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    guardrails: u32,
    /// Chance that guardrails ever pause a harmless experiment
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = part)]
    guardrail_alpha: f64,
    /// Units that come by in a day
    #[arg(long, value_name = "N")]
    per_day: Option<f64>,
    /// Share of them that takes part
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = parse)]
    traffic: f64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Once, when the plan is met
    Fixed,
    /// At any time
    Sequential,
    /// A fifth of alpha at any time, the rest when the plan is met
    Hybrid,
}

/// Plans and prints.
pub(crate) fn run(args: &PowerArgs, output: Output) -> Outcome {
    let request = request(args)?;
    let plan = request.plan().or_no(|| "there is no such plan")?;
    if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "plan": plan }))?;
    } else {
        print(args, &plan, output)?;
    }
    Ok(Exit::Ok)
}

fn request(args: &PowerArgs) -> Outcome<Request> {
    let metric = match (args.baseline, args.mean, args.deviation) {
        (Some(rate), ..) => Metric::Rate(rate),
        (None, Some(mean), Some(deviation)) => {
            Metric::Mean { mean, deviation, correlation: args.correlation }
        }
        _ => return Err(Failure::usage("either --baseline, or --mean and --deviation are needed")),
    };
    let question = match (args.lift, args.units, args.days) {
        (Some(lift), ..) => Question::Units { lift },
        (None, Some(units), _) => Question::Change { units },
        (None, None, Some(days)) => Question::ChangeIn { days },
        _ => return Err(Failure::usage("one of --lift, --units and --days is needed")),
    };
    let treatments = f64::from(args.treatments);
    let treatment_share = args.treatment_share.unwrap_or(1.0 / (treatments + 1.0));
    if treatment_share * treatments >= 1.0 {
        return Err(Failure::usage("--treatment-share leaves nothing for the control"));
    }
    Ok(Request {
        metric,
        question,
        mode: match args.mode {
            ModeArg::Fixed => edgeseal_stats::winner::Mode::FixedHorizon,
            ModeArg::Sequential => edgeseal_stats::winner::Mode::Sequential,
            ModeArg::Hybrid => edgeseal_stats::winner::Mode::Hybrid,
        },
        alpha: args.alpha,
        power: args.power,
        treatments: args.treatments,
        treatment_share,
        success_metrics: args.success_metrics,
        guardrails: args.guardrails,
        guardrail_alpha: args.guardrail_alpha,
        per_day: args.per_day,
        traffic: args.traffic,
    })
}

fn print(args: &PowerArgs, plan: &Plan, output: Output) -> Outcome<()> {
    let found = match plan.fall {
        Some(fall) => format!("{} or {}", change(plan.rise), change(fall)),
        None => change(plan.rise),
    };
    output.line(format_args!(
        "{} units in the smallest variant, {} in all, find a change of {found} with a chance of {}",
        grouped(plan.planned_units),
        grouped(plan.all_units),
        percent(args.power),
    ))?;
    match plan.days {
        Some(days) => {
            output.line(format_args!("{days} days, in whole weeks, so that every weekday counts the same"))?
        }
        None => output.remark("how long that takes: say how many units come by with --per-day"),
    }
    output.line(format_args!(
        "in the experiments file: analysis: {{ planned_units: {}, minimum_days: {} }}",
        plan.planned_units,
        plan.days.unwrap_or(7),
    ))?;
    if plan.detection.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(format_args!(
        "a guardrail on this metric, at a level of {}, is expected to have noticed:",
        percent(plan.guardrail_level)
    ))?;
    let rows: Vec<_> = plan
        .detection
        .iter()
        .map(|found| {
            let time = found.days.map_or_else(|| "-".to_owned(), |days| format!("{days:.1} days"));
            [change(found.harm), grouped(found.all_units), grouped(found.treatment_units), time]
                .map(crate::printable::Cell::from)
        })
        .collect();
    table(output, ["HARM", "UNITS", "OF THEM EXPOSED TO IT", "AFTER"], &rows)
}
