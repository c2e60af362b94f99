//! Every route × every scope, from one table that has to list every route of the document.

use std::collections::BTreeSet;

use super::testing::{Ask, Client, DOCUMENT, is_refused};
use crate::auth::Scope;

/// What a route asks of its caller, and where a token that is bound to another environment is refused.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// Any good token.
    AnyToken,
    /// A token of this scope, good in the environment that the request is about.
    Scope(Scope),
    /// A token of this scope, wherever it is good.
    ScopeAnywhere(Scope),
    /// Something in the body that vouches for the caller, or a token of this scope.
    Optional(Scope),
}

use Needs::{AnyToken, Nothing, Optional, Scope as In, ScopeAnywhere};
use Scope::{Admin, Edge, Editor, Ingest, Publisher, Viewer};

const TABLE: &[(&str, &str, Needs)] = &[
    ("GET", "~/healthz", Nothing),
    ("GET", "~/readyz", Nothing),
    ("GET", "~/metrics", Nothing),
    ("GET", "/openapi.json", Nothing),
    ("GET", "/whoami", AnyToken),
    ("GET", "/environments", ScopeAnywhere(Viewer)),
    ("POST", "/environments", In(Admin)),
    ("GET", "/environments/{name}", In(Viewer)),
    ("GET", "/experiments", In(Viewer)),
    ("POST", "/experiments", In(Editor)),
    ("GET", "/experiments/{key}", In(Viewer)),
    ("PUT", "/experiments/{key}", In(Editor)),
    ("DELETE", "/experiments/{key}", In(Editor)),
    ("GET", "/experiments/{key}/revisions", In(Viewer)),
    ("GET", "/experiments/{key}/revisions/{revision}", In(Viewer)),
    ("GET", "/experiments/{key}/diff", In(Viewer)),
    ("GET", "/experiments/{key}/results", In(Viewer)),
    ("POST", "/experiments/{key}/start", In(Publisher)),
    ("POST", "/experiments/{key}/pause", In(Publisher)),
    ("POST", "/experiments/{key}/resume", In(Publisher)),
    ("POST", "/experiments/{key}/stop", In(Publisher)),
    ("GET", "/layers", In(Viewer)),
    ("POST", "/layers", In(Editor)),
    ("GET", "/layers/{key}", In(Viewer)),
    ("PUT", "/layers/{key}", In(Editor)),
    ("DELETE", "/layers/{key}", In(Editor)),
    ("GET", "/layers/{key}/revisions", In(Viewer)),
    ("GET", "/layers/{key}/revisions/{revision}", In(Viewer)),
    ("GET", "/layers/{key}/diff", In(Viewer)),
    ("GET", "/holdouts", In(Viewer)),
    ("POST", "/holdouts", In(Editor)),
    ("GET", "/holdouts/{key}", In(Viewer)),
    ("PUT", "/holdouts/{key}", In(Editor)),
    ("DELETE", "/holdouts/{key}", In(Editor)),
    ("GET", "/holdouts/{key}/revisions", In(Viewer)),
    ("GET", "/holdouts/{key}/revisions/{revision}", In(Viewer)),
    ("GET", "/holdouts/{key}/diff", In(Viewer)),
    ("GET", "/groups", In(Viewer)),
    ("POST", "/groups", In(Editor)),
    ("GET", "/groups/{key}", In(Viewer)),
    ("PUT", "/groups/{key}", In(Editor)),
    ("DELETE", "/groups/{key}", In(Editor)),
    ("GET", "/groups/{key}/revisions", In(Viewer)),
    ("GET", "/groups/{key}/revisions/{revision}", In(Viewer)),
    ("GET", "/groups/{key}/diff", In(Viewer)),
    ("GET", "/metrics", In(Viewer)),
    ("POST", "/metrics", In(Editor)),
    ("GET", "/metrics/{key}", In(Viewer)),
    ("PUT", "/metrics/{key}", In(Editor)),
    ("DELETE", "/metrics/{key}", In(Editor)),
    ("GET", "/metrics/{key}/revisions", In(Viewer)),
    ("GET", "/metrics/{key}/revisions/{revision}", In(Viewer)),
    ("GET", "/metrics/{key}/diff", In(Viewer)),
    ("POST", "/apply", In(Editor)),
    ("GET", "/keys", In(Viewer)),
    ("GET", "/keys/hmac/{version}", In(Admin)),
    ("POST", "/keys/rotate", In(Admin)),
    ("POST", "/keys/retire", In(Admin)),
    ("POST", "/keys/revoke", In(Admin)),
    ("GET", "/tokens", In(Admin)),
    ("POST", "/tokens", In(Admin)),
    ("DELETE", "/tokens/{id}", In(Admin)),
    ("GET", "/edges", In(Viewer)),
    ("GET", "/audit", In(Viewer)),
    ("GET", "/audit/chain", In(Viewer)),
    ("GET", "/edge/bundle", In(Edge)),
    ("GET", "/edge/stream", In(Edge)),
    ("POST", "/edge/heartbeat", In(Edge)),
    ("POST", "/edge/events", In(Edge)),
    ("POST", "~/v1/events", Optional(Ingest)),
    ("GET", "/events/quarantine", In(Viewer)),
];

/// A request to a route, as good as it needs to be to get past the gate, about `production`.
fn request(method: &'static str, template: &str) -> Ask {
    let path = template
        .replace("{key}", "nothing-here")
        .replace("{revision}", "1")
        .replace("{version}", "1")
        .replace("{id}", "aaaaaaaaaaaaaaaa")
        .replace("{name}", "production");
    let about_production = !["/whoami", "/environments", "/tokens", "/audit/chain", "/edge/heartbeat"]
        .iter()
        .any(|without| template.starts_with(without))
        && (!template.starts_with('~') || template == "~/v1/events")
        && template != "/openapi.json";
    let ask =
        Ask::of(method, &if about_production { format!("{path}?environment=production") } else { path });
    match template {
        "/edge/heartbeat" => ask.json(&serde_json::json!({
            "id": "e", "environment": "production", "version": "1", "source": "poll",
            "cv": 1, "ep": 1, "keysetVer": 1, "configAgeMs": 0,
        })),
        "/edge/events" => ask.header("content-type", "application/x-ndjson"),
        "~/v1/events" => ask.json(&serde_json::json!({ "events": [] })),
        _ => ask,
    }
}

#[test]
fn the_table_lists_exactly_the_routes_of_the_document() {
    let whole = |path: &str| match path.strip_prefix('~') {
        Some(path) => path.to_owned(),
        None => format!("/api/v1{path}"),
    };
    let tabled: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, path, _)| (method.to_ascii_lowercase(), whole(path))).collect();
    let mut documented = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        documented.extend(item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    assert_eq!(tabled, documented);
    assert_eq!(tabled.len(), TABLE.len(), "a route is listed twice");
}

#[test]
fn the_document_names_the_scope_of_the_table() {
    for (method, path, needs) in TABLE {
        let operation = super::testing::operation_of(method, path).unwrap();
        let expected = match needs {
            Nothing => serde_json::json!([]),
            AnyToken => serde_json::json!([{ "token": [] }]),
            In(scope) | ScopeAnywhere(scope) => serde_json::json!([{ "token": [scope.as_str()] }]),
            Optional(scope) => serde_json::json!([{}, { "token": [scope.as_str()] }]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
    }
}

#[tokio::test]
async fn each_route_lets_in_who_may_and_nobody_else() {
    let client = Client::new().await;
    for (method, path, needs) in TABLE {
        for scope in Scope::ALL {
            let told = client.send(request(method, path).by(scope.as_str())).await;
            let may = match needs {
                Nothing | AnyToken => true,
                In(needed) | ScopeAnywhere(needed) | Optional(needed) => scope.allows(*needed),
            };
            if may {
                assert!(!is_refused(told.status), "{method} {path} by {scope}: {told:?}");
                assert!(told.status < 500, "{method} {path} by {scope}: {told:?}");
            } else {
                assert_eq!(
                    (told.status, told.code()),
                    (403, "scope_insufficient"),
                    "{method} {path} by {scope}"
                );
            }
        }
    }
}

#[tokio::test]
async fn nobody_gets_past_the_gate_without_a_good_token() {
    let mut client = Client::new().await;
    let now = client.now();
    for scope in [Admin, Edge, Ingest] {
        client.add(&format!("expired {scope}"), scope, None, |token| token.expires_at = Some(now)).await;
        client.add(&format!("revoked {scope}"), scope, None, |token| token.revoked_at = Some(now)).await;
        client.add(&format!("odd {scope}"), scope, None, |token| token.scope = "root".into()).await;
    }
    let unknown = "edgeseal_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (method, path, needs) in TABLE.iter().filter(|(.., needs)| *needs != Nothing) {
        let scope = match needs {
            In(scope) | ScopeAnywhere(scope) | Optional(scope) if [Edge, Ingest].contains(scope) => *scope,
            _ => Admin,
        };
        let mut details = BTreeSet::new();
        for token in [
            None,
            Some(unknown.to_owned()),
            Some("not a token".to_owned()),
            Some(format!("expired {scope}")),
            Some(format!("revoked {scope}")),
            Some(format!("odd {scope}")),
        ] {
            if token.is_none() && matches!(needs, Optional(_)) {
                continue;
            }
            let ask = request(method, path);
            let told = client.send(match &token {
                Some(token) => ask.by(token),
                None => ask,
            });
            let told = told.await;
            assert_eq!(
                (told.status, told.code()),
                (401, "unauthenticated"),
                "{method} {path} with {token:?}"
            );
            assert!(told.header("www-authenticate").starts_with("Bearer"));
            details.insert(told.body["detail"].to_string());
        }
        assert_eq!(details.len(), 1, "{method} {path} tells what is wrong with a token: {details:?}");
    }
}

#[tokio::test]
async fn a_token_of_another_environment_is_refused() {
    let client = Client::new().await;
    for (method, path, needs) in TABLE {
        let (scope, refused) = match needs {
            Nothing => continue,
            AnyToken => (Viewer, false),
            In(scope) | Optional(scope) => (*scope, true),
            ScopeAnywhere(scope) => (*scope, false),
        };
        let told = client.send(request(method, path).by(&format!("{scope}@staging"))).await;
        if refused {
            assert_eq!((told.status, told.code()), (403, "environment_forbidden"), "{method} {path}");
        } else {
            assert_eq!(told.status, 200, "{method} {path}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_bound_token_is_about_its_own_environment() {
    let client = Client::new().await;
    let listed = client.ok(Ask::get("/environments").by("viewer@staging")).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["items"][0]["name"], "staging");
    assert_eq!(client.ok(Ask::get("/keys").by("viewer@staging")).await.body["environment"], "staging");
    assert_eq!(client.ok(Ask::get("/keys").by("viewer")).await.body["environment"], "production");
}

#[tokio::test]
async fn other_methods_and_other_paths_are_refused_in_the_same_shape() {
    let client = Client::new().await;
    let told = client.send(Ask::of("PATCH", "/experiments").by("admin")).await;
    assert_eq!((told.status, told.code()), (405, "method_not_allowed"));
    assert!(told.header("allow").contains("POST"), "{told:?}");
    for path in ["/nowhere", "~/nowhere", "~/", "/experiments/"] {
        let told = client.send(Ask::get(path).by("admin")).await;
        assert_eq!((told.status, told.code()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn requests_keep_their_id_and_answers_say_how_to_treat_them() {
    let client = Client::new().await;
    let told = client.ok(Ask::get("/whoami").by("viewer").header("x-request-id", "trace-1")).await;
    assert_eq!(told.header("x-request-id"), "trace-1");
    assert!(told.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(told.header("access-control-allow-origin"), "");
    let own = client.ok(Ask::get("/whoami").by("viewer").header("x-request-id", "no good!")).await;
    assert_ne!(own.header("x-request-id"), "no good!");
}
