//! Any JSON that reads as a snapshot or a definition compiles or is refused, and evaluates for everyone.
#![no_main]

use edgeseal_core::attributes::Attributes;
use edgeseal_core::definition::Definition;
use edgeseal_core::evaluate::{Forced, Request, evaluate};
use edgeseal_core::ids::UnitId;
use edgeseal_core::ruleset::Halts;
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    if let Ok(definition) = serde_json::from_slice::<Definition>(data)
        && let Ok(snapshot) = definition.build(None, now)
    {
        // What was built compiles, and building it again changes nothing.
        assert_eq!(definition.build(Some(&snapshot), now).as_ref(), Ok(&snapshot));
        evaluate_everything(&snapshot);
    }
    if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(data) {
        evaluate_everything(&snapshot);
    }
});

fn evaluate_everything(snapshot: &Snapshot) {
    let Ok(ruleset) = snapshot.compile() else { return };
    let attributes = Attributes::parse(br#"{"country":"de","n":1,"tags":["a"]}"#).expect("attributes");
    for unit in ["1", "user-1", "用户"] {
        let unit = UnitId::parse(unit).expect("a unit id");
        let request = Request { unit, attributes: &attributes, forced: Forced::none(), previous: None };
        for experiment in ruleset.experiments() {
            let _ = evaluate(&ruleset, &Halts::none(), experiment, &request);
        }
    }
}
