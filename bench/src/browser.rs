//! What verification costs in Chromium: measured by `sdk/browser-tests`, written down here.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::process::Binaries;
use crate::report::{Report, Yardstick};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A figure as `sdk/browser-tests/bench` writes it.
#[derive(Deserialize)]
struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    target: f64,
    yardstick: Option<Engine>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Ms,
    Ns,
}

/// The browser's own verification, on the same bytes.
#[derive(Deserialize)]
struct Engine {
    value: f64,
}

pub(crate) fn measure(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("figures.json");
    for script in ["install-node.sh", "install-chromium.sh"] {
        let status = Command::new(format!("{ROOT}/scripts/{script}")).status()?;
        ensure!(status.success(), "scripts/{script} failed");
    }
    let status = Command::new("npm")
        .args(["run", "--silent", "--workspace", "@edgeseal/browser-tests", "bench"])
        .current_dir(ROOT)
        .env("EDGESEAL_BIN", &binaries.edgeseal)
        .env("EDGESEAL_BENCH_FIGURES", &file)
        .status()
        .context("cannot run npm")?;
    ensure!(status.success(), "the measurement in Chromium failed");

    let figures: Vec<Figure> = serde_json::from_slice(&std::fs::read(&file)?)?;
    for figure in figures {
        let unit = match figure.unit {
            Unit::Ms => "ms",
            Unit::Ns => "ns",
        };
        let yardstick = figure
            .yardstick
            .map(|engine| Yardstick::plain("crypto.subtle.verify", engine.value, figure.value));
        report.figure(figure.name, figure.value, unit, Some(figure.target), yardstick);
    }
    Ok(())
}
