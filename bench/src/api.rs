//! The few calls of the API that the benchmark makes.

use anyhow::{Context, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::plane::Plane;

/// A client with the admin token of a plane.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    pub(crate) fn new(plane: &Plane) -> Self {
        Self { client: Client::new(), base: format!("{}/api/v1", plane.url), token: plane.admin.clone() }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Makes `definition` the state of the environment.
    pub(crate) async fn apply(&self, definition: &Value) -> anyhow::Result<()> {
        let mut definition = definition.clone();
        // The environment that a control plane makes on its first start.
        definition["environment"] = json!("production");
        self.call(Method::POST, "/apply", Some(&json!({ "definition": definition }))).await.map(drop)
    }

    /// Creates a token for edges.
    pub(crate) async fn edge_token(&self) -> anyhow::Result<String> {
        let body = json!({ "name": "bench", "scope": "edge" });
        let created = self.call(Method::POST, "/tokens", Some(&body)).await?;
        Ok(created["token"].as_str().context("no token")?.to_owned())
    }

    /// `pause` or `resume` an experiment.
    pub(crate) async fn transition(&self, experiment: &str, verb: &str) -> anyhow::Result<()> {
        self.call(Method::POST, &format!("/experiments/{experiment}/{verb}"), Some(&json!({})))
            .await
            .map(drop)
    }
}
