//! Figures with their targets and yardsticks: printed as they come, written as JSON at the end.

use serde::Serialize;
use serde_json::Value;

use crate::machine::Machine;

/// The sections in their order.
const SECTIONS: [&str; 10] = [
    "in process",
    "http, one server thread",
    "start-up",
    "a pause on its way, 20 edges",
    "5 000 experiments, 10 000 revisions",
    "1 000 edges on one control plane",
    "events, until they are durable",
    "the roll-up, 10 000 events on top of a history",
    "from a regression to a pause on 20 edges",
    "in Chromium",
];

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

    /// Writes the figures; those of sections that were not measured stay as they are.
    pub(crate) fn write(&self, path: &str) -> anyhow::Result<()> {
        let mut document = serde_json::to_value(self)?;
        let before = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let mut kept: Vec<Value> = before
            .as_ref()
            .and_then(|before| before["figures"].as_array())
            .into_iter()
            .flatten()
            .filter(|figure| self.figures.iter().all(|ours| figure["section"] != ours.section))
            .cloned()
            .collect();
        if let Some(figures) = document["figures"].as_array_mut() {
            figures.append(&mut kept);
            figures.sort_by_key(|figure| SECTIONS.iter().position(|section| figure["section"] == *section));
        }
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        println!("\nwritten to bench/results.json");
        Ok(())
    }
}

/// The value that `share` of the sorted `values` do not exceed.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    values[((share * values.len() as f64).ceil() as usize).saturating_sub(1).min(last)]
}
