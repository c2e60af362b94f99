//! A client of the control plane's API, as plain as a shell script: every answer as it came.

use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

/// Longest that a request may take; a frozen or dying control plane must not stop a test.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Most items of one page.
const PAGE: usize = 200;

/// The API of one control plane, with one token.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    token: String,
    client: Client,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) fn new(control: &str, token: &str) -> Self {
        // A connection of its own for every request: one that died with its control plane is nobody's concern here.
        let client = Client::builder().timeout(ANSWER_WITHIN).pool_max_idle_per_host(0).build().unwrap();
        Self { url: format!("{control}/api/v1"), token: token.trim().to_owned(), client }
    }

    /// One request; an error when no whole answer came, so that nobody knows whether it was carried out.
    pub(crate) fn ask(&self, call: Call) -> reqwest::Result<Reply> {
        let mut request =
            self.client.request(call.method, format!("{}{}", self.url, call.path)).bearer_auth(&self.token);
        if let Some(key) = call.idempotency {
            request = request.header("idempotency-key", key);
        }
        if let Some(revision) = call.revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        if let Some(body) = call.body {
            request = request.json(&body);
        }
        let response = request.send()?;
        let status = response.status().as_u16();
        let content_type =
            response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let text = response.text()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply { status, content_type: content_type.unwrap_or_default(), body })
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.ask(Call::get(path)).unwrap().expect(200)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        let reply = self.ask(Call::post(path, body)).unwrap();
        assert!((200..300).contains(&reply.status), "POST {path}: {reply:?}");
        reply.body
    }

    /// Every item of a list, page by page.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut page = self.get(&format!("{path}?limit={PAGE}{cursor}"));
            items.append(page["items"].as_array_mut().unwrap());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// A running experiment with two variants, weighted `weight : 1000 - weight`.
    #[track_caller]
    pub(crate) fn start_experiment(&self, key: &str, weight: u64) {
        self.post("/experiments", experiment(key, weight));
        self.post(&format!("/experiments/{key}/start"), json!({}));
    }

    /// `start`, `pause`, `resume`, `stop`.
    #[track_caller]
    pub(crate) fn turn(&self, key: &str, verb: &str) {
        self.post(&format!("/experiments/{key}/{verb}"), json!({}));
    }

    /// Makes a token and gives `(id, token)`.
    #[track_caller]
    pub(crate) fn new_token(&self, name: &str, scope: &str) -> (String, String) {
        let made = self.post("/tokens", json!({ "name": name, "scope": scope }));
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    /// Version of the newest snapshot.
    #[track_caller]
    pub(crate) fn newest_cv(&self) -> u64 {
        self.get("/environments/production")["cv"].as_u64().unwrap()
    }
}

/// A request, before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) idempotency: Option<String>,
    pub(crate) revision: Option<u64>,
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path, None)
    }

    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self::new(Method::POST, path, Some(body))
    }

    pub(crate) fn put(path: &str, revision: u64, body: Value) -> Self {
        Self { revision: Some(revision), ..Self::new(Method::PUT, path, Some(body)) }
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// With an idempotency key: sent again, it is carried out once.
    pub(crate) fn once(self, key: &str) -> Self {
        Self { idempotency: Some(key.to_owned()), ..self }
    }

    fn new(method: Method, path: &str, body: Option<Value>) -> Self {
        Self { method, path: path.to_owned(), body, idempotency: None, revision: None }
    }
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }
}

/// A definition with two variants, weighted `weight : 1000 - weight`.
pub(crate) fn experiment(key: &str, weight: u64) -> Value {
    json!({
        "key": key,
        "variants": [{ "key": "control", "weight": weight }, { "key": "treatment", "weight": 1000 - weight }],
    })
}
