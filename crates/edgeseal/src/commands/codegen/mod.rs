//! `edgeseal codegen`: the experiments of an environment as types of an application's language.

mod typescript;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use edgeseal_core::definition::ExperimentDefinition;

use crate::api_client::{Api, ApiArgs, Call};
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::http_client::block_on;
use crate::output::{Output, Tone};

/// Flags of `codegen`.
#[derive(Debug, Subcommand)]
pub(crate) enum CodegenCommand {
    /// TypeScript: keys, variants and payloads of the experiments, for @edgeseal/client
    Ts(TypescriptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TypescriptArgs {
    /// Read this experiments file [default: ask the control plane]
    #[arg(long, value_name = "FILE")]
    experiments: Option<PathBuf>,
    /// Write here instead of printing; a file that is current already is left alone
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only say whether the file is current; exit code 1 when it is not
    #[arg(long, requires = "out")]
    check: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Writes, prints or checks.
pub(crate) fn run(command: &CodegenCommand, output: Output) -> Outcome {
    let CodegenCommand::Ts(args) = command;
    let experiments = match &args.experiments {
        Some(path) => of_file(path)?,
        None => of_control_plane(&args.api, output)?,
    };
    let code = typescript::declarations(&experiments);
    let Some(path) = &args.out else {
        output.line(code.trim_end())?;
        return Ok(Exit::Ok);
    };
    let current = std::fs::read_to_string(path).is_ok_and(|text| text == code);
    if args.check {
        if !current {
            return Err(Failure::no(format_args!(
                "'{}' is not what the experiments say now: run `edgeseal codegen ts --out {0}` again",
                path.display()
            )));
        }
        return Ok(Exit::Ok);
    }
    if !current {
        std::fs::write(path, &code).or_unreachable(|| format!("cannot write '{}'", path.display()))?;
    }
    let done = if current { "is current:" } else { "written:" };
    output.remark(format_args!("{} {}", output.paint(Tone::Good, done), path.display()));
    Ok(Exit::Ok)
}

fn of_file(path: &Path) -> Outcome<Vec<ExperimentDefinition>> {
    let file = ExperimentsFile::load(path)?;
    // A file that no edge would take makes no types either.
    file.build(None, crate::clock::now())?;
    Ok(file.definition().experiments.clone())
}

fn of_control_plane(args: &ApiArgs, output: Output) -> Outcome<Vec<ExperimentDefinition>> {
    let api = Api::connect(args, output)?;
    let items = block_on(async { Ok(api.list(api.here(Call::get("/experiments")), None).await?) })?;
    items
        .into_iter()
        .map(|mut item| {
            serde_json::from_value(item["definition"].take())
                .or_no(|| "the control plane's list of experiments".to_owned())
        })
        .collect()
}
