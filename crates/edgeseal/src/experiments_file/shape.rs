//! From a JSON value to a [`Definition`]: unknown members and wrong types, named and placed.

use edgeseal_core::definition::Definition;
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::FileFault;
use super::position::{Positions, child};

/// Checks the shape of the whole file; asks for positions only when there is a fault to place.
pub(super) fn check(value: Value, positions: impl FnOnce() -> Positions) -> Result<Definition, FileFault> {
    // Keeping track of the path costs more than reading: a second pass does it when the first found a fault.
    if let Ok(definition) = Definition::deserialize(&value) {
        return Ok(definition);
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let positions = positions();
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer = child(&pointer, &index.to_string()),
                Segment::Map { key } => pointer = child(&pointer, key),
                Segment::Enum { variant } => pointer = child(&pointer, variant),
                Segment::Unknown => {}
            }
        }
        let reason = error.inner().to_string();
        let at = if reason.starts_with("unknown field") {
            positions.of_member(&pointer)
        } else {
            positions.of_value(&pointer)
        };
        let name = pointer.rsplit('/').next().unwrap_or_default();
        FileFault::new(at, in_words_of_the_file(&reason, name))
    })
}

/// serde speaks of Rust's types; whoever edits the file knows texts, numbers, lists and mappings.
fn in_words_of_the_file(reason: &str, name: &str) -> String {
    if let Some(rest) = reason.strip_prefix("unknown field ") {
        return match rest.split_once(", expected ") {
            Some((field, expected)) => {
                let expected = expected.trim_start_matches("one of ").replace('`', "'");
                format!("unknown member {}: known here: {expected}", field.replace('`', "'"))
            }
            None => format!("unknown member {}", rest.replace('`', "'")),
        };
    }
    if let Some(field) = reason.strip_prefix("missing field ") {
        return format!("the member {} is missing", field.replace('`', "'"));
    }
    if let Some(rest) = reason.strip_prefix("unknown variant ") {
        return match rest.split_once(", expected ") {
            Some((value, expected)) => {
                let expected = expected.trim_start_matches("one of ").replace('`', "'");
                format!("'{name}' cannot be {}: it is one of {expected}", value.replace('`', "'"))
            }
            None => rest.replace('`', "'"),
        };
    }
    let mismatch = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    match mismatch.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => format!("'{name}' must be {}, not {}", kind(expected), quoted(found)),
        None => reason.replace('`', "'"),
    }
}

fn kind(expected: &str) -> String {
    match expected {
        "a string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a map" => "a mapping".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

fn quoted(found: &str) -> String {
    let found = found.replace("string ", "the text ").replace("floating point ", "the number ");
    let found = found.replace("integer ", "the number ").replace("boolean ", "").replace('`', "'");
    match found.as_str() {
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" => "empty".to_owned(),
        _ => found,
    }
}
