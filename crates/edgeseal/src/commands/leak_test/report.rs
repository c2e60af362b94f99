//! What a leak test found, for people and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::distribution::{DistributionTest, FALSE_ALARM, TestOutcome};
use super::probe::{MAX_EXAMPLES, Tally};
use crate::exit::{Exit, Outcome};
use crate::output::{JSON_FORMAT, Output, Tone};

/// Everything that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    format: u32,
    passed: bool,
    url: String,
    seed: String,
    requests: u64,
    units_verified: u64,
    leaks: u64,
    examples: Vec<String>,
    refused: BTreeMap<&'static str, u64>,
    failed: BTreeMap<String, u64>,
    header_problems: BTreeMap<&'static str, u64>,
    skipped: Vec<String>,
    /// `null`: not checked.
    distribution: Option<Vec<DistributionTest>>,
}

impl Report {
    pub(super) fn new(
        url: String,
        seed: String,
        tally: &Tally,
        distribution: Option<Vec<DistributionTest>>,
    ) -> Self {
        let mut report = Self {
            format: JSON_FORMAT,
            passed: false,
            url,
            seed,
            requests: tally.requests,
            units_verified: tally.verified,
            leaks: tally.leaks,
            examples: tally.examples.clone(),
            refused: tally.refused.clone(),
            failed: tally.failed.clone(),
            header_problems: tally.header_problems.clone(),
            skipped: tally.skipped.clone(),
            distribution,
        };
        report.passed = report.verdict() == Exit::Ok;
        report
    }

    /// The exit code: a finding outweighs a failed request.
    pub(super) fn verdict(&self) -> Exit {
        let bad = self.tests().any(|test| test.outcome == TestOutcome::Bad);
        if self.leaks > 0 || bad || !self.refused.is_empty() || !self.header_problems.is_empty() {
            Exit::No
        } else if !self.failed.is_empty() {
            Exit::Unreachable
        } else {
            Exit::Ok
        }
    }

    fn tests(&self) -> impl Iterator<Item = &DistributionTest> {
        self.distribution.iter().flatten()
    }

    pub(super) fn print(&self, output: Output) -> Outcome<()> {
        if output.json {
            return output.json(self);
        }
        let good = |yes: bool, text: String| {
            if yes { output.paint(Tone::Good, text) } else { output.paint(Tone::Bad, text) }
        };
        output.line(format_args!(
            "{} units verified in {} requests to {}",
            self.units_verified, self.requests, self.url
        ))?;
        output.line(format_args!("  {}", good(self.leaks == 0, format!("{} leaks", self.leaks))))?;
        for example in &self.examples {
            output.line(format_args!("    {example}"))?;
        }
        if self.leaks > MAX_EXAMPLES as u64 {
            output.line(format_args!("    and {} more", self.leaks - MAX_EXAMPLES as u64))?;
        }
        for (code, count) in &self.refused {
            output.line(format_args!("  {}", good(false, format!("{count} tokens refused with {code}"))))?;
        }
        for (what, count) in &self.failed {
            output.line(format_args!("  {}", good(false, format!("{count} times: {what}"))))?;
        }
        for (problem, count) in &self.header_problems {
            output.line(format_args!("  {}", good(false, format!("{count} answers: {problem}"))))?;
        }
        if self.header_problems.is_empty() {
            output.line(format_args!("  {}", good(true, "cache headers are explicit".to_owned())))?;
        }
        for skipped in &self.skipped {
            output.line(format_args!("  {} {skipped}", output.paint(Tone::Warn, "not checked")))?;
        }
        self.print_distribution(output)?;
        let verdict = if self.passed {
            "passed".to_owned()
        } else {
            format!("failed (repeat with --seed {})", self.seed)
        };
        output.line(good(self.passed, verdict))
    }

    fn print_distribution(&self, output: Output) -> Outcome<()> {
        if self.distribution.is_none() {
            output.line(format_args!("  {} the distribution", output.paint(Tone::Warn, "not checked")))?;
        }
        for test in self.tests() {
            let cells: Vec<String> = test
                .cells
                .iter()
                .map(|cell| format!("{} {} ({:.0} expected)", cell.name, cell.observed, cell.expected))
                .collect();
            let verdict = match (test.outcome, test.p_value) {
                (TestOutcome::Bad, Some(p)) => {
                    output.paint(Tone::Bad, format_args!("off its weights, p = {p:.2e}"))
                }
                (_, Some(p)) => output.paint(Tone::Good, format_args!("p = {p:.3}")),
                (_, None) => output.paint(Tone::Warn, "not judged: too few units in it"),
            };
            output.line(format_args!(
                "  {:<20} {:<8} {}  {verdict}",
                test.experiment,
                test.question,
                cells.join(", ")
            ))?;
        }
        if self.tests().any(|test| test.outcome == TestOutcome::Bad) {
            output.line(format_args!(
                "  a good edge comes out as off its weights once in {:.0} runs",
                1.0 / FALSE_ALARM
            ))?;
        }
        Ok(())
    }
}
