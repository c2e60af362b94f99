//! `edgeseal bench`: what evaluation, signing and verification cost in process, on this machine.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use edgeseal_core::answer::{AnswerContext, answer};
use edgeseal_core::attributes::Attributes;
use edgeseal_core::definition::Definition;
use edgeseal_core::evaluate::{Forced, Request, evaluate};
use edgeseal_core::ids::{UnitId, UnitType};
use edgeseal_core::ruleset::{Halts, Ruleset};
use edgeseal_core::sealing::{
    Expected, HmacSecret, HmacSecrets, KeyUse, RotationPolicy, Sealer, SecretKey, SubjectTag, TokenKind,
    hmac_profile, rotation, verify_assignment,
};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use edgeseal_edge::NativeSigner;
use serde::Serialize;
use serde_json::json;

use crate::clock;
use crate::commands::evaluate::parse_attributes;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::output::{JSON_FORMAT, Output};

/// How long one batch runs, so that the clock's own cost disappears in it.
const BATCH: Duration = Duration::from_millis(4);
/// Units that take turns: enough that no branch predictor learns them.
const UNITS: usize = 4_096;
/// Life of the tokens that are signed, in seconds.
const LIFE_SECONDS: i64 = 3_600;

/// Flags of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Seconds to spend on each figure
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Also measure this experiments file, all its experiments at once
    #[arg(long, value_name = "FILE", env = "EDGESEAL_EXPERIMENTS")]
    experiments: Option<PathBuf>,
    /// Attributes of the units that play the experiments file: a JSON object, or @FILE
    #[arg(long, value_name = "JSON", default_value = "{}")]
    attributes: String,
}

#[derive(Serialize)]
struct Report {
    format: u32,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    /// Median over batches.
    ns: f64,
    /// Fastest batch: what is left when nobody interrupts.
    min_ns: f64,
    batches: usize,
}

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs, output: Output) -> Outcome {
    if !(0.01..=600.0).contains(&args.seconds) {
        return Err(Failure::usage("--seconds must be from 0.01 to 600"));
    }
    let time = Duration::from_secs_f64(args.seconds);
    let bench = Bench::new()?;
    let mut report = Report { format: JSON_FORMAT, figures: vec![bench.evaluation(time)?] };
    for experiments in [1, 5, 20] {
        output.remark(format_args!("measuring tokens with {experiments} experiments"));
        report.figures.push(bench.ed25519(experiments, time)?);
        report.figures.push(bench.hmac(experiments, time)?);
        report.figures.push(bench.verification(experiments, time)?);
    }
    if let Some(path) = &args.experiments {
        let snapshot = ExperimentsFile::load(path)?.build(None, bench.now)?;
        let ruleset = snapshot.compile().map_err(anyhow::Error::from)?;
        let bench = Bench { attributes: parse_attributes(&args.attributes)?, ..bench };
        report.figures.push(bench.evaluation_of_all(&ruleset, path, time));
        report.figures.push(bench.token_of_all(&ruleset, path, time));
    }
    if output.json {
        output.json(&report)?;
    } else {
        for Figure { name, ns, min_ns, .. } in &report.figures {
            output.line(format_args!("{name:<44} {ns:>10.1} ns  (fastest {min_ns:.1})"))?;
        }
    }
    Ok(Exit::Ok)
}

struct Bench {
    units: Vec<String>,
    unit_type: UnitType,
    attributes: Attributes,
    key: SecretKey,
    sealer: Sealer,
    now: Timestamp,
}

impl Bench {
    fn new() -> Outcome<Self> {
        let key = SecretKey::from_seed(&[7; 32]);
        let signer = NativeSigner::new(&key).map_err(anyhow::Error::from)?;
        let attributes = json!({ "country": "NL", "plan": "starter" }).to_string();
        Ok(Self {
            units: (0..UNITS).map(|number| format!("user-{number}")).collect(),
            unit_type: UnitType::parse("user").map_err(anyhow::Error::from)?,
            attributes: Attributes::parse(attributes.as_bytes()).map_err(anyhow::Error::from)?,
            key,
            sealer: Sealer::new(TokenKind::Assignment, Arc::new(signer)),
            now: clock::now(),
        })
    }

    fn request(&self, turn: usize) -> Option<Request<'_>> {
        let unit = UnitId::parse(&self.units[turn % UNITS]).ok()?;
        Some(Request { unit, attributes: &self.attributes, forced: Forced::none(), previous: None })
    }

    fn evaluation(&self, time: Duration) -> Outcome<Figure> {
        let (ruleset, halts) = (ruleset(1, self.now)?, Halts::none());
        let experiment = ruleset.experiments().first().ok_or_else(|| anyhow::anyhow!("no experiment"))?;
        // Parsing a unit id is the request's work, not evaluation's.
        let requests: Vec<_> = (0..UNITS).filter_map(|turn| self.request(turn)).collect();
        Ok(measure("evaluate one experiment, one $in clause", time, |turn| {
            black_box(evaluate(&ruleset, &halts, experiment, black_box(&requests[turn % requests.len()])));
        }))
    }

    fn evaluation_of_all(&self, ruleset: &Ruleset, path: &Path, time: Duration) -> Figure {
        let (halts, name) = (Halts::none(), format!("evaluate all of {}", path.display()));
        measure(&name, time, |turn| {
            let Some(request) = self.request(turn) else { return };
            for experiment in ruleset.experiments_of(&self.unit_type) {
                black_box(evaluate(ruleset, &halts, experiment, &request));
            }
        })
    }

    fn token_of_all(&self, ruleset: &Ruleset, path: &Path, time: Duration) -> Figure {
        measure(&format!("evaluate and sign all of {}", path.display()), time, |turn| {
            black_box(self.token(ruleset, turn));
        })
    }

    fn ed25519(&self, experiments: usize, time: Duration) -> Outcome<Figure> {
        let ruleset = ruleset(experiments, self.now)?;
        let name = format!("evaluate and sign, Ed25519, {experiments} experiments");
        Ok(measure(&name, time, |turn| {
            black_box(self.token(&ruleset, turn));
        }))
    }

    fn token(&self, ruleset: &Ruleset, turn: usize) -> Option<String> {
        let context =
            AnswerContext { now: self.now, life_seconds: LIFE_SECONDS, epoch: 1, sealer: &self.sealer };
        let request = self.request(turn)?;
        Some(answer(ruleset, &Halts::none(), &self.unit_type, &request, &context, |_, _| {}).token)
    }

    fn hmac(&self, experiments: usize, time: Duration) -> Outcome<Figure> {
        let (ruleset, halts) = (ruleset(experiments, self.now)?, Halts::none());
        let secret = HmacSecret::new(1, vec![7; 32]).map_err(anyhow::Error::from)?;
        let secrets = HmacSecrets::new(secret, None).map_err(anyhow::Error::from)?;
        let name = format!("evaluate and sign, HMAC, {experiments} experiments");
        Ok(measure(&name, time, |turn| {
            let Some(request) = self.request(turn) else { return };
            for experiment in ruleset.experiments() {
                let outcome = evaluate(&ruleset, &halts, experiment, &request);
                let Some(variant) = outcome.variant else { continue };
                let version = experiment.version();
                let signed = hmac_profile::sign(
                    &secrets,
                    experiment.key(),
                    request.unit,
                    variant.key(),
                    version,
                    self.now,
                );
                let _ = black_box(signed);
            }
        }))
    }

    fn verification(&self, experiments: usize, time: Duration) -> Outcome<Figure> {
        let ruleset = ruleset(experiments, self.now)?;
        let environment = ruleset.environment();
        let records = [rotation::first(KeyUse::Edge, self.key.public(), self.now)];
        let keyset = rotation::keyset_from(&records, environment, 1, self.now, &RotationPolicy::default());
        let tokens: Vec<String> = (0..64).filter_map(|turn| self.token(&ruleset, turn)).collect();
        let subjects: Vec<SubjectTag> = (0..64)
            .filter_map(|turn| Some(SubjectTag::of(environment, &self.unit_type, self.request(turn)?.unit)))
            .collect();
        let verify = |turn: usize| {
            let (token, subject) = (&tokens[turn % tokens.len()], subjects[turn % subjects.len()]);
            let expected = Expected { environment, subject, now: self.now, status: None, memory: None };
            verify_assignment(token, &keyset, &expected)
        };
        verify(0).or_no(|| "the token that was just signed")?;
        Ok(measure(&format!("verify, Ed25519, {experiments} experiments"), time, |turn| {
            let _ = black_box(verify(turn));
        }))
    }
}

/// An environment with so many experiments, each with one `$in` clause that matches.
fn ruleset(experiments: usize, now: Timestamp) -> Outcome<Ruleset> {
    let experiment = |number: usize| {
        json!({
            "key": format!("experiment-{number}"),
            "state": "running",
            "audience": { "country": { "$in": ["AT", "BE", "CH", "DE", "NL", "SE"] } },
            "variants": [{ "key": "control" }, { "key": "treatment" }],
        })
    };
    let experiments: Vec<_> = (0..experiments).map(experiment).collect();
    let definition: Definition =
        serde_json::from_value(json!({ "experiments": experiments })).map_err(anyhow::Error::from)?;
    let snapshot: Snapshot = definition.build(None, now).map_err(anyhow::Error::from)?;
    Ok(snapshot.compile().map_err(anyhow::Error::from)?)
}

/// Runs `work` in batches for about `time`, telling it whose turn it is.
fn measure(name: &str, time: Duration, mut work: impl FnMut(usize)) -> Figure {
    let mut turn = 0;
    let mut batch = |count: usize| {
        let start = Instant::now();
        for _ in 0..count {
            work(turn);
            turn += 1;
        }
        start.elapsed()
    };
    let mut count = 1;
    while batch(count) < BATCH && count < 1 << 30 {
        count *= 2;
    }
    let begin = Instant::now();
    let mut per_call = Vec::new();
    while per_call.len() < 3 || begin.elapsed() < time {
        per_call.push(batch(count).as_nanos() as f64 / count as f64);
    }
    per_call.sort_by(f64::total_cmp);
    Figure {
        name: name.to_owned(),
        ns: per_call[per_call.len() / 2],
        min_ns: per_call[0],
        batches: per_call.len(),
    }
}
