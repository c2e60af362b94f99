//! `apply` sends the file as a whole, prints the plan, and points at the line of every fault.

use serde_json::{Value, json};

use super::fake::{Fake, Reply};
use super::{Home, problem};

const FILE: &str = "\
environment: staging
experiments:
  - key: checkout
    state: running
    variants: [{ key: control }, { key: treatment, weight: 3 }]
";

fn plan(changed: bool) -> Value {
    let changes = json!([
        { "action": "create", "kind": "experiment", "key": "checkout" },
        { "action": "update", "kind": "experiment", "key": "pricing",
          "changes": [{ "pointer": "/traffic", "from": 50, "to": 100 }, { "pointer": "/salt", "to": "x" }] },
        { "action": "pause", "kind": "experiment", "key": "banner" },
        { "action": "delete", "kind": "layer", "key": "old" },
    ]);
    let changes = if changed { changes } else { json!([]) };
    json!({ "dryRun": false, "changed": changed, "cv": 12, "changes": changes, "notes": ["moves 4 % of the units"] })
}

#[test]
fn the_plan_says_what_changes_from_what_to_what() {
    let (home, fake) = (Home::new(), Fake::route("POST", "/apply", plan(true)));
    let file = home.scratch.write("experiments.yaml", FILE);
    let finished = home.run(&fake, &["apply", "-f", file.to_str().unwrap(), "--prune"]).expect(0);
    for line in [
        "+ create   experiment checkout",
        "~ update   experiment pricing",
        "    /traffic: 50 -> 100",
        "    /salt: (none) -> \"x\"",
        "= pause    experiment banner",
        "- delete   layer old",
        "note: moves 4 % of the units",
        "applied 4 changes to environment 'staging', snapshot version 12",
    ] {
        assert!(
            finished.stdout.lines().any(|printed| printed == line),
            "'{line}' is missing:\n{}",
            finished.stdout
        );
    }
    assert!(finished.stdout.is_ascii(), "a pipe gets plain letters");
    let asked = fake.asked_once();
    assert_eq!(asked.parameter("environment"), Some("staging"));
    let sent = asked.json();
    assert_eq!((&sent["dryRun"], &sent["prune"]), (&json!(false), &json!(true)));
    assert_eq!(sent["definition"]["environment"], "staging");
    assert_eq!(sent["definition"]["experiments"][0]["variants"][1]["weight"], 3);
}

#[test]
fn the_second_time_nothing_changes() {
    let (home, fake) = (Home::new(), Fake::route("POST", "/apply", plan(false)));
    let file = home.scratch.write("experiments.yaml", FILE);
    let finished = home.run(&fake, &["apply", "-f", file.to_str().unwrap()]).expect(0);
    assert!(finished.stdout.contains("no change"), "{}", finished.stdout);
    let json = home.run(&fake, &["apply", "--json", "-f", file.to_str().unwrap()]).expect(0).json();
    assert_eq!((&json["format"], &json["changed"]), (&json!(1), &json!(false)));
}

#[test]
fn a_dry_run_succeeds_unless_a_script_wants_to_know() {
    for (changed, code) in [(true, 1), (false, 0)] {
        let (home, fake) = (Home::new(), Fake::route("POST", "/apply", plan(changed)));
        let file = home.scratch.write("experiments.yaml", FILE);
        let path = file.to_str().unwrap();
        let finished = home.run(&fake, &["apply", "-f", path, "--dry-run"]).expect(0);
        assert_eq!(finished.stdout.contains("nothing was changed (dry run)"), changed, "{}", finished.stdout);
        assert_eq!(fake.asked_once().json()["dryRun"], true);
        home.run(&fake, &["apply", "-f", path, "--dry-run", "--exit-code"]).expect(code);
        home.run(&fake, &["apply", "-f", path, "--exit-code"]).expect(2);
    }
}

#[test]
fn a_fault_that_the_control_plane_finds_is_told_with_its_line() {
    let mut body = problem(422, "invalid", "two faults");
    body["errors"] = json!([
        { "pointer": "/definition/experiments/0/variants/1/weight", "detail": "is too heavy" },
        { "pointer": "/experiments/0/state", "detail": "cannot go back" },
    ]);
    let fake = Fake::start(move |_, _| Reply::json(422, &body));
    let home = Home::new();
    let file = home.scratch.write("experiments.yaml", FILE);
    let refused = home.run(&fake, &["apply", "-f", file.to_str().unwrap()]).expect(1);
    for place in [":5:60: is too heavy", ":4:12: cannot go back"] {
        assert!(
            refused.stderr.contains(&format!("{}{place}", file.display())),
            "{place}: {}",
            refused.stderr
        );
    }
}

#[test]
fn faults_of_the_file_itself_are_told_without_asking_anybody() {
    let (home, fake) = (Home::new(), Fake::route("POST", "/apply", plan(true)));
    let file = home.scratch.write("experiments.yaml", "experiments:\n  - kee: a\n");
    let refused = home.run(&fake, &["apply", "-f", file.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains(":2:5: unknown member 'kee'"), "{}", refused.stderr);
    let file = home.scratch.write("experiments.yaml", FILE);
    let refused =
        home.run(&fake, &["apply", "-f", file.to_str().unwrap(), "--environment", "production"]).expect(1);
    assert!(refused.stderr.contains(":1:14: the file is for environment 'staging'"), "{}", refused.stderr);
    assert!(fake.asked().is_empty());
}

#[test]
fn a_file_that_names_no_environment_goes_to_the_one_asked_for_or_the_tokens() {
    let bound = json!({ "id": "a", "name": "ci", "scope": "editor", "environment": "of-the-token" });
    let fake = Fake::start(move |asked, _| {
        Reply::json(200, if asked.is("GET", "/whoami") { &bound } else { &PLAN })
    });
    static PLAN: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| plan(false));
    let home = Home::new();
    let file = home.scratch.write("experiments.yaml", &FILE.replace("environment: staging\n", ""));
    let sent = |more: &[&str]| {
        home.run(&fake, &[&["apply", "-f", file.to_str().unwrap()], more].concat()).expect(0);
        let asked = fake.asked().pop().unwrap();
        assert_eq!(asked.json()["definition"]["environment"], asked.parameter("environment").unwrap());
        asked.parameter("environment").unwrap().to_owned()
    };
    assert_eq!(sent(&["--environment", "asked-for"]), "asked-for");
    assert_eq!(sent(&[]), "of-the-token");
    let login = ["login", &fake.url, "--token-file", &home.token_file];
    home.bare(&[&login[..], &["--environment", "of-the-token"]].concat()).expect(0);
    home.bare(&["apply", "-f", file.to_str().unwrap()]).expect(0);
    assert_eq!(fake.asked().pop().unwrap().parameter("environment"), Some("of-the-token"));
}
