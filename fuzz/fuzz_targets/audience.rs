//! Any JSON compiles to a condition or is refused; a compiled condition answers for any attributes, and `$not` is its
//! opposite.
#![no_main]

use std::collections::BTreeMap;

use edgeseal_core::attributes::Attributes;
use edgeseal_core::audience::Condition;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    // The first line is the condition, the rest the attributes.
    let split = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (condition, attributes) = data.split_at(split);
    let Ok(source) = serde_json::from_slice::<Value>(condition) else { return };
    let Ok(condition) = Condition::compile(&source, &BTreeMap::new()) else { return };
    let attributes = Attributes::parse(attributes.get(1..).unwrap_or_default()).unwrap_or_default();
    let matches = condition.matches(&attributes);
    if let Ok(negated) = Condition::compile(&json!({ "$not": source }), &BTreeMap::new()) {
        assert_eq!(negated.matches(&attributes), !matches);
    }
});
