use serde_json::{Value, json};

use crate::routes::testing::{Ask, Client};

async fn key(client: &Client, use_: &str, state: &str) -> Value {
    let listed = client.ok(Ask::get("/keys").by("viewer")).await;
    let keys = listed.body["keys"].as_array().unwrap().clone();
    let found = keys.into_iter().find(|key| key["use"] == use_ && key["state"] == state);
    found.unwrap_or_else(|| panic!("no {state} {use_} key in {}", listed.body))
}

#[tokio::test]
async fn keys_are_listed_without_their_private_halves() {
    let client = Client::new().await;
    let listed = client.ok(Ask::get("/keys").by("viewer")).await;
    assert_eq!(listed.body["root"]["jwk"]["kid"], listed.body["root"]["kid"]);
    assert_eq!(listed.body["keys"].as_array().unwrap().len(), 2);
    let text = listed.body.to_string();
    assert!(!text.contains("\"d\"") && !text.contains("private") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_key_takes_its_steps_in_their_time() {
    let client = Client::new().await;
    let rotate = |use_: &str, force: bool| {
        Ask::post("/keys/rotate").by("admin").json(&json!({ "use": use_, "force": force }))
    };
    let old = key(&client, "edge", "active").await["kid"].clone();
    let published = client.ok(rotate("edge", false)).await;
    assert_eq!(published.body["step"], "published");
    let early = client.send(rotate("edge", false)).await;
    assert_eq!((early.status, early.code()), (409, "wrong_key_state"));
    let activated = client.ok(rotate("edge", true)).await;
    assert_eq!((&activated.body["step"], &activated.body["retiring"]), (&json!("activated"), &old));
    let early = client.send(Ask::post("/keys/retire").by("admin")).await;
    assert_eq!((early.status, early.code()), (409, "wrong_key_state"));
    let retired = Ask::post("/keys/retire").by("admin").json(&json!({ "kid": old, "force": true }));
    assert_eq!(client.ok(retired).await.body["kids"], json!([old]));

    assert_eq!(client.ok(rotate("hmac", false)).await.body["step"], "published");
    assert_eq!(client.ok(rotate("hmac", true)).await.body["step"], "activated");
    let retire = Ask::post("/keys/retire").by("admin").json(&json!({ "use": "hmac", "force": true }));
    assert_eq!(client.ok(retire).await.body["step"], "retired");
}

#[tokio::test]
async fn an_hmac_secret_is_read_by_admins_only_and_the_log_says_by_whom() {
    let client = Client::new().await;
    let exported = client.ok(Ask::get("/keys/hmac/1").by("admin")).await;
    assert_eq!(exported.body["secretVersion"], 1);
    assert_eq!(exported.body["secretHex"].as_str().unwrap().len(), 64);
    assert_eq!(client.send(Ask::get("/keys/hmac/1").by("publisher")).await.status, 403);
    for none in ["2", "01", "x", "99999999999"] {
        assert_eq!(
            client.send(Ask::get(&format!("/keys/hmac/{none}")).by("admin")).await.status,
            404,
            "{none}"
        );
    }
    let log = client.ok(Ask::get("/audit").by("viewer")).await;
    let entry = &log.body["items"][0]["entry"];
    assert_eq!((&entry["action"], &entry["key"]), (&json!("key.export"), &json!("hmac/1")));
    assert!(!log.body.to_string().contains(exported.body["secretHex"].as_str().unwrap()));
}

#[tokio::test]
async fn a_leaked_key_is_revoked_at_once() {
    let client = Client::new().await;
    let kid = key(&client, "edge", "active").await["kid"].clone();
    let revoke = || Ask::post("/keys/revoke").by("admin").json(&json!({ "kid": kid }));
    let told = client.ok(revoke()).await;
    assert_eq!((&told.body["step"], &told.body["kid"]), (&json!("revoked"), &kid));
    assert!(told.body["successor"].is_string());
    assert_eq!(client.send(revoke()).await.status, 409);
    let unknown = Ask::post("/keys/revoke").by("admin").json(&json!({ "kid": "AAAAAAAAAAAAAAAAAAAAAA" }));
    assert_eq!(client.send(unknown).await.status, 404);
}

#[tokio::test]
async fn key_requests_are_bounded() {
    let client = Client::new().await;
    for (verb, body, pointer) in [
        ("rotate", json!({}), ""),
        ("rotate", json!({ "use": "root" }), "/use"),
        ("rotate", json!({ "use": "edge", "force": "yes" }), "/force"),
        ("retire", json!({ "kid": "short" }), "/kid"),
        ("retire", json!({ "use": "edge" }), "/use"),
        ("retire", json!({ "kid": "AAAAAAAAAAAAAAAAAAAAAA", "use": "hmac" }), "/use"),
        ("revoke", json!({ "kid": "AAAAAAAAAAAAAAAAAAAAAA", "force": true }), "/force"),
        ("revoke", json!({ "kid": "AAAAAAAAAAAAAAAAAAAAAB" }), "/kid"),
    ] {
        let told = client.send(Ask::post(&format!("/keys/{verb}")).by("admin").json(&body)).await;
        assert_eq!(
            (told.status, &told.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{verb} {body}"
        );
    }
}
