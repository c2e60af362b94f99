//! How a run can end: the exit codes, and errors that know theirs.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of every subcommand, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and the answer is yes.
    Ok,
    /// Done, and the answer is no: a refused token, a leak, a bad distribution, a bad file.
    No,
    /// The command line does not make sense.
    Usage,
    /// A file, a directory or a server could not be reached.
    Unreachable,
    /// A fault of Edgeseal's own.
    Internal,
}

/// Printed below `--help`.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0   done, and the answer is yes
  1   the answer is no: refused token, leak, bad distribution, bad file, too early
  2   wrong usage: unknown flag, missing argument, unknown EDGESEAL_* variable
  3   a file, directory or server could not be reached
  70  internal error: please report it";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Internal => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error together with the exit code it ends the run with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) exit: Exit,
    /// Cause, effect and fix, outermost first.
    pub(crate) error: anyhow::Error,
}

/// What a subcommand returns.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl fmt::Display) -> Self {
        Self { exit: Exit::No, error: anyhow::anyhow!("{message}") }
    }

    /// The command line does not make sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }

    /// A file, directory or server could not be reached.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Unreachable, error: anyhow::anyhow!("{message}") }
    }
}

/// An error that nobody gave another exit code is ours.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Internal, error }
    }
}

/// Gives the error of a result its exit code and says what was being attempted.
pub(crate) trait OrExit<T> {
    /// Ends with [`Exit::Unreachable`]; `attempt` says what was tried, on what.
    fn or_unreachable<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T>;
    /// Ends with [`Exit::No`].
    fn or_no<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T>;
    /// Ends with [`Exit::Usage`].
    fn or_usage<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T>;
}

impl<T, E: fmt::Display> OrExit<T> for Result<T, E> {
    fn or_unreachable<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T> {
        self.map_err(|error| Failure::unreachable(format_args!("{}: {error}", attempt())))
    }
    fn or_no<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T> {
        self.map_err(|error| Failure::no(format_args!("{}: {error}", attempt())))
    }
    fn or_usage<D: fmt::Display>(self, attempt: impl FnOnce() -> D) -> Outcome<T> {
        self.map_err(|error| Failure::usage(format_args!("{}: {error}", attempt())))
    }
}
