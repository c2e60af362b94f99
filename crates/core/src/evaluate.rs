//! Evaluation: which variant a unit gets of an experiment, and why.
//!
//! Total: a compiled ruleset cannot be malformed, so there is always an answer with a [`Reason`], never an error. The
//! questions are asked in one fixed order, in `decide`; [`explain`](crate::explain::explain) walks the same code
//! with an observer.

use crate::attributes::Attributes;
use crate::ids::{UnitId, VariantKey};
use crate::ruleset::{Experiment, Halts, Phase, Prerequisite, Ruleset, ShareGate, Variant};
use crate::sealing::AssignmentClaims;

/// Everything about a unit that evaluation may look at.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The unit.
    pub unit: UnitId<'a>,
    /// What the audience conditions look at.
    pub attributes: &'a Attributes,
    /// Variants that the caller wants to see for QA, whatever the buckets say.
    pub forced: &'a Forced,
    /// The verified claims of the unit's previous token, for sticky experiments.
    pub previous: Option<&'a AssignmentClaims>,
}

/// What came out for one experiment.
#[derive(Clone, Copy)]
pub struct Outcome<'r> {
    /// Why.
    pub reason: Reason,
    /// The variant; absent when the unit is not in the experiment.
    pub variant: Option<&'r Variant>,
}

/// Why a unit has the variant that it has, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// In, by its bucket.
    Split,
    /// In, with the variant of its previous token.
    Sticky,
    /// In, because QA asked for this variant; never counted.
    Forced,
    /// The experiment is over and this variant won; served to everyone, never counted.
    Winner,
    /// Not in: the experiment has not started.
    Draft,
    /// Not in: the experiment is paused.
    Paused,
    /// Not in: the experiment is over and names no winner.
    Stopped,
    /// Not in: the status document halts it.
    Halted,
    /// Not in: the unit belongs to a holdout.
    Holdout,
    /// Not in: a prerequisite does not hold.
    Prerequisite,
    /// Not in: the audience condition does not match.
    Audience,
    /// Not in: the unit falls into another slot of the layer.
    Layer,
    /// Not in: the unit is outside the experiment's traffic.
    Traffic,
}

impl Reason {
    /// Every reason, those with a variant first.
    pub const ALL: [Self; 13] = [
        Self::Split,
        Self::Sticky,
        Self::Forced,
        Self::Winner,
        Self::Draft,
        Self::Paused,
        Self::Stopped,
        Self::Halted,
        Self::Holdout,
        Self::Prerequisite,
        Self::Audience,
        Self::Layer,
        Self::Traffic,
    ];

    /// The word for it in tokens, metrics and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Sticky => "sticky",
            Self::Forced => "forced",
            Self::Winner => "winner",
            Self::Draft => "draft",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Halted => "halted",
            Self::Holdout => "holdout",
            Self::Prerequisite => "prerequisite",
            Self::Audience => "audience",
            Self::Layer => "layer",
            Self::Traffic => "traffic",
        }
    }
}

/// Evaluates one experiment of `ruleset` for one unit. Allocates nothing.
pub fn evaluate<'r>(
    ruleset: &'r Ruleset,
    halts: &Halts,
    experiment: &'r Experiment,
    request: &Request<'_>,
) -> Outcome<'r> {
    decide(ruleset, halts, experiment, request, &mut Unobserved)
}

/// Sees each question as it is answered. The answer is made only if somebody looks.
pub(crate) trait Observer {
    fn answered(&mut self, question: Question, passed: bool, detail: impl FnOnce() -> String);
}

struct Unobserved;

impl Observer for Unobserved {
    #[inline(always)]
    fn answered(&mut self, _question: Question, _passed: bool, _detail: impl FnOnce() -> String) {}
}

/// The questions, in the order in which they are asked (DESIGN: "Order of questions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Running,
    Forced,
    Holdout,
    Prerequisites,
    Audience,
    Layer,
    Traffic,
    Sticky,
    Variant,
}

pub(crate) fn decide<'r>(
    ruleset: &'r Ruleset,
    halts: &Halts,
    experiment: &'r Experiment,
    request: &Request<'_>,
    observer: &mut impl Observer,
) -> Outcome<'r> {
    let out = |reason| Outcome { reason, variant: None };
    let with = |reason, index: usize| Outcome { reason, variant: experiment.variants.get(index) };

    match experiment.phase {
        // A halt comes before everything, a winner included: whoever halts a variant wants it gone.
        _ if halts.contains(experiment.index) => {
            observer.answered(Question::Running, false, || "halted by the status document".into());
            return out(Reason::Halted);
        }
        Phase::Running => observer.answered(Question::Running, true, || "running".into()),
        Phase::Draft => {
            observer.answered(Question::Running, false, || "still a draft".into());
            return out(Reason::Draft);
        }
        Phase::Paused => {
            observer.answered(Question::Running, false, || "paused".into());
            return out(Reason::Paused);
        }
        Phase::Stopped { winner: None } => {
            observer.answered(Question::Running, false, || "stopped without a winner".into());
            return out(Reason::Stopped);
        }
        Phase::Stopped { winner: Some(index) } => {
            observer
                .answered(Question::Running, false, || "stopped; its winner is served to everyone".into());
            return with(Reason::Winner, index);
        }
    }

    if let Some(index) = forced_variant(experiment, request) {
        observer.answered(Question::Forced, true, || "a variant is forced for this unit".into());
        return with(Reason::Forced, index);
    }
    observer.answered(Question::Forced, false, || "no variant is forced".into());

    for holdout in &experiment.holdouts {
        if holdout.share.admits(request.unit) {
            observer.answered(Question::Holdout, true, || {
                format!("in holdout '{}': {}", holdout.key, holdout.share.describe(request.unit))
            });
            return out(Reason::Holdout);
        }
    }
    observer.answered(Question::Holdout, false, || "in no holdout".into());

    for prerequisite in &experiment.prerequisites {
        if !prerequisite_holds(ruleset, halts, prerequisite, request) {
            observer.answered(Question::Prerequisites, false, || {
                let other = ruleset.experiments.get(prerequisite.experiment);
                let key = other.map_or("", |other| other.key.as_str());
                format!("'{key}' did not give one of the required variants")
            });
            return out(Reason::Prerequisite);
        }
    }
    observer.answered(Question::Prerequisites, true, || {
        format!("{} of {0} hold", experiment.prerequisites.len())
    });

    if !experiment.audience.matches(request.attributes) {
        observer.answered(Question::Audience, false, || "the condition does not match the attributes".into());
        return out(Reason::Audience);
    }
    observer.answered(Question::Audience, true, || {
        if experiment.audience.is_always() { "everyone".into() } else { "the condition matches".into() }
    });

    if let Some(layer) = &experiment.layer {
        let bucket = layer.bucket_key.bucket(request.unit);
        let inside = layer.ranges.iter().any(|range| range.start <= bucket && bucket < range.end);
        observer.answered(Question::Layer, inside, || {
            format!(
                "bucket {bucket} of layer '{}' is {} this experiment's slot",
                layer.key,
                if inside { "in" } else { "not in" }
            )
        });
        if !inside {
            return out(Reason::Layer);
        }
    } else {
        observer.answered(Question::Layer, true, || "in no layer".into());
    }

    let in_traffic = experiment.traffic.admits(request.unit);
    observer.answered(Question::Traffic, in_traffic, || experiment.traffic.describe(request.unit));
    if !in_traffic {
        return out(Reason::Traffic);
    }

    if let Some(index) = sticky_variant(experiment, request) {
        observer.answered(Question::Sticky, true, || "keeps the variant of the previous token".into());
        return with(Reason::Sticky, index);
    }
    observer.answered(Question::Sticky, false, || "no previous variant to keep".into());

    let bucket = experiment.variant_key.bucket(request.unit);
    let index = experiment.allocation.owner(bucket);
    observer.answered(Question::Variant, true, || {
        let key = experiment.variants.get(index).map_or("", |variant| variant.key.as_str());
        format!("bucket {bucket} belongs to '{key}'")
    });
    with(Reason::Split, index)
}

impl ShareGate {
    fn admits(&self, unit: UnitId<'_>) -> bool {
        // All or nothing needs no hash.
        match self.size {
            0 => false,
            crate::bucket::BUCKETS => true,
            size => self.key.bucket(unit) < size,
        }
    }

    fn describe(&self, unit: UnitId<'_>) -> String {
        let bucket = self.key.bucket(unit);
        let relation = if bucket < self.size { "below" } else { "not below" };
        format!("bucket {bucket} is {relation} {}", self.size)
    }
}

fn forced_variant(experiment: &Experiment, request: &Request<'_>) -> Option<usize> {
    let by_request = request.forced.pairs.iter().find(|(index, _)| *index == experiment.index);
    if let Some(&(_, variant)) = by_request {
        return Some(variant);
    }
    if experiment.overrides.is_empty() {
        return None;
    }
    let unit = request.unit.as_str();
    let place = experiment.overrides.binary_search_by(|fixed| (*fixed.unit).cmp(unit)).ok()?;
    experiment.overrides.get(place).map(|fixed| fixed.variant)
}

// Recursion ends: compiling refuses loops and chains longer than MAX_PREREQUISITE_DEPTH.
fn prerequisite_holds(
    ruleset: &Ruleset,
    halts: &Halts,
    prerequisite: &Prerequisite,
    request: &Request<'_>,
) -> bool {
    let Some(other) = ruleset.experiments.get(prerequisite.experiment) else { return false };
    let outcome = decide(ruleset, halts, other, request, &mut Unobserved);
    outcome.variant.is_some_and(|variant| prerequisite.variants.contains(&variant.index))
}

fn sticky_variant(experiment: &Experiment, request: &Request<'_>) -> Option<usize> {
    if !experiment.sticky {
        return None;
    }
    let before = request.previous?.a.get(&experiment.key)?;
    // A forced or winning variant was never the unit's own; it must not stick.
    if before.r != Reason::Split.as_str() && before.r != Reason::Sticky.as_str() {
        return None;
    }
    experiment.variant(before.v.as_str()).map(|variant| variant.index)
}

/// Variants that a request forces, resolved against one ruleset.
#[derive(Clone, Debug, Default)]
pub struct Forced {
    /// (index of the experiment, index of the variant).
    pairs: Vec<(usize, usize)>,
}

/// Why a forced variant cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// No such experiment in this environment.
    #[error("experiment '{0}' does not exist in this environment")]
    UnknownExperiment(String),
    /// No such variant of the experiment.
    #[error("experiment '{experiment}' has no variant '{variant}'")]
    UnknownVariant {
        /// The experiment.
        experiment: String,
        /// The variant asked for.
        variant: String,
    },
}

impl Forced {
    /// Nothing is forced.
    pub fn none() -> &'static Self {
        static NONE: Forced = Forced { pairs: Vec::new() };
        &NONE
    }

    /// Resolves (experiment key, variant key) pairs.
    ///
    /// # Errors
    /// [`ForceError`] when one of them does not exist.
    pub fn resolve<'k>(
        ruleset: &Ruleset,
        wanted: impl IntoIterator<Item = (&'k str, &'k VariantKey)>,
    ) -> Result<Self, ForceError> {
        let mut pairs = Vec::new();
        for (experiment_key, variant_key) in wanted {
            let Some(experiment) = ruleset.find(experiment_key) else {
                return Err(ForceError::UnknownExperiment(experiment_key.to_owned()));
            };
            let Some(variant) = experiment.variant(variant_key.as_str()) else {
                return Err(ForceError::UnknownVariant {
                    experiment: experiment_key.to_owned(),
                    variant: variant_key.to_string(),
                });
            };
            pairs.push((experiment.index, variant.index));
        }
        Ok(Self { pairs })
    }
}

#[cfg(test)]
mod tests;
