//! One request to the API, before it is sent.

use std::fmt;

use reqwest::Method;
use serde_json::Value;

/// What to ask. Path segments come from checked names, so nothing in them needs escaping.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    parameters: Vec<(&'static str, String)>,
    body: Option<Value>,
    revision: Option<u64>,
}

impl Call {
    /// Reads something; `path` is below the API's base: `/experiments`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), None)
    }

    /// Changes something.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path.into(), Some(body))
    }

    /// Ends something.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into(), None)
    }

    fn new(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, parameters: Vec::new(), body, revision: None }
    }

    /// With a query parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.parameters.push((name, value.to_string()));
        self
    }

    /// With a query parameter, if there is a value for it.
    pub(crate) fn maybe(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Only if the thing still has this revision.
    pub(crate) fn if_revision(mut self, revision: Option<u64>) -> Self {
        self.revision = revision;
        self
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn parameters(&self) -> &[(&'static str, String)] {
        &self.parameters
    }

    pub(super) fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    pub(super) fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Whether carrying it out twice would differ from once.
    pub(super) fn needs_idempotency_key(&self) -> bool {
        self.method == Method::POST
    }
}
