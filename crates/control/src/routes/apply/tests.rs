use serde_json::{Value, json};

use crate::routes::testing::{Ask, Client};

fn file(traffic: u32) -> Value {
    json!({
        "experiments": [{
            "key": "e", "state": "running", "traffic": traffic, "variants": [{ "key": "a" }, { "key": "b" }],
        }],
        "groups": { "beta": ["u1"] },
    })
}

#[tokio::test]
async fn a_file_is_planned_then_applied_then_nothing() {
    let client = Client::new().await;
    let apply = |dry_run: bool| {
        Ask::post("/apply").by("publisher").json(&json!({ "definition": file(50), "dryRun": dry_run }))
    };
    let planned = client.ok(apply(true)).await;
    assert_eq!((&planned.body["dryRun"], &planned.body["changed"]), (&json!(true), &json!(true)));
    assert_eq!(client.send(Ask::get("/experiments/e").by("viewer")).await.status, 404, "only planned");
    let applied = client.ok(apply(false)).await;
    assert_eq!(applied.body["changes"], planned.body["changes"]);
    assert_eq!(applied.body["cv"], 2);
    let again = client.ok(apply(false)).await;
    assert_eq!((&again.body["changed"], &again.body["changes"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn an_editor_plans_what_a_publisher_applies() {
    let client = Client::new().await;
    let apply = |dry_run: bool| {
        Ask::post("/apply").by("editor").json(&json!({ "definition": file(50), "dryRun": dry_run }))
    };
    client.ok(apply(true)).await;
    let told = client.send(apply(false)).await;
    assert_eq!((told.status, told.code()), (403, "publisher_needed"));
}

#[tokio::test]
async fn faults_are_named_by_their_place_in_the_body() {
    let client = Client::new().await;
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "definition": file(50), "force": true }), "/force"),
        (json!({ "definition": { "experimants": [] } }), "/definition/experimants"),
        (json!({ "definition": file(101) }), "/definition/experiments/0/traffic"),
        (
            json!({ "definition": { "experiments": [{ "key": "e", "variants": [] }] } }),
            "/definition/experiments/0/variants",
        ),
    ] {
        let told = client.send(Ask::post("/apply").by("publisher").json(&body)).await;
        assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{told:?}");
    }
    let other = json!({ "definition": { "environment": "staging" } });
    assert_eq!(client.send(Ask::post("/apply").by("publisher").json(&other)).await.code(), "invalid");
    client.ok(Ask::post("/apply?environment=staging").by("publisher").json(&other)).await;
}

#[tokio::test]
async fn a_repeated_application_gets_the_same_answer() {
    let client = Client::new().await;
    let apply = || {
        let ask = Ask::post("/apply").by("publisher").header("idempotency-key", "deploy-7");
        ask.json(&json!({ "definition": file(50) }))
    };
    let (first, again) = (client.ok(apply()).await, client.ok(apply()).await);
    assert_eq!(first.body, again.body);
    assert_eq!(again.body["changed"], true, "the answer of the first time");
}
