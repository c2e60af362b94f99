//! Explanation: the questions that evaluation asked for one unit and experiment, with the answers.

use serde::Serialize;

use crate::evaluate::{Observer, Question, Request, decide};
use crate::ruleset::{Experiment, Halts, Ruleset};

/// Why a unit has the variant that it has, question by question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The experiment.
    pub experiment: String,
    /// Its version, `xv`.
    pub version: u64,
    /// The reason, as in tokens.
    pub reason: &'static str,
    /// The variant, if the unit is in the experiment.
    pub variant: Option<String>,
    /// The questions that were asked, in order; the last one decided.
    pub steps: Vec<ExplainedStep>,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStep {
    /// What was asked: `running`, `forced`, `holdout`, `prerequisites`, `audience`, `layer`, `traffic`, `sticky`
    /// or `variant`.
    pub question: &'static str,
    /// Yes or no.
    pub answer: bool,
    /// What the answer rests on, for people.
    pub detail: String,
}

/// Evaluates like [`evaluate`](crate::evaluate::evaluate), by the same code, and tells every step.
pub fn explain(
    ruleset: &Ruleset,
    halts: &Halts,
    experiment: &Experiment,
    request: &Request<'_>,
) -> Explanation {
    let mut steps = Steps(Vec::new());
    let outcome = decide(ruleset, halts, experiment, request, &mut steps);
    Explanation {
        experiment: experiment.key().to_string(),
        version: experiment.version(),
        reason: outcome.reason.as_str(),
        variant: outcome.variant.map(|variant| variant.key().to_string()),
        steps: steps.0,
    }
}

struct Steps(Vec<ExplainedStep>);

impl Observer for Steps {
    fn answered(&mut self, question: Question, answer: bool, detail: impl FnOnce() -> String) {
        self.0.push(ExplainedStep { question: question.as_str(), answer, detail: detail() });
    }
}

impl Question {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Forced => "forced",
            Self::Holdout => "holdout",
            Self::Prerequisites => "prerequisites",
            Self::Audience => "audience",
            Self::Layer => "layer",
            Self::Traffic => "traffic",
            Self::Sticky => "sticky",
            Self::Variant => "variant",
        }
    }
}
