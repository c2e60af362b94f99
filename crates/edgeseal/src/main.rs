//! `edgeseal`, the one binary: reads the command line and hands over to one file per subcommand.
//!
//! Everything that touches flags, environment, files and the clock is in this crate, and here the parts are put
//! together: `edgeseal-control` on a store, `edgeseal-edge` on its feed.

mod api_client;
mod cli;
mod clock;
mod commands;
mod data_dir;
mod databases;
mod edge_state;
mod exit;
mod experiments_file;
mod fraction;
mod guardrail;
mod http_client;
mod login_file;
mod master_key;
mod output;
mod plane;
mod printable;
mod redis;
mod ruleset_source;
mod stop;
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
        Command::Serve(args) => commands::serve::run(&args, output),
        Command::Evaluate(args) => commands::evaluate::run(&args, output),
        Command::Verify(args) => commands::verify::run(&args, output),
        Command::Login(args) => commands::login::login(&args, output),
        Command::Logout(args) => commands::login::logout(&args, output),
        Command::Whoami(args) => commands::login::whoami(&args, output),
        Command::Apply(args) => commands::apply::run(&args, output),
        Command::Experiment(args) => commands::experiment::run(&args, output),
        Command::Environment(args) => commands::environment::run(&args, output),
        Command::Token(args) => commands::token::run(&args, output),
        Command::Keys(args) => commands::keys::run(&args, output),
        Command::Control(args) => commands::control::run(&args, output),
        Command::Edge(args) => match &args.command {
            Some(commands::edge_list::EdgeCommand::List(list)) => commands::edge_list::run(list, output),
            None => commands::edge::run(&args, output),
        },
        Command::Migrate(args) => commands::migrate::run(&args, output),
        Command::RecoverAdmin(args) => commands::recover_admin::run(&args, output),
        Command::Audit(args) => commands::audit::run(&args, output),
        Command::Doctor(args) => commands::doctor::run(&args, output),
        Command::Snapshot(command) => commands::snapshot::run(&command, output),
        Command::Schema => commands::schema::run(output),
        Command::Codegen(command) => commands::codegen::run(&command, output),
        Command::LeakTest(args) => commands::leak_test::run(&args, output),
        Command::Results(args) => commands::results::run(&args, output),
        Command::Simulate(args) => commands::simulate::run(&args, output),
        Command::Power(args) => commands::power::run(&args, output),
        Command::Bench(args) => commands::bench::run(&args, output),
        Command::Completions(args) => commands::completions::run(&args, output),
        Command::Docs(command) => commands::docs::run(&command, output),
    }
}
