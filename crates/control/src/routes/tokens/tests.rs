use serde_json::{Value, json};

use crate::routes::testing::{Ask, Client};
use crate::{Scope, Token};

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let client = Client::new().await;
    let body = json!({ "name": "ci", "scope": "editor", "environment": "staging", "expiresInSeconds": 60 });
    let created = client.ok(Ask::post("/tokens").by("admin").json(&body)).await;
    assert_eq!(created.status, 201);
    let text = created.body["token"].as_str().unwrap();
    let id = created.body["id"].as_str().unwrap();
    assert_eq!(Token::parse(text).unwrap().id(), id);
    let me = client.ok(Ask::get("/whoami").by(text)).await;
    assert_eq!((&me.body["name"], &me.body["environment"]), (&json!("ci"), &json!("staging")));

    let listed = client.ok(Ask::get("/tokens?limit=200").by("admin")).await;
    let listed = listed.body["items"].as_array().unwrap();
    let found = listed.iter().find(|token| token["id"] == id).unwrap();
    assert_eq!(found.get("token"), None);
    assert_eq!(found["createdBy"]["name"], "admin");

    let revoke = || Ask::delete(&format!("/tokens/{id}")).by("admin");
    assert_eq!(client.ok(revoke()).await.status, 204);
    assert_eq!(client.send(Ask::get("/whoami").by(text)).await.status, 401);
    assert_eq!(client.ok(revoke()).await.status, 204, "it is gone already");
    for action in ["token.create", "token.revoke"] {
        let audit = client.audited(action).await;
        assert_eq!((audit.len(), &audit[0]["key"]), (1, &json!(id)), "{action}");
        assert!(!audit[0].to_string().contains(text));
    }
}

#[tokio::test]
async fn tokens_end_by_themselves() {
    let client = Client::new().await;
    let body = json!({ "name": "short", "scope": "viewer", "expiresInSeconds": 60 });
    let created = client.ok(Ask::post("/tokens").by("admin").json(&body)).await;
    let text = created.body["token"].as_str().unwrap();
    client.world.advance(59);
    assert_eq!(client.send(Ask::get("/whoami").by(text)).await.status, 200);
    client.world.advance(1);
    assert_eq!(client.send(Ask::get("/whoami").by(text)).await.status, 401);
}

#[tokio::test]
async fn a_repeated_creation_makes_one_token() {
    let client = Client::new().await;
    let body = json!({ "name": "ci", "scope": "viewer" });
    let post = || Ask::post("/tokens").by("admin").header("idempotency-key", "t1").json(&body);
    let (first, again) = (client.ok(post()).await, client.ok(post()).await);
    assert_eq!(first.body["token"], again.body["token"]);
    let listed = client.ok(Ask::get("/tokens?limit=200").by("admin")).await;
    let named = |token: &&Value| token["name"] == "ci";
    assert_eq!(listed.body["items"].as_array().unwrap().iter().filter(named).count(), 1);
}

#[tokio::test]
async fn token_requests_are_bounded() {
    let client = Client::new().await;
    for (body, pointer) in [
        (json!({ "scope": "viewer" }), ""),
        (json!({ "name": "", "scope": "viewer" }), "/name"),
        (json!({ "name": "x".repeat(129), "scope": "viewer" }), "/name"),
        (json!({ "name": "a\nb", "scope": "viewer" }), "/name"),
        (json!({ "name": "a", "scope": "root" }), "/scope"),
        (json!({ "name": "a", "scope": "viewer", "environment": "nowhere" }), "/environment"),
        (json!({ "name": "a", "scope": "viewer", "environment": "a b" }), "/environment"),
        (json!({ "name": "a", "scope": "viewer", "expiresInSeconds": 0 }), "/expiresInSeconds"),
        (json!({ "name": "a", "scope": "viewer", "expiresInSeconds": 316_224_001 }), "/expiresInSeconds"),
        (json!({ "name": "a", "scope": "viewer", "id": "mine" }), "/id"),
    ] {
        let told = client.send(Ask::post("/tokens").by("admin").json(&body)).await;
        assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
    for unknown in ["aaaaaaaaaaaaaaaa", "x", "AAAAAAAAAAAAAAAA"] {
        assert_eq!(client.send(Ask::delete(&format!("/tokens/{unknown}")).by("admin")).await.status, 404);
    }
}

#[tokio::test]
async fn the_last_token_that_rules_stays() {
    let mut client = Client::new().await;
    let tokens = client.ok(Ask::get("/tokens?limit=200").by("admin")).await;
    let id = |name: &str| {
        let found = tokens.body["items"].as_array().unwrap().iter().find(|token| token["name"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let revoke = |id: &str| Ask::delete(&format!("/tokens/{id}")).by("admin");
    let told = client.send(revoke(&id("admin"))).await;
    assert_eq!((told.status, told.code()), (409, "wrong_state"));
    client.ok(revoke(&id("viewer"))).await;
    client.add("second", Scope::Admin, None, |_| {}).await;
    client.ok(revoke(&id("admin"))).await;
}
