//! PostgreSQL gone for half a minute, and killed while it commits: edges notice nothing, the API says so, and
//! everything goes on afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeseal_core::sealing::STATUS_LIFE_SECONDS;
use edgeseal_testkit::servers::Postgres;
use serde_json::json;

use crate::api::{Call, experiment};
use crate::common::{Dice, eventually};
use crate::fleet::{Site, UnderLoad};
use crate::writer::{Writer, assert_versions_strictly_increase, verified_audit};

/// How often PostgreSQL is killed.
const KILLS: u32 = 6;
/// Longest that it lives in between.
const LONGEST_LIFE_MS: u64 = 1_500;
const DOWN_FOR: Duration = Duration::from_secs(30);

#[test]
fn postgres_gone_for_half_a_minute_is_noticed_by_no_edge() {
    let mut postgres = Postgres::start_own();
    let site = Site::on(postgres.create_database());
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edges = [site.edge("edge-1", &control.url, &api, &[]), site.edge("edge-2", &control.url, &api, &[])];
    let load = UnderLoad::start(&edges);

    postgres.stop();
    let start = Instant::now();
    while start.elapsed() < DOWN_FOR {
        for call in [
            Call::get("/experiments"),
            Call::post("/experiments", experiment("meanwhile", 500)).once("meanwhile"),
            Call::post("/experiments/checkout/pause", json!({})).once("pause"),
        ] {
            let refused = api.ask(call.clone()).unwrap();
            assert_eq!(refused.status, 503, "{call:?}: {refused:?}");
            assert_eq!(refused.content_type, "application/problem+json");
            assert_eq!(refused.body["code"], "unavailable", "{refused:?}");
        }
        assert!(edges.iter().all(|edge| edge.is_ready()), "an edge needs no database");
        thread::sleep(Duration::from_secs(1));
    }
    assert!(control.is_running(), "it waits for its database");
    postgres.start_again();

    eventually("the API answers again", || api.ask(Call::get("/experiments")).unwrap().status == 200);
    // What was refused did not happen; asked again, it does, once.
    let made = api.ask(Call::post("/experiments", experiment("meanwhile", 500)).once("meanwhile")).unwrap();
    assert_eq!((made.status, &made.body["revision"]), (201, &json!(1)), "{made:?}");
    let paused =
        api.ask(Call::post("/experiments/checkout/pause", json!({})).once("pause")).unwrap().expect(200);
    assert_eq!(paused["revision"], 3, "{paused}");
    for edge in &edges {
        eventually("every edge hears of the pause", || edge.halts("checkout"));
    }
    assert_versions_strictly_increase(&verified_audit(&api));
    let history = load.finish();
    assert!(
        history.oldest_status_seconds() < STATUS_LIFE_SECONDS,
        "a status document was {} s old: the control plane stopped signing",
        history.oldest_status_seconds()
    );
}

#[test]
fn postgres_killed_while_committing_loses_nothing_acknowledged() {
    let mut postgres = Postgres::start_own();
    let site = Site::on(postgres.create_database());
    let control = site.control(&[]);
    let api = control.api();
    let edge = site.edge("edge", &control.url, &api, &[]);
    let load = UnderLoad::start([&edge]);

    let mut writer = Writer::new("writer", api.clone());
    let stop = AtomicBool::new(false);
    let mut dice = Dice::new();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_until(&stop));
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            postgres.kill();
            postgres.start_again();
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} revisions, {} repeated requests", writer.revisions(), writer.repeated);
    writer.assert_nothing_lost(&api);
    let versions = assert_versions_strictly_increase(&verified_audit(&api));
    eventually("the edge follows to what is newest", || Some(&edge.cv()) == versions.last());
    load.finish();
}
