//! Two, then three control planes on one database, all publishing at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use edgeseal_testkit::servers::Postgres;

use crate::api::{Call, experiment};
use crate::common::{claims_of, eventually};
use crate::fleet::{Control, Edge, Site, UnderLoad};
use crate::writer::{Writer, assert_versions_strictly_increase, verified_audit};

/// How long each number of control planes publishes.
const FOR: Duration = Duration::from_secs(6);

#[test]
fn several_control_planes_publish_at_once_and_lose_nothing() {
    let postgres = Postgres::start();
    let site = Site::on(postgres.create_database());
    let first = site.control(&[]);
    let second = site.control(&[]);
    let api = first.api();
    // The one edge hears from the first control plane, the other from the second.
    let edges = [site.edge("edge-1", &first.url, &api, &[]), site.edge("edge-2", &second.url, &api, &[])];
    let load = UnderLoad::start(&edges);

    let mut writers = vec![writer("first", &first), writer("second", &second)];
    publish(&mut writers);
    let third = site.control(&[]);
    writers.push(writer("third", &third));
    publish(&mut writers);

    // Sent to one and, for want of an answer, again to another: carried out once.
    let once = |control: &Control| {
        let call = Call::post("/experiments", experiment("once", 500)).once("the-same");
        control.api().ask(call).unwrap().expect(201)
    };
    assert_eq!(once(&first), once(&second));

    for (writer, control) in writers.iter().zip([&second, &third, &first]) {
        println!("{} revisions, {} repeated requests", writer.revisions(), writer.repeated);
        assert!(writer.revisions() > 5, "a control plane came to nothing");
        // Whichever is asked, everything is there.
        writer.assert_nothing_lost(&control.api());
    }
    let versions = assert_versions_strictly_increase(&verified_audit(&api));
    let newest = *versions.last().unwrap();
    for control in [&first, &second, &third] {
        assert_eq!(control.api().newest_cv(), newest);
    }
    converge(&edges, newest);
    load.finish();
}

fn writer(name: &str, control: &Control) -> Writer {
    Writer::new(name, control.api())
}

fn publish(writers: &mut [Writer]) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in writers {
            scope.spawn(|| writer.write_until(&stop));
        }
        thread::sleep(FOR);
        stop.store(true, Ordering::Relaxed);
    });
}

fn converge(edges: &[Edge], newest: u64) {
    for edge in edges {
        eventually("every edge has the newest version", || edge.cv() == newest);
    }
    let assigned: Vec<_> = edges.iter().map(|edge| edge.token("somebody")).collect();
    let same = |token: &String| claims_of(token).unwrap()["a"].clone();
    assert_eq!(same(&assigned[0]), same(&assigned[1]));
}
