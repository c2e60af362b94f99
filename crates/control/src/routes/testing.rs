//! A client for tests: speaks to the whole router, and holds every answer against the OpenAPI document.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{AuditLog, Commit, Store, TokenWrite};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use crate::auth::{NewToken, Scope, Token};
use crate::router::{Api, HttpSettings, api};
use crate::testing::World;
use crate::{Context, openapi};

/// The document, once for all tests.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);

/// An API with an environment `production`, another one `staging`, and a token of each scope.
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) api: Api,
    tokens: BTreeMap<String, String>,
}

/// A request under construction.
#[derive(Clone)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Ask {
    fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), token: None, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn put(path: &str) -> Self {
        Self::new("PUT", path)
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn of(method: &'static str, path: &str) -> Self {
        Self::new(method, path)
    }

    /// By the holder of this token: the name of one that the client has, or a text.
    pub(crate) fn by(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn if_match(self, revision: u64) -> Self {
        self.header("if-match", format!("\"{revision}\""))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { body, ..self.header("content-type", "application/json") }
    }

    pub(crate) fn bytes(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

impl Told {
    /// The code of a problem.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Client {
    /// With settings under which tests do not lock themselves out.
    pub(crate) async fn new() -> Self {
        Self::with(HttpSettings { auth_failures_per_minute: 1_000_000, ..HttpSettings::default() }).await
    }

    pub(crate) async fn with(settings: HttpSettings) -> Self {
        let world = World::new().await;
        let staging = Environment::parse("staging").unwrap();
        world.control.create_environment(&Context::system(), &staging).await.unwrap();
        let api = api(world.control.clone(), settings);
        let mut client = Self { world, api, tokens: BTreeMap::new() };
        for scope in Scope::ALL {
            client.add(scope.as_str(), scope, None, |_| {}).await;
            client.add(&format!("{scope}@staging"), scope, Some("staging"), |_| {}).await;
        }
        client
    }

    /// Gives the client one more token.
    pub(crate) async fn add(
        &mut self,
        name: &str,
        scope: Scope,
        environment: Option<&str>,
        edit: impl FnOnce(&mut edgeseal_store::ApiToken),
    ) -> String {
        let (actor, now) = (Context::system().actor, self.world.control.now());
        let environment = environment.map(|name| Environment::parse(name).unwrap());
        let new = NewToken { name: name.to_owned(), scope, environment, expires_at: None };
        let (mut token, text) = Token::generate(new, &actor, now).unwrap();
        edit(&mut token);
        let id = token.id.clone();
        let commit = Commit {
            actor,
            at: now,
            environment: None,
            tokens: vec![TokenWrite::Create(token)],
            audit: Vec::new(),
            idempotency: None,
            alerts: Vec::new(),
        };
        self.world.store.commit(commit).await.unwrap();
        self.tokens.insert(name.to_owned(), text.to_string());
        id
    }

    /// Sends a request and checks that the document tells of such an answer.
    pub(crate) async fn send(&self, ask: Ask) -> Told {
        let (method, path) = (ask.method, ask.path.clone());
        let response = self.raw(ask).await;
        let (parts, body) = response.into_parts();
        let is_stream = parts.headers.get(CONTENT_TYPE).is_some_and(|it| it == "text/event-stream");
        let bytes = if is_stream { Default::default() } else { body.collect().await.unwrap().to_bytes() };
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        let told = Told { status: parts.status.as_u16(), headers: parts.headers, body };
        check_headers(&told);
        check_documented(method, &path, &told);
        told
    }

    /// Sends a request and gives the answer as it comes.
    pub(crate) async fn raw(&self, ask: Ask) -> http::Response<Body> {
        let mut request = Request::builder().method(ask.method).uri(whole(&ask.path));
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &ask.token {
            let token = self.tokens.get(token).unwrap_or(token);
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(ask.body)).unwrap();
        TowerToHyperService::new(self.api.router()).call(request).await.unwrap()
    }

    /// The text of a token.
    pub(crate) fn text(&self, name: &str) -> &str {
        &self.tokens[name]
    }

    /// Sends a request that has to succeed.
    pub(crate) async fn ok(&self, ask: Ask) -> Told {
        let told = self.send(ask).await;
        assert!(told.status < 300, "{told:?}");
        told
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.control.now()
    }

    /// Entries of the audit log with an action, oldest first.
    pub(crate) async fn audited(&self, action: &str) -> Vec<Value> {
        let records = self.world.store.audit_after(0, 1_000).await.unwrap();
        let entries = records.iter().map(|record| serde_json::from_str::<Value>(&record.entry).unwrap());
        entries.filter(|entry| entry["action"] == action).collect()
    }

    /// Creates a two-variant experiment.
    pub(crate) async fn experiment(&self, key: &str) -> Told {
        let body = json!({ "key": key, "variants": [{ "key": "a" }, { "key": "b" }] });
        self.ok(Ask::post("/experiments").by("editor").json(&body)).await
    }
}

/// The whole path: below the base of the API, unless it begins with `~`.
fn whole(path: &str) -> String {
    match path.strip_prefix('~') {
        Some(path) => path.to_owned(),
        None => format!("/api/v1{path}"),
    }
}

fn check_headers(told: &Told) {
    let header = |name: &str| told.header(name);
    assert!(header("cache-control").starts_with("no-store"), "{told:?}");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(!header("x-request-id").is_empty());
    if told.status >= 400 {
        assert_eq!(header("content-type"), "application/problem+json", "{told:?}");
        assert_eq!(told.body["status"], told.status);
        assert_eq!(told.body["requestId"], header("x-request-id"));
    }
}

/// The operation that answers a request, by its path.
pub(crate) fn operation_of(method: &str, path: &str) -> Option<&'static Value> {
    let path = whole(path.split('?').next().unwrap());
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A literal path is nearer than a template.
    let mut fitting: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
    fitting.sort_by_key(|template| template.matches('{').count());
    let item = &paths[*fitting.first()?];
    item.get(method.to_ascii_lowercase())
}

fn check_documented(method: &str, path: &str, told: &Told) {
    let Some(operation) = operation_of(method, path) else {
        assert!([404, 405].contains(&told.status), "{method} {path}: {told:?}");
        return;
    };
    let described = &operation["responses"][told.status.to_string()];
    assert!(described.is_object(), "{method} {path} may not answer {}: {:?}", told.status, told.body);
    let described = match described["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
        None => described,
    };
    let Some(content) = described["content"].as_object() else {
        assert_eq!(told.body, "", "{method} {path} answers without a body");
        return;
    };
    let media = told.header("content-type");
    let schema = content.get(media).unwrap_or_else(|| panic!("{method} {path} may not answer in {media}"));
    if media == "text/event-stream" {
        return;
    }
    let root = json!({ "components": DOCUMENT["components"], "allOf": [schema["schema"]] });
    let validator = jsonschema::validator_for(&root).unwrap();
    let faults: Vec<String> = validator.iter_errors(&told.body).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{method} {path} {}: {faults:?} in {}", told.status, told.body);
}

/// Reads events of a stream until a `status` ends the group; fails when none comes.
pub(crate) async fn group(body: &mut Body) -> Vec<(String, String)> {
    let mut text = String::new();
    let read = async {
        loop {
            let frame = body.frame().await.expect("the stream ended").unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            let complete = text.rsplit("\n\n").nth(1).is_some_and(|last| last.contains("event: status"));
            if complete && text.ends_with("\n\n") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("no group came");
    let events = text.split("\n\n").filter(|event| event.contains("event: "));
    events
        .map(|event| {
            let field = |name: &str| {
                event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
            };
            let name = match field("id: ").as_str() {
                "" => field("event: "),
                id => format!("{} {id}", field("event: ")),
            };
            (name, field("data: "))
        })
        .collect()
}

/// Whether a status stands for "your token may not do this".
pub(crate) fn is_refused(status: u16) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].iter().any(|refusal| refusal.as_u16() == status)
}
