//! Keys rotated and revoked while three edges are under load: whoever verifies as an SDK does never sees a bad token.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{Expected, Keyset, PublicKey, Status, SubjectTag, verify_assignment};
use serde_json::{Value, json};

use crate::api::Api;
use crate::common::{eventually, kid_of, now};
use crate::fleet::{Edge, Site, UnderLoad};
use crate::writer::root_key;

const KEYSET_SECONDS: u64 = 2;
/// A client refreshes its keyset when that ends, not before.
const KEYSET_KEPT_FOR: Duration = Duration::from_millis(1_900);
/// Two lifetimes, as the state machine asks: forcing skips its skew allowance of a minute, not the wait.
const PUBLISHED_FOR: Duration = Duration::from_secs(2 * KEYSET_SECONDS);
/// Until no client has a keyset of before.
const SETTLED: Duration = Duration::from_millis(KEYSET_SECONDS * 1_000 + 500);

#[test]
fn rotations_that_respect_the_waits_fail_no_verification() {
    let site = Site::sqlite();
    let seconds = KEYSET_SECONDS.to_string();
    let control = site.control(&["--keyset-lifetime-seconds", &seconds]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let edges = ["edge-1", "edge-2", "edge-3"].map(|name| site.edge(name, &control.url, &api, &[]));
    let root = root_key(&api);
    let load = UnderLoad::start(&edges);
    let (done, verified) = (AtomicBool::new(false), AtomicU64::new(0));
    let first = kid_of(&edges[0].token("somebody"));

    thread::scope(|scope| {
        for edge in &edges {
            scope.spawn(|| verify_until(edge, root, &done, &verified));
        }
        let new = step(&api, "rotate", json!({ "use": "edge" }), "published");
        // A step out of turn is refused, not taken.
        let early = api.ask(crate::api::Call::post("/keys/rotate", json!({ "use": "edge" }))).unwrap();
        assert_eq!(early.status, 409, "{early:?}");
        thread::sleep(PUBLISHED_FOR);
        step(&api, "rotate", json!({ "use": "edge", "force": true }), "activated");
        for edge in &edges {
            eventually("every edge signs with the new key", || kid_of(&edge.token("somebody")) == new);
        }
        thread::sleep(SETTLED);
        api.post("/keys/revoke", json!({ "kid": first }));
        for edge in &edges {
            eventually("every edge tells of the revocation", || revokes(edge, &first));
        }
        thread::sleep(SETTLED);

        let control_key = step(&api, "rotate", json!({ "use": "control" }), "published");
        thread::sleep(PUBLISHED_FOR);
        step(&api, "rotate", json!({ "use": "control", "force": true }), "activated");
        for edge in &edges {
            eventually("every edge has a status document by the new control key", || {
                kid_of(&edge.get("/v1/status").text().unwrap()) == control_key
            });
        }
        thread::sleep(SETTLED);
        done.store(true, Ordering::Relaxed);
    });
    assert!(verified.load(Ordering::Relaxed) > 300, "{verified:?} answers were verified");
    load.finish();
}

fn step(api: &Api, verb: &str, body: Value, expected: &str) -> String {
    let step = api.post(&format!("/keys/{verb}"), body);
    assert_eq!(step["step"], expected, "{step}");
    step["kid"].as_str().unwrap().to_owned()
}

fn revokes(edge: &Edge, kid: &str) -> bool {
    edge.status()["rev"].as_array().unwrap().iter().any(|revoked| revoked == kid)
}

/// One client after another asks `edge` and verifies the answer, as an SDK does.
fn verify_until(edge: &Edge, root: PublicKey, done: &AtomicBool, verified: &AtomicU64) {
    let (production, user) = (Environment::parse("production").unwrap(), UnitType::parse("user").unwrap());
    let text = |path: &str| edge.get(path).text().unwrap();
    let mut held: Option<(Keyset, Instant)> = None;
    let mut status: Option<Status> = None;
    for number in 0_u64.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        if held.as_ref().is_none_or(|(_, since)| since.elapsed() > KEYSET_KEPT_FOR) {
            let keyset = Keyset::verify(&text("/v1/keyset"), &root, &production, now()).unwrap();
            status = Some(Status::verify(&text("/v1/status"), &keyset, &production, now()).unwrap());
            held = Some((keyset, Instant::now()));
        }
        let unit = format!("client-{number}");
        let subject = SubjectTag::of(&production, &user, UnitId::parse(&unit).unwrap());
        let expected =
            Expected { environment: &production, subject, now: now(), status: status.as_ref(), memory: None };
        let token = text(&format!("/v1/assignments/{unit}"));
        verify_assignment(&token, &held.as_ref().unwrap().0, &expected)
            .unwrap_or_else(|error| panic!("{}: {error}", edge.url()));
        verified.fetch_add(1, Ordering::Relaxed);
    }
}
