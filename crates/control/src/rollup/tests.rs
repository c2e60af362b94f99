//! Whatever order, repetition and division events come in: the sums are those of a count from scratch.

use std::collections::BTreeMap;

use edgeseal_core::events::{AMOUNT_SCALE, DriftCause, EventId, EventRecord, Happening};
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use edgeseal_core::sealing::SubjectTag;
use edgeseal_store::{
    AggregateKey, EventBatch, Events as _, HealthKind, QuarantineFilter, RollUps as _, Sums, UnitRef,
    UnitState,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::contribution::History;
use super::deltas::Deltas;
use super::rules::{Denominator, Rule, Rules, Tally};
use super::{MAX_EVENTS_PER_UNIT, winsor};
use crate::testing::{START, World};

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;

pub(super) fn unit(number: u32) -> UnitRef {
    let mut tag = [0; 16];
    tag[..4].copy_from_slice(&number.to_be_bytes());
    UnitRef { unit_type: UnitType::default(), tag: SubjectTag::from_bytes(tag) }
}

fn event(unit_number: u32, id: u64, at_ms: i64, what: Happening) -> EventRecord {
    let mut bytes = [0; 16];
    (bytes[6], bytes[8]) = (0x70, 0x80);
    bytes[9..].copy_from_slice(&id.to_be_bytes()[1..]);
    let unit = unit(unit_number);
    EventRecord {
        id: EventId::from_bytes(bytes).unwrap(),
        at_ms,
        received_ms: at_ms,
        unit: Some(unit.tag),
        unit_type: unit.unit_type,
        what,
    }
}

pub(super) fn exposure(
    unit: u32,
    id: u64,
    experiment: &str,
    variant: &str,
    xv: u64,
    at_ms: i64,
) -> EventRecord {
    let experiment = ExperimentKey::parse(experiment).unwrap();
    let variant = VariantKey::parse(variant).unwrap();
    event(unit, id, at_ms, Happening::Exposure { experiment, variant, xv })
}

pub(super) fn metric(unit: u32, id: u64, metric: &str, amount: i128, at_ms: i64) -> EventRecord {
    event(unit, id, at_ms, Happening::Metric { metric: MetricKey::parse(metric).unwrap(), amount })
}

fn drift(unit: u32, id: u64, at_ms: i64) -> EventRecord {
    let experiment = ExperimentKey::parse("e").unwrap();
    let cause = DriftCause::Unexplained;
    event(unit, id, at_ms, Happening::Drift { experiment, from: None, to: None, cause })
}

/// What [`file`] says.
pub(super) fn rules() -> Rules {
    let rule = |tally| Rule { window_ms: WEEK_MS, tally, cap: None, denominator: None, winsorize: None };
    let key = |text| MetricKey::parse(text).unwrap();
    let clicks = Denominator { metric: key("clicks"), tally: Tally::Number };
    Rules {
        metrics: BTreeMap::from([
            (key("sale"), rule(Tally::Any)),
            (key("clicks"), rule(Tally::Number)),
            (key("revenue"), rule(Tally::Sum)),
            (key("per-click"), Rule { denominator: Some(clicks), ..rule(Tally::Sum) }),
        ]),
    }
}

/// An experiment that runs, with one metric of each kind.
fn file() -> Value {
    json!({
        "experiments": [{
            "key": "e", "state": "running", "variants": [{ "key": "a" }, { "key": "b" }],
            "metrics": { "primary": "sale", "secondary": ["clicks", "revenue"], "guardrails": ["per-click"] },
        }],
        "metrics": [
            { "key": "sale", "kind": "conversion" },
            { "key": "clicks", "kind": "count" },
            { "key": "revenue", "kind": "continuous" },
            { "key": "per-click", "kind": "ratio", "denominator": "clicks" },
        ],
    })
}

async fn world(file: Value) -> World {
    let world = World::new().await;
    world.apply(file).await;
    world
}

impl World {
    async fn append(&self, records: Vec<EventRecord>) {
        let batch = EventBatch { records, quarantined: Vec::new() };
        self.control.ingest(&self.environment, "test", batch).await.unwrap();
    }

    async fn count(&self) {
        self.control.roll_up(&self.environment).await.unwrap();
    }

    /// What the store holds, without what came to nothing.
    async fn sums(&self) -> BTreeMap<AggregateKey, Sums> {
        let stored = self.store.aggregates(&self.environment, None).await.unwrap();
        let all = stored.into_iter().filter(|it| it.sums != Sums::default());
        all.map(|it| (it.key, it.sums)).collect()
    }

    async fn sum(&self, variant: &str, metric: Option<&str>) -> (i64, i64, i128) {
        let sums = self.sums().await;
        let ours = sums.iter().filter(|(key, _)| {
            key.variant.as_str() == variant && key.metric.as_ref().map(|key| key.as_str()) == metric
        });
        ours.fold((0, 0, 0), |(n, nonzero, sum), (_, it)| (n + it.n, nonzero + it.nonzero, sum + it.sum[0]))
    }

    async fn healthy(&self, kind: HealthKind) -> u64 {
        let counts = self.store.health(&self.environment, 0).await.unwrap();
        counts.iter().filter(|it| it.key.kind == kind).map(|it| it.count).sum()
    }
}

/// The same, from all events at once.
fn from_scratch(events: &[EventRecord], rules: &Rules) -> BTreeMap<AggregateKey, Sums> {
    let mut units = BTreeMap::<u32, BTreeMap<EventId, &EventRecord>>::new();
    for event in events {
        let tag = event.unit.unwrap();
        let number = u32::from_be_bytes(tag.as_bytes()[..4].try_into().unwrap());
        units.entry(number).or_default().insert(event.id, event);
    }
    let mut deltas = Deltas::default();
    for (number, events) in units {
        let history = History::of(events.into_values());
        for experiment in history.experiments() {
            let new = history.contribution(experiment, &unit(number), rules, false);
            deltas.replace(None, new.as_ref()).unwrap();
        }
    }
    deltas.into_vec().into_iter().map(|it| (it.key, it.delta)).collect()
}

/// An exposure's variant and version, or a metric and an amount.
type What = Result<(&'static str, u64), (&'static str, i128)>;

fn histories() -> impl Strategy<Value = Vec<EventRecord>> {
    let at = || 0..(10 * 24_i64);
    let exposed = (0..4_u32, prop::sample::select(vec!["a", "b"]), 1..3_u64, at());
    let measured =
        (0..4_u32, prop::sample::select(vec!["sale", "clicks", "revenue", "per-click"]), 0..50_i128, at());
    let either = prop_oneof![
        1 => exposed.prop_map(|(unit, variant, xv, at)| (unit, What::Ok((variant, xv)), at)),
        3 => measured.prop_map(|(unit, metric, amount, at)| (unit, What::Err((metric, amount)), at)),
    ];
    prop::collection::vec(either, 1..25).prop_map(|all| {
        let start = START * 1_000;
        let record = |(id, (unit, what, at)): (usize, (u32, What, i64))| {
            let (id, at) = (id as u64, start + at * HOUR_MS);
            match what {
                Ok((variant, xv)) => exposure(unit, id, "e", variant, xv, at),
                Err((key, amount)) => metric(unit, id, key, amount * AMOUNT_SCALE, at),
            }
        };
        all.into_iter().enumerate().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_repetition_and_division_make_no_difference(
        (history, arrivals) in histories().prop_flat_map(|history| {
            // Everything arrives, some of it twice, in any order.
            let twice: Vec<EventRecord> = history.iter().step_by(3).cloned().collect();
            let arrivals = history.iter().cloned().chain(twice).collect::<Vec<_>>();
            (Just(history), Just(arrivals).prop_shuffle())
        }),
        sizes in prop::collection::vec(1..8_usize, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let world = world(file()).await;
            let mut rest = arrivals.as_slice();
            for size in sizes.iter().cycle() {
                let (some, others) = rest.split_at((*size).min(rest.len()));
                world.append(some.to_vec()).await;
                world.count().await;
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            world.sums().await
        });
        prop_assert_eq!(found, from_scratch(&history, &rules()));
    }
}

#[tokio::test]
async fn units_in_two_variants_leave_every_sum_and_are_counted() {
    let world = world(file()).await;
    let at = START * 1_000;
    world.append(vec![exposure(1, 1, "e", "a", 1, at), metric(1, 2, "sale", 1, at + 1)]).await;
    world.count().await;
    assert_eq!(world.sum("a", Some("sale")).await, (1, 1, 1));
    world.append(vec![exposure(1, 3, "e", "b", 1, at + 2), drift(1, 4, at + 2)]).await;
    world.count().await;
    assert_eq!(world.sums().await, BTreeMap::new());
    assert_eq!(world.healthy(HealthKind::Exclusions).await, 1);
    assert_eq!(world.healthy(HealthKind::Exposures).await, 1);
    assert_eq!(world.healthy(HealthKind::Drift).await, 1);
    let stored = world.store.contributions(&world.environment, &[unit(1)], None).await.unwrap();
    assert!(stored[0].drifted && stored[0].state == UnitState::Excluded);
    world.count().await;
    assert_eq!(world.healthy(HealthKind::Exclusions).await, 1);
}

#[tokio::test]
async fn other_metrics_are_counted_for_the_units_that_were_there_before() {
    let mut definition = file();
    definition["experiments"][0]["metrics"] = json!({ "primary": "sale" });
    let world = world(definition.clone()).await;
    let at = START * 1_000;
    let mut events = Vec::new();
    for number in 0..600 {
        let variant = if number % 2 == 0 { "a" } else { "b" };
        events.push(exposure(number, u64::from(number) * 3, "e", variant, 1, at));
        events.push(metric(number, u64::from(number) * 3 + 1, "clicks", 1, at + HOUR_MS));
        events.push(metric(number, u64::from(number) * 3 + 2, "clicks", 1, at + 30 * HOUR_MS));
    }
    world.append(events).await;
    world.count().await;
    assert_eq!(world.sum("a", Some("sale")).await, (300, 0, 0));
    assert_eq!(world.sum("a", Some("clicks")).await, (0, 0, 0));

    definition["experiments"][0]["metrics"] = json!({ "primary": "clicks" });
    world.apply(definition.clone()).await;
    world.count().await;
    assert_eq!(world.sum("a", Some("clicks")).await, (300, 300, 600));
    assert_eq!(world.sum("a", Some("sale")).await, (0, 0, 0));

    definition["metrics"][1]["window_hours"] = json!(24);
    world.apply(definition).await;
    world.count().await;
    assert_eq!(world.sum("b", Some("clicks")).await, (300, 300, 300));
    assert_eq!(world.sum("b", None).await, (300, 0, 0));
}

#[tokio::test]
async fn large_values_are_cut_once_enough_are_known() {
    let mut definition = file();
    definition["experiments"][0]["metrics"] = json!({ "primary": "revenue" });
    definition["metrics"][2]["winsorize"] = json!("1%");
    let world = world(definition).await;
    let at = START * 1_000;
    let needed = u32::try_from(winsor::UNITS_NEEDED).unwrap();
    let buys = |number: u32| {
        let id = u64::from(number) * 2;
        [exposure(number, id, "e", "a", 1, at), metric(number, id + 1, "revenue", i128::from(number), at)]
    };
    world.append((1..needed).flat_map(buys).collect()).await;
    world.count().await;
    let all = |most: u32| (1..=i128::from(most)).sum::<i128>();
    assert_eq!(world.sum("a", Some("revenue")).await, (1_999, 1_999, all(1_999)));
    world.append(buys(needed).to_vec()).await;
    world.count().await;
    let cut = all(1_980) + 20 * 1_980;
    assert_eq!(world.sum("a", Some("revenue")).await, (2_000, 2_000, cut));
    world.append(buys(1_000_000).to_vec()).await;
    world.count().await;
    assert_eq!(world.sum("a", Some("revenue")).await, (2_001, 2_001, cut + 1_980));
}

#[tokio::test]
async fn a_unit_that_is_too_busy_is_noted_and_the_others_are_counted() {
    let world = world(file()).await;
    let at = START * 1_000;
    let mut events = vec![exposure(1, 0, "e", "a", 1, at)];
    events.extend((1..u64::from(MAX_EVENTS_PER_UNIT)).map(|id| metric(1, id, "clicks", 1, at)));
    world.store.put_events(&world.environment, events);
    world.append(vec![metric(1, 1_000_000, "clicks", 1, at), exposure(2, 1_000_001, "e", "a", 1, at)]).await;
    world.count().await;
    let counted = i128::from(MAX_EVENTS_PER_UNIT) - 1;
    assert_eq!(world.sum("a", Some("clicks")).await, (2, 1, counted));
    let notes = world.store.quarantine(&world.environment, &QuarantineFilter::default(), 10).await.unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(
        (notes[0].note.code.as_str(), notes[0].note.about.as_deref()),
        ("unit_too_busy", Some("clicks"))
    );
}

#[tokio::test]
async fn two_processes_count_once() {
    let first = world(file()).await;
    let second = World::on(first.store.clone());
    let at = START * 1_000;
    for round in 0..10_u64 {
        let number = u32::try_from(round).unwrap();
        first.append(vec![exposure(number, round * 2, "e", "a", 1, at)]).await;
        second.append(vec![metric(number, round * 2 + 1, "sale", 1, at)]).await;
        let (one, other) = tokio::join!(
            first.control.roll_up(&first.environment),
            second.control.roll_up(&second.environment)
        );
        assert!(one.is_ok() && other.is_ok());
    }
    assert_eq!(first.sum("a", Some("sale")).await, (10, 10, 10));
}

#[tokio::test]
async fn what_was_counted_of_an_experiment_that_is_gone_stays() {
    let world = world(file()).await;
    let at = START * 1_000;
    world.append(vec![exposure(1, 1, "e", "a", 1, at), metric(1, 2, "sale", 1, at)]).await;
    world.count().await;
    let mut without = file();
    without["experiments"] = json!([]);
    world.apply(without).await;
    world.append(vec![metric(1, 3, "clicks", 1, at), exposure(2, 4, "e", "b", 1, at)]).await;
    world.count().await;
    assert_eq!(world.sum("a", Some("sale")).await, (1, 1, 1));
    assert_eq!(world.sum("a", Some("clicks")).await, (1, 0, 0));
    assert_eq!(world.sum("b", None).await, (0, 0, 0));
}
