//! `login` keeps a token where only its owner can read it, and gives it to nobody but who it is for.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::fake::{Fake, Reply};
use super::{Home, TOKEN, problem, whoami};
use crate::common::{Finished, edgeseal};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn login_with_input(home: &Home, args: &[&str], input: &str) -> Finished {
    let mut child = edgeseal()
        .args(args)
        .env("XDG_CONFIG_HOME", home.scratch.path("config"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_login_is_kept_for_its_owner_alone_and_used_by_later_commands() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("admin")));
    let finished =
        home.bare(&["login", &fake.url, "--token-file", &home.token_file, "--environment", "staging"]);
    assert!(finished.expect(0).stdout.contains("logged in"));
    let file = home.scratch.path("config/edgeseal/login.json");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let stored: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored["control"], fake.url.as_str());
    assert_eq!((&stored["token"], &stored["environment"]), (&json!(TOKEN), &json!("staging")));

    let me = home.bare(&["whoami", "--json"]).expect(0).json();
    assert_eq!((&me["environment"], &me["identity"]["scope"]), (&json!("staging"), &json!("admin")));
    assert!(home.bare(&["logout"]).expect(0).stdout.contains("login.json"));
    assert!(!file.exists());
    assert!(home.bare(&["logout"]).expect(0).stdout.contains("nobody was logged in"));
    home.bare(&["whoami"]).expect(2);
}

#[test]
fn the_token_can_be_piped_in() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("viewer")));
    for more in [&[][..], &["--token-file", "-"]] {
        let args = [&["login", fake.url.as_str()], more].concat();
        login_with_input(&home, &args, &format!("{TOKEN}\r\n")).expect(0);
        home.bare(&["whoami"]).expect(0);
        home.bare(&["logout"]).expect(0);
    }
    let refused = login_with_input(&home, &["login", &fake.url], "hunter2\n").expect(2);
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

#[test]
fn a_token_that_is_refused_is_not_kept() {
    let home = Home::new();
    let fake =
        Fake::start(|_, _| Reply::json(401, &problem(401, "unauthenticated", "this token is revoked")));
    let refused = home.bare(&["login", &fake.url, "--token-file", &home.token_file]).expect(1);
    assert!(refused.stderr.contains("revoked"), "{}", refused.stderr);
    assert!(!home.scratch.path("config/edgeseal/login.json").exists());
}

#[test]
fn a_bound_token_brings_its_environment_along() {
    let bound = json!({ "id": "a", "name": "ci", "scope": "viewer", "environment": "staging" });
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", bound));
    let refused =
        home.bare(&["login", &fake.url, "--token-file", &home.token_file, "--environment", "production"]);
    assert!(refused.expect(1).stderr.contains("'staging' only"));
    home.bare(&["login", &fake.url, "--token-file", &home.token_file]).expect(0);
    assert_eq!(home.bare(&["whoami", "--json"]).expect(0).json()["environment"], "staging");
}

#[test]
fn a_stored_token_goes_to_no_other_control_plane() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("viewer")));
    let other = Fake::route("GET", "/whoami", whoami("viewer"));
    home.bare(&["login", &fake.url, "--token-file", &home.token_file]).expect(0);
    let refused = home.bare(&["whoami", "--control", &other.url]).expect(2);
    assert!(refused.stderr.contains("there is no token for"), "{}", refused.stderr);
    assert!(other.asked().is_empty());
}

#[test]
fn a_login_file_that_others_can_read_is_pointed_out_and_a_broken_one_refused() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("viewer")));
    let file = home.scratch.path("elsewhere.json");
    let named = ["--login-file", file.to_str().unwrap()];
    let login = ["login", &fake.url, "--token-file", &home.token_file];
    home.bare(&[&login[..], &named].concat()).expect(0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let finished = home.bare(&[&["whoami"], &named[..]].concat()).expect(0);
    assert!(finished.stderr.contains("chmod 600"), "{}", finished.stderr);
    // Whatever a login file held before, a login replaces it with one of its own.
    home.bare(&[&login[..], &named].concat()).expect(0);
    assert_eq!(mode(&file), 0o600);

    fs::write(&file, format!("{{ \"format\": 2, \"control\": \"{}\", \"token\": \"{TOKEN}\" }}", fake.url))
        .unwrap();
    let refused = home.bare(&[&["whoami"], &named[..]].concat()).expect(1);
    assert!(refused.stderr.contains("log in again"), "{}", refused.stderr);
    // Who gives both flags does not depend on it.
    home.run(&fake, &[&["whoami"], &named[..]].concat()).expect(0);
}
