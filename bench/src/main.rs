//! `make bench`: measures what the README promises and writes `bench/results.json`.
//!
//! `make bench ONLY=edge`, `ONLY=control`, `ONLY=events` or `ONLY=browser` measures one part and leaves the other figures in the file.
//! Every figure stands beside its target and, where there is one, its yardstick from the same run. Nothing here passes
//! or fails: machines are noisy, people decide.

mod allocation;
mod api;
mod browser;
mod control;
mod counting;
mod experiments;
mod http;
mod load;
mod machine;
mod plane;
mod process;
mod report;
mod sse;

use anyhow::{Context as _, ensure};

use crate::report::Report;

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    ensure!(
        ["", "edge", "control", "events", "browser"].contains(&only.as_str()),
        "name 'edge', 'control', 'events', 'browser', or nothing"
    );
    let asked_for = |part| only.is_empty() || only == part;
    let binaries = process::Binaries::build()?;
    let mut report = Report::new(machine::describe()?);

    if asked_for("edge") {
        report.section("in process");
        in_process(&binaries, &mut report)?;
        allocation::measure(&mut report)?;

        report.section("http, one server thread");
        http::measure(&binaries, &mut report)?;

        report.section("start-up");
        process::measure_start_up(&binaries, &mut report)?;
    }
    if asked_for("control") {
        control::measure(&binaries, &mut report)?;
    }
    if asked_for("events") {
        counting::measure(&binaries, &mut report)?;
    }
    if asked_for("browser") {
        report.section("in Chromium");
        browser::measure(&binaries, &mut report)?;
    }

    report.write(concat!(env!("CARGO_MANIFEST_DIR"), "/results.json"))
}

/// The figures that `edgeseal bench` gives anyone on their own machine.
fn in_process(binaries: &process::Binaries, report: &mut Report) -> anyhow::Result<()> {
    let output = std::process::Command::new(&binaries.edgeseal).args(["bench", "--json"]).output()?;
    ensure!(output.status.success(), "edgeseal bench: {}", String::from_utf8_lossy(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let figures = document["figures"].as_array().context("edgeseal bench --json printed no figures")?;
    for figure in figures {
        let name = figure["name"].as_str().context("a figure without a name")?;
        let median = figure["ns"].as_f64().context("a figure without a median")?;
        let target = name.starts_with("evaluate one experiment").then_some(60.0);
        report.figure(name, median, "ns", target, None);
    }
    Ok(())
}
