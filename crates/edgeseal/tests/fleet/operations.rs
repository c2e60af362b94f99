//! The walk-through of docs/operations.md, run line by line: if the page is wrong, this fails.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use edgeseal_testkit::servers::Postgres;

use crate::common::{Scratch, eventually, free_port, listens};

/// A command of the page, and what it printed.
struct Ran {
    line: String,
    output: String,
}

/// A terminal that a person would leave open.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_walk_through_works_as_printed() {
    let postgres = Postgres::start();
    let scratch = Scratch::new();
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (control, edge) = (free_port(), free_port());
    let here = |line: &str| {
        line.replace("127.0.0.1:8090", &format!("127.0.0.1:{control}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{edge}"))
    };
    let database = postgres.create_database();

    let mut terminals = Vec::new();
    let mut ran = Vec::new();
    for (kind, line) in commands(&page) {
        match kind.as_str() {
            "setup" => assert!(line.starts_with("export EDGESEAL_DATABASE="), "{line}"),
            "terminal" => {
                let line = here(&line);
                let port = if line.contains("edgeseal control") { control } else { edge };
                let mut command = shell(scratch.root(), &database, &format!("exec {line}"));
                terminals.push(Terminal(command.stdout(Stdio::null()).spawn().unwrap()));
                eventually(&format!("port {port} listens after `{line}`"), || listens(port));
            }
            _ => {
                let finished = shell(scratch.root(), &database, &here(&line)).output().unwrap();
                let output = String::from_utf8_lossy(&finished.stdout).into_owned();
                let said = String::from_utf8_lossy(&finished.stderr);
                assert!(finished.status.success(), "`{line}` failed: {output}{said}");
                ran.push(Ran { line, output });
            }
        }
    }
    assert_eq!(terminals.len(), 2, "a control plane and an edge");

    let outputs = |command: &str| -> Vec<&str> {
        ran.iter().filter(|ran| ran.line.starts_with(command)).map(|ran| ran.output.as_str()).collect()
    };
    let applied = outputs("edgeseal apply");
    assert!(applied[0].contains("checkout-button"), "the plan names what it creates: {}", applied[0]);
    assert!(applied[2].to_lowercase().contains("no change"), "the second apply: {}", applied[2]);
    let verified = outputs("curl");
    assert!(verified[0].contains("accepted") && verified[0].contains("checkout-button"), "{}", verified[0]);
    assert!(verified[1].contains("accepted"), "{}", verified[1]);
    assert!(!verified[1].contains("checkout-button"), "paused, and still served: {}", verified[1]);
    assert!(outputs("edgeseal experiment show")[0].contains("paused"));
    let history = outputs("edgeseal experiment history")[0];
    assert!(history.contains("pause") && history.contains("resume"), "{history}");
    assert!(outputs("edgeseal audit tail")[0].contains("experiment.pause"));
    for secret in ["admin.token", "edge.token"] {
        let token = std::fs::read_to_string(scratch.path(secret)).unwrap();
        assert!(ran.iter().all(|ran| !ran.output.contains(token.trim())), "{secret} was printed");
    }
}

/// The commands of the walk-through with the kind of block they stand in; examples are for reading.
fn commands(page: &str) -> Vec<(String, String)> {
    let walk_through = page.split("### With Redis").next().unwrap();
    let mut commands = Vec::new();
    let mut block: Option<String> = None;
    for line in walk_through.lines() {
        match (&block, line.strip_prefix("```")) {
            (None, Some(info)) => block = Some(info.trim_start_matches("sh").trim().to_owned()),
            (Some(_), Some(_)) => block = None,
            (Some(kind), None) if !line.is_empty() => commands.push((kind.clone(), line.to_owned())),
            _ => {}
        }
    }
    assert!(commands.len() > 15, "the walk-through has moved: {commands:?}");
    commands
}

/// A shell as the reader's: the binary in `PATH`, the database named, nothing else of Edgeseal's.
fn shell(folder: &Path, database: &str, line: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_edgeseal")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", line]).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("EDGESEAL_") {
            command.env_remove(name);
        }
    }
    command
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("EDGESEAL_DATABASE", database)
        .env("XDG_CONFIG_HOME", folder.join("config"));
    command
}
