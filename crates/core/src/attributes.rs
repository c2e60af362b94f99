//! Attributes: what a caller tells about a unit so that audiences can look at it.
//!
//! A small JSON object, bounded in bytes and depth, taken once at the door; after that nobody asks again. Its digest
//! goes into the token (claim `cd`), so that a client can see whether an answer was made for its own context.

use std::cmp::Ordering;
use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::json::{self, JsonError, Limits};

/// Most bytes of attributes, as JSON text.
pub const MAX_ATTRIBUTES_BYTES: usize = 4096;
/// Deepest nesting of attributes: `{}` has depth 1, `{"a":{}}` has 2.
pub const MAX_ATTRIBUTES_DEPTH: usize = 8;

/// Length of a [`ContextDigest`] in bytes.
const DIGEST_BYTES: usize = 16;
/// Separates this hash from every other one in Edgeseal.
const DIGEST_DOMAIN: &[u8] = b"edgeseal/context/1\0";

/// The attributes of one unit: a JSON object of at most [`MAX_ATTRIBUTES_BYTES`] and [`MAX_ATTRIBUTES_DEPTH`].
///
/// `Debug` shows only how many there are: they may be personal data.
///
/// Kept flat, the shortest names first: comparing lengths finds most attributes without touching a name.
#[derive(Clone, Default, PartialEq)]
pub struct Attributes(Box<[(Box<str>, Value)]>);

/// Up to this many attributes a scan is faster than a binary search.
const SCAN_UP_TO: usize = 16;

/// Why attributes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// The text is not acceptable JSON, too large, or too deep.
    #[error("attributes were refused: {0}")]
    Json(#[from] JsonError),
    /// The JSON is well-formed, but no object.
    #[error("attributes must be a JSON object such as {{\"plan\":\"pro\"}}, not {found}")]
    NotAnObject {
        /// What came instead: `an array`, `a string`…
        found: &'static str,
    },
}

impl Attributes {
    /// Parses attributes from JSON text.
    ///
    /// # Errors
    /// [`AttributesError`] when the text is not strict JSON ([`json::parse`]), no object, or beyond the bounds.
    pub fn parse(json: &[u8]) -> Result<Self, AttributesError> {
        let limits = Limits { max_bytes: MAX_ATTRIBUTES_BYTES, max_depth: MAX_ATTRIBUTES_DEPTH };
        match json::parse(json, limits)? {
            Value::Object(members) => Ok(Self::flat(members)),
            other => Err(AttributesError::NotAnObject { found: kind_of(&other) }),
        }
    }

    /// Takes an object that was parsed as part of something larger, such as a request body.
    ///
    /// # Errors
    /// [`AttributesError`] when the object nests too deep or would be too long as compact JSON text.
    pub fn from_object(members: Map<String, Value>) -> Result<Self, AttributesError> {
        // Depth first: writing recurses as deep as the object nests.
        for value in members.values() {
            if json::depth_within(value, MAX_ATTRIBUTES_DEPTH.saturating_sub(1)).is_none() {
                return Err(JsonError::TooDeep { limit: MAX_ATTRIBUTES_DEPTH }.into());
            }
        }
        let bytes = length_as_json(&members);
        if bytes > MAX_ATTRIBUTES_BYTES {
            return Err(JsonError::TooLarge { bytes, limit: MAX_ATTRIBUTES_BYTES }.into());
        }
        Ok(Self::flat(members))
    }

    fn flat(members: Map<String, Value>) -> Self {
        let mut flat: Box<[_]> =
            members.into_iter().map(|(name, value)| (name.into_boxed_str(), value)).collect();
        flat.sort_unstable_by(|(left, _), (right, _)| shorter_first(left, right));
        Self(flat)
    }

    /// The value at a path of member names, from the outermost in. Arrays are not entered. Allocates nothing.
    pub fn lookup(&self, path: &[Box<str>]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let (_, value) = if self.0.len() <= SCAN_UP_TO {
            self.0.iter().find(|(name, _)| name == first)?
        } else {
            let at = self.0.binary_search_by(|(name, _)| shorter_first(name, first)).ok()?;
            self.0.get(at)?
        };
        walk(value, rest)
    }

    /// How many attributes there are, nested ones not counted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The digest that a token carries as `cd`; equal for equal attributes, in whatever order they were written.
    pub fn digest(&self) -> ContextDigest {
        let mut hasher = HashWriter(Sha256::new_with_prefix(DIGEST_DOMAIN));
        // Neither failure exists here: a hasher takes every byte, and names and values are plain JSON.
        let _written = serde_json_canonicalizer::to_writer(self, &mut hasher);
        let mut digest = [0; DIGEST_BYTES];
        for (to, from) in digest.iter_mut().zip(hasher.0.finalize()) {
            *to = from;
        }
        ContextDigest(digest)
    }
}

/// As a JSON object.
impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({} hidden)", self.0.len())
    }
}

/// Digest of a unit's attributes: the first 16 bytes of SHA-256(`"edgeseal/context/1" ‖ 0x00 ‖` the object in the
/// canonical form of RFC 8785`)`; for a unit without attributes, that of `{}`.
///
/// RFC 8785 writes every number as a 64-bit float, so integers beyond ±2⁵³ that round to the same float share a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextDigest([u8; DIGEST_BYTES]);

impl ContextDigest {
    /// Reads the 22 characters that `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }
}

impl fmt::Display for ContextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&base64::display::Base64Display::new(&self.0, &URL_SAFE_NO_PAD), f)
    }
}

/// Walks `path` into nested objects.
pub(crate) fn walk<'a>(mut value: &'a Value, path: &[Box<str>]) -> Option<&'a Value> {
    for name in path {
        value = value.as_object()?.get(&**name)?;
    }
    Some(value)
}

fn shorter_first(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// What kind of JSON value this is, for people.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn length_as_json(members: &Map<String, Value>) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, members) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Attributes, AttributesError> {
        Attributes::parse(value.to_string().as_bytes())
    }

    fn from_object(value: Value) -> Result<Attributes, AttributesError> {
        let Value::Object(members) = value else { panic!("not an object: {value}") };
        Attributes::from_object(members)
    }

    fn nested(depth: usize) -> Value {
        (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn finds_nested_values_by_path() {
        let attributes = parse(&json!({"geo": {"country": "NL"}, "tags": ["a"], "a.b": 1})).unwrap();
        let found = |path: &str| {
            let path: Vec<Box<str>> = path.split('.').map(Box::from).collect();
            attributes.lookup(&path).cloned()
        };
        assert_eq!(found("geo.country"), Some(json!("NL")));
        assert_eq!(found("tags"), Some(json!(["a"])));
        for nowhere in ["geo.city", "geo.country.x", "tags.0", "a.b", "x", ""] {
            assert_eq!(found(nowhere), None, "{nowhere}");
        }
        assert_eq!(attributes.lookup(&[]), None);
    }

    #[test]
    fn finds_each_of_many_attributes() {
        let name = |at: usize| format!("{}{at}", "n".repeat(at % 7));
        let members = |count| (0..count).map(|at| (name(at), at.into())).collect();
        for count in [1, SCAN_UP_TO, SCAN_UP_TO + 1, 200] {
            let attributes = Attributes::from_object(members(count)).unwrap();
            assert_eq!(attributes.len(), count);
            for at in 0..count + 10 {
                let expected = (at < count).then(|| json!(at));
                assert_eq!(attributes.lookup(&[name(at).into()]).cloned(), expected, "{at} of {count}");
            }
        }
    }

    #[test]
    fn both_doors_hold_the_same_bound_on_bytes() {
        let fits = json!({ "a": "x".repeat(MAX_ATTRIBUTES_BYTES - 8) });
        let too_large = json!({ "a": "x".repeat(MAX_ATTRIBUTES_BYTES - 7) });
        let refusal = Err(JsonError::TooLarge { bytes: 4097, limit: 4096 }.into());
        assert!(parse(&fits).is_ok() && from_object(fits).is_ok());
        assert_eq!(parse(&too_large), refusal);
        assert_eq!(from_object(too_large), refusal);
    }

    #[test]
    fn both_doors_hold_the_same_bound_on_depth() {
        let refusal = Err(JsonError::TooDeep { limit: MAX_ATTRIBUTES_DEPTH }.into());
        assert!(parse(&nested(8)).is_ok() && from_object(nested(8)).is_ok());
        assert_eq!(parse(&nested(9)), refusal);
        assert_eq!(from_object(nested(9)), refusal);
        assert_eq!(from_object(nested(100)), refusal);
    }

    #[test]
    fn refuses_what_is_no_object() {
        let refusal = Attributes::parse(b"[1]").unwrap_err();
        assert_eq!(refusal, AttributesError::NotAnObject { found: "an array" });
        assert!(refusal.to_string().contains("not an array"));
    }

    #[test]
    fn refuses_a_repeated_attribute() {
        let refusal = Attributes::parse(br#"{"plan":"a","plan":"b"}"#).unwrap_err();
        assert_eq!(refusal, JsonError::DuplicateMember { name: "plan".into() }.into());
    }

    #[test]
    fn the_digest_does_not_depend_on_how_the_json_is_written() {
        let digest = |text: &str| Attributes::parse(text.as_bytes()).unwrap().digest();
        assert_eq!(digest(r#"{"b":1.0,"a":"\u00e9"}"#), digest("{ \"a\" : \"é\", \"b\" : 1 }"));
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":2}"#));
        assert_eq!(digest("{}"), Attributes::default().digest());
    }

    #[test]
    fn the_digest_is_the_one_that_the_protocol_describes() {
        // printf 'edgeseal/context/1\0{"a":"é","b":[1,true,null]}' | sha256sum, first 16 bytes as base64url
        let digest = parse(&json!({"b": [1, true, null], "a": "é"})).unwrap().digest();
        assert_eq!(digest.to_string(), "LwYyojJTPazVfgP0KPwMXg");
        assert_eq!(Attributes::default().digest().to_string(), "EtYNQfKvShBZuf6Bf-KuLQ");
    }

    #[test]
    fn a_digest_reads_back_what_it_writes() {
        let digest = Attributes::default().digest();
        assert_eq!(ContextDigest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert_eq!(ContextDigest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_the_attributes() {
        assert_eq!(format!("{:?}", parse(&json!({"email": "a@b.c"})).unwrap()), "Attributes(1 hidden)");
    }
}
