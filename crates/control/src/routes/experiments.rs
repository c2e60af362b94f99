//! Experiments: what every kind of document has, with a list that can be searched.

use edgeseal_core::snapshot::ExperimentState;

use super::documents::{self, Experiment, Filter};
use super::operation::Operation;
use super::parameter::Parameter;
use super::query::Query;
use crate::environment::StoredDocument;
use crate::problem::{Code, Problem};

/// Longest text to search for, tag or owner, in characters.
const MAX_SEARCH_CHARS: usize = 256;
const STATES: [(&str, ExperimentState); 4] = [
    ("draft", ExperimentState::Draft),
    ("running", ExperimentState::Running),
    ("paused", ExperimentState::Paused),
    ("stopped", ExperimentState::Stopped),
];

pub(super) fn operations() -> Vec<Operation> {
    documents::operations::<Experiment>()
}

/// Parameters that choose from the list.
pub(super) fn filters() -> Vec<Parameter> {
    vec![
        Parameter::word("state", &STATES.map(|(word, _)| word), "Only experiments in this state."),
        Parameter::text(
            "q",
            MAX_SEARCH_CHARS,
            "Only experiments whose key or name contains this, in any case.",
        ),
        Parameter::text("tag", MAX_SEARCH_CHARS, "Only experiments with this tag."),
        Parameter::text("owner", MAX_SEARCH_CHARS, "Only experiments of this owner."),
    ]
}

/// What the parameters choose.
pub(super) fn filter(query: &Query) -> Result<Filter, Problem> {
    let state = match query.get("state") {
        None => None,
        Some(word) => match STATES.iter().find(|(known, _)| *known == word) {
            Some((_, state)) => Some(*state),
            None => {
                let detail = "'state' must be draft, running, paused or stopped";
                return Err(Problem::new(Code::InvalidParameter, detail));
            }
        },
    };
    let text = |name| query.text(name, MAX_SEARCH_CHARS).map(|text| text.map(str::to_owned));
    let (tag, owner) = (text("tag")?, text("owner")?);
    let search = text("q")?.map(|text| text.to_lowercase());
    Ok(Box::new(move |document: &StoredDocument| {
        let Some(experiment) = document.experiment() else { return false };
        let contains = |text: &str, part: &str| text.to_lowercase().contains(part);
        state.is_none_or(|state| experiment.state == state)
            && tag.as_ref().is_none_or(|tag| experiment.tags.contains(tag))
            && owner.as_ref().is_none_or(|owner| experiment.owner.as_ref() == Some(owner))
            && search.as_ref().is_none_or(|search| {
                contains(experiment.key.as_str(), search)
                    || experiment.name.as_ref().is_some_and(|name| contains(name, search))
            })
    }))
}

#[cfg(test)]
mod tests;
