//! The command line: every subcommand, and what all of them share.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::data_dir::DEFAULT_DATA_DIR;
use crate::exit::{EXIT_CODES_HELP, Failure, Outcome};
use crate::master_key::MASTER_KEY_VARIABLE;
use crate::output::Output;

/// Prefix of every environment variable that Edgeseal reads.
const VARIABLE_PREFIX: &str = "EDGESEAL_";
/// Prefix of the variables that only the test suites read; a developer may have them exported.
const TEST_VARIABLE_PREFIX: &str = "EDGESEAL_TEST_";

/// Variables that hold a secret, for which there is no flag: everybody on the machine can read a command line.
const VARIABLES_WITHOUT_FLAG: [&str; 1] = [MASTER_KEY_VARIABLE];

/// Experiments on signed edge evaluation: the edge signs which variant a user sees, any cache may keep the
/// answer, and the client verifies it.
#[derive(Debug, Parser)]
#[command(name = "edgeseal", version, after_help = EXIT_CODES_HELP, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every subcommand takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Print the result as one JSON document
    #[arg(long, global = true, env = "EDGESEAL_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, env = "EDGESEAL_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) quiet: bool,
}

/// What Edgeseal can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve everything from one process: signed assignments, and the API to change experiments
    #[command(after_help = EXIT_CODES_HELP)]
    Serve(commands::serve::ServeArgs),
    /// Run the control plane alone, on PostgreSQL or a SQLite file
    #[command(after_help = EXIT_CODES_HELP)]
    Control(commands::control::ControlArgs),
    /// Run an edge alone, or list the edges of a control plane
    #[command(after_help = EXIT_CODES_HELP)]
    Edge(commands::edge::EdgeArgs),
    /// Create or update the schema of a database
    #[command(after_help = EXIT_CODES_HELP)]
    Migrate(commands::migrate::MigrateArgs),
    /// Make another admin token, with access to the database instead of one
    #[command(after_help = EXIT_CODES_HELP)]
    RecoverAdmin(commands::recover_admin::RecoverAdminArgs),
    /// Show which variants a unit gets, and why
    Evaluate(commands::evaluate::EvaluateArgs),
    /// Verify a token step by step
    #[command(after_help = EXIT_CODES_HELP)]
    Verify(commands::verify::VerifyArgs),
    /// Keep an API token for a control plane, so that later commands need no flags
    #[command(after_help = EXIT_CODES_HELP)]
    Login(commands::login::LoginArgs),
    /// Forget what `login` keeps
    Logout(commands::login::LogoutArgs),
    /// Show whose token is used, and what it may do
    Whoami(commands::login::WhoamiArgs),
    /// Make an environment what an experiments file says, and show what that changes
    #[command(after_help = EXIT_CODES_HELP)]
    Apply(commands::apply::ApplyArgs),
    /// List, show, start, pause and stop experiments
    #[command(after_help = EXIT_CODES_HELP)]
    Experiment(commands::experiment::ExperimentArgs),
    /// List and create environments
    #[command(after_help = EXIT_CODES_HELP)]
    Environment(commands::environment::EnvironmentArgs),
    /// Create, list and revoke API tokens
    #[command(after_help = EXIT_CODES_HELP)]
    Token(commands::token::TokenArgs),
    /// List, rotate, retire and revoke the keys of an environment
    #[command(after_help = EXIT_CODES_HELP)]
    Keys(commands::keys::KeysArgs),
    /// Read the audit log, and check that nobody altered it
    #[command(after_help = EXIT_CODES_HELP)]
    Audit(commands::audit::AuditArgs),
    /// Look for what is wrong or about to be, and say what to do
    #[command(after_help = EXIT_CODES_HELP)]
    Doctor(commands::doctor::DoctorArgs),
    /// Check an experiments file, or build a snapshot from it
    #[command(subcommand, after_help = EXIT_CODES_HELP)]
    Snapshot(commands::snapshot::SnapshotCommand),
    /// Print the JSON Schema of the experiments file
    Schema,
    /// Write the experiments as types for an application's language
    #[command(subcommand, after_help = EXIT_CODES_HELP)]
    Codegen(commands::codegen::CodegenCommand),
    /// Ask a running edge for many units and look for leaks and a bad distribution
    #[command(after_help = EXIT_CODES_HELP)]
    LeakTest(commands::leak_test::LeakTestArgs),
    /// Show what an experiment shows: effects with intervals, guardrails, and whether to ship
    #[command(after_help = EXIT_CODES_HELP)]
    Results(commands::results::ResultsArgs),
    /// Simulate experiments: how often harmless ones are paused, and how soon harmful ones
    #[command(after_help = EXIT_CODES_HELP)]
    Simulate(commands::simulate::SimulateArgs),
    /// Plan an experiment: how many units, which effect, how long, and how soon guardrails notice harm
    Power(commands::power::PowerArgs),
    /// Measure evaluation, signing and verification on this machine
    Bench(commands::bench::BenchArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print a document that is generated from the code
    #[command(subcommand, hide = true)]
    Docs(commands::docs::DocsCommand),
}

/// Where the keys and the last good snapshot are.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDirArgs {
    /// Directory that `serve` keeps its keys and last good snapshot in
    #[arg(long, value_name = "DIR", env = "EDGESEAL_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
}

impl GlobalArgs {
    /// Where results go.
    pub(crate) fn output(&self) -> Output {
        Output { json: self.json, quiet: self.quiet }
    }
}

/// Refuses `EDGESEAL_*` variables that no flag reads: a typo would otherwise be silently without effect.
pub(crate) fn refuse_unknown_variables() -> Outcome<()> {
    let mut known = known_variables(&Cli::command());
    known.extend(VARIABLES_WITHOUT_FLAG.map(str::to_owned));
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let ours = name.starts_with(VARIABLE_PREFIX) && !name.starts_with(TEST_VARIABLE_PREFIX);
        if ours && !known.contains(name) {
            let nearest = known.iter().min_by_key(|candidate| strsim::levenshtein(candidate, name));
            let hint = nearest.map(|nearest| format!(", or did you mean '{nearest}'?")).unwrap_or_default();
            return Err(Failure::usage(format_args!(
                "the environment variable '{name}' means nothing to edgeseal, so it would have no effect: unset it{hint}"
            )));
        }
    }
    Ok(())
}

/// The environment variables that the flags of `command` and of its subcommands read.
pub(crate) fn known_variables(command: &clap::Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter_map(|arg| arg.get_env())
        .map(|name| name.to_string_lossy().into_owned());
    let below = command.get_subcommands().flat_map(known_variables);
    own.chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_variable_carries_the_prefix() {
        for name in known_variables(&Cli::command()) {
            assert!(name.starts_with(VARIABLE_PREFIX), "{name}");
        }
    }
}
