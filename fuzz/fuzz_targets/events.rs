//! Any bytes read as a batch of events or are refused; every event is resolved or refused for itself, and what is kept
//! crosses the wire unchanged. Lines of strangers are read or refused as well.
#![no_main]

use edgeseal_core::events::wire::{SpoolRecord, read_lines, write_lines};
use edgeseal_core::events::{
    MAX_BATCH_EVENTS, MAX_DETAIL_BYTES, parse_amount, quarantined, read_batch, resolve, resolve_named,
};
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let received = Timestamp::from_unix_seconds(1_800_000_000);
    let environment = Environment::default();
    let _ = read_lines(data).count();
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_amount(text);
    }
    let Ok(batch) = read_batch(data) else { return };
    assert!(batch.events.len() + batch.repeated <= MAX_BATCH_EVENTS);
    let mut records = Vec::new();
    for event in batch.events {
        let resolved = match event {
            Ok(event) => {
                let _ = resolve(event.clone(), None, received);
                resolve_named(event, &environment, received)
            }
            Err(rejected) => Err(rejected),
        };
        records.push(match resolved {
            Ok(record) => SpoolRecord::Event(record),
            Err(rejected) => SpoolRecord::Quarantined(quarantined(&rejected, received)),
        });
    }
    for record in &records {
        if let SpoolRecord::Quarantined(note) = record {
            assert!(note.about.as_ref().is_none_or(|about| about.len() <= MAX_DETAIL_BYTES));
        }
    }
    let lines = write_lines(&records);
    let back: Result<Vec<_>, _> = read_lines(&lines).collect();
    assert_eq!(back.as_deref(), Ok(records.as_slice()));
});
