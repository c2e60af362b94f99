use std::collections::BTreeSet;

use super::*;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| each(member, visit)),
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        _ => {}
    }
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(
        committed == openapi_json(),
        "docs/openapi.json is out of date; run: edgeseal docs openapi > docs/openapi.json"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = BTreeSet::new();
    each(&document, &mut |value| {
        references.extend(value.get("$ref").and_then(Value::as_str).map(str::to_owned));
    });
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_bound_has_its_place() {
    let mut document = document();
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    assert_eq!(bounds::tighten(schemas), Vec::<String>::new());
}

#[test]
fn operations_have_names_of_their_own_and_known_tags() {
    let tags: BTreeSet<&str> = routes::TAGS.into_iter().map(|(name, _)| name).collect();
    let mut names = BTreeSet::new();
    for operation in routes::all() {
        assert!(tags.contains(operation.tag), "{} has tag '{}'", operation.id, operation.tag);
        assert!(names.insert(operation.id.to_string()), "two operations are called {}", operation.id);
    }
}

/// Every text and number that a request may hold is bounded, and every list too.
#[test]
fn everything_that_a_request_holds_is_bounded() {
    let document = document();
    let mut bodies: Vec<Value> = Vec::new();
    for operation in routes::all() {
        let item =
            &document["paths"][operation.path.as_ref()][operation.method.as_str().to_ascii_lowercase()];
        bodies.extend(item["requestBody"]["content"]["application/json"].get("schema").cloned());
        let parameters = item["parameters"].as_array().cloned().unwrap_or_default();
        bodies.extend(parameters.into_iter().map(|parameter| parameter["schema"].clone()));
    }
    let mut seen = BTreeSet::new();
    let mut unbounded = Vec::new();
    while let Some(schema) = bodies.pop() {
        if let Some(reference) = schema["$ref"].as_str() {
            if seen.insert(reference.to_owned()) {
                bodies.push(document.pointer(reference.trim_start_matches('#')).unwrap().clone());
            }
            continue;
        }
        let is = |name: &str| {
            schema["type"] == name || schema["type"].as_array().is_some_and(|it| it.contains(&name.into()))
        };
        let has = |names: &[&str]| names.iter().any(|name| schema.get(*name).is_some());
        let scalar = is("number") && is("string");
        if is("string") && !scalar && !has(&["maxLength", "enum", "const", "pattern"])
            || is("integer") && !(has(&["minimum"]) && has(&["maximum"]))
            || is("array") && !has(&["maxItems"])
        {
            unbounded.push(schema.to_string());
        }
        if is("object") && schema.get("properties").is_some() && schema["additionalProperties"] != false {
            unbounded.push(format!("unknown members are taken: {schema}"));
        }
        for inner in ["properties", "anyOf", "oneOf", "allOf"] {
            match &schema[inner] {
                Value::Object(members) => bodies.extend(members.values().cloned()),
                Value::Array(items) => bodies.extend(items.iter().cloned()),
                _ => {}
            }
        }
        bodies.extend(schema.get("items").cloned());
        bodies.extend(schema.get("additionalProperties").filter(|it| it.is_object()).cloned());
    }
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}
