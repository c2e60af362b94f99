//! Events as clients and edges send them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use edgeseal_core::events::wire::{SpoolRecord, write_lines};
use edgeseal_core::events::{EventId, EventRecord, Happening};
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, UnitId, UnitType, VariantKey};
use edgeseal_core::sealing::SubjectTag;
use serde_json::{Value, json};

use super::{AMOUNT, CONVERSION, EXPERIMENT};

pub(super) fn now_ms() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// An id for the event of that number; in the order of numbers only roughly, as with real clients.
pub(super) fn id(number: u64) -> anyhow::Result<EventId> {
    let scattered =
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&(1_800_000_000_000 + number / 40).to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[7] = number as u8;
    bytes[8..].copy_from_slice(&scattered.to_be_bytes());
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    EventId::from_bytes(bytes).context("no id")
}

/// What a client sends with its token: an exposure and `events - 1` metrics.
pub(super) fn batch(token: &str, first: u64, events: u64) -> anyhow::Result<Vec<u8>> {
    let now = now_ms()?;
    let list = (first..first + events).map(|number| {
        let id = id(number)?.to_string();
        Ok(match number - first {
            0 => json!({ "id": id, "type": "exposure", "ts": now - 1, "experiment": EXPERIMENT }),
            n if n % 2 == 0 => {
                json!({ "id": id, "type": "metric", "ts": now, "metric": CONVERSION, "value": 1 })
            }
            n => json!({ "id": id, "type": "metric", "ts": now, "metric": AMOUNT, "value": n as f64 + 0.99 }),
        })
    });
    let list = list.collect::<anyhow::Result<Vec<Value>>>()?;
    Ok(serde_json::to_vec(&json!({ "token": token, "events": list }))?)
}

/// What an edge delivers: the records of `units`, each with its variant and whether it converted, in an experiment with
/// a metric and a unit type.
pub(super) fn delivery(
    [experiment, metric, unit_type]: [&str; 3],
    first: u64,
    units: impl Iterator<Item = (String, &'static str, bool)>,
) -> anyhow::Result<Vec<u8>> {
    let at_ms = now_ms()?;
    let unit_type = UnitType::parse(unit_type)?;
    let mut number = first;
    let mut records = Vec::new();
    for (unit, variant, converted) in units {
        let tag = SubjectTag::of(&Environment::default(), &unit_type, UnitId::parse(&unit)?);
        let mut record = |what| -> anyhow::Result<()> {
            number += 1;
            let (id, unit_type) = (id(number)?, unit_type.clone());
            let record = EventRecord { id, at_ms, received_ms: at_ms, unit: Some(tag), unit_type, what };
            records.push(SpoolRecord::Event(record));
            Ok(())
        };
        record(Happening::Exposure {
            experiment: ExperimentKey::parse(experiment)?,
            variant: VariantKey::parse(variant)?,
            xv: 1,
        })?;
        if converted {
            record(Happening::Metric { metric: MetricKey::parse(metric)?, amount: 1_000_000 })?;
        }
    }
    Ok(write_lines(&records))
}
