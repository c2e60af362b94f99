//! Counters that must never go backwards, kept on disk: clients refuse whatever is older than what they have seen.
//!
//! A counter is written here *before* anything that carries it is handed out.

use std::collections::BTreeMap;

use edgeseal_core::ids::ExperimentKey;
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::halts::Withdrawn;
use crate::data_dir::{DataDir, file};
use crate::exit::Outcome;

/// Version of `state.json`.
const STATE_FORMAT: u32 = 1;

/// Everything that outlives a restart besides keys and snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct State {
    format: u32,
    /// Newest snapshot version that may have been handed out, `cv`.
    pub(super) cv: u64,
    /// Newest status epoch, `ep`.
    pub(super) ep: u64,
    /// Newest keyset version, `ver`.
    pub(super) keyset_ver: u64,
    /// The keys that the keyset of that version lists: a difference asks for the next version.
    pub(super) keyset_keys: String,
    /// Newest version of each experiment, `xv`.
    pub(super) xv: BTreeMap<ExperimentKey, u64>,
    /// What the status document of `ep` said: a difference asks for the next epoch.
    pub(super) halted: Vec<ExperimentKey>,
    /// Kids that the status document of `ep` revoked.
    pub(super) revoked: Vec<String>,
    /// Experiments taken away while tokens of theirs may still be alive.
    pub(super) withdrawn: Withdrawn,
}

impl State {
    /// Nothing was handed out yet.
    fn new() -> Self {
        Self {
            format: STATE_FORMAT,
            cv: 0,
            ep: 0,
            keyset_ver: 0,
            keyset_keys: String::new(),
            xv: BTreeMap::new(),
            halted: Vec::new(),
            revoked: Vec::new(),
            withdrawn: Withdrawn::default(),
        }
    }

    /// Nobody knows any more what was handed out: the time in seconds is ahead of any counter that counted changes.
    fn lost(now: Timestamp) -> Self {
        let ahead = u64::try_from(now.unix_seconds()).unwrap_or(0);
        Self { cv: ahead, ep: ahead, keyset_ver: ahead, ..Self::new() }
    }

    /// Reads the state; a damaged or missing one is replaced by counters that are ahead of all that came before.
    pub(super) fn load(data_dir: &DataDir, first_start: bool, now: Timestamp) -> Outcome<Self> {
        if first_start {
            return Ok(Self::new());
        }
        let path = data_dir.path_of(file::STATE);
        let Some(bytes) = data_dir.read(file::STATE)? else {
            tracing::warn!(path = %path.display(), "the counters are missing; they jump ahead to the present time");
            return Ok(Self::lost(now));
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(state) if state.format == STATE_FORMAT => Ok(state),
            Ok(state) => {
                tracing::error!(path = %path.display(), format = state.format, "unknown format; counters jump ahead");
                Ok(Self::lost(now))
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the counters are damaged; they jump ahead");
                Ok(Self::lost(now))
            }
        }
    }

    pub(super) fn save(&self, data_dir: &DataDir) -> Outcome<()> {
        let text = serde_json::to_string_pretty(self).map_err(anyhow::Error::from)?;
        data_dir.write(file::STATE, format!("{text}\n").as_bytes(), 0o600)
    }

    /// Lifts the versions of a new snapshot above everything that may have been handed out.
    ///
    /// `follows_newest`: it was built on the very snapshot that was handed out last. If not, its allocations may differ
    /// from the handed out ones under the same version, so every experiment gets a new one.
    pub(super) fn lift(&self, snapshot: &mut Snapshot, follows_newest: bool) {
        for record in &mut snapshot.experiments {
            let newest = self.xv.get(&record.key).copied().unwrap_or(0);
            let floor = if follows_newest { newest } else { newest.saturating_add(1) };
            record.xv = record.xv.max(floor);
        }
        if !follows_newest {
            snapshot.cv = snapshot.cv.max(self.cv.saturating_add(1));
        }
    }

    /// Takes note of a snapshot that is about to be handed out.
    pub(super) fn note(&mut self, snapshot: &Snapshot) {
        self.cv = self.cv.max(snapshot.cv);
        for record in &snapshot.experiments {
            let newest = self.xv.entry(record.key.clone()).or_default();
            *newest = record.xv.max(*newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::Definition;

    use super::*;

    fn snapshot() -> Snapshot {
        let definition: Definition = serde_json::from_value(serde_json::json!({
            "experiments": [{ "key": "checkout", "variants": [{ "key": "a" }, { "key": "b" }] }]
        }))
        .unwrap();
        definition.build(None, Timestamp::from_unix_seconds(1_800_000_000)).unwrap()
    }

    #[test]
    fn a_snapshot_built_on_the_newest_keeps_its_versions() {
        let (mut state, mut snapshot) = (State::new(), snapshot());
        state.note(&snapshot);
        let before = snapshot.clone();
        state.lift(&mut snapshot, true);
        assert_eq!(snapshot, before);
    }

    #[test]
    fn a_snapshot_built_on_an_older_one_goes_above_what_was_handed_out() {
        let (mut state, mut snapshot) = (State::new(), snapshot());
        state.note(&snapshot);
        state.cv = 7;
        state.lift(&mut snapshot, false);
        assert_eq!((snapshot.cv, snapshot.experiments[0].xv), (8, 2));
    }

    #[test]
    fn lost_counters_are_ahead_of_any_that_counted_changes() {
        let state = State::lost(Timestamp::from_unix_seconds(1_800_000_000));
        assert!(state.cv > 1_000_000_000 && state.ep > 1_000_000_000 && state.keyset_ver > 1_000_000_000);
    }
}
