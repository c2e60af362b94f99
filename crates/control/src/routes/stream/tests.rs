use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;

use crate::router::HttpSettings;
use crate::routes::testing::{Ask, Client, group};

fn names(events: &[(String, String)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

async fn listen(client: &Client, token: &str, known: Option<&str>) -> axum::body::Body {
    let ask = Ask::get("/edge/stream").by(token);
    let response = client
        .raw(match known {
            Some(known) => ask.header("last-event-id", known),
            None => ask,
        })
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    response.into_body()
}

async fn ends(body: &mut axum::body::Body) {
    let rest = async { while body.frame().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), rest).await.expect("the stream goes on");
}

#[tokio::test]
async fn a_new_edge_gets_everything_and_then_what_changed() {
    let client = Client::new().await;
    let mut body = listen(&client, "edge", None).await;
    let first = group(&mut body).await;
    assert_eq!(names(&first), ["keys", "keyset", "snapshot 1", "status"]);
    let keys: serde_json::Value = serde_json::from_str(&first[0].1).unwrap();
    assert_eq!(keys["root"]["kty"], "OKP");
    assert_eq!(keys["hmac"][0]["state"], "active");

    client.experiment("e").await;
    client.ok(Ask::post("/experiments/e/start").by("publisher")).await;
    assert_eq!(names(&group(&mut body).await), ["snapshot 2", "status"]);
    client.ok(Ask::post("/experiments/e/pause").by("publisher")).await;
    assert_eq!(*names(&group(&mut body).await).last().unwrap(), "status");
}

#[tokio::test]
async fn an_edge_that_comes_back_is_not_sent_the_snapshot_that_it_has() {
    let client = Client::new().await;
    let again = group(&mut listen(&client, "edge", Some("1")).await).await;
    assert_eq!(names(&again), ["keys", "keyset", "status"]);
    for other in ["0", "7"] {
        let all = group(&mut listen(&client, "edge", Some(other)).await).await;
        assert_eq!(names(&all), ["keys", "keyset", "snapshot 1", "status"], "{other}");
    }
    for bad in ["x", "01", "-1", ""] {
        let told = client.send(Ask::get("/edge/stream").by("edge").header("last-event-id", bad)).await;
        assert_eq!((told.status, told.code()), (400, "invalid_header"), "{bad}");
    }
}

#[tokio::test]
async fn a_slow_edge_gets_the_latest_only() {
    let client = Client::new().await;
    let mut body = listen(&client, "edge", None).await;
    group(&mut body).await;
    for key in ["a", "b", "c"] {
        client.experiment(key).await;
        client.ok(Ask::post(&format!("/experiments/{key}/start")).by("publisher")).await;
    }
    assert_eq!(names(&group(&mut body).await), ["snapshot 4", "status"]);
}

#[tokio::test]
async fn rotated_keys_arrive_with_their_keyset() {
    let client = Client::new().await;
    let mut body = listen(&client, "edge", None).await;
    group(&mut body).await;
    let rotate =
        |use_: &str| Ask::post("/keys/rotate").by("admin").json(&json!({ "use": use_, "force": true }));
    client.ok(rotate("edge")).await;
    assert_eq!(names(&group(&mut body).await), ["keyset", "status"]);
    client.ok(rotate("edge")).await;
    assert_eq!(names(&group(&mut body).await), ["keys", "keyset", "status"]);
    client.ok(rotate("control")).await;
    group(&mut body).await;
    client.ok(rotate("control")).await;
    assert_eq!(names(&group(&mut body).await), ["keyset", "snapshot 1", "status"], "signed anew");
}

#[tokio::test]
async fn a_revoked_token_ends_its_stream_and_no_other() {
    let mut client = Client::new().await;
    let id = client.add("leaked", crate::Scope::Edge, None, |_| {}).await;
    let (mut leaked, mut good) = (listen(&client, "leaked", None).await, listen(&client, "edge", None).await);
    group(&mut leaked).await;
    group(&mut good).await;
    client.ok(Ask::delete(&format!("/tokens/{id}")).by("admin")).await;
    ends(&mut leaked).await;
    client.experiment("e").await;
    client.ok(Ask::post("/experiments/e/start").by("publisher")).await;
    assert_eq!(names(&group(&mut good).await), ["snapshot 2", "status"]);
}

#[tokio::test]
async fn an_expired_token_ends_its_stream_at_the_next_look() {
    let settings = HttpSettings { stream_recheck: Duration::from_millis(20), ..HttpSettings::default() };
    let mut client = Client::with(settings).await;
    let until = client.now().plus_seconds(60);
    client.add("short", crate::Scope::Edge, None, |token| token.expires_at = Some(until)).await;
    let mut body = listen(&client, "short", None).await;
    group(&mut body).await;
    client.world.advance(60);
    ends(&mut body).await;
}

#[tokio::test]
async fn streams_go_on_while_the_database_is_down() {
    let settings = HttpSettings { stream_recheck: Duration::from_millis(20), ..HttpSettings::default() };
    let client = Client::with(settings).await;
    let mut body = listen(&client, "edge", None).await;
    group(&mut body).await;
    client.world.store.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let looked = async { while body.frame().await.is_some() {} };
    assert!(tokio::time::timeout(Duration::from_millis(200), looked).await.is_err(), "the stream ended");
    client.world.store.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_process() {
    let client = Client::with(HttpSettings { max_streams: 1, ..HttpSettings::default() }).await;
    let mut body = listen(&client, "edge", None).await;
    let told = client.send(Ask::get("/edge/stream").by("edge")).await;
    assert_eq!((told.status, told.code()), (503, "overloaded"));
    group(&mut body).await;
    client.api.close_streams();
    ends(&mut body).await;
    drop(body);
    let mut late = client.raw(Ask::get("/edge/stream").by("edge")).await.into_body();
    ends(&mut late).await;
}

#[tokio::test]
async fn a_bundle_holds_what_is_newer() {
    let client = Client::new().await;
    let members = |told: crate::routes::testing::Told| {
        told.body.as_object().unwrap().keys().cloned().collect::<Vec<String>>()
    };
    let all = client.ok(Ask::get("/edge/bundle").by("edge")).await;
    assert_eq!(members(all), ["keys", "keyset", "snapshot", "status"]);
    let state = client.world.state().await;
    let path = format!("/edge/bundle?keyset={}&cv={}&ep=0", state.head.keyset_ver, state.head.cv);
    assert_eq!(members(client.ok(Ask::get(&path).by("edge")).await), ["status"]);
    assert_eq!(
        members(client.ok(Ask::get("/edge/bundle?cv=1").by("edge")).await),
        ["keys", "keyset", "status"]
    );
    assert_eq!(client.send(Ask::get("/edge/bundle?cv=x").by("edge")).await.status, 400);
}
