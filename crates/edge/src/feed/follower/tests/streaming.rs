//! Following the stream through everything that can happen to it.

use std::time::Duration;

use edgeseal_core::sealing::MAX_SNAPSHOT_TOKEN_BYTES;

use super::super::super::testing::{Fed, Plane};
use super::super::Timing;
use super::{Control, Following, HASTE, Reply, bundle, event, group, until};

#[test]
fn the_stream_is_followed() {
    let (fed, control, mut plane) = (Fed::new(), Control::start(), Plane::new());
    control.set(|script| script.streams.push_back(Reply::Stream(group(&plane))));
    let _following = Following::start(&fed, &control);
    until("the first group", || fed.edge.get("/v1/assignments/user-1").status == 200);
    assert!(fed.assigns("checkout"));
    until("the gauge", || fed.edge.metric("edgeseal_feed_connected") == 1.0);
    let asked = control.asked("stream");
    assert_eq!(asked[0].target, "/api/v1/edge/stream?environment=production");
    assert_eq!(asked[0].header("authorization"), Some("Bearer token-1"));
    assert_eq!(asked[0].header("accept"), Some("text/event-stream"));
    assert_eq!(asked[0].header("last-event-id"), None);

    plane.halt();
    control.say(&event("status", &plane.status()));
    until("the halt", || !fed.assigns("checkout"));
    plane.now = plane.now.plus_seconds(5);
    control.say(": heartbeat\n\n");
    control.say(&event("news-of-tomorrow", "x"));
    control.say(&event("status", &plane.status()));
    until("the next status", || fed.edge.get("/v1/status").text() == plane.status());
    assert_eq!(control.asked("stream").len(), 1);
}

#[test]
fn a_lost_stream_is_taken_up_where_the_edge_is() {
    let (fed, control, mut plane) = (Fed::new(), Control::start(), Plane::new());
    plane.cv = 7;
    control.set(|script| script.streams.push_back(Reply::Stream(group(&plane))));
    let following = Following::start(&fed, &control);
    until("the first group", || fed.feed.serving().is_some());
    // Replaced while it runs: the next connection uses the new one.
    *following.token.lock().unwrap() = "token-2".to_owned();
    plane.halt();
    control.set(|script| {
        let only_status = Reply::Stream(event("status", &plane.status()));
        script.streams.extend([Reply::problem(503), Reply::Stream(String::new()), only_status]);
    });
    control.close_streams();
    until("a second stream", || control.asked("stream").len() >= 3);
    control.close_streams();
    until("the halt", || !fed.assigns("checkout"));
    let asked = control.asked("stream");
    for later in &asked[1..] {
        assert_eq!(later.header("last-event-id"), Some("7"));
        assert_eq!(later.header("authorization"), Some("Bearer token-2"));
    }
}

#[test]
fn garbage_on_the_stream_changes_nothing_and_the_next_stream_is_good() {
    let plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    let mut older = Plane::new();
    older.cv = 0;
    let mut foreign = Plane::new();
    (foreign.root, foreign.control, foreign.cv) = (70, 71, 9);
    let mut next = Plane::new();
    (next.cv, next.ep, next.experiment) = (2, 2, "search");
    let html = |body: &str| Reply::Whole { status: 200, kind: "text/html", body: body.to_owned() };
    control.set(|script| {
        script.streams.extend([
            html("<html>the proxy is sorry</html>"),
            Reply::Stream("data: \u{0}\u{1}\n\nevent: status\ndata: rubbish\n\n".to_owned()),
            Reply::Stream(event("keys", "{\"root\":1}") + &event("status", "")),
            Reply::Stream(group(&older)),
            Reply::Stream(group(&foreign)),
            Reply::Stream(
                "event: snapshot\ndata: ".to_owned() + &"a".repeat(MAX_SNAPSHOT_TOKEN_BYTES + 2_048),
            ),
            Reply::Whole { status: 302, kind: "text/event-stream", body: group(&next) },
            Reply::Stream(group(&next)),
        ]);
    });
    let _following = Following::start(&fed, &control);
    until("the good stream", || {
        assert_eq!(fed.edge.get("/v1/assignments/user-1").status, 200);
        control.close_streams();
        fed.feed.position().snapshot == Some(2)
    });
    assert!(fed.assigns("search"));
    let refused =
        |reason: &str| fed.edge.metric(&format!("edgeseal_feed_refusals_total{{reason=\"{reason}\"}}"));
    for reason in ["E_MALFORMED", "keys", "older", "foreign_root"] {
        assert!(refused(reason) >= 1.0, "{reason}");
    }
}

#[test]
fn a_silent_stream_is_given_up() {
    let (fed, control, plane) = (Fed::new(), Control::start(), Plane::new());
    control.set(|script| {
        script.streams.push_back(Reply::Stream(": only comments\n\n".to_owned()));
        script.streams.push_back(Reply::Stream(group(&plane)));
    });
    let timing = Timing { silence: Duration::from_millis(300), ..HASTE };
    let _following = Following::with(&fed, &control, true, timing);
    until("another stream", || fed.feed.serving().is_some());
}

#[test]
fn a_refused_snapshot_delays_no_halt_and_is_fetched_again() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    (plane.cv, plane.experiment) = (2, "search");
    plane.halt();
    let broken = plane.snapshot_with(|snapshot| snapshot.experiments[0].variants.clear());
    control.set(|script| {
        script.bundle = Some(Reply::problem(503));
        let text = event("snapshot", &broken) + &event("status", &plane.status());
        script.streams.push_back(Reply::Stream(text));
    });
    let _following = Following::start(&fed, &control);
    until("the halt", || fed.feed.position().status == Some(2));
    assert_eq!(fed.feed.position().snapshot, Some(1));
    control.set(|script| script.bundle = Some(Reply::json(&bundle(&plane))));
    until("the snapshot", || fed.feed.position().snapshot == Some(2));
    assert_eq!(control.asked("stream").len(), 1, "fetched beside the stream");
    let asked = control.asked("bundle");
    assert_eq!(asked[0].target, "/api/v1/edge/bundle?environment=production&keyset=1&cv=1&ep=2");
}

#[test]
fn a_clock_that_is_wrong_for_a_while_costs_only_time() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    let control = Control::start();
    fed.edge.advance(-3_600);
    (plane.cv, plane.ep, plane.keyset_ver, plane.experiment) = (2, 2, 2, "search");
    control.set(|script| {
        script.bundle = Some(Reply::json(&bundle(&plane)));
        script.streams.push_back(Reply::Stream(group(&plane)));
    });
    let _following = Following::start(&fed, &control);
    until("a refusal", || fed.edge.metric("edgeseal_feed_refusals_total{reason=\"E_NOT_YET\"}") >= 2.0);
    assert!(fed.assigns("checkout"));
    fed.edge.advance(3_600);
    until("the takeover", || fed.feed.position().keyset == Some(2));
    assert!(fed.assigns("search"));
}

#[test]
fn without_network_the_disk_serves_and_the_follower_goes_on_trying() {
    let plane = Plane::new();
    let store = {
        let fed = Fed::serving(&plane);
        fed.feed.flush();
        std::sync::Arc::clone(&fed.store)
    };
    let fed = Fed::on(store);
    let control = Control::start();
    control.set(|script| {
        script.streams.extend([Reply::problem(502), Reply::problem(503), Reply::Stream(String::new())]);
    });
    let _following = Following::start(&fed, &control);
    until("three attempts", || {
        assert!(fed.assigns("checkout"));
        control.close_streams();
        control.asked("stream").len() > 3
    });
}
