//! The network between edges and control plane cut, silent and mended; a control plane that stands still.

use std::thread;
use std::time::Duration;

use crate::common::{eventually, within};
use crate::fleet::{Site, UnderLoad};
use crate::wire::Wire;

/// Once a dead connection has been given up, the next one brings everything at once.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn after_a_cut_an_edge_asks_for_what_it_missed_and_misses_nothing() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let wire = Wire::to(control.port);
    let edge = site.edge("edge", wire.url(), &api, &[]);
    let load = UnderLoad::start([&edge]);

    for round in 0..3 {
        let known = edge.cv();
        wire.cut();
        api.turn("checkout", if round % 2 == 0 { "pause" } else { "resume" });
        api.start_experiment(&format!("meanwhile-{round}"), 500);
        let newest = api.newest_cv();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(edge.cv(), known, "there is no way around the cut");
        wire.mend();
        eventually("the edge has everything", || {
            edge.cv() == newest && edge.halts("checkout") == (round % 2 == 0)
        });
        // It may have polled before it had a stream again; either way it said what it had.
        let asked = wire.asked();
        let said = [format!("last-event-id: {known}"), format!("&cv={known}&")];
        assert!(said.iter().any(|said| asked.contains(said)), "{asked}");
        eventually("it has a stream again", || wire.asked().contains("last-event-id: "));
    }
    load.finish();
}

#[test]
fn a_connection_that_falls_silent_is_given_up() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let wire = Wire::to(control.port);
    let edge = site.edge("edge", wire.url(), &api, &[]);
    let load = UnderLoad::start([&edge]);

    wire.silence();
    api.turn("checkout", "pause");
    thread::sleep(Duration::from_secs(1));
    assert!(!edge.halts("checkout"), "there is no way around the silence");
    // New connections get through; the edge has to notice that the one it has is dead.
    wire.mend();
    within(NOTICED_WITHIN, "the dead stream is given up for a new one", || edge.halts("checkout"));
    load.finish();
}

#[test]
fn a_control_plane_that_stands_still_for_five_seconds_is_hardly_noticed() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edges = [site.edge("edge-1", &control.url, &api, &[]), site.edge("edge-2", &control.url, &api, &[])];
    let load = UnderLoad::start(&edges);

    control.freeze();
    thread::sleep(Duration::from_secs(5));
    control.thaw();
    api.turn("checkout", "pause");
    for edge in &edges {
        eventually("the pause after the standstill is heard", || edge.halts("checkout"));
    }
    let history = load.finish();
    assert!(history.oldest_status_seconds() < 30, "{} s", history.oldest_status_seconds());
}
