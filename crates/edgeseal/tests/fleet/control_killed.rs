//! A control plane killed while it publishes, over and over: nothing acknowledged is lost, nothing is half there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeseal_testkit::servers::Postgres;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::common::{Dice, eventually, kid_of};
use crate::fleet::{Edge, Site, UnderLoad};
use crate::writer::{Writer, assert_versions_strictly_increase, root_key, verified_audit, verified_bundle};

/// Kills that there are at least, however slow the machine.
const LEAST_KILLS: u32 = 15;
/// Enough of it, once there were so many.
const FOR: Duration = Duration::from_secs(25);
/// Longest life between two kills.
const LONGEST_LIFE_MS: u64 = 900;

#[test]
fn killed_while_publishing_on_sqlite_it_loses_nothing() {
    killed_while_publishing(&Site::sqlite());
}

#[test]
fn killed_while_publishing_on_postgres_it_loses_nothing() {
    let postgres = Postgres::start();
    killed_while_publishing(&Site::on(postgres.create_database()));
}

fn killed_while_publishing(site: &Site) {
    let mut control = site.control(&[]);
    let api = control.api();
    let root = root_key(&api);
    let reader = Api::new(&control.url, &api.new_token("reader", "edge").1);
    let edge = site.edge("edge", &control.url, &api, &[]);
    let load = UnderLoad::start([&edge]);

    let mut writer = Writer::new("writer", api.clone());
    let stop = AtomicBool::new(false);
    let mut dice = Dice::new();
    let (mut kills, mut newest) = (0, 0);
    let start = Instant::now();
    thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_until(&stop));
        while (kills < LEAST_KILLS || start.elapsed() < FOR) && !writing.is_finished() {
            thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            control.kill();
            kills += 1;
            control.start_again();
            // Whatever it was doing: what it hands out is whole, and not older than before.
            let (_, status) = verified_bundle(&bundle(&reader), &root);
            assert!(status.cv >= newest, "{} after {newest}", status.cv);
            newest = status.cv;
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{kills} kills, {} revisions, {} repeated requests", writer.revisions(), writer.repeated);
    assert!(kills >= LEAST_KILLS);
    assert!(writer.repeated > 0, "no kill ever met a request");

    writer.assert_nothing_lost(&api);
    let versions = assert_versions_strictly_increase(&verified_audit(&api));
    assert!(versions.len() > kills as usize, "hardly anything was published: {versions:?}");
    assert_eq!(versions.last(), Some(&api.newest_cv()), "the newest version is the last that was published");
    let (snapshot, status) = verified_bundle(&bundle(&reader), &root);
    writer.assert_published(&snapshot);
    follows(&edge, status.cv, status.ep);
    let history = load.finish();
    assert!(history.versions > 10, "the edge saw {} versions", history.versions);
    // The very key that was trusted in the beginning: no kill made the edge begin anew.
    assert_eq!(kid_of(edge.get("/v1/keyset").text().unwrap().as_str()), root.kid().as_str());
}

/// Everything that an edge gets that has nothing yet.
fn bundle(reader: &Api) -> Value {
    reader.ask(Call::get("/edge/bundle")).unwrap().expect(200)
}

fn follows(edge: &Edge, cv: u64, ep: u64) {
    eventually("the edge follows to what is newest", || {
        edge.cv() == cv && edge.status()["ep"].as_u64() == Some(ep)
    });
}
