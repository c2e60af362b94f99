//! The commands against the real thing: one `serve`, a person at a terminal, and what edges serve as a consequence.

use serde_json::{Value, json};

use super::Home;
use crate::common::{self, Finished, Serving, edgeseal, eventually};

/// Logged in as the first admin of a fresh installation.
struct Installation {
    home: Home,
    serving: Serving,
}

impl Installation {
    fn new() -> Self {
        let home = Home::new();
        let serving = Serving::start(&home.scratch.data_dir(), &["--demo"]);
        let token = home.scratch.write("admin.token", serving.admin_token.as_deref().unwrap());
        home.bare(&["login", &serving.control, "--token-file", token.to_str().unwrap()]).expect(0);
        Self { home, serving }
    }

    fn run(&self, args: &[&str]) -> Finished {
        let finished = self.home.bare(args);
        let token = self.serving.admin_token.as_deref().unwrap();
        assert!(
            !finished.stdout.contains(token) && !finished.stderr.contains(token),
            "the token was printed"
        );
        finished
    }

    fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).expect(0).json()
    }
}

#[test]
fn an_experiment_is_applied_paused_and_looked_back_at() {
    let here = Installation::new();
    let file = here.home.scratch.write("experiments.yaml", &common::two_variants(1, 1));
    let path = file.to_str().unwrap();
    let planned = here.run(&["apply", "-f", path, "--dry-run", "--exit-code"]).expect(1);
    assert!(planned.stdout.contains("+ create   experiment checkout\n"), "{}", planned.stdout);
    here.run(&["apply", "-f", path]).expect(0);
    assert!(here.run(&["apply", "-f", path]).expect(0).stdout.contains("no change"));
    eventually("the edge serves it", || here.serving.claims("user-1")["a"]["checkout"].is_object());

    std::fs::write(&file, common::two_variants(1, 3)).unwrap();
    let applied = here.run(&["apply", "-f", path]).expect(0);
    assert!(applied.stdout.contains("    /variants/1/weight: 1 -> 3\n"), "{}", applied.stdout);
    std::fs::write(&file, common::two_variants(0, 0)).unwrap();
    let refused = here.run(&["apply", "-f", path]).expect(1);
    assert!(refused.stderr.contains(&format!("{path}:5:7:")), "the line is named: {}", refused.stderr);

    let reason = ["experiment", "pause", "checkout", "--reason", "errors"];
    assert_eq!(here.json(&reason)["state"], "paused");
    assert_eq!(here.json(&reason)["revision"], 3, "a second pause changes nothing");
    eventually("the edge halts it", || here.serving.claims("user-1")["a"].get("checkout").is_none());
    here.run(&["experiment", "resume", "checkout", "--if-revision", "1"]).expect(1);
    here.run(&["experiment", "start", "checkout"]).expect(1);
    here.run(&["experiment", "resume", "checkout"]).expect(0);
    let diff = here.run(&["experiment", "diff", "checkout"]).expect(0).stdout;
    assert!(diff.contains("    /state: \"paused\" -> \"running\"\n"), "{diff}");
    let actions: Vec<_> = here.json(&["experiment", "history", "checkout"])["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["action"].as_str().unwrap().to_owned())
        .collect();
    let verbs = ["resume", "pause", "update", "create"].map(|verb| format!("experiment.{verb}"));
    assert_eq!(actions, verbs);
    let listed = here.json(&["experiment", "list", "--query", "check", "--state", "running", "--limit", "1"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    here.run(&["experiment", "show", "nope"]).expect(1);
}

#[test]
fn the_audit_log_tells_it_all_and_verifies() {
    let here = Installation::new();
    here.run(&["experiment", "pause", "checkout-button", "--reason", "errors"]).expect(0);
    let newest = here.run(&["audit", "verify"]).expect(0).stdout.lines().last().unwrap().to_owned();
    here.run(&["experiment", "resume", "checkout-button"]).expect(0);
    here.run(&["audit", "verify", "--expect", &newest]).expect(0);
    let last = if newest.ends_with('0') { "1" } else { "0" };
    here.run(&["audit", "verify", "--expect", &format!("{}{last}", &newest[..newest.len() - 1])]).expect(1);
    here.run(&["audit", "verify", "--expect", &format!("9999:{}", &newest[newest.find(':').unwrap() + 1..])])
        .expect(1);
    let tail =
        here.json(&["audit", "tail", "--experiment", "checkout-button", "--action", "experiment.pause"]);
    let records = tail["records"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{tail}");
    assert_eq!(records[0]["entry"]["detail"]["reason"], "errors");
}

#[test]
fn tokens_are_good_for_what_they_are_for_until_they_are_revoked() {
    let here = Installation::new();
    here.run(&["environment", "create", "staging"]).expect(0);
    let out = here.home.scratch.path("viewer.token");
    let out = out.to_str().unwrap();
    let create = ["token", "create", "reader", "--scope", "viewer", "--environment", "staging", "--out", out];
    let id = here.json(&create)["id"].as_str().unwrap().to_owned();

    let as_viewer = |args: &[&str]| {
        let with = ["--control", &here.serving.control, "--token-file", out];
        here.run(&[args, &with].concat())
    };
    let listed = as_viewer(&["experiment", "list", "--json"]).expect(0).json();
    assert_eq!(listed["items"], json!([]), "its own environment, without being told");
    assert!(
        as_viewer(&["experiment", "list", "--environment", "production"]).expect(1).stderr.contains("403")
    );
    assert!(as_viewer(&["experiment", "pause", "x", "--reason", "y"]).expect(1).stderr.contains("scope"));
    // A file that names no environment goes to the token's.
    let file = here.home.scratch.write("experiments.yaml", &common::two_variants(1, 1));
    let plan = as_viewer(&["apply", "-f", file.to_str().unwrap(), "--dry-run"]);
    assert!(plan.expect(1).stderr.contains("scope"));

    here.run(&["token", "revoke", &id]).expect(0);
    assert!(as_viewer(&["whoami"]).expect(1).stderr.contains("401"));
    let tokens = here.json(&["token", "list"]);
    let revoked =
        tokens["items"].as_array().unwrap().iter().find(|token| token["id"] == id.as_str()).unwrap();
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
}

#[test]
fn doctor_and_edge_list_look_at_a_healthy_installation() {
    let here = Installation::new();
    let report = here.run(&["doctor", "--json", "--edge", &here.serving.url]).expect(0).json();
    assert_eq!(report["ok"], true, "{report}");
    let assignment =
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "edge assignment");
    assert_eq!(assignment.unwrap()["health"], "good", "{report}");
    here.run(&["edge", "list"]).expect(0);
    // What an edge on the same machine is told by variables does not confuse the list.
    let mut command = edgeseal();
    command.args(["edge", "list", "--json"]).env("XDG_CONFIG_HOME", here.home.scratch.path("config"));
    command.env("EDGESEAL_ENVIRONMENT", "production").env("EDGESEAL_CONTROL", &here.serving.control);
    Finished::from(command.output().unwrap()).expect(0);
}

#[test]
fn whoever_reaches_the_database_gets_another_admin_token() {
    let here = Installation::new();
    let data_dir = here.home.scratch.data_dir();
    let out = here.home.scratch.path("recovered.token");
    let (data_dir, out) = (data_dir.to_str().unwrap(), out.to_str().unwrap());
    here.run(&["recover-admin", "--data-dir", data_dir, "--out", out]).expect(0);
    here.home.bare(&["login", &here.serving.control, "--token-file", out]).expect(0);
    assert_eq!(here.json(&["whoami"])["identity"]["scope"], "admin");
    let tail = here.json(&["audit", "tail"]);
    assert!(tail.to_string().contains("token.recover"), "{tail}");
    // A file that exists is left alone, and so is a folder without a database.
    here.run(&["recover-admin", "--data-dir", data_dir, "--out", out]).expect(3);
    here.run(&["recover-admin", "--data-dir", "/nowhere"]).expect(3);
}
