//! What must never go backwards besides the versions in a head: clients refuse whatever is older than what they saw.
//!
//! Committed together with everything that carries it, so that a crash leaves either both or neither.

use std::collections::BTreeMap;

use edgeseal_core::ids::ExperimentKey;
use edgeseal_core::sealing::KeyId;
use edgeseal_core::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use crate::error::ControlError;
use crate::halts::Withdrawn;

/// Version of the JSON.
const COUNTERS_FORMAT: u32 = 1;

/// What an environment has to remember besides documents, keys and snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Counters {
    format: u32,
    /// The keys that the newest keyset lists: a difference asks for the next version.
    pub(crate) keyset_keys: String,
    /// `iat` of the newest snapshot: tells apart two tokens of one version.
    pub(crate) snapshot_iat: i64,
    /// Newest version of each experiment that was in a snapshot once and is not in the newest.
    pub(crate) xv: BTreeMap<ExperimentKey, u64>,
    /// What the newest status document halts: a difference asks for the next epoch.
    pub(crate) halted: Vec<ExperimentKey>,
    /// Keys that the newest status document revokes.
    pub(crate) revoked: Vec<KeyId>,
    /// Experiments taken away while tokens of theirs may still be alive.
    pub(crate) withdrawn: Withdrawn,
}

impl Counters {
    /// Nothing was handed out yet.
    pub(crate) fn new() -> Self {
        Self {
            format: COUNTERS_FORMAT,
            keyset_keys: String::new(),
            snapshot_iat: 0,
            xv: BTreeMap::new(),
            halted: Vec::new(),
            revoked: Vec::new(),
            withdrawn: Withdrawn::new(),
        }
    }

    /// Reads them from the store.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let counters: Self =
            serde_json::from_str(json).map_err(|error| format!("the counters are unreadable: {error}"))?;
        if counters.format != COUNTERS_FORMAT {
            return Err(format!(
                "the counters have format {}, and this version reads {COUNTERS_FORMAT}: use a newer edgeseal",
                counters.format
            ));
        }
        Ok(counters)
    }

    /// As the store keeps them.
    pub(crate) fn to_json(&self) -> Result<String, ControlError> {
        serde_json::to_string(self).map_err(|_| ControlError::Internal { attempt: "writing the counters" })
    }

    /// Lifts experiments that return above every version that they had before: what they assign may differ.
    pub(crate) fn lift(&self, snapshot: &mut Snapshot, previous: Option<&Snapshot>) {
        if self.xv.is_empty() {
            return;
        }
        let known = |key: &ExperimentKey| {
            previous.is_some_and(|previous| {
                previous.experiments.binary_search_by(|record| record.key.cmp(key)).is_ok()
            })
        };
        for record in &mut snapshot.experiments {
            if let Some(newest) = self.xv.get(&record.key)
                && !known(&record.key)
            {
                record.xv = record.xv.max(newest.saturating_add(1));
            }
        }
    }

    /// Takes note of what leaves the snapshot and of what returns to it.
    pub(crate) fn note(&mut self, previous: Option<&Snapshot>, next: &Snapshot) {
        for record in previous.map(|previous| previous.experiments.as_slice()).unwrap_or_default() {
            if next.experiments.binary_search_by(|other| other.key.cmp(&record.key)).is_err() {
                let newest = self.xv.entry(record.key.clone()).or_default();
                *newest = record.xv.max(*newest);
            }
        }
        if !self.xv.is_empty() {
            for record in &next.experiments {
                self.xv.remove(&record.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::Definition;
    use edgeseal_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn snapshot(keys: &[&str], previous: Option<&Snapshot>) -> Snapshot {
        let experiments: Vec<_> = keys
            .iter()
            .map(|key| json!({ "key": key, "state": "running", "variants": [{ "key": "a" }] }))
            .collect();
        let definition: Definition = serde_json::from_value(json!({ "experiments": experiments })).unwrap();
        definition.build(previous, Timestamp::from_unix_seconds(1_800_000_000)).unwrap()
    }

    #[test]
    fn an_experiment_that_returns_gets_a_version_that_it_never_had() {
        let mut counters = Counters::new();
        let first = snapshot(&["kept", "gone"], None);
        let second = snapshot(&["kept"], Some(&first));
        counters.note(Some(&first), &second);
        let mut third = snapshot(&["kept", "gone"], Some(&second));
        counters.lift(&mut third, Some(&second));
        let versions: Vec<_> = third.experiments.iter().map(|it| (it.key.as_str(), it.xv)).collect();
        assert_eq!(versions, [("gone", 2), ("kept", 1)]);
        counters.note(Some(&second), &third);
        assert!(counters.xv.is_empty(), "the snapshot itself knows it again");
    }

    #[test]
    fn counters_survive_their_json_and_newer_ones_are_refused() {
        let counters = Counters::new();
        let json = counters.to_json().unwrap();
        assert_eq!(Counters::parse(&json), Ok(counters));
        assert!(Counters::parse(&json.replace("\"format\":1", "\"format\":2")).is_err());
        assert!(Counters::parse("{}").is_err());
    }
}
