//! Polling, heartbeats, refused tokens, and documents that somebody else brings.

use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::sealing::{KeyState, KeyUse};
use serde_json::Value;

use super::super::super::testing::{Fed, Plane};
use super::super::super::{Offer, Outcome};
use super::super::{Follower, FollowerConfig, FollowerError, Timing};
use super::{Control, Following, HASTE, Reply, bundle, group, until};
use crate::testing::EDGE;

#[test]
fn where_there_is_no_stream_there_is_polling() {
    let (fed, control, mut plane) = (Fed::new(), Control::start(), Plane::new());
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&plane))));
    let _following = Following::start(&fed, &control);
    until("the first bundle", || fed.feed.serving().is_some());
    plane.halt();
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&plane))));
    until("the halt", || !fed.assigns("checkout"));
    let asked = control.asked("bundle");
    assert_eq!(asked[0].target, "/api/v1/edge/bundle?environment=production");
    assert_eq!(asked.last().unwrap().header("authorization"), Some("Bearer token-1"));
    until("a bundle that knows where the edge is", || {
        control.asked("bundle").last().unwrap().target.ends_with("&keyset=1&cv=1&ep=2")
    });
    control.set(|script| script.streams.push_back(Reply::Stream(group(&plane))));
    until("the stream", || fed.edge.metric("edgeseal_feed_connected") == 1.0);
}

#[test]
fn bundles_of_every_kind_of_rubbish_change_nothing() {
    let plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    let whole = bundle(&plane).to_string();
    let mut wrong_keys = bundle(&plane);
    wrong_keys["keys"]["signer"]["seed"] = "AAAA".into();
    for body in
        ["", "null", "[]", "{\"status\":1}", "<html>", &whole[..whole.len() / 2], &wrong_keys.to_string()]
    {
        let count = control.asked("bundle").len();
        let reply = Reply::Whole { status: 200, kind: "application/json", body: body.to_owned() };
        control.set(|script| script.bundle = Some(reply));
        let _following = Following::start(&fed, &control);
        until("two polls", || control.asked("bundle").len() >= count + 2);
        assert!(fed.assigns("checkout"), "{body}");
    }
    let mut next = Plane::new();
    next.cv = 2;
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&next))));
    let _following = Following::start(&fed, &control);
    until("the good bundle", || fed.feed.position().snapshot == Some(2));
}

#[test]
fn a_refused_token_stops_nothing_and_a_new_one_is_read() {
    let plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    let mut next = Plane::new();
    next.cv = 2;
    control.set(|script| {
        script.bad_tokens.push("token-1".to_owned());
        script.streams.push_back(Reply::Stream(group(&next)));
    });
    let following = Following::start(&fed, &control);
    until("two refusals", || control.asked("stream").len() >= 2);
    assert!(fed.assigns("checkout"));
    *following.token.lock().unwrap() = "token-2".to_owned();
    until("the stream", || fed.feed.position().snapshot == Some(2));
}

#[test]
fn an_edge_tells_what_it_serves() {
    let plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    fed.edge.advance(4);
    let _following = Following::start(&fed, &control);
    until("a heartbeat", || !control.asked("heartbeat").is_empty());
    let heartbeat = control.asked("heartbeat").remove(0);
    assert_eq!(heartbeat.target, "/api/v1/edge/heartbeat?environment=production");
    assert!(
        heartbeat.head.starts_with("POST ") && heartbeat.header("authorization") == Some("Bearer token-1")
    );
    let report: Value = serde_json::from_str(&heartbeat.body).unwrap();
    let expected = serde_json::json!({
        "id": fed.feed.edge_id(), "environment": "production", "version": env!("CARGO_PKG_VERSION"),
        "source": "poll", "cv": 1, "ep": 1, "keysetVer": 1, "configAgeMs": 4_000,
    });
    assert_eq!(report, expected);
}

#[test]
fn somebody_else_may_bring_the_documents_and_keys_are_fetched() {
    let (fed, control, mut plane) = (Fed::new(), Control::start(), Plane::new());
    control.set(|script| script.bundle = Some(Reply::problem(503)));
    let following = Following::with(&fed, &control, false, HASTE);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    until("the first poll", || !control.asked("bundle").is_empty());
    // Nobody is trusted before the keys came over the authenticated channel.
    runtime.block_on(following.handle.offer(plane.documents())).unwrap_err();
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&plane))));
    until("the bundle", || fed.feed.serving().is_some());

    plane.add(KeyUse::Edge, 60, KeyState::Published);
    runtime.block_on(following.handle.offer(plane.documents())).unwrap();
    plane.set_state(EDGE, KeyState::Retiring);
    plane.set_state(60, KeyState::Active);
    plane.keyset_ver += 1;
    plane.edge = 60;
    control.set(|script| {
        script.asked.clear();
        script.bundle = Some(Reply::json(&bundle(&plane)));
    });
    let taken = runtime.block_on(following.handle.offer(plane.documents())).unwrap();
    assert!(taken.needs_keys);
    until("the new keys", || !fed.feed.needs_keys());
    let asked = control.asked("bundle").remove(0);
    assert_eq!(
        asked.target, "/api/v1/edge/bundle?environment=production&cv=1&ep=1",
        "no keyset: keys come along"
    );

    plane.halt();
    let taken = runtime.block_on(following.handle.offer(plane.status_offer())).unwrap();
    assert_eq!(taken.outcome, Outcome::Published);
    assert!(!fed.assigns("checkout"));
    assert!(control.asked("stream").is_empty());

    // A notice that was lost: the status tells, and the snapshot is fetched.
    plane.cv = 2;
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&plane))));
    let status = Offer { status: Some(plane.status()), ..Offer::default() };
    runtime.block_on(following.handle.offer(status)).unwrap();
    until("the snapshot", || fed.feed.position().snapshot == Some(2));
}

#[test]
fn a_control_plane_that_never_answers_is_no_reason_to_wait_at_shutdown() {
    let (fed, control) = (Fed::serving(&Plane::new()), Control::start());
    control.set(|script| {
        script.bundle = Some(Reply::Silence);
        script.streams.extend([Reply::Silence, Reply::Silence]);
    });
    let timing = Timing { heartbeat: Duration::from_secs(3_600), ..HASTE };
    let following = Following::with(&fed, &control, true, timing);
    until("a request", || !control.asked("stream").is_empty());
    assert!(fed.assigns("checkout"));
    drop(following);
}

#[test]
fn an_address_that_would_show_the_keys_is_refused() {
    let fed = Fed::new();
    let config = FollowerConfig {
        control: "http://control.example".to_owned(),
        allow_plain_http: false,
        stream: true,
        poll_interval: super::super::POLL_INTERVAL,
    };
    let token: super::super::TokenSource = Arc::new(|| Err(std::io::Error::other("no token")));
    let refused = Follower::new(config.clone(), Arc::clone(&fed.feed), Arc::clone(&token));
    assert!(matches!(refused, Err(FollowerError::PlainHttp { .. })));
    let allowed = FollowerConfig { allow_plain_http: true, ..config };
    assert!(Follower::new(allowed, Arc::clone(&fed.feed), token).is_ok());
}
