//! Redis emptied, stopped, frozen and started again: edges that listen there hear of everything all the same.

use std::time::Duration;

use edgeseal_testkit::servers::Redis;

use crate::api::Api;
use crate::common::within;
use crate::fleet::{Edge, Site, UnderLoad};

/// Edges that have lost Redis ask the control plane every few seconds.
const BY_POLLING: Duration = Duration::from_secs(15);

#[test]
fn whatever_becomes_of_redis_edges_hear_of_every_pause() {
    let mut redis = Redis::start_own();
    let site = Site::sqlite();
    let url = redis.url().to_owned();
    let control = site.control(&["--redis", &url]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let arguments = ["--redis", url.as_str()];
    let edges = [
        site.edge("edge-1", &control.url, &api, &arguments),
        site.edge("edge-2", &control.url, &api, &arguments),
    ];
    let load = UnderLoad::start(&edges);
    let mut turn = Turn { api: &api, edges: &edges, paused: false };

    turn.heard("with Redis as it should be");
    redis.flush();
    turn.heard("after FLUSHALL");
    turn.heard("and again, from what was announced since");
    redis.stop();
    turn.heard("without Redis, by polling");
    turn.heard("still without Redis");
    redis.start_again();
    turn.heard("with an empty Redis that has just come back");
    redis.freeze();
    turn.heard("while Redis hangs");
    redis.thaw();
    turn.heard("after it woke up");
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
            within(BY_POLLING, &format!("the change is heard {when}"), || {
                edge.halts("checkout") == self.paused
            });
        }
    }
}
