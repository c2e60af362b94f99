use std::sync::Arc;
use std::sync::atomic::Ordering;

use edgeseal_core::events::wire::{self, SpoolRecord};
use edgeseal_core::events::{EventId, EventRecord, Happening};
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, UnitId, UnitType, VariantKey};
use edgeseal_core::sealing::{Signer as _, SubjectTag, TokenKind, seal};
use edgeseal_store::{Events as _, RollUps as _};
use serde_json::{Value, json};

use super::*;
use crate::routes::testing::{Ask, Client, Told};
use crate::testing::START;

const NDJSON_TYPE: &str = "application/x-ndjson";

fn id(number: u16) -> String {
    format!("018f0000-0000-7000-8000-00000000{number:04x}")
}

fn metric(number: u16, metric: &str, value: Value) -> Value {
    json!({ "id": id(number), "type": "metric", "ts": START * 1_000, "metric": metric, "value": value })
}

fn exposure(number: u16, experiment: &str) -> Value {
    json!({ "id": id(number), "type": "exposure", "ts": START * 1_000, "experiment": experiment })
}

/// With an experiment `e` that runs, and one metric of each plain kind.
async fn client() -> Client {
    let client = Client::new().await;
    client
        .world
        .apply(json!({
            "experiments": [{
                "key": "e", "state": "running", "variants": [{ "key": "a" }, { "key": "b" }],
                "metrics": { "primary": "sale", "secondary": ["revenue"] },
            }],
            "metrics": [
                { "key": "sale", "kind": "conversion" },
                { "key": "revenue", "kind": "continuous" },
            ],
        }))
        .await;
    client
}

/// A token of user-1, as an edge of `environment` seals it.
async fn token(client: &Client, environment: &Environment) -> String {
    let user = UnitType::default();
    let sub = SubjectTag::of(environment, &user, UnitId::parse("user-1").unwrap());
    let claims = json!({
        "iss": environment, "aud": format!("edgeseal:{environment}"), "sub": sub, "ut": "user",
        "iat": START - 60, "exp": START + 3_540, "cv": 2, "ep": 1, "cd": "",
        "a": { "e": { "v": "a", "xv": 1, "r": "split" }, "qa": { "v": "a", "xv": 1, "r": "forced" } },
    });
    let state = client.world.control.state(environment).await.unwrap();
    seal(TokenKind::Assignment, claims.to_string().as_bytes(), state.edge_keys.signer())
}

async fn send(client: &Client, body: &Value) -> Told {
    client.send(Ask::post("~/v1/events").json(body)).await
}

async fn stored(client: &Client) -> usize {
    client.world.store.events_after(&client.world.environment, 0, 1_000).await.unwrap().len()
}

async fn quarantined(client: &Client, query: &str) -> Value {
    client.ok(Ask::get(&format!("/events/quarantine{query}")).by("viewer")).await.body
}

#[tokio::test]
async fn a_batch_with_a_token_is_counted_once_however_often_it_is_sent() {
    let client = client().await;
    let token = token(&client, &client.world.environment).await;
    let batch = json!({ "token": token, "events": [exposure(1, "e"), metric(2, "revenue", json!(19.99)), exposure(1, "e")] });
    let told = send(&client, &batch).await;
    assert_eq!((told.status, &told.body), (202, &json!({ "accepted": 2, "duplicates": 1, "rejected": [] })));
    let again =
        Ask::post("~/v1/events").bytes(batch.to_string()).header("content-type", "text/plain;charset=utf-8");
    assert_eq!(client.send(again).await.status, 202);
    assert_eq!(stored(&client).await, 2);
    client.world.control.roll_up(&client.world.environment).await.unwrap();
    let sums = client.world.store.aggregates(&client.world.environment, None).await.unwrap();
    let revenue = sums.iter().find(|it| it.key.metric.as_ref().is_some_and(|key| key.as_str() == "revenue"));
    let revenue = revenue.unwrap();
    assert_eq!((revenue.sums.n, revenue.sums.sum[0], revenue.key.variant.as_str()), (1, 19_990_000, "a"));
}

#[tokio::test]
async fn each_bad_event_is_refused_with_its_code_and_the_rest_is_kept() {
    let client = client().await;
    let token = token(&client, &client.world.environment).await;
    let mut old = metric(20, "sale", json!(1));
    old["ts"] = json!((START - 31 * 24 * 3_600) * 1_000);
    let mut ahead = metric(21, "sale", json!(1));
    ahead["ts"] = json!((START + 3_600) * 1_000);
    let bad = [
        (metric(1, "nowhere", json!(1)), "unknown_metric"),
        (metric(2, "sale", json!(-1)), "negative"),
        (metric(3, "revenue", json!(1.1e15)), "value_too_large"),
        (metric(4, "revenue", Value::Null), "not_finite"),
        (metric(5, "revenue", json!("7")), "malformed_event"),
        (exposure(6, "elsewhere"), "unknown_experiment"),
        (exposure(7, "qa"), "not_counted"),
        (old, "too_old"),
        (ahead, "in_the_future"),
        (json!({ "id": id(10), "type": "metric", "ts": START * 1_000, "value": 1 }), "malformed_event"),
    ];
    let mut events: Vec<Value> = bad.iter().map(|(event, _)| event.clone()).collect();
    events.push(metric(9, "revenue", json!(-5)));
    let told = send(&client, &json!({ "token": token, "events": events })).await;
    assert_eq!((told.status, &told.body["accepted"]), (202, &json!(1)), "{told:?}");
    let rejected = told.body["rejected"].as_array().unwrap();
    for (index, (rejected, (event, code))) in rejected.iter().zip(&bad).enumerate() {
        assert_eq!((&rejected["index"], &rejected["code"]), (&json!(index), &json!(code)), "{event}");
    }
    assert_eq!((rejected.len(), stored(&client).await), (bad.len(), 1));

    let all = quarantined(&client, "").await;
    assert_eq!(all["items"].as_array().unwrap().len(), bad.len());
    assert!(all["counts"].as_array().unwrap().contains(&json!({ "code": "malformed_event", "count": 2 })));
    let one = quarantined(&client, "?code=unknown_metric").await;
    assert_eq!((&one["items"][0]["about"], &one["items"][0]["id"]), (&json!("nowhere"), &json!(id(1))));
    let (first, mut seen) = (quarantined(&client, "?limit=6").await, 6);
    let next = first["nextBefore"].as_u64().unwrap();
    seen += quarantined(&client, &format!("?limit=6&before={next}")).await["items"].as_array().unwrap().len();
    assert_eq!(seen, bad.len());
}

#[tokio::test]
async fn tokens_that_do_not_vouch_are_refused_with_their_batch() {
    let client = client().await;
    let production = client.world.environment.clone();
    let good = token(&client, &production).await;
    let staging = token(&client, &Environment::parse("staging").unwrap()).await;
    let mut forged = good.clone();
    let place = forged.len() - 2;
    let other = if forged[place..].starts_with('A') { "E" } else { "A" };
    forged.replace_range(place..=place, other);
    for (token, code) in [(staging, "E_KEY"), (forged, "E_SIGNATURE"), ("x".to_owned(), "E_MALFORMED")] {
        let told = send(&client, &json!({ "token": token, "events": [exposure(1, "e")] })).await;
        assert_eq!((told.status, told.code()), (401, "token_refused"));
        assert_eq!(told.body["reason"], code);
    }
    let told = send(&client, &json!({ "events": [exposure(1, "e")] })).await;
    assert_eq!((told.status, told.code()), (401, "unauthenticated"));
    // Long expired, but younger than the oldest event that is taken.
    client.world.clock.store(START + 29 * 24 * 3_600, Ordering::SeqCst);
    assert_eq!(send(&client, &json!({ "token": good, "events": [exposure(1, "e")] })).await.status, 202);
    client.world.clock.store(START + 31 * 24 * 3_600, Ordering::SeqCst);
    let told = send(&client, &json!({ "token": good, "events": [exposure(2, "e")] })).await;
    assert_eq!((told.status, told.code()), (401, "token_refused"));
    assert_eq!(stored(&client).await, 1);
}

#[tokio::test]
async fn a_remembered_token_ends_when_its_key_is_revoked() {
    let client = client().await;
    let production = client.world.environment.clone();
    let token = token(&client, &production).await;
    let batch = json!({ "token": token, "events": [exposure(1, "e")] });
    assert_eq!(send(&client, &batch).await.status, 202);
    let kid = client.world.state().await.edge_keys.signer().kid().to_string();
    client.ok(Ask::post("/keys/revoke").by("admin").json(&json!({ "kid": kid }))).await;
    let told = send(&client, &batch).await;
    assert_eq!((told.status, told.code()), (401, "token_refused"));
}

#[tokio::test]
async fn servers_report_metrics_of_the_units_that_they_name() {
    let client = client().await;
    let mut other = metric(2, "revenue", json!(3));
    other["unit"] = json!("user-2");
    let batch = json!({ "unit": "user-1", "events": [metric(1, "sale", json!(1)), other, exposure(3, "e")] });
    let told = client.send(Ask::post("~/v1/events").by("ingest").json(&batch)).await;
    assert_eq!((told.status, &told.body["accepted"]), (202, &json!(2)), "{told:?}");
    assert_eq!(told.body["rejected"][0]["code"], "needs_token");
    let events = client.world.store.events_after(&client.world.environment, 0, 10).await.unwrap();
    let unit =
        |text| SubjectTag::of(&client.world.environment, &UnitType::default(), UnitId::parse(text).unwrap());
    let units: Vec<_> = events.iter().map(|it| it.record.unit.unwrap()).collect();
    assert_eq!(units, [unit("user-1"), unit("user-2")]);
    let nobody = json!({ "events": [metric(4, "sale", json!(1))] });
    let told = client.send(Ask::post("~/v1/events").by("ingest").json(&nobody)).await;
    assert_eq!(told.body["rejected"][0]["code"], "needs_token");
    let told = client.send(Ask::post("~/v1/events").by("viewer").json(&batch)).await;
    assert_eq!((told.status, told.code()), (403, "scope_insufficient"));
    let elsewhere = Ask::post("~/v1/events?environment=production").by("ingest@staging").json(&batch);
    assert_eq!(client.send(elsewhere).await.code(), "environment_forbidden");
}

#[tokio::test]
async fn batches_beyond_their_bounds_are_refused_as_a_whole() {
    let client = client().await;
    let token = token(&client, &client.world.environment).await;
    let many: Vec<Value> = (0..501).map(|number| metric(number, "sale", json!(1))).collect();
    let told = send(&client, &json!({ "token": token, "events": many })).await;
    assert_eq!((told.status, told.code()), (400, "too_many_events"));
    let large = json!({ "token": token, "events": [], "padding": "x".repeat(MAX_BATCH_BYTES) });
    assert_eq!(send(&client, &large).await.code(), "body_too_large");
    for text in ["", "[]", "{", r#"{"events":{}}"#, "\"\u{7f}"] {
        let ask = Ask::post("~/v1/events").bytes(text).header("content-type", "application/json");
        assert_eq!(client.send(ask).await.code(), "malformed_body", "{text}");
    }
    let ask =
        Ask::post("~/v1/events").bytes("{}").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(client.send(ask).await.code(), "unsupported_media_type");
    assert_eq!(stored(&client).await, 0);
}

fn record(number: u16, what: Happening) -> SpoolRecord {
    let user = UnitType::default();
    SpoolRecord::Event(EventRecord {
        id: EventId::parse(&id(number)).unwrap(),
        at_ms: START * 1_000,
        received_ms: START * 1_000,
        unit: Some(SubjectTag::of(&Environment::default(), &user, UnitId::parse("user-1").unwrap())),
        unit_type: user,
        what,
    })
}

#[tokio::test]
async fn edges_deliver_and_repeat() {
    let client = client().await;
    let metric = |key: &str| Happening::Metric { metric: MetricKey::parse(key).unwrap(), amount: 1_000_000 };
    let exposure = |xv| Happening::Exposure {
        experiment: ExperimentKey::parse("e").unwrap(),
        variant: VariantKey::parse("a").unwrap(),
        xv,
    };
    let mut lines = wire::write_lines(&[
        record(1, exposure(1)),
        record(2, metric("sale")),
        record(3, metric("gone")),
        record(4, exposure(u64::MAX)),
    ]);
    lines.extend_from_slice(b"{\"format\":2}\n");
    let ask =
        Ask::post("/edge/events?edge=edge-1").by("edge").header("content-type", NDJSON_TYPE).bytes(lines);
    let told = client.send(ask.clone()).await;
    assert_eq!((told.status, &told.body), (202, &json!({ "new": 2, "duplicates": 0, "quarantined": 3 })));
    let told = client.send(ask.clone()).await;
    assert_eq!(told.body, json!({ "new": 0, "duplicates": 2, "quarantined": 3 }));
    let counts = quarantined(&client, "").await["counts"].clone();
    for code in ["unknown_metric", "malformed_event", "unreadable_record"] {
        assert!(
            counts.as_array().unwrap().contains(&json!({ "code": code, "count": 1 })),
            "{code} in {counts}"
        );
    }
    client.world.store.is_down.store(true, Ordering::SeqCst);
    assert_eq!(client.send(ask).await.status, 503);
}

#[tokio::test]
async fn only_so_many_batches_are_under_way() {
    let client = client().await;
    let desk = Arc::clone(&client.api.desk);
    let places = desk.intake.places.available_permits();
    let _taken = desk.intake.places.try_acquire_many(u32::try_from(places).unwrap()).unwrap();
    let told = send(&client, &json!({ "events": [] })).await;
    assert_eq!((told.status, told.code()), (503, "overloaded"));
}

#[tokio::test]
async fn notes_of_refused_events_are_bounded_by_the_second() {
    let client = client().await;
    let token = token(&client, &client.world.environment).await;
    for round in 0..3 {
        let events: Vec<Value> =
            (0..400).map(|number| metric(round * 400 + number, "nowhere", json!(1))).collect();
        let told = send(&client, &json!({ "token": token, "events": events })).await;
        assert_eq!(told.body["rejected"].as_array().unwrap().len(), 400);
    }
    assert_eq!(quarantined(&client, "").await["counts"][0]["count"], MAX_BATCH_EVENTS);
}
