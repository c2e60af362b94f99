//! `edgeseal snapshot`: checks an experiments file, or shows the snapshot that it builds.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::clock;
use crate::exit::{Exit, OrExit, Outcome};
use crate::experiments_file::{self, ExperimentsFile};
use crate::output::{JSON_FORMAT, Output, Tone};

/// What to do with the file.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Build the first snapshot from an experiments file and print its claims
    Build(BuildArgs),
    /// Check an experiments file; print where and why when it is bad
    Check(CheckArgs),
    /// Print the built-in sample, to start an experiments file from
    Example,
}

/// Flags of `snapshot build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Experiments file, YAML or (by its ending) JSON
    file: PathBuf,
    /// Write the snapshot here instead of printing it
    #[arg(long, short = 'o', value_name = "OUT")]
    out: Option<PathBuf>,
}

/// Flags of `snapshot check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Experiments file, YAML or (by its ending) JSON
    file: PathBuf,
}

/// Runs the chosen one.
pub(crate) fn run(command: &SnapshotCommand, output: Output) -> Outcome {
    match command {
        SnapshotCommand::Build(args) => build(args, output),
        SnapshotCommand::Check(args) => check(args, output),
        SnapshotCommand::Example => {
            output.line(experiments_file::DEMO.trim_end())?;
            Ok(Exit::Ok)
        }
    }
}

fn build(args: &BuildArgs, output: Output) -> Outcome {
    let snapshot = ExperimentsFile::load(&args.file)?.build(None, clock::now())?;
    let Some(out) = &args.out else {
        output.json(&snapshot)?;
        return Ok(Exit::Ok);
    };
    let text = serde_json::to_string_pretty(&snapshot).map_err(anyhow::Error::from)?;
    fs::write(out, format!("{text}\n")).or_unreachable(|| format!("cannot write '{}'", out.display()))?;
    output.remark(format_args!("wrote {}", out.display()));
    Ok(Exit::Ok)
}

fn check(args: &CheckArgs, output: Output) -> Outcome {
    let checked = ExperimentsFile::load(&args.file).and_then(|file| Ok(file.build(None, clock::now())?));
    match checked {
        Ok(snapshot) if output.json => output.json(&json!({
            "format": JSON_FORMAT,
            "ok": true,
            "environment": snapshot.iss,
            "experiments": snapshot.experiments.len(),
            "layers": snapshot.layers.len(),
            "holdouts": snapshot.holdouts.len(),
            "groups": snapshot.groups.len(),
        }))?,
        Ok(snapshot) => output.line(format_args!(
            "{} {}: {} experiments, {} layers, {} holdouts, {} groups for environment '{}'",
            output.paint(Tone::Good, "ok"),
            args.file.display(),
            snapshot.experiments.len(),
            snapshot.layers.len(),
            snapshot.holdouts.len(),
            snapshot.groups.len(),
            snapshot.iss,
        ))?,
        Err(failure) if output.json && failure.exit == Exit::No => {
            output
                .json(&json!({ "format": JSON_FORMAT, "ok": false, "error": failure.error.to_string() }))?;
            return Ok(Exit::No);
        }
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Ok)
}
