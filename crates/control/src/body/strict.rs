//! JSON taken at its word: serde's derived structs would also read an array as an object without names, and its enums
//! an object as a word.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// Reads a value; objects become structs, texts become enums, and nothing else does.
pub(super) struct Strict(pub(super) Value);

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Strict));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(members) => {
                let mut members =
                    MapDeserializer::new(members.into_iter().map(|(name, it)| (name, Strict(it))));
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_object() {
            return self.deserialize_any(visitor);
        }
        Err(Error::invalid_type(unexpected(&self.0), &"a map"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(word)),
            other => Err(Error::invalid_type(unexpected(&other), &"a string")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

#[cfg(test)]
mod tests {
    use edgeseal_core::definition::ExperimentDefinition;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<ExperimentDefinition, Error> {
        ExperimentDefinition::deserialize(Strict(value))
    }

    #[test]
    fn reads_what_plain_serde_reads() {
        let whole = json!({
            "key": "e", "state": "running", "traffic": 12.5, "sticky": true, "owner": null,
            "audience": { "$or": [{ "country": { "$in": ["de", 7, null, 1.5] } }] },
            "variants": [{ "key": "a", "weight": 2, "payload": null }, { "key": "b", "payload": [{ "x": 1 }] }],
            "overrides": { "u1": "a" }, "metrics": { "secondary": ["m"] },
        });
        let plain: ExperimentDefinition = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(read(whole).unwrap(), plain);
    }

    #[test]
    fn arrays_are_no_objects_and_objects_no_words() {
        let with = |member: &str, value: Value| {
            let mut experiment = json!({ "key": "e", "variants": [{ "key": "a" }] });
            experiment[member] = value;
            experiment
        };
        for (member, value) in [
            ("metrics", json!([])),
            ("layer", json!(["l", 10])),
            ("variants", json!([["a"]])),
            ("state", json!({ "running": null })),
        ] {
            assert!(
                serde_json::from_value::<ExperimentDefinition>(with(member, value.clone())).is_ok(),
                "{member}"
            );
            assert!(read(with(member, value)).is_err(), "{member}");
        }
        assert!(read(json!([])).is_err());
    }
}
