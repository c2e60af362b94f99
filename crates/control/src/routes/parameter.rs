//! Parameters of query strings and paths, with their bounds.

use serde_json::{Value, json};

use crate::pagination;

/// Pattern of a key, as [`edgeseal_core::ids::Key`] checks it.
pub(crate) const KEY_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$";
/// Pattern of an environment's name or of a unit type.
pub(crate) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";

/// A parameter of the query string or of the path.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) schema: Value,
    pub(crate) required: bool,
}

impl Parameter {
    /// A text of 1 to `limit` characters.
    pub(crate) fn text(name: &'static str, limit: usize, description: &'static str) -> Self {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": limit });
        Self { name, description, schema, required: false }
    }

    /// A whole number.
    pub(crate) fn number(name: &'static str, least: u64, most: u64, description: &'static str) -> Self {
        let schema = json!({ "type": "integer", "minimum": least, "maximum": most });
        Self { name, description, schema, required: false }
    }

    /// One of a few words.
    pub(crate) fn word(name: &'static str, words: &[&str], description: &'static str) -> Self {
        Self { name, description, schema: json!({ "type": "string", "enum": words }), required: false }
    }

    /// A key.
    pub(crate) fn key(description: &'static str) -> Self {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": KEY_PATTERN });
        Self { name: "key", description, schema, required: true }
    }

    /// The environment that an operation is about.
    pub(crate) fn environment() -> Self {
        let description =
            "The environment; by default the one that the token is bound to, or else 'production'.";
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": NAME_PATTERN });
        Self { name: "environment", description, schema, required: false }
    }

    /// The size of a page.
    pub(crate) fn limit() -> Self {
        let mut parameter =
            Self::number("limit", 1, pagination::MAX_LIMIT.into(), "Most items of the answer.");
        if let Some(members) = parameter.schema.as_object_mut() {
            members.insert("default".into(), pagination::DEFAULT_LIMIT.into());
        }
        parameter
    }

    /// The place of a page.
    pub(crate) fn cursor() -> Self {
        let description = "'nextCursor' of the page before.";
        Self::text("cursor", pagination::MAX_CURSOR_CHARS, description)
    }

    /// The same, but it has to be there.
    pub(crate) fn required(self) -> Self {
        Self { required: true, ..self }
    }
}
