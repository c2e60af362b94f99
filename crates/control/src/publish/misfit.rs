//! What does not fit together, and in which document.

use edgeseal_core::definition::{BuildError, BuildErrorKind, Definition};
use edgeseal_store::Kind;

use crate::change::DocumentChange;
use crate::environment::DocumentBody;
use crate::error::{ControlError, Fault};

/// Why a plan was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The documents do not fit together.
    Misfit(Misfit),
    /// Anything else.
    Other(ControlError),
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        Self::Other(error)
    }
}

impl From<Misfit> for Refused {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

/// What is wrong with the documents together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The document at fault; `None` when no single one is.
    pub(crate) document: Option<(Kind, String)>,
    /// JSON pointer into that document, or else into the definition.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) detail: String,
}

impl Misfit {
    /// Finds the document that a build error means.
    pub(crate) fn find(error: BuildError, definition: &Definition, changes: &[DocumentChange]) -> Self {
        let detail = error.to_string();
        if let BuildErrorKind::LayerFull { layer, .. } = &error.kind
            && let Some(key) = changes.iter().find_map(|change| takes_of(change, layer))
        {
            // The build blames the last member of the layer; whoever just asked for more is the better place.
            let document = Some((Kind::Experiment, key));
            return Self { document, pointer: "/layer/share".to_owned(), detail };
        }
        let mut parts = error.path.splitn(4, '/').skip(1);
        let (collection, member, rest) = (parts.next(), parts.next(), parts.next());
        let document = collection.zip(member).and_then(|(collection, member)| {
            let place = member.parse::<usize>().ok();
            let of = |kind, key: Option<&str>| key.map(|key| (kind, key.to_owned()));
            match collection {
                "experiments" => {
                    of(Kind::Experiment, definition.experiments.get(place?).map(|it| it.key.as_str()))
                }
                "layers" => of(Kind::Layer, definition.layers.get(place?).map(|it| it.key.as_str())),
                "holdouts" => of(Kind::Holdout, definition.holdouts.get(place?).map(|it| it.key.as_str())),
                "metrics" => of(Kind::Metric, definition.metrics.get(place?).map(|it| it.key.as_str())),
                "groups" => of(Kind::Group, Some(member)),
                _ => None,
            }
        });
        let within = match rest {
            Some(rest) if !rest.is_empty() => format!("/{rest}"),
            _ => String::new(),
        };
        let pointer = match &document {
            Some((Kind::Group, _)) => format!("/values{within}"),
            Some(_) => within,
            None => error.path,
        };
        Self { document, pointer, detail }
    }

    /// As seen by somebody who changes these documents: a pointer if it is the only one, words otherwise.
    pub(crate) fn among(&self, changed: &[(Kind, String)]) -> Fault {
        let Some((kind, key)) = &self.document else {
            return Fault { pointer: String::new(), detail: self.detail.clone() };
        };
        if let [(only_kind, only_key)] = changed
            && (only_kind, only_key) == (kind, key)
        {
            return Fault { pointer: self.pointer.clone(), detail: self.detail.clone() };
        }
        let place = if self.pointer.is_empty() { String::new() } else { format!(" at {}", self.pointer) };
        Fault { pointer: String::new(), detail: format!("{} '{key}'{place}: {}", kind.as_str(), self.detail) }
    }
}

fn takes_of(change: &DocumentChange, layer: &str) -> Option<String> {
    match &change.body {
        Some(DocumentBody::Experiment(experiment)) => {
            let part = experiment.layer.as_ref()?;
            (part.key.as_str() == layer).then(|| change.key.clone())
        }
        _ => None,
    }
}
