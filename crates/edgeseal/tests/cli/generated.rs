//! Files in the repository that are generated from the code are current.

use std::fs;
use std::path::PathBuf;

use crate::common::{Scratch, run};

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_committed_schema_is_current() {
    let committed = fs::read_to_string(docs("experiments.schema.json")).unwrap_or_default();
    let current = run(&["schema"]).expect(0).stdout;
    assert!(committed == current, "run: edgeseal schema > docs/experiments.schema.json");
}

#[test]
fn the_committed_configuration_reference_is_current() {
    let committed = fs::read_to_string(docs("configuration.md")).unwrap_or_default();
    let current = run(&["docs", "configuration"]).expect(0).stdout;
    assert!(committed == current, "run: edgeseal docs configuration > docs/configuration.md");
}

#[test]
fn the_committed_openapi_document_is_current() {
    let committed = fs::read_to_string(docs("openapi.json")).unwrap_or_default();
    let current = run(&["docs", "openapi"]).expect(0).stdout;
    assert!(committed == current, "run: edgeseal docs openapi > docs/openapi.json");
}

#[test]
fn the_types_of_the_react_example_are_current() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let types = root.join("../../examples/vite-react/src/experiments.gen.ts");
    let demo = root.join("demo/experiments.yaml");
    let (types, demo) = (types.to_str().unwrap(), demo.to_str().unwrap());
    run(&["codegen", "ts", "--experiments", demo, "--out", types, "--check"]).expect(0);
}

#[test]
fn stale_types_are_noticed_and_written_anew() {
    let scratch = Scratch::new();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/experiments.yaml");
    let types = scratch.write("experiments.gen.ts", "// from before");
    let args = ["codegen", "ts", "--experiments", demo, "--out", types.to_str().unwrap()];
    let refused = run(&[&args[..], &["--check"]].concat()).expect(1);
    assert!(refused.stderr.contains("run `edgeseal codegen ts"), "{}", refused.stderr);
    run(&args).expect(0);
    run(&[&args[..], &["--check"]].concat()).expect(0);
    assert_eq!(fs::read_to_string(&types).unwrap(), run(&args[..4]).expect(0).stdout);
}

#[test]
fn the_schema_knows_every_member_of_the_sample() {
    let schema = run(&["schema"]).expect(0).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for member in ["environment", "experiments", "groups", "holdouts", "layers", "metrics"] {
        assert!(schema["properties"][member].is_object(), "{member}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).expect(0).stdout.contains("leak-test"), "{shell}");
    }
}

#[test]
fn help_documents_the_exit_codes() {
    let help = run(&["--help"]).expect(0).stdout;
    for code in ["0 ", "1 ", "2 ", "3 ", "70 "] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code}");
    }
}

#[test]
fn bench_prints_every_figure() {
    let report = run(&["bench", "--json", "--seconds", "0.01"]).expect(0).json();
    assert_eq!(report["figures"].as_array().unwrap().len(), 10);
    assert!(report["figures"].as_array().unwrap().iter().all(|figure| figure["ns"].as_f64().unwrap() > 0.0));
    let own = docs("../interop/experiments.yaml");
    let report = run(&["bench", "--json", "--seconds", "0.01", "--experiments", own.to_str().unwrap()])
        .expect(0)
        .json();
    assert_eq!(report["figures"].as_array().unwrap().len(), 12);
}
