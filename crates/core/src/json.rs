//! Strict JSON: the one parser for everything that comes from outside.
//!
//! Two readers of one document must never see two different things: a signed token that says `"sub"` twice means
//! one unit to the edge and another to the browser. So a document is refused when any member appears twice, at any
//! depth, and nothing may follow the value. Size and nesting are bounded before anything is built.
//!
//! ```
//! use edgeseal_core::json::{parse, JsonError, Limits};
//!
//! let limits = Limits { max_bytes: 64, max_depth: 2 };
//! assert!(parse(br#"{"plan":{"tier":1}}"#, limits).is_ok());
//! assert!(matches!(parse(br#"{"a":1,"a":2}"#, limits), Err(JsonError::DuplicateMember { .. })));
//! ```

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting that can be asked for, whatever [`Limits::max_depth`] says: one level less than the underlying
/// parser's own bound on its recursion, so that the refusal is always [`JsonError::TooDeep`].
pub const MAX_DEPTH: usize = 126;

/// How many characters of a repeated member's name an error quotes.
const MAX_QUOTED_CHARS: usize = 64;

/// How large and how deep a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the text, white space included.
    pub max_bytes: usize,
    /// Deepest nesting: a number or text has depth 0, `{}` has 1, `{"a":{}}` has 2. At most [`MAX_DEPTH`].
    pub max_depth: usize,
}

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed; nothing was parsed.
    #[error("the JSON has {bytes} bytes, more than the {limit} allowed; send less")]
    TooLarge {
        /// How many bytes came.
        bytes: usize,
        /// How many may come.
        limit: usize,
    },
    /// Objects and arrays nest deeper than allowed.
    #[error("the JSON nests deeper than the {limit} levels allowed; flatten it")]
    TooDeep {
        /// How many levels are allowed.
        limit: usize,
    },
    /// One object names the same member twice, so that two readers could see two different values.
    #[error("the member '{name}' appears twice in one JSON object; keep one of them")]
    DuplicateMember {
        /// Name of the member, cut to 64 characters.
        name: String,
    },
    /// The bytes are not UTF-8 (RFC 8259 section 8.1).
    #[error("the JSON is not UTF-8 from byte {offset} on; encode it as UTF-8")]
    NotUtf8 {
        /// Position of the first bad byte, counted from 0.
        offset: usize,
    },
    /// The text breaks the grammar of RFC 8259, goes on after the value, or holds a number beyond a 64-bit float.
    #[error("not valid JSON at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line of the fault, counted from 1.
        line: usize,
        /// Column of the fault, counted from 1 (0: the end of the line before).
        column: usize,
        /// What was found or missing there.
        reason: String,
    },
}

/// Parses one JSON value out of the whole of `bytes`.
///
/// # Errors
/// [`JsonError`] when the text is too large, too deep, not UTF-8, not JSON (RFC 8259), followed by anything but white
/// space, repeats a member, or holds a number that a 64-bit float cannot.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(JsonError::TooLarge { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let refusal = Cell::new(None);
    let max_depth = limits.max_depth.min(MAX_DEPTH);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    StrictValue { refusal: &refusal, depth_left: max_depth, max_depth }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| refusal.take().unwrap_or_else(|| syntax(&error)))
}

/// Depth of a value as [`Limits::max_depth`] counts it, or `None` when it is more than `limit`.
pub(crate) fn depth_within(value: &Value, limit: usize) -> Option<usize> {
    let deepest = |children: &mut dyn Iterator<Item = &Value>| {
        let left = limit.checked_sub(1)?;
        let mut below = 0;
        for child in children {
            below = below.max(depth_within(child, left)?);
        }
        below.checked_add(1)
    };
    match value {
        Value::Array(items) => deepest(&mut items.iter()),
        Value::Object(members) => deepest(&mut members.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(0),
    }
}

fn syntax(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    // The parser's message ends with the position, which the fields carry already.
    let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
    JsonError::Syntax { line: error.line(), column: error.column(), reason }
}

/// Builds a value while it counts levels and refuses repeated members; the refusal travels beside the parser's own
/// error, whose text could not be told apart from a syntax error.
#[derive(Clone, Copy)]
struct StrictValue<'a> {
    refusal: &'a Cell<Option<JsonError>>,
    depth_left: usize,
    max_depth: usize,
}

impl StrictValue<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: JsonError) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn one_level_down<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.refuse(JsonError::TooDeep { limit: self.max_depth })),
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.one_level_down()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.one_level_down()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = name.chars().take(MAX_QUOTED_CHARS).collect();
                return Err(self.refuse(JsonError::DuplicateMember { name }));
            }
            object.insert(name, members.next_value_seed(below)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { max_bytes: 1024, max_depth: 3 };

    fn refusal(text: &str) -> JsonError {
        parse(text.as_bytes(), LIMITS).unwrap_err()
    }

    #[test]
    fn takes_every_kind_of_value() {
        let text =
            r#" {"n":null,"b":[true,false],"i":-1,"u":18446744073709551615,"f":1.5e2,"s":"zo\u00eb 😀"} "#;
        let value = parse(text.as_bytes(), LIMITS).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn counts_the_depth_of_a_scalar_as_zero() {
        for (text, depth) in [("1", 0), ("{}", 1), ("[]", 1), (r#"{"a":{}}"#, 2), (r#"[{"a":[1]}]"#, 3)] {
            let at = |max_depth| parse(text.as_bytes(), Limits { max_bytes: 64, max_depth });
            let value = at(depth).unwrap();
            assert_eq!(depth_within(&value, depth), Some(depth), "{text}");
            if let Some(less) = depth.checked_sub(1) {
                assert_eq!(at(less), Err(JsonError::TooDeep { limit: less }), "{text}");
                assert_eq!(depth_within(&value, less), None, "{text}");
            }
        }
    }

    #[test]
    fn refuses_a_repeated_member_at_any_depth() {
        assert_eq!(refusal(r#"{"a":1,"a":1}"#), JsonError::DuplicateMember { name: "a".into() });
        assert_eq!(
            refusal(r#"[{"x":{"a":1,"b":2,"a":3}}]"#),
            JsonError::DuplicateMember { name: "a".into() }
        );
    }

    #[test]
    fn refuses_a_member_repeated_under_another_spelling() {
        assert_eq!(refusal(r#"{"sub":1,"\u0073ub":2}"#), JsonError::DuplicateMember { name: "sub".into() });
    }

    #[test]
    fn quotes_only_the_start_of_a_long_repeated_name() {
        let name = "é".repeat(200);
        let expected = JsonError::DuplicateMember { name: "é".repeat(MAX_QUOTED_CHARS) };
        assert_eq!(refusal(&format!(r#"{{"{name}":1,"{name}":2}}"#)), expected);
    }

    #[test]
    fn refuses_more_bytes_than_allowed() {
        let limits = Limits { max_bytes: 4, max_depth: 1 };
        assert!(parse(b"1234", limits).is_ok());
        assert_eq!(parse(b"1234 ", limits), Err(JsonError::TooLarge { bytes: 5, limit: 4 }));
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        assert_eq!(parse(b"\"a\xff\"", LIMITS), Err(JsonError::NotUtf8 { offset: 2 }));
    }

    #[test]
    fn refuses_anything_after_the_value() {
        let error = refusal("{} {}");
        assert_eq!(error.to_string(), "not valid JSON at line 1, column 4: trailing characters");
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        for text in
            ["", "{", "[1,]", "{a:1}", "01", "+1", "NaN", "'a'", "\"\t\"", "\"\\ud800\"", "\u{feff}{}"]
        {
            assert!(matches!(refusal(text), JsonError::Syntax { .. }), "{text}");
        }
    }

    #[test]
    fn refuses_a_number_beyond_a_float() {
        assert!(
            matches!(refusal("[1e400]"), JsonError::Syntax { reason, .. } if reason == "number out of range")
        );
    }

    #[test]
    fn ends_at_its_own_deepest_nesting_whatever_is_asked() {
        let limits = Limits { max_bytes: 1 << 20, max_depth: usize::MAX };
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes(), limits).is_ok());
        let refused = parse(nested(100_000).as_bytes(), limits);
        assert_eq!(refused, Err(JsonError::TooDeep { limit: MAX_DEPTH }));
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, LIMITS);
        }

        #[test]
        fn agrees_with_the_lenient_parser_on_what_it_takes(text in r#"[\[\]{}:,"0-9a\\ .e-]{0,40}"#) {
            if let Ok(value) = parse(text.as_bytes(), LIMITS) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
