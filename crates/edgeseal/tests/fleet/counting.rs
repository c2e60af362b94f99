//! Events counted on both backends: whatever order and repetition they come in, through two control planes at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgeseal_control::{Config, Context, Control, MasterKey};
use edgeseal_core::definition::Definition;
use edgeseal_core::events::{AMOUNT_SCALE, EventId, EventRecord, Happening};
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, UnitType, VariantKey};
use edgeseal_core::sealing::SubjectTag;
use edgeseal_store::{EventBatch, Store};
use edgeseal_store_postgres::PostgresStore;
use edgeseal_store_sqlite::SqliteStore;
use edgeseal_testkit::servers::Postgres;
use serde_json::json;

use crate::common::{Dice, Scratch, now};

const UNITS: u64 = 400;
const BUYS: u64 = 5;
const BATCH: usize = 173;

#[test]
fn on_sqlite_every_order_gives_the_same_sums() {
    let scratch = Scratch::new();
    block_on(async {
        counted_once(Arc::new(SqliteStore::open(&scratch.path("edgeseal.db")).await.unwrap())).await;
    });
}

#[test]
fn on_postgres_every_order_gives_the_same_sums() {
    let url = Postgres::shared().create_database();
    block_on(async {
        PostgresStore::migrate(&url).await.unwrap();
        counted_once(Arc::new(PostgresStore::connect(&url).await.unwrap())).await;
    });
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

fn definition(primary: &str) -> Definition {
    serde_json::from_value(json!({
        "experiments": [{
            "key": "e", "state": "running", "variants": [{ "key": "a" }, { "key": "b" }],
            "metrics": { "primary": primary },
        }],
        "metrics": [{ "key": "buys", "kind": "count" }, { "key": "revenue", "kind": "continuous" }],
    }))
    .unwrap()
}

/// Of each unit an exposure, five purchases after it and one before; every tenth unit was seen in two variants.
fn history() -> Vec<EventRecord> {
    let start = now().unix_ms() - 3_600_000;
    let mut events = Vec::new();
    for unit in 0..UNITS {
        let tag = SubjectTag::from_bytes(u128::from(unit).to_be_bytes());
        let mut event = |at_ms: i64, what: Happening| {
            let number = events.len() as u64;
            let id = EventId::parse(&format!("018f0000-0000-7000-8000-{number:012x}")).unwrap();
            let (unit, unit_type) = (Some(tag), UnitType::default());
            events.push(EventRecord { id, at_ms, received_ms: at_ms, unit, unit_type, what });
        };
        let seen = |variant: &str| Happening::Exposure {
            experiment: ExperimentKey::parse("e").unwrap(),
            variant: VariantKey::parse(variant).unwrap(),
            xv: 1,
        };
        let bought = |metric: &str, amount: i128| Happening::Metric {
            metric: MetricKey::parse(metric).unwrap(),
            amount: amount * AMOUNT_SCALE,
        };
        let (own, other) = if unit % 2 == 0 { ("a", "b") } else { ("b", "a") };
        event(start, seen(own));
        event(start - 1, bought("revenue", 1_000));
        for buy in 0..BUYS {
            let at = start + i64::try_from(buy).unwrap();
            event(at, bought("revenue", i128::from(unit)));
            event(at, bought("buys", 1));
        }
        if unit % 10 == 0 {
            event(start + 60_000, seen(other));
        }
    }
    events
}

async fn counted_once(store: Arc<dyn Store>) {
    let production = Environment::default();
    let control = || {
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        Control::new(Config::default(), Arc::clone(&store), master, Vec::new())
    };
    let (one, other) = (control(), control());
    one.create_environment(&Context::system(), &production).await.unwrap();
    one.apply(&production, &Context::system(), &definition("revenue"), true).await.unwrap();
    let allocations = store.allocations(&production, &ExperimentKey::parse("e").unwrap()).await.unwrap();
    assert_eq!(allocations.len(), 1);
    assert_eq!(allocations[0].shares.iter().map(|(_, buckets)| buckets).sum::<u32>(), 1_000_000);

    let events = history();
    let mut arrivals: Vec<EventRecord> = events.iter().chain(events.iter().step_by(3)).cloned().collect();
    let mut dice = Dice::new();
    for place in (1..arrivals.len()).rev() {
        arrivals.swap(place, usize::try_from(dice.below(place as u64 + 1)).unwrap());
    }
    for (round, records) in arrivals.chunks(BATCH).enumerate() {
        let batch = EventBatch { records: records.to_vec(), quarantined: Vec::new() };
        let from = if round % 2 == 0 { &one } else { &other };
        from.ingest(&production, "test", batch).await.unwrap();
        let (here, there) = tokio::join!(one.roll_up(&production), other.roll_up(&production));
        here.unwrap();
        there.unwrap();
    }
    let expected = |factor: &dyn Fn(u64) -> i128| {
        let mut sums = BTreeMap::<&str, (i64, i128, i128)>::new();
        for unit in (0..UNITS).filter(|unit| unit % 10 != 0) {
            let (n, sum, squares) = sums.entry(if unit % 2 == 0 { "a" } else { "b" }).or_default();
            let value = factor(unit);
            (*n, *sum, *squares) = (*n + 1, *sum + value, *squares + value * value);
        }
        sums
    };
    let revenue = expected(&|unit| i128::from(unit * BUYS) * AMOUNT_SCALE);
    assert_eq!(sums(&*store, "revenue", 0).await, revenue);
    let before = expected(&|_| 1_000 * AMOUNT_SCALE);
    assert_eq!(sums(&*store, "revenue", 1).await, before);
    assert_eq!(sums(&*store, "buys", 0).await, BTreeMap::new());

    // Another metric, for the units that are there already.
    other.apply(&production, &Context::system(), &definition("buys"), true).await.unwrap();
    let (here, there) = tokio::join!(one.roll_up(&production), other.roll_up(&production));
    here.unwrap();
    there.unwrap();
    one.roll_up(&production).await.unwrap();
    assert_eq!(sums(&*store, "buys", 0).await, expected(&|_| i128::from(BUYS)));
    assert_eq!(sums(&*store, "revenue", 0).await, BTreeMap::new());
    store.close().await;
}

/// Units, sum and sum of squares of a variable of a metric, by variant; nothing of what came to nothing.
async fn sums(store: &dyn Store, metric: &str, variable: usize) -> BTreeMap<&'static str, (i64, i128, i128)> {
    let squares = [0, 4][variable];
    let stored = store.aggregates(&Environment::default(), None).await.unwrap();
    let ours = stored.iter().filter(|it| {
        it.key.metric.as_ref().is_some_and(|key| key.as_str() == metric) && it.sums != Default::default()
    });
    ours.map(|it| {
        let variant = if it.key.variant.as_str() == "a" { "a" } else { "b" };
        (variant, (it.sums.n, it.sums.sum[variable], it.sums.products[squares]))
    })
    .collect()
}
