use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use edgeseal_store::Tokens;
use http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::router::HttpSettings;
use crate::routes::testing::{Ask, Client};

async fn status_from(client: &Client, address: &str, token: Option<&str>) -> (u16, String) {
    let mut request = Request::get("/api/v1/whoami");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
    let response = TowerToHyperService::new(client.api.router()).call(request).await.unwrap();
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
    (response.status().as_u16(), wait.unwrap_or_default())
}

#[tokio::test]
async fn an_address_that_fails_too_often_waits_and_good_tokens_still_pass() {
    let client = Client::with(HttpSettings { auth_failures_per_minute: 3, ..HttpSettings::default() }).await;
    let good = client.text("viewer").to_owned();
    let fresh = client.text("editor").to_owned();
    assert_eq!(status_from(&client, "192.0.2.1:1000", Some(&good)).await.0, 200);
    for _ in 0..3 {
        assert_eq!(status_from(&client, "192.0.2.1:1000", None).await.0, 401);
    }
    let (status, wait) = status_from(&client, "192.0.2.1:2000", None).await;
    assert_eq!(status, 429);
    assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(status_from(&client, "192.0.2.1:3000", Some(&good)).await.0, 200, "known before");
    assert_eq!(status_from(&client, "192.0.2.1:3000", Some(&fresh)).await.0, 429, "not known yet");
    assert_eq!(status_from(&client, "192.0.2.2:1000", Some(&fresh)).await.0, 200, "from elsewhere");
}

#[tokio::test]
async fn only_one_well_formed_header_counts() {
    let client = Client::new().await;
    let good = client.text("viewer").to_owned();
    for (value, status) in [
        (format!("Bearer {good}"), 200),
        (format!("bearer {good}"), 200),
        (format!("Basic {good}"), 401),
        (good.clone(), 401),
        (format!("Bearer {good} {good}"), 401),
    ] {
        let told = client.send(Ask::get("/whoami").header("authorization", value.clone())).await;
        assert_eq!(told.status, status, "{}", &value[..8]);
    }
    let twice = Ask::get("/whoami").by("viewer").header("authorization", format!("Bearer {good}"));
    assert_eq!(client.send(twice).await.status, 401);
}

#[tokio::test]
async fn last_use_is_written_in_the_background() {
    let mut client = Client::new().await;
    let id = client.add("used", crate::Scope::Viewer, None, |_| {}).await;
    client.ok(Ask::get("/whoami").by("used")).await;
    let last_used = || async { client.world.store.token(&id).await.unwrap().unwrap().last_used_at };
    assert_eq!(last_used().await, None);
    client.api.flush().await;
    assert_eq!(last_used().await, Some(client.now()));
}

#[tokio::test]
async fn heartbeats_are_seen_at_once_and_written_later() {
    let client = Client::new().await;
    let report = |environment: &str| {
        serde_json::json!({
            "id": "edge-1", "environment": environment, "version": "0.1.0", "source": "stream",
            "cv": 1, "ep": 1, "keysetVer": 1, "configAgeMs": 250,
        })
    };
    let beat =
        |token: &str, environment: &str| Ask::post("/edge/heartbeat").by(token).json(&report(environment));
    assert_eq!(client.ok(beat("edge", "production")).await.status, 204);
    client.world.advance(3);
    let listed = client.ok(Ask::get("/edges").by("viewer")).await;
    assert_eq!(listed.body["items"][0]["seenAgoSeconds"], 3);
    client.api.flush().await;
    assert_eq!(client.ok(Ask::get("/edges").by("viewer")).await.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.send(beat("edge", "nowhere")).await.code(), "unknown_environment");
    assert_eq!(client.send(beat("edge@staging", "production")).await.code(), "environment_forbidden");
    for (member, value) in [
        ("id", serde_json::json!("a b")),
        ("version", serde_json::json!("")),
        ("source", serde_json::json!("rumour")),
        ("cv", serde_json::json!(-1)),
        ("ep", serde_json::json!(1_000_000_000_000_000_000_u64)),
        ("configAgeMs", serde_json::json!(10_000_000_000_000_i64)),
        ("more", serde_json::json!(1)),
    ] {
        let mut body = report("production");
        body[member] = value;
        let told = client.send(Ask::post("/edge/heartbeat").by("edge").json(&body)).await;
        assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (422, &format!("/{member}").into()));
    }
}
