//! The subcommands, one file each: its flags, what it does, what it prints.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod bench;
mod changes;
pub(crate) mod codegen;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod edge;
pub(crate) mod edge_list;
pub(crate) mod environment;
pub(crate) mod evaluate;
pub(crate) mod experiment;
pub(crate) mod keys;
pub(crate) mod leak_test;
pub(crate) mod login;
pub(crate) mod migrate;
pub(crate) mod power;
pub(crate) mod recover_admin;
pub(crate) mod results;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod snapshot;
pub(crate) mod token;
pub(crate) mod verify;

use edgeseal_core::ids::Key;
use serde_json::{Value, json};

use crate::exit::{OrExit, Outcome};
use crate::output::{JSON_FORMAT, Output};

/// A key given on the command line; only a checked one gets into an address.
fn key_arg<K>(text: &str) -> Outcome<Key<K>> {
    Key::parse(text).or_usage(|| format!("the key '{text}'"))
}

/// Prints what the control plane answered as this command's JSON document.
fn print_json(output: Output, mut answer: Value) -> Outcome<()> {
    if let Some(members) = answer.as_object_mut() {
        members.insert("format".to_owned(), json!(JSON_FORMAT));
    }
    output.json(&answer)
}

/// Prints a list, all of its pages, as one JSON document.
fn print_json_items(output: Output, items: impl Into<Value>) -> Outcome<()> {
    output.json(&json!({ "format": JSON_FORMAT, "items": items.into() }))
}
