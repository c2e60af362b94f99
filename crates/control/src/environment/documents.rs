//! Documents with their bodies read once, when they come in.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use edgeseal_core::definition::{
    Definition, ExperimentDefinition, HoldoutDefinition, LayerDefinition, MetricDefinition,
};
use edgeseal_core::ids::{Environment, GroupKey};
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, Document, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a document says. As JSON it is the same as in an experiments file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DocumentBody {
    /// An experiment.
    Experiment(Box<ExperimentDefinition>),
    /// A layer.
    Layer(LayerDefinition),
    /// A holdout.
    Holdout(HoldoutDefinition),
    /// A group.
    Group(GroupDefinition),
    /// A metric.
    Metric(MetricDefinition),
}

/// A saved list of values as a document of its own; in an experiments file it is an entry of `groups`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDefinition {
    /// Its key.
    #[schemars(with = "String")]
    pub key: GroupKey,
    /// The values in it: strings, numbers or booleans.
    pub values: Vec<Value>,
}

impl DocumentBody {
    /// Reads what the store holds, or what a request brings.
    ///
    /// # Errors
    /// What serde says of a body that has another shape.
    pub fn parse(kind: Kind, body: Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Experiment => Self::Experiment(serde_json::from_value(body)?),
            Kind::Layer => Self::Layer(serde_json::from_value(body)?),
            Kind::Holdout => Self::Holdout(serde_json::from_value(body)?),
            Kind::Group => Self::Group(serde_json::from_value(body)?),
            Kind::Metric => Self::Metric(serde_json::from_value(body)?),
        })
    }

    /// What kind of thing it describes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Experiment(_) => Kind::Experiment,
            Self::Layer(_) => Kind::Layer,
            Self::Holdout(_) => Kind::Holdout,
            Self::Group(_) => Kind::Group,
            Self::Metric(_) => Kind::Metric,
        }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        match self {
            Self::Experiment(experiment) => experiment.key.as_str(),
            Self::Layer(layer) => layer.key.as_str(),
            Self::Holdout(holdout) => holdout.key.as_str(),
            Self::Group(group) => group.key.as_str(),
            Self::Metric(metric) => metric.key.as_str(),
        }
    }
}

impl From<ExperimentDefinition> for DocumentBody {
    fn from(experiment: ExperimentDefinition) -> Self {
        Self::Experiment(Box::new(experiment))
    }
}

impl From<LayerDefinition> for DocumentBody {
    fn from(layer: LayerDefinition) -> Self {
        Self::Layer(layer)
    }
}

impl From<HoldoutDefinition> for DocumentBody {
    fn from(holdout: HoldoutDefinition) -> Self {
        Self::Holdout(holdout)
    }
}

impl From<GroupDefinition> for DocumentBody {
    fn from(group: GroupDefinition) -> Self {
        Self::Group(group)
    }
}

impl From<MetricDefinition> for DocumentBody {
    fn from(metric: MetricDefinition) -> Self {
        Self::Metric(metric)
    }
}

/// A document in its newest revision: [`Document`] with its body read.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDocument {
    /// What it describes.
    pub kind: Kind,
    /// Its key.
    pub key: Arc<str>,
    /// Its newest revision, from 1.
    pub revision: u64,
    /// Sequence of the commit that wrote it.
    pub sequence: u64,
    /// What it says; `None` once deleted.
    pub body: Option<DocumentBody>,
    /// When its first revision was written.
    pub created_at: Timestamp,
    /// When this revision was written.
    pub updated_at: Timestamp,
    /// Who wrote this revision.
    pub updated_by: Actor,
}

impl StoredDocument {
    /// Reads a record of the store.
    pub(super) fn read(document: Document) -> Result<Self, String> {
        let Document { kind, key, revision, sequence, body, created_at, updated_at, updated_by } = document;
        let at_fault = |why: &dyn std::fmt::Display| format!("{} '{key}': {why}", kind.as_str());
        let body = match body {
            Some(body) => Some(DocumentBody::parse(kind, body).map_err(|error| at_fault(&error))?),
            None => None,
        };
        if body.as_ref().is_some_and(|body| body.key() != key) {
            return Err(at_fault(&"the body has another key"));
        }
        let key = Arc::from(key.as_str());
        Ok(Self { kind, key, revision, sequence, body, created_at, updated_at, updated_by })
    }

    /// The experiment, if it is one.
    pub fn experiment(&self) -> Option<&ExperimentDefinition> {
        match &self.body {
            Some(DocumentBody::Experiment(experiment)) => Some(experiment),
            _ => None,
        }
    }
}

/// The documents of one environment, tombstones included.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents(BTreeMap<Kind, BTreeMap<Arc<str>, Arc<StoredDocument>>>);

impl Documents {
    /// A document that exists.
    pub fn find(&self, kind: Kind, key: &str) -> Option<&Arc<StoredDocument>> {
        self.get(kind, key).filter(|document| document.body.is_some())
    }

    /// A document, or its tombstone.
    pub fn get(&self, kind: Kind, key: &str) -> Option<&Arc<StoredDocument>> {
        self.0.get(&kind)?.get(key)
    }

    /// The documents of one kind that exist, in the order of their keys.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<StoredDocument>> {
        self.0.get(&kind).into_iter().flat_map(BTreeMap::values).filter(|document| document.body.is_some())
    }

    /// The documents of one kind that exist, after a key.
    pub fn iter_after<'s>(
        &'s self,
        kind: Kind,
        key: &str,
    ) -> impl Iterator<Item = &'s Arc<StoredDocument>> + use<'s> {
        let page = self.0.get(&kind).map(|all| all.range::<str, _>((Bound::Excluded(key), Bound::Unbounded)));
        page.into_iter().flatten().map(|(_, document)| document).filter(|document| document.body.is_some())
    }

    /// How many documents of one kind exist.
    pub fn count(&self, kind: Kind) -> usize {
        self.iter(kind).count()
    }

    /// All that exist as one definition, in the order of their keys.
    pub(crate) fn definition(&self, environment: &Environment) -> Definition {
        let mut definition = Definition {
            environment: environment.clone(),
            experiments: Vec::new(),
            layers: Vec::new(),
            holdouts: Vec::new(),
            groups: BTreeMap::new(),
            metrics: Vec::new(),
        };
        for body in Kind::ALL.into_iter().flat_map(|kind| self.iter(kind)).filter_map(|it| it.body.as_ref()) {
            match body {
                DocumentBody::Experiment(experiment) => {
                    definition.experiments.push(ExperimentDefinition::clone(experiment));
                }
                DocumentBody::Layer(layer) => definition.layers.push(layer.clone()),
                DocumentBody::Holdout(holdout) => definition.holdouts.push(holdout.clone()),
                DocumentBody::Group(group) => {
                    definition.groups.insert(group.key.clone(), group.values.clone());
                }
                DocumentBody::Metric(metric) => definition.metrics.push(metric.clone()),
            }
        }
        definition
    }

    /// How many documents there are, tombstones included.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none, not even tombstones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a newer revision in its place.
    pub(crate) fn put(&mut self, document: StoredDocument) {
        self.0.entry(document.kind).or_default().insert(Arc::clone(&document.key), Arc::new(document));
    }
}
