//! What the status document halts: experiments whose tokens may still lie in caches although nobody should show them.

use std::collections::{BTreeMap, BTreeSet};

use edgeseal_core::ids::ExperimentKey;
use edgeseal_core::sealing::{CLOCK_SKEW_SECONDS, MAX_TOKEN_LIFE_SECONDS};
use edgeseal_core::snapshot::{ExperimentRecord, ExperimentState, Snapshot};
use edgeseal_core::time::Timestamp;

/// Experiments that were removed or went back to draft, and until when (seconds since the Unix epoch) they stay halted.
pub(crate) type Withdrawn = BTreeMap<ExperimentKey, i64>;

/// How long: twice the longest life of a token, so that a clock that is an hour ahead does not end it too early.
const WITHDRAWN_SECONDS: i64 = 2 * (MAX_TOKEN_LIFE_SECONDS + CLOCK_SKEW_SECONDS);

/// Takes note of what `new` no longer serves nor halts, and `old` did.
pub(crate) fn withdraw(withdrawn: &mut Withdrawn, old: Option<&Snapshot>, new: &Snapshot, now: Timestamp) {
    let (serving, halted) = (keys_where(new, serves), keys_where(new, is_off));
    withdrawn.retain(|key, _| !serving.contains(key) && !halted.contains(key));
    let until = now.plus_seconds(WITHDRAWN_SECONDS).unix_seconds();
    // What was halted counts as well: it may have been halted a moment ago, while its tokens were fresh.
    let before = old.map(|old| old.experiments.as_slice()).unwrap_or_default();
    for record in before.iter().filter(|record| serves(record) || is_off(record)) {
        if !serving.contains(&record.key) && !halted.contains(&record.key) {
            withdrawn.entry(record.key.clone()).or_insert(until);
        }
    }
}

/// Forgets what no token can be alive of any more; `true` when something was forgotten.
pub(crate) fn expire(withdrawn: &mut Withdrawn, now: Timestamp) -> bool {
    let before = withdrawn.len();
    withdrawn.retain(|_, until| *until > now.unix_seconds());
    withdrawn.len() != before
}

/// The `off` of a status document.
pub(crate) fn off(snapshot: &Snapshot, withdrawn: &Withdrawn) -> BTreeSet<ExperimentKey> {
    let halted = snapshot.experiments.iter().filter(|record| is_off(record)).map(|record| record.key.clone());
    halted.chain(withdrawn.keys().cloned()).collect()
}

fn keys_where(snapshot: &Snapshot, is: fn(&ExperimentRecord) -> bool) -> BTreeSet<&ExperimentKey> {
    snapshot.experiments.iter().filter(|record| is(record)).map(|record| &record.key).collect()
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
        assert_eq!(keys(off(&snapshot, &Withdrawn::new())), ["paused", "stopped"]);
    }

    #[test]
    fn what_was_removed_stays_off_until_its_last_token_is_dead() {
        let old = snapshot(&[("gone", "running", None), ("kept", "running", None)]);
        let new = snapshot(&[("kept", "running", None)]);
        let mut withdrawn = Withdrawn::new();
        withdraw(&mut withdrawn, Some(&old), &new, at(0));
        assert!(!expire(&mut withdrawn, at(WITHDRAWN_SECONDS - 1)));
        assert_eq!(keys(off(&new, &withdrawn)), ["gone"]);
        assert!(expire(&mut withdrawn, at(WITHDRAWN_SECONDS)));
        assert!(off(&new, &withdrawn).is_empty());
    }

    #[test]
    fn removing_what_was_paused_a_moment_ago_does_not_bring_its_tokens_back() {
        let (paused, removed) = (snapshot(&[("e", "paused", None)]), snapshot(&[]));
        let mut withdrawn = Withdrawn::new();
        withdraw(&mut withdrawn, Some(&paused), &removed, at(0));
        assert_eq!(keys(off(&removed, &withdrawn)), ["e"]);
    }

    #[test]
    fn back_to_draft_counts_as_withdrawn_and_running_again_ends_it() {
        let (running, draft) = (snapshot(&[("e", "running", None)]), snapshot(&[("e", "draft", None)]));
        let mut withdrawn = Withdrawn::new();
        withdraw(&mut withdrawn, Some(&running), &draft, at(0));
        assert_eq!(keys(off(&draft, &withdrawn)), ["e"]);
        withdraw(&mut withdrawn, Some(&draft), &running, at(2));
        assert!(off(&running, &withdrawn).is_empty());
    }
}
