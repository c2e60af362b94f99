//! serde speaks of Rust's types; whoever calls an API knows JSON.

/// What serde says, in words of JSON; `name` is the member where it happened.
pub(super) fn of_json(reason: &str, name: &str) -> String {
    if let Some(rest) = reason.strip_prefix("unknown field ") {
        let (field, expected) = rest.split_once(", expected ").unwrap_or((rest, ""));
        let known = expected.trim_start_matches("one of ").replace('`', "'");
        let known = if known.is_empty() { String::new() } else { format!("; known here: {known}") };
        return format!("unknown member {}{known}", field.replace('`', "'"));
    }
    if let Some(field) = reason.strip_prefix("missing field ") {
        return format!("the member {} is missing", field.replace('`', "'"));
    }
    if let Some((value, expected)) =
        reason.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        let expected = expected.trim_start_matches("one of ").replace('`', "'");
        return format!("cannot be {}; it is one of {expected}", value.replace('`', "'"));
    }
    let mismatch = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    let subject = if name.is_empty() { "the body".to_owned() } else { format!("'{name}'") };
    match mismatch.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => {
            format!("{subject} must be {}, not {}", kind(expected), found.replace('`', "'"))
        }
        None => reason.replace('`', "'"),
    }
}

fn kind(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a map" => "an object".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_rust_is_left() {
        for (reason, said) in [
            ("unknown field `x`, expected one of `a`, `b`", "unknown member 'x'; known here: 'a', 'b'"),
            ("missing field `key`", "the member 'key' is missing"),
            ("unknown variant `x`, expected `a` or `b`", "cannot be 'x'; it is one of 'a' or 'b'"),
            (
                "invalid type: string \"x\", expected u32",
                "'m' must be a whole number, not negative, not string \"x\"",
            ),
            ("invalid type: map, expected a sequence", "'m' must be an array, not map"),
            ("key 'a b' is empty", "key 'a b' is empty"),
        ] {
            assert_eq!(of_json(reason, "m"), said);
        }
    }
}
