//! What the status document halts: experiments whose tokens may still lie in caches although nobody should show them.

use std::collections::{BTreeMap, BTreeSet};

use edgeseal_core::ids::ExperimentKey;
use edgeseal_core::sealing::{CLOCK_SKEW_SECONDS, MAX_TOKEN_LIFE_SECONDS};
use edgeseal_core::snapshot::{ExperimentRecord, ExperimentState, Snapshot};
use edgeseal_core::time::Timestamp;

/// Experiments that were removed or went back to draft, and until when (seconds since the Unix epoch) a token of
/// theirs may be alive.
pub(super) type Withdrawn = BTreeMap<ExperimentKey, i64>;

/// Takes note of what `new` no longer serves and `old` did.
pub(super) fn withdraw(withdrawn: &mut Withdrawn, old: Option<&Snapshot>, new: &Snapshot, now: Timestamp) {
    let served = |snapshot: &Snapshot| -> BTreeSet<ExperimentKey> {
        snapshot.experiments.iter().filter(|record| serves(record)).map(|record| record.key.clone()).collect()
    };
    let serving = served(new);
    withdrawn.retain(|key, _| !serving.contains(key));
    let listed: BTreeSet<&ExperimentKey> =
        new.experiments.iter().filter(|record| is_off(record)).map(|record| &record.key).collect();
    let until = now.plus_seconds(MAX_TOKEN_LIFE_SECONDS + CLOCK_SKEW_SECONDS).unix_seconds();
    for key in old.map(served).unwrap_or_default() {
        if !serving.contains(&key) && !listed.contains(&key) {
            withdrawn.entry(key).or_insert(until);
        }
    }
}

/// The `off` of a status document.
pub(super) fn off(snapshot: &Snapshot, withdrawn: &mut Withdrawn, now: Timestamp) -> BTreeSet<ExperimentKey> {
    withdrawn.retain(|_, until| *until > now.unix_seconds());
    let halted = snapshot.experiments.iter().filter(|record| is_off(record)).map(|record| record.key.clone());
    halted.chain(withdrawn.keys().cloned()).collect()
}

fn is_off(record: &ExperimentRecord) -> bool {
    match record.state {
        ExperimentState::Paused => true,
        ExperimentState::Stopped => record.winner.is_none(),
        // A draft that never ran has no tokens, and its key is nobody's business yet.
        ExperimentState::Draft | ExperimentState::Running => false,
    }
}

fn serves(record: &ExperimentRecord) -> bool {
    match record.state {
        ExperimentState::Running => true,
        ExperimentState::Stopped => record.winner.is_some(),
        ExperimentState::Draft | ExperimentState::Paused => false,
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::Definition;
    use serde_json::json;

    use super::*;

    const HOUR: i64 = MAX_TOKEN_LIFE_SECONDS + CLOCK_SKEW_SECONDS;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    fn snapshot(experiments: &[(&str, &str, Option<&str>)]) -> Snapshot {
        let experiments: Vec<_> = experiments
            .iter()
            .map(|(key, state, winner)| {
                let mut experiment =
                    json!({ "key": key, "state": state, "variants": [{ "key": "a" }, { "key": "b" }] });
                if let Some(winner) = winner {
                    experiment["winner"] = json!(winner);
                }
                experiment
            })
            .collect();
        let definition: Definition = serde_json::from_value(json!({ "experiments": experiments })).unwrap();
        definition.build(None, at(0)).unwrap()
    }

    fn keys(off: BTreeSet<ExperimentKey>) -> Vec<String> {
        off.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paused_and_stopped_are_off_but_winners_and_drafts_are_not() {
        let snapshot = snapshot(&[
            ("draft", "draft", None),
            ("paused", "paused", None),
            ("running", "running", None),
            ("stopped", "stopped", None),
            ("won", "stopped", Some("a")),
        ]);
        assert_eq!(keys(off(&snapshot, &mut Withdrawn::new(), at(0))), ["paused", "stopped"]);
    }

    #[test]
    fn what_was_removed_stays_off_until_its_last_token_is_dead() {
        let (old, new) = (
            snapshot(&[("gone", "running", None), ("kept", "running", None)]),
            snapshot(&[("kept", "running", None)]),
        );
        let mut withdrawn = Withdrawn::new();
        withdraw(&mut withdrawn, Some(&old), &new, at(0));
        assert_eq!(keys(off(&new, &mut withdrawn, at(HOUR - 1))), ["gone"]);
        assert!(off(&new, &mut withdrawn, at(HOUR)).is_empty());
    }

    #[test]
    fn back_to_draft_counts_as_withdrawn_and_running_again_ends_it() {
        let (running, draft) = (snapshot(&[("e", "running", None)]), snapshot(&[("e", "draft", None)]));
        let mut withdrawn = Withdrawn::new();
        withdraw(&mut withdrawn, Some(&running), &draft, at(0));
        assert_eq!(keys(off(&draft, &mut withdrawn, at(1))), ["e"]);
        withdraw(&mut withdrawn, Some(&draft), &running, at(2));
        assert!(off(&running, &mut withdrawn, at(3)).is_empty());
    }
}
