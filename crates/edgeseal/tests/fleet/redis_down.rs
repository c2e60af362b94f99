//! Redis emptied, stopped, frozen and started again: edges that listen there hear of everything all the same.

use std::time::Duration;

use edgeseal_testkit::servers::Redis;

use crate::api::Api;
use crate::common::within;
use crate::fleet::{Edge, Site, UnderLoad};
use crate::wire::Wire;

/// Edges that have lost Redis ask the control plane every few seconds, and whoever comes back to an empty Redis waits for
/// the next status document.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn whatever_becomes_of_redis_edges_hear_of_every_pause() {
    let mut redis = Redis::start_own();
    let site = Site::sqlite();
    let url = redis.url().to_owned();
    let control = site.control(&["--redis", &url]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let wire = Wire::to(control.port);
    let arguments = ["--redis", url.as_str()];
    let edges = ["edge-1", "edge-2"].map(|name| site.edge(name, wire.url(), &api, &arguments));
    let load = UnderLoad::start(&edges);
    let mut turn = Turn { api: &api, edges: &edges, paused: false };

    wire.cut();
    turn.heard("through Redis alone");
    redis.flush();
    turn.heard("through a Redis that was emptied");
    redis.stop();
    wire.mend();
    turn.heard("without Redis, by polling");
    turn.heard("still without Redis");
    redis.start_again();
    wire.cut();
    turn.heard("through a Redis that has come back empty");
    wire.mend();
    redis.freeze();
    turn.heard("by polling while Redis hangs");
    redis.thaw();
    wire.cut();
    turn.heard("through Redis alone, once it woke up");
    load.finish();
}

/// Another installation by mistake, or somebody who got into Redis: either way edges find documents there that are
/// further on than theirs and properly signed by strangers.
#[test]
fn strangers_in_redis_are_refused_and_the_control_plane_is_asked() {
    let redis = Redis::start_own();
    let (site, other) = (Site::sqlite(), Site::sqlite());
    let arguments = ["--redis", redis.url()];
    let control = site.control(&arguments);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edges = ["edge-1", "edge-2"].map(|name| site.edge(name, &control.url, &api, &arguments));
    let load = UnderLoad::start(&edges);
    let before: Vec<u64> = edges.iter().map(Edge::refusals).collect();

    let stranger = other.control(&arguments);
    for number in 0..6 {
        stranger.api().start_experiment(&format!("foreign-{number}"), 500);
        stranger.api().turn(&format!("foreign-{number}"), "pause");
    }
    for (edge, before) in edges.iter().zip(before) {
        within(HEARD_WITHIN, "the strangers' documents are refused and counted", || edge.refusals() > before);
        assert_eq!(edge.cv(), api.newest_cv());
    }
    let mut turn = Turn { api: &api, edges: &edges, paused: false };
    turn.heard("although strangers are in Redis");
    turn.heard("and again");
    load.finish();
}

/// Pauses and resumes in turn.
struct Turn<'t> {
    api: &'t Api,
    edges: &'t [Edge],
    paused: bool,
}

impl Turn<'_> {
    #[track_caller]
    fn heard(&mut self, when: &str) {
        self.paused = !self.paused;
        self.api.turn("checkout", if self.paused { "pause" } else { "resume" });
        for edge in self.edges {
            within(HEARD_WITHIN, &format!("the change is heard {when}"), || {
                edge.halts("checkout") == self.paused
            });
        }
    }
}
