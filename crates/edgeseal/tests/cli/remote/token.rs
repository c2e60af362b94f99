//! `token`: a new one is shown once or written for its owner alone, and never seen again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::fake::{Fake, Reply};
use super::{Home, problem};

const NEW: &str = "edgeseal_fedcba9876543210_newnewnewnewnewnewnewnewnewnewnewnewnewnewn";

fn created() -> Value {
    json!({ "id": "fedcba9876543210", "name": "edge-1", "scope": "edge", "token": NEW })
}

#[test]
fn a_new_token_is_printed_alone_on_stdout() {
    let (home, fake) = (Home::new(), Fake::route("POST", "/tokens", created()));
    let args =
        ["token", "create", "edge-1", "--scope", "edge", "--environment", "staging", "--expires-in", "90d"];
    let finished = home.run(&fake, &args).expect(0);
    assert_eq!(finished.stdout, format!("{NEW}\n"));
    assert!(
        !finished.stderr.contains(NEW) && finished.stderr.contains("fedcba9876543210"),
        "{}",
        finished.stderr
    );
    let sent =
        json!({ "name": "edge-1", "scope": "edge", "environment": "staging", "expiresInSeconds": 7_776_000 });
    assert_eq!(fake.asked_once().json(), sent);
    let json = home.run(&fake, &["token", "create", "edge-1", "--scope", "edge", "--json"]).expect(0).json();
    assert_eq!(json["token"], NEW);
}

#[test]
fn a_new_token_goes_into_a_new_file_that_only_its_owner_reads() {
    let (home, fake) = (Home::new(), Fake::route("POST", "/tokens", created()));
    let out = home.scratch.path("edge.token");
    let args = ["token", "create", "edge-1", "--scope", "edge", "--out", out.to_str().unwrap()];
    let finished = home.run(&fake, &args).expect(0);
    assert!(!finished.stdout.contains(NEW) && !finished.stderr.contains(NEW));
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("{NEW}\n"));
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);

    // A second one neither overwrites it nor is created and lost.
    let before = fake.asked().len();
    home.run(&fake, &args).expect(3);
    assert_eq!(fake.asked().len(), before);
    fs::remove_file(&out).unwrap();
    let json = home.run(&fake, &[&args[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&json["token"], &json["id"]), (&Value::Null, &json!("fedcba9876543210")));
}

#[test]
fn a_refused_creation_leaves_no_file_behind() {
    let home = Home::new();
    let fake =
        Fake::start(|_, _| Reply::json(403, &problem(403, "scope_insufficient", "this takes scope 'admin'")));
    let out = home.scratch.path("edge.token");
    home.run(&fake, &["token", "create", "x", "--scope", "edge", "--out", out.to_str().unwrap()]).expect(1);
    assert!(!out.exists());
}

#[test]
fn tokens_are_listed_and_revoked_by_id() {
    let fake = Fake::start(|asked, _| match asked.method.as_str() {
        "DELETE" => Reply::empty(204),
        _ => Reply::json(
            200,
            &json!({ "items": [
                { "id": "aaaa", "name": "ci", "scope": "editor", "environment": "staging", "createdAt": "2026-11-01T00:00:00.000Z" },
                { "id": "bbbb", "name": "old", "scope": "admin", "revokedAt": "2026-11-02T00:00:00.000Z" },
            ] }),
        ),
    });
    let home = Home::new();
    let listed = home.run(&fake, &["token", "list"]).expect(0).stdout;
    let line = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("aaaa").contains("good") && line("bbbb").contains("revoked"), "{listed}");
    assert_eq!(home.run(&fake, &["token", "revoke", "aaaa"]).expect(0).stdout, "revoked aaaa\n");
    let asked = fake.asked().pop().unwrap();
    assert!(asked.is("DELETE", "/tokens/aaaa"), "{asked:?}");
    // The whole token by mistake: it is a secret, so it goes nowhere.
    let before = fake.asked().len();
    let refused = home.run(&fake, &["token", "revoke", NEW]).expect(2);
    assert!(!refused.stderr.contains(NEW) && fake.asked().len() == before, "{}", refused.stderr);
}
