//! One thing that was looked at.

use std::fmt;

use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output::{Output, Tone};
use crate::printable::printable;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    Good,
    /// Works, and will not go on working.
    Warn,
    Bad,
    /// It could not be looked at.
    Skipped,
}

/// What was looked at, how it is, and what to do.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    pub(super) health: Health,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    pub(super) fn good(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, Health::Good, detail)
    }

    pub(super) fn warn(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, Health::Warn, detail)
    }

    pub(super) fn bad(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, Health::Bad, detail)
    }

    pub(super) fn skipped(name: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(name, Health::Skipped, detail)
    }

    /// Something that did not work; its message says what to do already.
    pub(super) fn of_failure(name: &'static str, failure: &Failure) -> Self {
        Self::bad(name, format_args!("{:#}", failure.error))
    }

    fn new(name: &'static str, health: Health, detail: impl fmt::Display) -> Self {
        Self { name, health, detail: printable(&detail.to_string()), remedy: None }
    }

    /// What to do about it.
    pub(super) fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(printable(&remedy.to_string()));
        self
    }

    pub(super) fn needs_attention(&self) -> bool {
        matches!(self.health, Health::Warn | Health::Bad)
    }

    pub(super) fn print(&self, output: Output) -> Outcome<()> {
        let (rich, plain, tone) = match self.health {
            Health::Good => ("✓", "ok  ", Tone::Good),
            Health::Warn => ("!", "warn", Tone::Warn),
            Health::Bad => ("✗", "bad ", Tone::Bad),
            Health::Skipped => ("-", "-   ", Tone::Dim),
        };
        let mark = output.paint(tone, if output.rich() { rich } else { plain });
        let remedy = self.remedy.as_ref().map(|remedy| format!(": {remedy}")).unwrap_or_default();
        output.line(format_args!("{mark} {:<16} {}{remedy}", self.name, self.detail))
    }
}
