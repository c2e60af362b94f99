use serde_json::{Value, json};

use crate::routes::testing::{Ask, Client, Told};

async fn layer(client: &Client, key: &str) -> Told {
    client.ok(Ask::post("/layers").by("publisher").json(&json!({ "key": key }))).await
}

#[tokio::test]
async fn a_document_lives_from_creation_to_deletion() {
    let client = Client::new().await;
    let created = layer(&client, "checkout").await;
    assert_eq!((created.status, created.header("location")), (201, "/api/v1/layers/checkout"));
    assert_eq!((created.header("etag"), &created.body["revision"]), ("\"1\"", &json!(1)));
    assert_eq!(created.body["capacity"]["freePercent"], 100.0);

    let described = json!({ "key": "checkout", "description": "all of checkout" });
    let replaced = client.ok(Ask::put("/layers/checkout").by("publisher").if_match(1).json(&described)).await;
    assert_eq!(replaced.header("etag"), "\"2\"");
    let again = client.ok(Ask::put("/layers/checkout").by("publisher").if_match(2).json(&described)).await;
    assert_eq!(again.header("etag"), "\"2\"", "nothing changed");

    let gone = client.ok(Ask::delete("/layers/checkout").by("publisher").if_match(2)).await;
    assert_eq!(gone.status, 204);
    assert_eq!(client.send(Ask::get("/layers/checkout").by("viewer")).await.status, 404);
    assert_eq!(layer(&client, "checkout").await.header("etag"), "\"4\"", "revisions go on");

    let history = client.ok(Ask::get("/layers/checkout/revisions").by("viewer")).await;
    let told: Vec<(u64, &str)> = history.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["revision"].as_u64().unwrap(), item["action"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [(4, "layer.create"), (3, "layer.delete"), (2, "layer.update"), (1, "layer.create")]);
    let third = client.ok(Ask::get("/layers/checkout/revisions/3").by("viewer")).await;
    assert_eq!(third.body["definition"], Value::Null);
    let diff = client.ok(Ask::get("/layers/checkout/diff?from=1&to=2").by("viewer")).await;
    assert_eq!(diff.body["changes"], json!([{ "pointer": "/description", "to": "all of checkout" }]));
}

#[tokio::test]
async fn updates_name_the_revision_that_they_replace() {
    let client = Client::new().await;
    layer(&client, "l").await;
    let put = || Ask::put("/layers/l").by("publisher").json(&json!({ "key": "l", "description": "new" }));
    for (ask, status, code) in [
        (put(), 428, "precondition_required"),
        (put().if_match(7), 412, "revision_mismatch"),
        (put().header("if-match", "1"), 400, "invalid_header"),
        (put().header("if-match", "W/\"1\""), 400, "invalid_header"),
        (put().header("if-match", "\"01\""), 400, "invalid_header"),
        (put().if_match(1).if_match(1), 400, "invalid_header"),
        (Ask::delete("/layers/l").by("publisher"), 428, "precondition_required"),
        (Ask::delete("/layers/l").by("publisher").if_match(7), 412, "revision_mismatch"),
        (Ask::delete("/layers/none").by("publisher").if_match(1), 404, "not_found"),
    ] {
        let told = client.send(ask).await;
        assert_eq!((told.status, told.code()), (status, code), "{told:?}");
    }
    let other_key = Ask::put("/layers/l").by("publisher").if_match(1).json(&json!({ "key": "m" }));
    let told = client.send(other_key).await;
    assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (422, &json!("/key")));
}

#[tokio::test]
async fn what_edges_would_notice_takes_a_publisher() {
    let client = Client::new().await;
    client.experiment("e").await;
    client.ok(Ask::post("/experiments/e/start").by("publisher")).await;
    let read = client.ok(Ask::get("/experiments/e").by("viewer")).await;
    let mut definition = read.body["definition"].clone();
    definition["traffic"] = json!("50%");
    let put = |token: &str| Ask::put("/experiments/e").by(token).if_match(2).json(&definition);
    let told = client.send(put("editor")).await;
    assert_eq!((told.status, told.code()), (403, "publisher_needed"));
    client.ok(put("publisher")).await;
    definition["owner"] = json!("team checkout");
    client.ok(Ask::put("/experiments/e").by("editor").if_match(3).json(&definition)).await;
}

#[tokio::test]
async fn every_kind_refuses_what_it_does_not_take() {
    let client = Client::new().await;
    let long = "x".repeat(9_000);
    let experiment = |extra: Value| {
        let mut body = json!({ "key": "e", "variants": [{ "key": "a" }, { "key": "b" }] });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let metric = |extra: Value| {
        let mut body = json!({ "key": "m", "kind": "count" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (path, body, pointer) in [
        ("/experiments", json!({}), ""),
        ("/experiments", json!([]), ""),
        ("/experiments", experiment(json!({ "traffik": 1 })), "/traffik"),
        ("/experiments", experiment(json!({ "key": "a b" })), "/key"),
        ("/experiments", experiment(json!({ "key": "x".repeat(129) })), "/key"),
        ("/experiments", experiment(json!({ "key": 7 })), "/key"),
        ("/experiments", experiment(json!({ "state": "running" })), "/state"),
        ("/experiments", experiment(json!({ "state": "over" })), "/state"),
        ("/experiments", experiment(json!({ "winner": "a" })), "/winner"),
        ("/experiments", experiment(json!({ "traffic": 101 })), "/traffic"),
        ("/experiments", experiment(json!({ "traffic": true })), "/traffic"),
        ("/experiments", experiment(json!({ "variants": [] })), "/variants"),
        (
            "/experiments",
            experiment(json!({ "variants": [{ "key": "a", "weight": -1 }] })),
            "/variants/0/weight",
        ),
        ("/experiments", experiment(json!({ "variants": [{ "key": "a", "weight": 0 }] })), "/variants"),
        ("/experiments", experiment(json!({ "owner": long })), "/owner"),
        ("/experiments", experiment(json!({ "tags": ["ok", long] })), "/tags/1"),
        ("/experiments", experiment(json!({ "tags": "one" })), "/tags"),
        ("/experiments", experiment(json!({ "layer": { "key": "none", "share": 10 } })), "/layer"),
        ("/experiments", experiment(json!({ "audience": { "$nope": 1 } })), "/audience"),
        ("/experiments", experiment(json!({ "metrics": { "primary": "none" } })), "/metrics/primary"),
        ("/layers", json!({ "key": "l", "description": long }), "/description"),
        ("/layers", json!({ "key": "l", "salt": "x".repeat(257) }), ""),
        ("/holdouts", json!({ "key": "h" }), ""),
        ("/holdouts", json!({ "key": "h", "size": "5.00001%" }), "/size"),
        ("/groups", json!({ "key": "g", "values": [{}] }), "/values"),
        ("/groups", json!({ "key": "g", "values": [], "more": 1 }), "/more"),
        ("/metrics", metric(json!({ "window_hours": 0 })), "/window_hours"),
        ("/metrics", metric(json!({ "better": "sideways" })), "/better"),
        ("/metrics", metric(json!({ "denominator": "m" })), "/denominator"),
    ] {
        let told = client.send(Ask::post(path).by("publisher").json(&body)).await;
        assert_eq!(told.status, 422, "{path} {body}: {told:?}");
        let found = told.body["errors"][0]["pointer"].as_str().unwrap_or("no pointer");
        assert!(found.starts_with(pointer), "{path} {body}: {found} is not {pointer}: {told:?}");
    }
}

#[tokio::test]
async fn bodies_are_json_of_bounded_size_and_depth() {
    let client = Client::new().await;
    let post = || Ask::post("/layers").by("publisher");
    let as_json = |body: &str| post().header("content-type", "application/json").bytes(body);
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let large = format!("{{\"key\":\"l\",\"description\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (ask, status, code) in [
        (as_json(""), 400, "malformed_body"),
        (as_json("{"), 400, "malformed_body"),
        (as_json(r#"{"key":"l","key":"l"}"#), 400, "malformed_body"),
        (as_json("{\"key\":\"l\"} x"), 400, "malformed_body"),
        (
            post().header("content-type", "application/json").bytes(vec![b'"', 0xff, b'"']),
            400,
            "malformed_body",
        ),
        (as_json(&deep), 400, "malformed_body"),
        (as_json(&large), 413, "body_too_large"),
        (post().bytes("{\"key\":\"l\"}"), 415, "unsupported_media_type"),
        (post().header("content-type", "text/plain").bytes("{\"key\":\"l\"}"), 415, "unsupported_media_type"),
    ] {
        let told = client.send(ask).await;
        assert_eq!((told.status, told.code()), (status, code), "{told:?}");
    }
}

#[tokio::test]
async fn parameters_and_paths_are_checked_on_every_route() {
    let client = Client::new().await;
    let long = format!("/layers?cursor={}", "x".repeat(9_000));
    for (path, status, code) in [
        ("/layers?limi=1", 400, "unknown_parameter"),
        ("/layers?limit=1&limit=1", 400, "repeated_parameter"),
        ("/layers?limit=0", 400, "invalid_parameter"),
        ("/layers?limit=201", 400, "invalid_parameter"),
        ("/layers?cursor=bm9wZQ", 400, "invalid_cursor"),
        ("/layers?environment=no%20name", 400, "invalid_parameter"),
        ("/layers?environment=nowhere", 404, "unknown_environment"),
        ("/layers?environment=%ff", 400, "malformed_query"),
        ("/layers/%ff", 400, "malformed_path"),
        ("/layers/a%20b", 404, "not_found"),
        ("/layers/a%2Fb", 404, "not_found"),
        ("/layers/l/revisions", 404, "not_found"),
        ("/layers/l/revisions/0", 404, "not_found"),
        ("/layers/l/revisions/01", 404, "not_found"),
        ("/layers/l/revisions/99999999999999999999", 404, "not_found"),
        ("/layers/l/diff", 400, "invalid_parameter"),
        ("/layers/l/diff?from=1&to=0", 400, "invalid_parameter"),
        ("/layers/l/diff?from=1&to=2", 404, "not_found"),
        (&long, 414, "url_too_long"),
    ] {
        let told = client.send(Ask::get(path).by("viewer")).await;
        assert_eq!((told.status, told.code()), (status, code), "{path}: {told:?}");
    }
}

#[tokio::test]
async fn a_repeated_creation_gets_the_same_answer_once() {
    let client = Client::new().await;
    let post = |token: &str, key: &str| {
        Ask::post("/layers").by(token).header("idempotency-key", "once").json(&json!({ "key": key }))
    };
    let first = client.ok(post("publisher", "l")).await;
    let again = client.ok(post("publisher", "l")).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(
        (first.header("etag"), first.header("location")),
        (again.header("etag"), again.header("location"))
    );
    let told = client.send(post("publisher", "other")).await;
    assert_eq!((told.status, told.code()), (422, "idempotency_mismatch"));
    let told = client.send(post("admin", "l")).await;
    assert_eq!((told.status, told.code()), (409, "exists"), "another caller's key is another key");
    for bad in ["", "a b", &"x".repeat(129)] {
        let ask =
            Ask::post("/layers").by("publisher").header("idempotency-key", bad).json(&json!({ "key": "z" }));
        let told = client.send(ask).await;
        assert_eq!((told.status, told.code()), (400, "invalid_header"), "{bad}");
    }
}

#[tokio::test]
async fn a_lost_database_is_said_in_words() {
    let client = Client::new().await;
    client.world.store.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let told = client.send(Ask::get("/layers").by("viewer")).await;
    assert_eq!((told.status, told.code(), told.header("retry-after")), (503, "unavailable", "1"));
    assert_eq!(client.send(Ask::get("~/healthz")).await.status, 200);
}
