//! An edge whose token is revoked: it goes on serving, says what is wrong, and recovers with another token.

use crate::common::eventually;
use crate::fleet::{Site, UnderLoad, write_secret};

#[test]
fn a_revoked_edge_serves_on_and_recovers_with_a_new_token() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edge = site.edge("edge", &control.url, &api, &[]);
    let load = UnderLoad::start([&edge]);
    let before = edge.log().len();

    let ended = api.ask(crate::api::Call::delete(&format!("/tokens/{}", edge.token_id))).unwrap();
    assert_eq!(ended.status, 204, "{ended:?}");
    eventually("the edge says what is wrong", || {
        let log = edge.log()[before..].to_lowercase();
        log.contains("token") && (log.contains("refused") || log.contains("revoked") || log.contains("401"))
    });
    // Its stream has ended: what happens now does not reach it any more.
    api.turn("checkout", "pause");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!edge.halts("checkout"), "a revoked token still reads");

    let (_, token) = api.new_token("edge-anew", "edge");
    write_secret(&edge.token_file, &token);
    eventually("the new token is found without a restart", || edge.halts("checkout"));
    assert!(!edge.log().contains(token.as_str()), "the token is in the log");
    load.finish();
}
