//! TypeScript: an augmentation of `Register` in @edgeseal/client.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use edgeseal_core::definition::ExperimentDefinition;
use serde_json::Value;

/// Deepest payload that gets a type of its own; below it is `Json`, which every payload is.
const MAX_TYPE_DEPTH: usize = 8;

/// The whole file. Ordered by key, so that equal experiments give equal bytes.
pub(super) fn declarations(experiments: &[ExperimentDefinition]) -> String {
    let mut sorted: Vec<_> = experiments.iter().collect();
    sorted.sort_by_key(|experiment| &experiment.key);
    let members: String = sorted.iter().map(|experiment| member(experiment)).collect();
    let import = if members.contains(JSON) { "import type { Json } from" } else { "import" };
    format!(
        "// Written by `edgeseal codegen ts`. Do not edit: run it again when the experiments change.\n\
         {import} \"@edgeseal/client\";\n\n\
         declare module \"@edgeseal/client\" {{\n  interface Register {{\n    experiments: {{\n{members}    }};\n  }}\n}}\n"
    )
}

/// The type of what is too deep to be spelt out.
const JSON: &str = "Json";

fn member(experiment: &ExperimentDefinition) -> String {
    let mut out = String::new();
    let lines = experiment.name.iter().flat_map(|name| name.lines()).collect::<Vec<_>>().join(" ");
    if !lines.is_empty() {
        // A comment must not end before its end.
        let _ = writeln!(out, "      /** {} */", lines.replace("*/", "* /"));
    }
    let variants: BTreeSet<String> =
        experiment.variants.iter().map(|variant| literal(variant.key.as_str())).collect();
    let payloads: Vec<Option<&Value>> =
        experiment.variants.iter().map(|variant| variant.payload.as_ref()).collect();
    let _ = writeln!(
        out,
        "      {}: {{ variant: {}; payload: {} }};",
        literal(experiment.key.as_str()),
        union(variants),
        payload_type(&payloads)
    );
    out
}

fn payload_type(payloads: &[Option<&Value>]) -> String {
    let present: Vec<&Value> = payloads.iter().copied().flatten().collect();
    let mut types = BTreeSet::new();
    if !present.is_empty() {
        types.insert(type_of(&present, 0));
    }
    if present.len() < payloads.len() {
        types.insert("undefined".to_owned());
    }
    union(types)
}

/// The narrowest plain type of all `values`: a union of kinds, with objects merged member by member.
fn type_of(values: &[&Value], depth: usize) -> String {
    if depth == MAX_TYPE_DEPTH {
        return JSON.to_owned();
    }
    let mut types = BTreeSet::new();
    let mut objects = Vec::new();
    let mut items: Option<Vec<&Value>> = None;
    for value in values {
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(array) => {
                items.get_or_insert_default().extend(array);
                continue;
            }
            Value::Object(object) => {
                objects.push(object);
                continue;
            }
        };
        types.insert(name.to_owned());
    }
    if let Some(items) = items {
        let item = if items.is_empty() { "never".to_owned() } else { type_of(&items, depth + 1) };
        // `readonly` binds to what follows it directly, so anything but one word is bracketed.
        let one_word = item.chars().all(char::is_alphanumeric);
        types.insert(if one_word { format!("readonly {item}[]") } else { format!("readonly ({item})[]") });
    }
    if !objects.is_empty() {
        let mut members: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (name, value) in objects.iter().copied().flatten() {
            members.entry(name).or_default().push(value);
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, values)| {
                let mark = if values.len() < objects.len() { "?" } else { "" };
                format!("{}{mark}: {}", literal(name), type_of(&values, depth + 1))
            })
            .collect();
        types.insert(if members.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {} }}", members.join("; "))
        });
    }
    union(types)
}

fn union(types: BTreeSet<String>) -> String {
    types.into_iter().collect::<Vec<_>>().join(" | ")
}

/// A string literal. JSON's are TypeScript's, line separators included since ES2019.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(experiments: Value) -> String {
        let experiments: Vec<ExperimentDefinition> = serde_json::from_value(experiments).unwrap();
        declarations(&experiments)
    }

    #[test]
    fn keys_variants_and_payloads_in_one_order() {
        let code = of(json!([
            { "key": "search", "name": "Search */ ranking", "variants": [{ "key": "b" }, { "key": "a" }] },
            { "key": "button", "variants": [
                { "key": "control" },
                { "key": "buy", "payload": { "label": "Buy", "sizes": [1, "l"] } },
                { "key": "now", "payload": { "label": "Now" } },
            ] },
        ]));
        let expected = r#"    experiments: {
      "button": { variant: "buy" | "control" | "now"; payload: undefined | { "label": string; "sizes"?: readonly (number | string)[] } };
      /** Search * / ranking */
      "search": { variant: "a" | "b"; payload: undefined };
    };
"#;
        assert!(code.contains(expected), "{code}");
        assert!(code.contains("\nimport \"@edgeseal/client\";\n"), "{code}");
    }

    #[test]
    fn payloads_of_every_kind_have_a_type() {
        let values = json!([null, true, 1.5, "x", [], {}, [[]]]);
        let values: Vec<&Value> = values.as_array().unwrap().iter().collect();
        assert_eq!(
            type_of(&values, 0),
            "boolean | null | number | readonly (readonly never[])[] | string | {}"
        );
    }

    #[test]
    fn what_is_too_deep_is_any_json() {
        let deep = (0..20).fold(json!(1), |inner, _| json!({ "in": inner }));
        let code = of(json!([{ "key": "deep", "variants": [{ "key": "a", "payload": deep }] }]));
        assert!(code.contains("import type { Json } from \"@edgeseal/client\";"), "{code}");
        assert!(code.contains("\"in\": Json }"), "{code}");
    }
}
