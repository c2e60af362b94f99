//! What the guardrail concludes, and how it says so.

use std::fmt;

use edgeseal_core::ids::VariantKey;
use edgeseal_stats::NotComputable;
use edgeseal_stats::guardrail::Direction;
use edgeseal_store::Watched;
use serde_json::{Value, json};

use super::detail::{Detail, WaitsFor};

/// What the guardrail concludes about one thing that it watches.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What is watched.
    pub watched: Watched,
    /// In which variant; `None` where it concerns all of them.
    pub variant: Option<VariantKey>,
    /// Which way is worse, for a metric.
    pub direction: Option<Direction>,
    /// The conclusion.
    pub finding: Finding,
    /// The most evidence there ever was, as a logarithm.
    pub max_log_e: f64,
    /// The evidence that makes an alarm; infinite where none can be.
    pub threshold: f64,
    /// When it alarmed and that was acted on, in milliseconds since the Unix epoch.
    pub alarmed_at_ms: Option<i64>,
    /// The numbers behind it.
    pub detail: Detail,
}

/// A conclusion.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The evidence reached its level: harm, or shares that are not as planned.
    Alarm,
    /// The shares look wrong, not yet beyond doubt.
    Doubtful,
    /// No alarm.
    Quiet,
    /// Too little was seen yet.
    Waiting(WaitsFor),
    /// There could be something to say, but it would not hold.
    Withheld(Withheld),
    /// The numbers give no answer; never an alarm.
    NotComputable(NotComputable),
}

/// Why verdicts are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The variants do not have the shares that were planned, so comparing them means nothing.
    SampleRatio,
}

impl Verdict {
    /// The always-valid p-value.
    pub fn p_value(&self) -> f64 {
        (-self.max_log_e).exp().min(1.0)
    }

    /// Everything about it, for the audit log and for alerts.
    pub fn to_json(&self) -> Value {
        json!({
            "watched": self.watched.as_str(),
            "variant": self.variant,
            "finding": self.finding.word(),
            "summary": self.to_string(),
            "maxLogE": self.max_log_e,
            "threshold": self.threshold.is_finite().then_some(self.threshold),
            "pValue": self.p_value(),
            "numbers": self.detail,
        })
    }

    fn metric_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variant) = &self.variant {
            write!(f, " in '{variant}'")?;
        }
        let arms = self.detail.control.zip(self.detail.treatment);
        let values = arms.and_then(|(control, treatment)| control.value.zip(treatment.value));
        let Some((control, treatment)) = values else { return Ok(()) };
        write!(f, " is {} against {}", short(treatment), short(control))?;
        if control > 0.0 {
            write!(f, " in the control ({:+.1}%)", 100.0 * (treatment - control) / control)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.watched {
            Watched::SampleRatio => {
                f.write_str("sample ratio: ")?;
                for (place, seen) in self.detail.exposures.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(
                        f,
                        "{comma}{} units in '{}' where {:.0} were expected",
                        seen.units, seen.variant, seen.expected
                    )?;
                }
            }
            watched => {
                write!(f, "{watched}")?;
                self.metric_words(f)?;
            }
        }
        match &self.finding {
            Finding::Alarm => write!(f, "; p = {:.2e}, valid at every look", self.p_value()),
            Finding::Doubtful => write!(f, "; doubtful, p = {:.2e}", self.p_value()),
            Finding::Quiet => f.write_str("; no alarm"),
            Finding::Waiting(missing) => {
                write!(
                    f,
                    "; waits for {} {} in the smaller arm, has {}",
                    missing.need, missing.what, missing.have
                )
            }
            Finding::Withheld(Withheld::SampleRatio) => {
                f.write_str("; withheld, because the variants do not have the planned shares")
            }
            Finding::NotComputable(why) => write!(f, "; no answer: {why}"),
        }
    }
}

impl Finding {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Doubtful => "doubtful",
            Self::Quiet => "quiet",
            Self::Waiting(_) => "waiting",
            Self::Withheld(_) => "withheld",
            Self::NotComputable(_) => "not_computable",
        }
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_four_digits() {
        for (value, text) in
            [(0.0, "0"), (0.051_234, "0.05123"), (12.0, "12"), (123_456.7, "123457"), (-0.5, "-0.5")]
        {
            assert_eq!(short(value), text);
        }
    }
}
