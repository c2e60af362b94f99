//! The kinds of documents.

use edgeseal_core::definition::{ExperimentDefinition, HoldoutDefinition, LayerDefinition, MetricDefinition};
use edgeseal_core::ids::{ExperimentKey, GroupKey, HoldoutKey, LayerKey, MetricKey};
use edgeseal_store::Kind;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::environment::{DocumentBody, GroupDefinition, StoredDocument};
use crate::problem::Problem;
use crate::routes::parameter::Parameter;
use crate::routes::query::Query;

/// Decides whether a list shows a document.
pub(in crate::routes) type Filter = Box<dyn Fn(&StoredDocument) -> bool + Send>;

/// A kind of document.
pub(in crate::routes) trait Resource: Send + Sync + 'static {
    /// Which kind.
    const KIND: Kind;
    /// Its name in the document of the API: `Experiment`.
    const NAME: &'static str;
    /// Its list in a path: `experiments`.
    const PLURAL: &'static str;
    /// Its group of operations.
    const TAG: &'static str;
    /// What people write.
    type Definition: JsonSchema + DeserializeOwned + Into<DocumentBody> + Send;

    /// Whether a text can be its key.
    fn is_key(text: &str) -> bool;

    /// Parameters that choose from the list.
    fn filters() -> Vec<Parameter> {
        Vec::new()
    }

    /// What the parameters choose.
    fn filter(_query: &Query) -> Result<Filter, Problem> {
        Ok(Box::new(|_| true))
    }
}

pub(in crate::routes) enum Layer {}
pub(in crate::routes) enum Holdout {}
pub(in crate::routes) enum Group {}
pub(in crate::routes) enum Metric {}

impl Resource for Layer {
    const KIND: Kind = Kind::Layer;
    const NAME: &'static str = "Layer";
    const PLURAL: &'static str = "layers";
    const TAG: &'static str = "definitions";
    type Definition = LayerDefinition;

    fn is_key(text: &str) -> bool {
        LayerKey::parse(text).is_ok()
    }
}

impl Resource for Holdout {
    const KIND: Kind = Kind::Holdout;
    const NAME: &'static str = "Holdout";
    const PLURAL: &'static str = "holdouts";
    const TAG: &'static str = "definitions";
    type Definition = HoldoutDefinition;

    fn is_key(text: &str) -> bool {
        HoldoutKey::parse(text).is_ok()
    }
}

impl Resource for Group {
    const KIND: Kind = Kind::Group;
    const NAME: &'static str = "Group";
    const PLURAL: &'static str = "groups";
    const TAG: &'static str = "definitions";
    type Definition = GroupDefinition;

    fn is_key(text: &str) -> bool {
        GroupKey::parse(text).is_ok()
    }
}

impl Resource for Metric {
    const KIND: Kind = Kind::Metric;
    const NAME: &'static str = "Metric";
    const PLURAL: &'static str = "metrics";
    const TAG: &'static str = "definitions";
    type Definition = MetricDefinition;

    fn is_key(text: &str) -> bool {
        MetricKey::parse(text).is_ok()
    }
}

/// Experiments, whose list has filters and whose life has operations of its own.
pub(in crate::routes) enum Experiment {}

impl Resource for Experiment {
    const KIND: Kind = Kind::Experiment;
    const NAME: &'static str = "Experiment";
    const PLURAL: &'static str = "experiments";
    const TAG: &'static str = "experiments";
    type Definition = ExperimentDefinition;

    fn is_key(text: &str) -> bool {
        ExperimentKey::parse(text).is_ok()
    }

    fn filters() -> Vec<Parameter> {
        crate::routes::experiments::filters()
    }

    fn filter(query: &Query) -> Result<Filter, Problem> {
        crate::routes::experiments::filter(query)
    }
}
