//! Edge, control plane and database killed in turns while events come in: every event that was acknowledged is counted,
//! and none of them twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use edgeseal_core::events::{EventId, Happening};
use edgeseal_core::ids::Environment;
use edgeseal_store::{MAX_EVENTS_PAGE, Store};
use edgeseal_store_postgres::PostgresStore;
use edgeseal_store_sqlite::SqliteStore;
use edgeseal_testkit::servers::Postgres;
use reqwest::blocking::Client;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::api::Api;
use crate::common::{Dice, eventually, now, within};
use crate::events_killed::Sender;
use crate::fleet::{Edge, Site};

/// What each client sends: less than is counted of one unit.
const MOST_EVENTS: usize = 15_000;
const BATCH_EVERY: Duration = Duration::from_millis(20);
/// Kills of each part.
const ROUNDS: u32 = 17;
/// Longest time between two kills.
const LONGEST_LIFE_MS: u64 = 400;
const CLIENTS: u64 = 3;
/// What was sent is counted within this, once everything runs again.
const COUNTED_WITHIN: Duration = Duration::from_secs(90);
/// Ids of events that senders do not use.
const OWN_IDS: u64 = 1 << 40;

#[test]
fn on_sqlite_events_are_counted_once_whatever_is_killed() {
    let site = Site::sqlite();
    let database = site.path("edgeseal.db");
    let open = |runtime: &Runtime| -> Arc<dyn Store> {
        Arc::new(runtime.block_on(SqliteStore::open(&database)).unwrap())
    };
    counted_once(&site, None, open);
}

#[test]
fn on_postgres_events_are_counted_once_whatever_is_killed() {
    let mut postgres = Postgres::start_own();
    let url = postgres.create_database();
    let site = Site::on(url.clone());
    let open = |runtime: &Runtime| -> Arc<dyn Store> {
        Arc::new(runtime.block_on(PostgresStore::connect(&url)).unwrap())
    };
    counted_once(&site, Some(&mut postgres), open);
}

fn counted_once(site: &Site, mut postgres: Option<&mut Postgres>, open: impl Fn(&Runtime) -> Arc<dyn Store>) {
    let mut control = site.control(&[]);
    let api = control.api();
    start_experiment(&api);
    let mut edge = site.edge("edge", &control.url, &api, &[]);
    let tokens: Vec<String> = (0..CLIENTS).map(|client| edge.token(&format!("user-{client}"))).collect();
    for (number, token) in (OWN_IDS..).zip(&tokens) {
        expose(&edge, token, number);
    }

    let (stop, ids) = (AtomicBool::new(false), AtomicU64::new(0));
    let url = edge.url();
    let mut clients: Vec<Sender<'_>> = tokens.iter().map(|token| Sender::new(&url, token, &ids)).collect();
    let mut dice = Dice::new();
    let mut kills = 0;
    thread::scope(|scope| {
        let sending: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.send_slowly_until(&stop, BATCH_EVERY, MOST_EVENTS)))
            .collect();
        for _ in 0..ROUNDS {
            let mut rest = || thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            rest();
            edge.kill();
            edge.start_again();
            rest();
            control.kill();
            control.start_again();
            kills += 2;
            if let Some(postgres) = &mut postgres {
                rest();
                postgres.kill();
                postgres.start_again();
                kills += 1;
            }
            assert!(!sending.iter().any(thread::ScopedJoinHandle::is_finished), "a client gave up");
        }
        stop.store(true, Ordering::Relaxed);
    });

    let acknowledged: Vec<EventId> = clients.iter().flat_map(|client| client.acknowledged.clone()).collect();
    let sent: BTreeMap<EventId, i128> = clients.iter().flat_map(|client| client.sent.clone()).collect();
    let runtime = Runtime::new().unwrap();
    within(COUNTED_WITHIN, "the spool is drained", || {
        crate::events_killed::metric(&edge, "edgeseal_event_spool_bytes") == 0.0
    });
    let store = open(&runtime);
    let production = Environment::default();
    within(COUNTED_WITHIN, "everything is counted", || {
        let newest = runtime.block_on(store.newest_event(&production)).unwrap();
        runtime.block_on(store.rolled_up(&production)).unwrap().cursor == newest
    });

    let stored = runtime.block_on(all_events(&*store));
    for id in &acknowledged {
        assert_eq!(stored.get(id), Some(&sent[id]), "{id} was acknowledged");
    }
    let aggregates = runtime.block_on(store.aggregates(&production, None)).unwrap();
    let sum = |metric: Option<&str>| {
        let ours = aggregates.iter().filter(|it| it.key.metric.as_ref().map(|key| key.as_str()) == metric);
        ours.fold((0, 0), |(n, sum), it| (n + it.sums.n, sum + it.sums.sum[0]))
    };
    let units = i64::try_from(CLIENTS).unwrap();
    assert_eq!(sum(None), (units, 0));
    assert_eq!(sum(Some("revenue")), (units, stored.values().sum::<i128>()));
    println!("{kills} kills; {} events acknowledged, {} counted", acknowledged.len(), stored.len());
    assert!(acknowledged.len() > 200, "too few events to mean anything");
}

fn start_experiment(api: &Api) {
    api.post("/metrics", json!({ "key": "revenue", "kind": "continuous" }));
    let variants = json!([{ "key": "control" }, { "key": "treatment" }]);
    api.post(
        "/experiments",
        json!({ "key": "e", "variants": variants, "metrics": { "primary": "revenue" } }),
    );
    api.turn("e", "start");
}

fn expose(edge: &Edge, token: &str, number: u64) {
    let id = format!("018f0000-0000-7000-8000-{number:012x}");
    // A little before everything that is bought.
    let event = json!({ "id": id, "type": "exposure", "ts": now().unix_ms() - 1_000, "experiment": "e" });
    let body = json!({ "token": token, "events": [event] });
    eventually("the exposure is taken", || {
        let answer = Client::new().post(format!("{}/v1/events", edge.url())).json(&body).send().unwrap();
        let taken: serde_json::Value = answer.json().unwrap();
        taken["accepted"] == 1
    });
}

/// Every metric event with its amount.
async fn all_events(store: &dyn Store) -> BTreeMap<EventId, i128> {
    let (mut all, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = store.events_after(&Environment::default(), after, MAX_EVENTS_PAGE).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = last.number;
        for event in page {
            if let Happening::Metric { amount, .. } = event.record.what {
                assert!(all.insert(event.record.id, amount).is_none(), "{} is there twice", event.record.id);
            }
        }
    }
}
