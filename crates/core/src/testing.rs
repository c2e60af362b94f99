//! Short ways to a ruleset, for the unit tests of this crate.

use serde_json::Value;

use crate::definition::Definition;
use crate::ruleset::Ruleset;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

pub(crate) fn definition(json: Value) -> Definition {
    serde_json::from_value(json).expect("a well-formed definition")
}

pub(crate) fn snapshot(json: Value) -> Snapshot {
    definition(json).build(None, NOW).expect("a definition that builds")
}

pub(crate) fn ruleset(json: Value) -> Ruleset {
    snapshot(json).compile().expect("a snapshot that compiles")
}
