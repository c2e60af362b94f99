//! How an experiment is analysed, as people write it. Edges never see any of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Share;
use crate::ids::{MetricKey, VariantKey};

/// Longest minimum duration, in days.
pub const MAX_MINIMUM_DAYS: u32 = 366;
/// Most units that a plan may name.
pub const MAX_PLANNED_UNITS: u64 = 1_000_000_000_000;

/// How an experiment is analysed: what it is compared with, how a winner is declared, when a guardrail pauses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AnalysisSettings {
    /// The variant that the others are compared with; the first one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub control: Option<VariantKey>,
    /// How a winner is declared.
    pub mode: WinnerMode,
    /// Chance of a false winner, in percent.
    pub alpha: Share,
    /// Units in each variant that the plan asks for (`edgeseal power` computes it); no winner by the plan without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_units: Option<u64>,
    /// Days that the experiment runs at least before a winner by the plan; whole weeks see every weekday equally often.
    pub minimum_days: u32,
    /// What a guardrail does when a metric gets worse.
    pub on_harm: OnHarm,
    /// What a guardrail does when clients report leaks, drift or failing verification beyond the limits of the control
    /// plane. Whoever has a token can report them, so `pause` gives everybody a way to pause the experiment.
    pub on_health: OnHealth,
    /// Chance that guardrails ever pause a harmless experiment, in percent; divided among guardrails and variants.
    pub guardrail_alpha: Share,
    /// Number of units at which guardrails are tuned to be most sensitive.
    pub guardrail_units: u64,
    /// Harm that is tolerated, by guardrail metric: a share of the control's value, in percent; none when absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Share>"))]
    pub margins: BTreeMap<MetricKey, Share>,
}

/// How a winner is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WinnerMode {
    /// Once, when planned units and minimum days are reached.
    Fixed,
    /// At any time, by a confidence sequence.
    Sequential,
    /// A fifth of alpha at any time, the rest once by the plan.
    #[default]
    Hybrid,
}

/// What a guardrail does when a metric gets worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnHarm {
    /// Pauses the experiment and alerts.
    #[default]
    Pause,
    /// Alerts only.
    Alert,
}

/// What a guardrail does about leaks, drift and failing verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnHealth {
    /// Alerts only.
    #[default]
    Alert,
    /// Pauses the experiment and alerts.
    Pause,
}

impl Default for AnalysisSettings {
    fn default() -> Self {
        Self {
            control: None,
            mode: WinnerMode::default(),
            alpha: Share::percent(5),
            planned_units: None,
            minimum_days: 7,
            on_harm: OnHarm::default(),
            on_health: OnHealth::default(),
            guardrail_alpha: Share::percent(1),
            guardrail_units: 20_000,
            margins: BTreeMap::new(),
        }
    }
}

impl AnalysisSettings {
    /// What is out of its bounds: the member, and what it may be.
    pub(super) fn out_of_bounds(&self) -> Option<(&'static str, &'static str)> {
        let some_but_not_all = |share: Share| share.buckets() > 0 && share < Share::ALL;
        let planned = |units: u64| (1..=MAX_PLANNED_UNITS).contains(&units);
        let checks = [
            (some_but_not_all(self.alpha), "alpha", "more than 0% and less than 100%"),
            (some_but_not_all(self.guardrail_alpha), "guardrail_alpha", "more than 0% and less than 100%"),
            (self.planned_units.is_none_or(planned), "planned_units", "1 to 1 000 000 000 000"),
            (planned(self.guardrail_units), "guardrail_units", "1 to 1 000 000 000 000"),
            (self.minimum_days <= MAX_MINIMUM_DAYS, "minimum_days", "0 to 366"),
            (self.margins.values().all(|margin| *margin < Share::ALL), "margins", "less than 100% each"),
        ];
        checks.into_iter().find(|(holds, ..)| !holds).map(|(_, member, allowed)| (member, allowed))
    }
}
