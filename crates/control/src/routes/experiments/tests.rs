use serde_json::json;

use crate::routes::testing::{Ask, Client, Told};

fn keys(told: &Told) -> Vec<String> {
    let items = told.body["items"].as_array().unwrap();
    items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

async fn shop(client: &Client) {
    for (key, name, tags, owner) in [
        ("button", "Green BUTTON", vec!["checkout", "q4"], "ann"),
        ("checkout-flow", "One page", vec!["checkout"], "bob"),
        ("search", "Übersicht", vec![], "ann"),
    ] {
        let body = json!({
            "key": key, "name": name, "tags": tags, "owner": owner, "variants": [{ "key": "a" }, { "key": "b" }],
        });
        client.ok(Ask::post("/experiments").by("editor").json(&body)).await;
    }
    client.ok(Ask::post("/experiments/search/start").by("publisher")).await;
}

#[tokio::test]
async fn the_list_can_be_searched_and_filtered() {
    let client = Client::new().await;
    shop(&client).await;
    for (query, expected) in [
        ("", vec!["button", "checkout-flow", "search"]),
        ("?state=draft", vec!["button", "checkout-flow"]),
        ("?state=running", vec!["search"]),
        ("?q=BUTTON", vec!["button"]),
        ("?q=flow", vec!["checkout-flow"]),
        ("?q=%C3%BCber", vec!["search"]),
        ("?tag=checkout", vec!["button", "checkout-flow"]),
        ("?tag=check", vec![]),
        ("?owner=ann&state=draft", vec!["button"]),
    ] {
        let told = client.ok(Ask::get(&format!("/experiments{query}")).by("viewer")).await;
        assert_eq!(keys(&told), expected, "{query}");
    }
    for bad in ["?state=over", "?q=", "?tag=%0a", &format!("?owner={}", "x".repeat(257))] {
        let told = client.send(Ask::get(&format!("/experiments{bad}")).by("viewer")).await;
        assert_eq!((told.status, told.code()), (400, "invalid_parameter"), "{bad}");
    }
}

#[tokio::test]
async fn pages_lead_through_the_whole_list() {
    let client = Client::new().await;
    shop(&client).await;
    let first = client.ok(Ask::get("/experiments?limit=2").by("viewer")).await;
    assert_eq!(keys(&first), ["button", "checkout-flow"]);
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let next = client.ok(Ask::get(&format!("/experiments?limit=2&cursor={cursor}")).by("viewer")).await;
    assert_eq!(keys(&next), ["search"]);
    assert!(next.body.get("nextCursor").is_none());
    let foreign = client.send(Ask::get(&format!("/layers?cursor={cursor}")).by("viewer")).await;
    assert_eq!(foreign.code(), "invalid_cursor");
    let history = client.ok(Ask::get("/experiments/search/revisions?limit=1").by("viewer")).await;
    assert_eq!(history.body["items"][0]["revision"], 2);
    let cursor = history.body["nextCursor"].as_str().unwrap();
    let rest =
        client.ok(Ask::get(&format!("/experiments/search/revisions?cursor={cursor}")).by("viewer")).await;
    assert_eq!(rest.body["items"][0]["revision"], 1);
}

#[tokio::test]
async fn an_experiment_takes_its_steps() {
    let client = Client::new().await;
    client.experiment("e").await;
    let step = |verb: &str| Ask::post(&format!("/experiments/e/{verb}")).by("publisher");
    let told = client.send(step("pause")).await;
    assert_eq!((told.status, told.code()), (409, "wrong_state"));
    let running = client.ok(step("start").json(&json!({ "reason": "ready" }))).await;
    assert_eq!((&running.body["state"], &running.body["version"]), (&json!("running"), &json!(1)));
    assert_eq!(client.ok(step("pause").if_match(2)).await.header("etag"), "\"3\"");
    assert_eq!(client.ok(step("pause")).await.header("etag"), "\"3\"", "paused already");
    assert_eq!(client.send(step("resume").if_match(1)).await.status, 412);
    client.ok(step("resume")).await;
    let stopped = client.ok(step("stop").json(&json!({ "winner": "b", "reason": "it sells" }))).await;
    assert_eq!(stopped.body["definition"]["winner"], "b");
    let audit = client.audited("experiment.stop").await;
    assert_eq!(audit[0]["detail"]["reason"], "it sells");
}

#[tokio::test]
async fn steps_refuse_what_they_do_not_take() {
    let client = Client::new().await;
    client.experiment("e").await;
    client.ok(Ask::post("/experiments/e/start").by("publisher")).await;
    for (verb, body, pointer) in [
        ("pause", json!({ "winner": "a" }), "/winner"),
        ("pause", json!({ "reason": "" }), "/reason"),
        ("pause", json!({ "reason": "x".repeat(1_025) }), "/reason"),
        ("stop", json!({ "winner": "a b" }), "/winner"),
        ("stop", json!([]), ""),
    ] {
        let told =
            client.send(Ask::post(&format!("/experiments/e/{verb}")).by("publisher").json(&body)).await;
        assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
    let unknown = Ask::post("/experiments/e/stop").by("publisher").json(&json!({ "winner": "nobody" }));
    assert_eq!(client.send(unknown).await.status, 422);
    assert_eq!(client.send(Ask::post("/experiments/none/start").by("publisher")).await.status, 404);
    let running = client.send(Ask::delete("/experiments/e").by("publisher").if_match(2)).await;
    assert_eq!((running.status, running.code()), (409, "wrong_state"));
}
