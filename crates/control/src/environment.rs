//! An environment as the control plane holds it in memory: one commit's state, never changed, only replaced.

mod capacity;
mod documents;
mod load;

use std::fmt;
use std::sync::Arc;

use edgeseal_core::definition::{Definition, ExperimentDefinition};
use edgeseal_core::ids::Environment;
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Head, Kind};

use crate::counters::Counters;
use crate::error::ControlError;
use crate::keys::{EdgeKeys, Keyring, Secrets};

pub use capacity::{LayerCapacity, LayerMember};
pub use documents::{DocumentBody, Documents, GroupDefinition, StoredDocument};
pub(crate) use load::load;

/// Everything about an environment as of one commit.
pub struct EnvironmentState {
    /// Its name.
    pub name: Environment,
    /// Sequence and versions, and what the store keeps as text.
    pub head: Head,
    /// Experiments, layers, holdouts, groups and metrics, tombstones included.
    pub documents: Documents,
    /// The snapshot that is published under `head.cv`.
    pub snapshot: Arc<Snapshot>,
    /// The same, signed.
    pub snapshot_token: Arc<str>,
    /// When it was published (or signed anew).
    pub published_at: Timestamp,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// What is halted and revoked, and which versions were given out.
    pub(crate) counters: Arc<Counters>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) edge_keys: Arc<EdgeKeys>,
}

impl EnvironmentState {
    /// A document that exists.
    pub fn find(&self, kind: Kind, key: &str) -> Option<&Arc<StoredDocument>> {
        self.documents.find(kind, key)
    }

    /// A document that must exist.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn require(&self, kind: Kind, key: &str) -> Result<&Arc<StoredDocument>, ControlError> {
        self.find(kind, key).ok_or_else(|| ControlError::NotFound { kind, key: key.to_owned() })
    }

    /// The documents of one kind that exist, in the order of their keys.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<StoredDocument>> {
        self.documents.iter(kind)
    }

    /// The documents of one kind that exist, after a key: the next page of a list.
    pub fn iter_after<'s>(
        &'s self,
        kind: Kind,
        key: &str,
    ) -> impl Iterator<Item = &'s Arc<StoredDocument>> + use<'s> {
        self.documents.iter_after(kind, key)
    }

    /// How many documents of one kind exist.
    pub fn count(&self, kind: Kind) -> usize {
        self.documents.count(kind)
    }

    /// An experiment as it stands.
    pub fn experiment(&self, key: &str) -> Option<&ExperimentDefinition> {
        self.find(Kind::Experiment, key)?.experiment()
    }

    /// All documents as one definition, the form of an experiments file, in the order of their keys.
    pub fn definition(&self) -> Definition {
        self.documents.definition(&self.name)
    }
}

impl fmt::Debug for EnvironmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, head, .. } = self;
        write!(f, "EnvironmentState({name}, {head:?}, {} documents)", self.documents.len())
    }
}
