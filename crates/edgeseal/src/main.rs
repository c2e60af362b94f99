//! `edgeseal`, the one binary: reads the command line and hands over to one file per subcommand.
//!
//! Everything that touches flags, environment, files and the clock is in this crate; what it decides with is in
//! `edgeseal-core`, what it serves with in `edgeseal-edge`.

mod cli;
mod clock;
mod commands;
mod data_dir;
mod exit;
mod experiments_file;
mod http_client;
mod keystore;
mod output;
mod ruleset_source;
mod snapshot_store;
mod telemetry;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use exit::{Exit, Outcome};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when stderr is closed. Help and version are "errors" that went well.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    // A panic is a fault of ours and must not look like an answer; its message is on stderr already.
    let ended = catch_unwind(AssertUnwindSafe(|| cli::refuse_unknown_variables().and_then(|()| run(cli))));
    let Ok(ended) = ended else { return Exit::Internal.into() };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let output = cli.global.output();
    match cli.command {
        Command::Serve(args) => commands::serve::run(args, output),
        Command::Evaluate(args) => commands::evaluate::run(&args, output),
        Command::Verify(args) => commands::verify::run(&args, output),
        Command::Keys(command) => commands::keys::run(command, output),
        Command::Snapshot(command) => commands::snapshot::run(&command, output),
        Command::Schema => commands::schema::run(output),
        Command::LeakTest(args) => commands::leak_test::run(&args, output),
        Command::Bench(args) => commands::bench::run(&args, output),
        Command::Completions(args) => commands::completions::run(&args, output),
        Command::Docs(command) => commands::docs::run(&command, output),
    }
}
