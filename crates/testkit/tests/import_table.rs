//! Who may import whom, checked against what cargo says the crates import.
//!
//! The table is the architecture: the pure crates stay pure because nothing impure can reach them, and the parts
//! of the platform stay separable because none of them knows another. A new crate starts with a row here.
#![allow(clippy::expect_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One crate of the workspace and the siblings that it may name in its manifest.
struct Row {
    name: &'static str,
    /// `[dependencies]`: what ships.
    normal: &'static [&'static str],
    /// `[dev-dependencies]` in addition to `normal`: what only its tests see.
    dev: &'static [&'static str],
}

// A crate need not exist before it is real: rows without a crate are the plan, a crate without a row is an error.
// No crate needs a sibling to build itself, so build dependencies have no column: none are allowed.
const TABLE: &[Row] = &[
    // Pure: bytes and values in, bytes and values out.
    Row { name: "edgeseal-core", normal: &[], dev: &[] },
    Row { name: "edgeseal-stats", normal: &[], dev: &[] },
    Row { name: "edgeseal-wasm", normal: &["edgeseal-core"], dev: &[] },
    // Records and the traits; a backend sees the traits and nobody sees a backend but the binary.
    Row { name: "edgeseal-store", normal: &["edgeseal-core"], dev: TESTKIT },
    Row { name: "edgeseal-store-sqlite", normal: STORE, dev: TESTKIT },
    Row { name: "edgeseal-store-postgres", normal: STORE, dev: TESTKIT },
    Row { name: "edgeseal-store-redis", normal: STORE, dev: TESTKIT },
    // The three parts never import one another nor a driver.
    Row { name: "edgeseal-edge", normal: &["edgeseal-core"], dev: TESTKIT },
    Row {
        name: "edgeseal-control",
        normal: &["edgeseal-core", "edgeseal-stats", "edgeseal-store"],
        dev: TESTKIT,
    },
    Row {
        name: "edgeseal-guardrail",
        normal: &["edgeseal-core", "edgeseal-stats", "edgeseal-store"],
        dev: TESTKIT,
    },
    // The binary wires everything together.
    Row {
        name: BINARY,
        normal: &[
            "edgeseal-core",
            "edgeseal-stats",
            "edgeseal-store",
            "edgeseal-store-sqlite",
            "edgeseal-store-postgres",
            "edgeseal-store-redis",
            "edgeseal-edge",
            "edgeseal-control",
            "edgeseal-guardrail",
        ],
        dev: TESTKIT,
    },
    // Never shipped.
    Row {
        name: "edgeseal-testkit",
        normal: &["edgeseal-core", "edgeseal-store", "edgeseal-edge", "edgeseal-control"],
        dev: &[],
    },
    Row { name: BENCH, normal: &["edgeseal-core", "edgeseal-testkit"], dev: &[] },
];

const STORE: &[&str] = &["edgeseal-core", "edgeseal-store"];
const TESTKIT: &[&str] = &["edgeseal-testkit"];

const BINARY: &str = "edgeseal";
const BENCH: &str = "edgeseal-bench";

/// Libraries that have a home. Errors without a type and command lines are for programs (the benchmark is one too, which
/// nobody imports and nobody installs); a database's driver is for its store, so that nobody else comes to need it.
const AT_HOME: &[(&str, &[&str])] = &[
    ("anyhow", &[BINARY, BENCH]),
    ("clap", &[BINARY]),
    ("clap_complete", &[BINARY]),
    ("sqlx", &["edgeseal-store-sqlite", "edgeseal-store-postgres", BENCH]),
    ("redis", &["edgeseal-store-redis"]),
    ("axum", &["edgeseal-control"]),
];

#[test]
fn crates_import_only_what_the_table_allows() {
    let refused = refusals(&workspace_crates());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_crate_inherits_the_workspace_lints_and_forbids_unsafe_code() {
    let root = manifest_text(&workspace_root().join("Cargo.toml"));
    assert!(
        section(&root, "workspace.lints.rust").contains(&"unsafe_code = \"forbid\""),
        "the root manifest no longer forbids unsafe code for the workspace"
    );
    for member in workspace_crates() {
        assert!(
            section(&manifest_text(&member.manifest), "lints").contains(&"workspace = true"),
            "{} does not inherit the workspace lints: add `[lints]` with `workspace = true` to {}",
            member.name,
            member.manifest.display()
        );
    }
}

#[test]
fn a_crate_that_the_table_does_not_know_is_refused() {
    let refused = refusals(&[example("edgeseal-novelty", &[])]);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("edgeseal-novelty") && refused[0].contains("add a row"), "{}", refused[0]);
}

#[test]
fn an_edge_that_imports_a_driver_is_refused() {
    let edge = example("edgeseal-edge", &[("edgeseal-store-sqlite", Kind::Normal)]);
    let driver = example("edgeseal-store-sqlite", &[]);
    assert_eq!(refusals(&[edge, driver]).len(), 1);
}

#[test]
fn a_core_that_imports_the_testkit_even_for_its_tests_is_refused() {
    let core = example("edgeseal-core", &[("edgeseal-testkit", Kind::Dev)]);
    let testkit = example("edgeseal-testkit", &[]);
    assert_eq!(refusals(&[core, testkit]).len(), 1);
}

#[test]
fn shipped_code_that_imports_the_testkit_is_refused() {
    let edge = example("edgeseal-edge", &[("edgeseal-testkit", Kind::Normal)]);
    let testkit = example("edgeseal-testkit", &[]);
    assert_eq!(refusals(&[edge, testkit]).len(), 1);
}

#[test]
fn a_sibling_in_a_build_script_is_refused() {
    let edge = example("edgeseal-edge", &[("edgeseal-core", Kind::Build)]);
    let core = example("edgeseal-core", &[]);
    assert_eq!(refusals(&[edge, core]).len(), 1);
}

#[test]
fn a_library_that_reads_a_command_line_or_blurs_its_errors_is_refused() {
    let edge = example("edgeseal-edge", &[("clap", Kind::Normal), ("anyhow", Kind::Dev)]);
    let binary = example(BINARY, &[("clap", Kind::Normal), ("anyhow", Kind::Normal)]);
    assert_eq!(refusals(&[edge, binary]).len(), 2);
}

/// A crate as cargo describes it, cut down to what the table speaks of.
struct Crate {
    name: String,
    manifest: PathBuf,
    imports: Vec<(String, Kind)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Dev,
    Build,
}

/// One sentence for each import that the table does not allow.
fn refusals(crates: &[Crate]) -> Vec<String> {
    let rows: BTreeMap<&str, &Row> = TABLE.iter().map(|row| (row.name, row)).collect();
    let siblings: BTreeSet<&str> = crates.iter().map(|member| member.name.as_str()).collect();
    let mut refused = Vec::new();
    for member in crates {
        let Some(row) = rows.get(member.name.as_str()) else {
            refused.push(format!(
                "{} is not in the import table: add a row for it to crates/testkit/tests/import_table.rs, \
                 with the siblings that it may import",
                member.name
            ));
            continue;
        };
        for (import, kind) in &member.imports {
            let import = import.as_str();
            let allowed = match kind {
                Kind::Normal => row.normal.contains(&import),
                Kind::Dev => row.normal.contains(&import) || row.dev.contains(&import),
                Kind::Build => false,
            };
            if siblings.contains(import) && !allowed {
                refused.push(format!("{} may not import {import} {}", member.name, kind.place()));
            }
            for (_, homes) in AT_HOME.iter().filter(|(name, _)| *name == import) {
                if !homes.contains(&member.name.as_str()) {
                    refused.push(format!("{} may not import {import}: only {homes:?} may", member.name));
                }
            }
        }
    }
    refused
}

impl Kind {
    fn place(self) -> &'static str {
        match self {
            Self::Normal => "in [dependencies]",
            Self::Dev => "in [dev-dependencies]",
            Self::Build => "in [build-dependencies]",
        }
    }
}

fn workspace_crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--no-deps"])
        .current_dir(workspace_root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    assert!(!packages.is_empty(), "cargo metadata lists no crate");
    packages
        .iter()
        .map(|package| Crate {
            name: text(&package["name"]),
            manifest: text(&package["manifest_path"]).into(),
            imports: package["dependencies"]
                .as_array()
                .expect("cargo metadata lists dependencies")
                .iter()
                .map(|dependency| (text(&dependency["name"]), kind(&dependency["kind"])))
                .collect(),
        })
        .collect()
}

fn kind(value: &Value) -> Kind {
    match value.as_str() {
        None => Kind::Normal,
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        Some(other) => {
            panic!("cargo metadata has a new kind of dependency, `{other}`: decide what the table says")
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string in cargo metadata").to_owned()
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of one `[section]` of a manifest.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect()
}

fn example(name: &str, imports: &[(&str, Kind)]) -> Crate {
    Crate {
        name: name.into(),
        manifest: PathBuf::new(),
        imports: imports.iter().map(|(import, kind)| ((*import).into(), *kind)).collect(),
    }
}
