//! What a person or a pipe reads: text or JSON on stdout, remarks on stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::Outcome;

/// Version of every `--json` document; raised when a member changes its meaning or goes away.
pub(crate) const JSON_FORMAT: u32 = 1;

/// Where results go and how they look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// No remarks; results and errors only.
    pub(crate) quiet: bool,
}

/// A colour that means something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    /// Accepted, passed.
    Good,
    /// Refused, failed.
    Bad,
    /// Worth a look.
    Warn,
    /// Secondary.
    Dim,
}

impl Output {
    /// Prints one line of a result.
    pub(crate) fn line(self, text: impl fmt::Display) -> Outcome<()> {
        write_stdout(format_args!("{text}\n"))
    }

    /// Prints the result as one JSON document.
    pub(crate) fn json(self, value: &impl Serialize) -> Outcome<()> {
        let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
        write_stdout(format_args!("{text}\n"))
    }

    /// Prints one event of a longer run as JSON on a line of its own.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Outcome<()> {
        let text = serde_json::to_string(value).map_err(anyhow::Error::from)?;
        write_stdout(format_args!("{text}\n"))
    }

    /// A remark for the person watching; never part of the result.
    pub(crate) fn remark(self, text: impl fmt::Display) {
        if !self.quiet {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Whether stdout is a terminal that wants colours, and with them signs beyond ASCII.
    pub(crate) fn rich(self) -> bool {
        !self.json && colours_wanted(&io::stdout())
    }

    /// `text` in a colour, if stdout is a terminal that wants colours.
    pub(crate) fn paint(self, tone: Tone, text: impl fmt::Display) -> String {
        if !self.rich() {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Warn => 33,
            Tone::Dim => 2,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// <https://no-color.org>: set and not empty means no colours.
pub(crate) fn colours_wanted(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A closed pipe (`edgeseal … | head`) is no error of ours: the rest is simply not wanted.
fn write_stdout(text: fmt::Arguments<'_>) -> Outcome<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| {
            crate::exit::Failure::unreachable(format_args!("cannot print the result: {error}"))
        }),
    }
}
