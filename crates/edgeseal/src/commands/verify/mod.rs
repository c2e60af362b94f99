//! `edgeseal verify`: a token, checked step by step as an SDK would, with every step told.

pub(crate) mod trust;

use std::io::{self, Read};

use clap::Args;
use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{
    Expected, MAX_TOKEN_BYTES, Step, StepOutcome, SubjectTag, VerifiedAssignments, VerifyError,
    verify_assignment_observed,
};
use edgeseal_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::clock;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::http_client;
use crate::output::{JSON_FORMAT, Output, Tone};
use trust::{Trust, TrustArgs};

pub(crate) use trust::read_root_key;

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The token; '-' reads it from standard input
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
    /// The unit that the token must belong to
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    unit: String,
    /// What the unit is
    #[arg(long, value_name = "TYPE", default_value = "user")]
    unit_type: String,
    /// The environment that must have issued the token
    #[arg(long, value_name = "NAME", default_value = "production", env = "EDGESEAL_ENVIRONMENT")]
    environment: String,
    /// Check as if it were this time, in seconds since the Unix epoch
    #[arg(long, value_name = "SECONDS")]
    now: Option<i64>,
    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Serialize)]
struct Report {
    format: u32,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    steps: Vec<ReportedStep>,
    assignments: Vec<ReportedAssignment>,
}

#[derive(Serialize)]
pub(crate) struct ReportedStep {
    /// Which check.
    pub(crate) name: &'static str,
    /// `passed`, `failed` or `not_checked`.
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What was found.
    pub(crate) detail: String,
}

#[derive(Serialize)]
struct ReportedAssignment {
    experiment: String,
    variant: String,
    version: u64,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
}

/// Verifies and prints.
pub(crate) fn run(args: &VerifyArgs, output: Output) -> Outcome {
    let unit = UnitId::parse(&args.unit).or_usage(|| "--unit")?;
    let unit_type =
        UnitType::parse(&args.unit_type).or_usage(|| format!("--unit-type '{}'", args.unit_type))?;
    let environment =
        Environment::parse(&args.environment).or_usage(|| format!("--environment '{}'", args.environment))?;
    let now = args.now.map_or_else(clock::now, Timestamp::from_unix_seconds);
    let token = read_token(&args.token)?;

    let trust = http_client::block_on(Trust::establish(&args.trust, &environment, now))?;
    let mut report = Report {
        format: JSON_FORMAT,
        accepted: false,
        code: None,
        error: None,
        steps: trust.steps,
        assignments: Vec::new(),
    };
    let verified = trust.keyset.and_then(|keyset| {
        let subject = SubjectTag::of(&environment, &unit_type, unit);
        let expected =
            Expected { environment: &environment, subject, now, status: trust.status.as_ref(), memory: None };
        verify_assignment_observed(&token, &keyset, &expected, &mut |step| report.steps.push(step.into()))
    });
    match verified {
        Ok(verified) => {
            report.accepted = true;
            report.assignments = assignments(&verified);
        }
        Err(error) => {
            report.code = Some(error.code());
            report.error = Some(error.to_string());
        }
    }
    if output.json {
        output.json(&report)?
    } else {
        print(&report, output)?
    }
    Ok(if report.accepted { Exit::Ok } else { Exit::No })
}

fn read_token(given: &str) -> Outcome<String> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        // One byte more than allowed is enough for the verifier to say that it is too long.
        io::stdin()
            .take(MAX_TOKEN_BYTES as u64 + 2)
            .read_to_string(&mut text)
            .or_unreachable(|| "cannot read the token from standard input")?;
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::usage(
            "there is no token: give it as an argument, or pipe it in: curl … | edgeseal verify - --unit ID",
        ));
    }
    if text.starts_with('{') {
        return Err(Failure::no(format_args!(
            "this is no token but an answer in JSON, perhaps an error: {text}"
        )));
    }
    Ok(text.to_owned())
}

fn assignments(verified: &VerifiedAssignments) -> Vec<ReportedAssignment> {
    let claims = verified.claims();
    let reported = claims.a.iter().map(|(experiment, assigned)| {
        let refusal = verified.usable(experiment).err();
        ReportedAssignment {
            experiment: experiment.to_string(),
            variant: assigned.v.to_string(),
            version: assigned.xv,
            reason: assigned.r.clone(),
            payload: assigned.p.clone(),
            usable: refusal.is_none(),
            refusal: refusal.map(|error| format!("{}: {error}", error.code())),
        }
    });
    reported.collect()
}

impl From<Step> for ReportedStep {
    fn from(step: Step) -> Self {
        let (outcome, code) = match &step.outcome {
            StepOutcome::Passed => ("passed", None),
            StepOutcome::Failed(error) => ("failed", Some(error.code())),
            StepOutcome::NotChecked { .. } => ("not_checked", None),
        };
        Self { name: step.name.as_str(), outcome, code, detail: step.detail }
    }
}

impl ReportedStep {
    fn passed(name: &'static str, detail: String) -> Self {
        Self { name, outcome: "passed", code: None, detail }
    }

    fn failed(name: &'static str, error: &VerifyError) -> Self {
        Self { name, outcome: "failed", code: Some(error.code()), detail: error.to_string() }
    }

    fn not_checked(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: "not_checked", code: None, detail: detail.into() }
    }
}

fn print(report: &Report, output: Output) -> Outcome<()> {
    for step in &report.steps {
        let mark = match step.outcome {
            "passed" => output.paint(Tone::Good, "ok         "),
            "failed" => output.paint(Tone::Bad, format_args!("{:<11}", step.code.unwrap_or("refused"))),
            _ => output.paint(Tone::Warn, "not checked"),
        };
        output.line(format_args!("  {:<11} {mark} {}", step.name, step.detail))?;
    }
    if let (Some(code), Some(error)) = (report.code, &report.error) {
        return output.line(format_args!("{} {code}: {error}", output.paint(Tone::Bad, "refused")));
    }
    output.line(output.paint(Tone::Good, "accepted"))?;
    if report.assignments.is_empty() {
        output.line("  the unit is in no experiment: the application shows its defaults")?;
    }
    for assignment in &report.assignments {
        let payload = assignment.payload.as_ref().map(|payload| format!("  {payload}")).unwrap_or_default();
        let use_ = match &assignment.refusal {
            None => output.paint(Tone::Good, "usable"),
            Some(refusal) => output.paint(Tone::Bad, format_args!("not usable, {refusal}")),
        };
        let ReportedAssignment { experiment, variant, reason, .. } = assignment;
        output.line(format_args!("  {experiment:<24} {variant:<20} {reason:<8} {use_}{payload}"))?;
    }
    Ok(())
}
