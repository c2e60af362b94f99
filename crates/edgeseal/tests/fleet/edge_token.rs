//! An edge whose token is revoked: it goes on serving, says what is wrong, and recovers with another token.

use std::thread;
use std::time::Duration;

use crate::api::Call;
use crate::common::{eventually, within};
use crate::fleet::{Site, UnderLoad, write_secret};

/// A refused token is not tried again at once.
const RECOVERED_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn a_revoked_edge_serves_on_and_recovers_with_a_new_token() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edge = site.edge("edge", &control.url, &api, &[]);
    let load = UnderLoad::start([&edge]);
    let before = edge.log().len();

    let ended = api.ask(Call::delete(&format!("/tokens/{}", edge.token_id))).unwrap();
    assert_eq!(ended.status, 204, "{ended:?}");
    eventually("the edge says what is wrong", || {
        let log = edge.log()[before..].to_lowercase();
        log.contains("token") && (log.contains("refused") || log.contains("revoked") || log.contains("401"))
    });
    // Its stream has ended: what happens now does not reach it any more.
    api.turn("checkout", "pause");
    thread::sleep(Duration::from_secs(2));
    assert!(!edge.halts("checkout"), "a revoked token still reads");

    let (_, token) = api.new_token("edge-anew", "edge");
    write_secret(&edge.token_file, &token);
    within(RECOVERED_WITHIN, "the new token is found without a restart", || edge.halts("checkout"));
    assert!(!edge.log().contains(token.as_str()), "the token is in the log");
    load.finish();
}
