//! `keys` over the API: the same documents and words as ever. What the steps do is tested against a real control plane.

use std::os::unix::fs::PermissionsExt;

use edgeseal_core::sealing::{KeyUse, SecretKey, rotation};
use edgeseal_core::time::Timestamp;
use serde_json::{Value, json};

use super::fake::{Fake, Reply};
use super::{Home, problem};

fn key(seed: u8, use_: KeyUse, state: &str, wait_seconds: Option<i64>) -> Value {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let mut value =
        serde_json::to_value(rotation::first(use_, SecretKey::from_seed(&[seed; 32]).public(), now)).unwrap();
    value["state"] = json!(state);
    if let Some(seconds) = wait_seconds {
        value["waitSeconds"] = json!(seconds);
    }
    value
}

pub(super) fn keys() -> Value {
    let root = SecretKey::from_seed(&[1; 32]).public();
    json!({
        "environment": "production",
        "root": { "kid": root.kid(), "jwk": root.jwk("root") },
        "keys": [
            key(2, KeyUse::Edge, "active", None),
            key(3, KeyUse::Edge, "published", Some(7_200)),
            key(4, KeyUse::Control, "active", None),
        ],
        "hmac": [{ "version": 1, "state": "active", "since": 1_800_000_000 }],
    })
}

#[test]
fn keys_are_listed_in_the_shape_that_scripts_know() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/keys", keys()));
    let json = home.run(&fake, &["keys", "list", "--json"]).expect(0).json();
    assert_eq!(json["root"], keys()["root"]["kid"]);
    assert_eq!((&json["format"], &json["environment"]), (&json!(1), &json!("production")));
    assert_eq!((&json["keys"][1]["waitSeconds"], &json["hmac"][0]["version"]), (&json!(7_200), &json!(1)));
    let printed = home.run(&fake, &["keys", "list"]).expect(0).stdout;
    let kid = keys()["keys"][1]["kid"].as_str().unwrap().to_owned();
    assert!(
        printed.contains(&format!("  edge     {kid:<24} published  may be activated in 7200 seconds")),
        "{printed}"
    );
    assert!(printed.contains("secret version 1         active"), "{printed}");
}

#[test]
fn the_root_key_is_printed_for_clients_to_pin() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/keys", keys()));
    let printed: Value = home.run(&fake, &["keys", "root"]).expect(0).json();
    let out = home.scratch.path("root.jwk");
    home.run(&fake, &["keys", "root", "--out", out.to_str().unwrap()]).expect(0);
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(printed, written);
    assert_eq!(printed, keys()["root"]["jwk"]);
}

#[test]
fn steps_are_sent_as_the_flags_say_and_told_in_words() {
    let step = |body: Value, args: &[&str], sent: Value, words: &str| {
        let answer = body.clone();
        let fake = Fake::start(move |_, _| Reply::json(200, &answer));
        let home = Home::new();
        let printed = home.run(&fake, args).expect(0).stdout;
        assert!(printed.contains(words), "{words}: {printed}");
        assert_eq!(fake.asked_once().json(), sent);
        let json = home.run(&fake, &[args, &["--json"]].concat()).expect(0).json();
        assert_eq!((&json["format"], &json["step"]), (&json!(1), &body["step"]));
    };
    let kid = keys()["keys"][0]["kid"].as_str().unwrap().to_owned();
    step(
        json!({ "step": "published", "kid": kid, "waitSeconds": 7_200 }),
        &["keys", "rotate"],
        json!({ "use": "edge", "force": false }),
        "it signs nothing yet; rotate again in 7200 seconds to activate it",
    );
    step(
        json!({ "step": "activated", "kid": kid, "retiring": kid, "waitSeconds": 3_660 }),
        &["keys", "rotate", "--use", "control", "--force"],
        json!({ "use": "control", "force": true }),
        "is retiring: run `edgeseal keys retire` in 3660 seconds",
    );
    step(
        json!({ "step": "activated", "secretVersion": 2, "retiring": 1 }),
        &["keys", "rotate", "--use", "hmac"],
        json!({ "use": "hmac", "force": false }),
        "activated HMAC secret 2",
    );
    step(
        json!({ "step": "retired", "kids": [kid] }),
        &["keys", "retire", &kid],
        json!({ "kid": kid, "force": false }),
        &format!("retired {kid}"),
    );
    step(
        json!({ "step": "retired", "secretVersion": 1 }),
        &["keys", "retire", "--use", "hmac"],
        json!({ "use": "hmac", "force": false }),
        "retired HMAC secret 1",
    );
    step(
        json!({ "step": "revoked", "kid": kid, "successor": kid }),
        &["keys", "revoke", &kid],
        json!({ "kid": kid }),
        &format!("revoked {kid}; {kid} signs from now on"),
    );
}

#[test]
fn what_is_no_kid_is_a_slip_and_what_is_too_early_an_answer() {
    let home = Home::new();
    let unknown = Fake::start(|_, _| Reply::json(404, &problem(404, "not_found", "there is no key 'x'")));
    for kid in ["nonsense", "-eAAAAAAAAAAAAAAAAAAAA", "--AAAAAAAAAAAAAAAAAAAA"] {
        home.run(&unknown, &["keys", "retire", "--force", kid]).expect(2);
    }
    let early = Fake::start(|_, _| {
        Reply::json(
            409,
            &problem(409, "wrong_key_state", "too early for key x: reasons; wait 7200 more seconds"),
        )
    });
    let refused = home.run(&early, &["keys", "rotate"]).expect(1);
    assert!(
        refused.stderr.contains("too early") && refused.stderr.contains("wait 7200"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_hmac_secret_is_handed_over_on_stdout_alone() {
    let fake = Fake::start(|asked, _| {
        if asked.is("GET", "/keys") {
            return Reply::json(200, &keys());
        }
        if asked.is("GET", "/keys/hmac/1") {
            return Reply::json(200, &json!({ "secretVersion": 1, "secretHex": "ab".repeat(32) }));
        }
        Reply::not_found()
    });
    let home = Home::new();
    let finished = home.run(&fake, &["keys", "export-hmac"]).expect(0);
    assert_eq!(finished.stdout, format!("{}\n", "ab".repeat(32)));
    assert!(!finished.stderr.contains("abab"), "{}", finished.stderr);
    let json = home.run(&fake, &["keys", "export-hmac", "--secret-version", "1", "--json"]).expect(0).json();
    assert_eq!((&json["secretVersion"], json["secretHex"].as_str().unwrap().len()), (&json!(1), 64));
    assert!(
        home.run(&fake, &["keys", "export-hmac", "--secret-version", "9"])
            .expect(1)
            .stderr
            .contains("no such HMAC")
    );
}

#[test]
fn a_new_master_key_is_made_offline_and_never_over_an_old_one() {
    let home = Home::new();
    let file = home.scratch.path("master.key");
    home.bare(&["keys", "new-master-key", file.to_str().unwrap()]).expect(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim_end().len(), 43);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    home.bare(&["keys", "new-master-key", file.to_str().unwrap()]).expect(3);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}
