//! Figures with their targets and yardsticks: printed as they come, written as JSON at the end.

use serde::Serialize;

use crate::machine::Machine;

/// Everything that one run measured.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    figures: Vec<Figure>,
    #[serde(skip)]
    section: &'static str,
}

#[derive(Serialize)]
struct Figure {
    section: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yardstick: Option<Yardstick>,
}

/// What a figure is compared with, measured in the same run.
#[derive(Serialize)]
pub(crate) struct Yardstick {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_ratio: Option<f64>,
}

impl Yardstick {
    /// A yardstick to read a figure by, where no ratio is promised.
    pub(crate) fn plain(name: &'static str, value: f64, ours: f64) -> Self {
        Self { name, value, ratio: ours / value, target_ratio: None }
    }
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        println!("{machine}");
        Self { machine, figures: Vec::new(), section: "" }
    }

    pub(crate) fn section(&mut self, name: &'static str) {
        println!("\n{name}");
        self.section = name;
    }

    pub(crate) fn figure(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
        yardstick: Option<Yardstick>,
    ) {
        let name = name.into();
        let mut line = format!("  {name:<58} {value:>12.2} {unit}");
        if let Some(target) = target {
            line += &format!("  (target {target} {unit})");
        }
        if let Some(yardstick) = &yardstick {
            line +=
                &format!("  = {:.2} x {} of {:.2} {unit}", yardstick.ratio, yardstick.name, yardstick.value);
            if let Some(target) = yardstick.target_ratio {
                line += &format!(" (target {target} x)");
            }
        }
        println!("{line}");
        self.figures.push(Figure { section: self.section, name, value, unit, target, yardstick });
    }

    pub(crate) fn write(&self, path: &str) -> anyhow::Result<()> {
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(self)?))?;
        println!("\nwritten to bench/results.json");
        Ok(())
    }
}
