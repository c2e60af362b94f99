//! Names and identifiers, checked once when they come in.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest key of an experiment, variant, layer, holdout or group, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Longest unit id, in bytes of UTF-8.
pub const MAX_UNIT_ID_BYTES: usize = 256;
/// Longest unit type or environment name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A key that people give to a thing of the kind `K`: `checkout-button`, `treatment`, `eu.beta`.
///
/// 1 to [`MAX_KEY_BYTES`] ASCII letters, digits, `_`, `-` or `.`, beginning with a letter or digit; so a key is
/// safe in a URL path, a header value, a metric label and the `|`-joined message of the HMAC profile.
pub struct Key<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// Key of an experiment.
pub type ExperimentKey = Key<kind::Experiment>;
/// Key of a variant, unique within its experiment.
pub type VariantKey = Key<kind::Variant>;
/// Key of a layer.
pub type LayerKey = Key<kind::Layer>;
/// Key of a holdout.
pub type HoldoutKey = Key<kind::Holdout>;
/// Key of a saved group.
pub type GroupKey = Key<kind::Group>;

/// Key of a metric.
pub type MetricKey = Key<kind::Metric>;

/// The kinds of thing a [`Key`] can name: two keys of different kinds never mix.
pub mod kind {
    /// Marks the key of an experiment.
    pub enum Experiment {}
    /// Marks the key of a variant.
    pub enum Variant {}
    /// Marks the key of a layer.
    pub enum Layer {}
    /// Marks the key of a holdout.
    pub enum Holdout {}
    /// Marks the key of a saved group.
    pub enum Group {}
    /// Marks the key of a metric.
    pub enum Metric {}
}

/// Why a text is not a usable name; the text itself is quoted by whoever reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("has {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A character outside the allowed set.
    #[error("may hold only ASCII letters, digits, '_', '-' and '.', and begins with a letter or digit")]
    Alphabet,
    /// A control character in a unit id.
    #[error("holds a control character")]
    ControlCharacter,
}

impl<K> Key<K> {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`NameError`] when the text is empty, too long, or outside the alphabet.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, MAX_KEY_BYTES)?;
        Ok(Self { text: Arc::from(text), kind: PhantomData })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn check_name(text: &str, limit: usize) -> Result<(), NameError> {
    let Some(first) = text.bytes().next() else { return Err(NameError::Empty) };
    if text.len() > limit {
        return Err(NameError::TooLong { bytes: text.len(), limit });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !first.is_ascii_alphanumeric() || !text.bytes().all(allowed) {
        return Err(NameError::Alphabet);
    }
    Ok(())
}

// Written by hand because `derive` would ask the same of the marker type `K`.
impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), kind: PhantomData }
    }
}
impl<K> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<K> Eq for Key<K> {}
impl<K> PartialOrd for Key<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Key<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl<K> std::hash::Hash for Key<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<K> Borrow<str> for Key<K> {
    fn borrow(&self) -> &str {
        &self.text
    }
}
impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
impl<K> fmt::Display for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl<K> std::str::FromStr for Key<K> {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}
impl<K> Serialize for Key<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
impl<'de, K> Deserialize<'de> for Key<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(format_args!("key '{text}' {error}")))
    }
}

/// Name of an environment (`production`, `staging`): the `iss` of everything that is signed for it.
///
/// Same alphabet as a [`Key`], at most [`MAX_NAME_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Environment(Arc<str>);

/// What is randomised: `user`, `device`, `session`. Same alphabet and bound as an [`Environment`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct UnitType(Arc<str>);

impl Environment {
    /// Checks and takes the name of an environment.
    ///
    /// # Errors
    /// [`NameError`] when the text is empty, too long, or outside the alphabet.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, MAX_NAME_BYTES)?;
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UnitType {
    /// Checks and takes a unit type.
    ///
    /// # Errors
    /// [`NameError`] when the text is empty, too long, or outside the alphabet.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, MAX_NAME_BYTES)?;
        Ok(Self(Arc::from(text)))
    }

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `production`, where nothing else is said.
impl Default for Environment {
    fn default() -> Self {
        Self(Arc::from("production"))
    }
}

/// `user`, where nothing else is said.
impl Default for UnitType {
    fn default() -> Self {
        Self(Arc::from("user"))
    }
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .map_err(|error| serde::de::Error::custom(format_args!("environment '{text}' {error}")))
    }
}

impl<'de> Deserialize<'de> for UnitType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .map_err(|error| serde::de::Error::custom(format_args!("unit type '{text}' {error}")))
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UnitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The opaque id of one unit: 1 to [`MAX_UNIT_ID_BYTES`] bytes of UTF-8 without control characters.
///
/// Borrowed, because evaluation allocates nothing. `Debug` hides the id: it may be personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnitId<'a>(&'a str);

impl<'a> UnitId<'a> {
    /// Checks a unit id.
    ///
    /// # Errors
    /// [`NameError`] when the id is empty, too long, or holds a control character (Unicode category Cc).
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_UNIT_ID_BYTES {
            return Err(NameError::TooLong { bytes: text.len(), limit: MAX_UNIT_ID_BYTES });
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::ControlCharacter);
        }
        Ok(Self(text))
    }

    /// The id as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for UnitId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitId({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_in_urls_headers_and_joined_messages() {
        for good in ["a", "checkout-button", "eu.beta_2", "9lives", &"k".repeat(MAX_KEY_BYTES)] {
            assert!(ExperimentKey::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-a", ".a", "a b", "a|b", "a/b", "ä", "a\n", "__proto__", &"k".repeat(MAX_KEY_BYTES + 1)]
        {
            assert!(ExperimentKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unit_ids_take_any_text_but_control_characters() {
        for good in ["1", "user-1", "zoë", "用户", "a b/c|d", &"u".repeat(MAX_UNIT_ID_BYTES)] {
            assert!(UnitId::parse(good).is_ok(), "{good}");
        }
        assert_eq!(UnitId::parse(""), Err(NameError::Empty));
        assert_eq!(UnitId::parse("a\u{0}b"), Err(NameError::ControlCharacter));
        assert_eq!(UnitId::parse("a\u{85}b"), Err(NameError::ControlCharacter));
        assert_eq!(UnitId::parse(&"é".repeat(129)), Err(NameError::TooLong { bytes: 258, limit: 256 }));
    }

    #[test]
    fn debug_output_of_a_unit_id_hides_it() {
        assert_eq!(format!("{:?}", UnitId::parse("secret").unwrap()), "UnitId(6 bytes)");
    }
}
