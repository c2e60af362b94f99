//! `edgeseal serve`: first start, restarts, changing files, and disks that went bad.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{self, Scratch, Serving, eventually, run, two_variants};
use serde_json::{Value, json};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn status(serving: &Serving) -> Value {
    common::claims(&serving.get("/v1/status").text().unwrap())
}

#[test]
fn the_first_start_makes_everything_readable_by_its_owner_only() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let dir = scratch.data_dir();
    assert_eq!(mode(&dir), 0o700);
    for secret in ["master.key", "edgeseal.db", "edge-keys", "snapshot.jwt"] {
        assert_eq!(mode(&dir.join(secret)), 0o600, "{secret}");
    }
    let root: Value = serde_json::from_slice(&fs::read(dir.join("root.jwk")).unwrap()).unwrap();
    assert_eq!((&root["kty"], &root["crv"], &root["d"]), (&json!("OKP"), &json!("Ed25519"), &Value::Null));
    assert_eq!(serving.claims("user-1")["cv"], 2, "an empty environment, then the sample");
    // Neither token nor key rests in the clear anywhere: what a start prints once is on no disk.
    let token = serving.admin_token.clone().unwrap();
    let secret = token.rsplit('_').next().unwrap().to_owned();
    assert_eq!(serving.terminate(), 0, "a polite end");
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        // The spool of events is a directory, and empty.
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(path).unwrap();
        for clear in [secret.as_bytes(), b"\"seed\"", b"\"d\":"] {
            assert!(!bytes.windows(clear.len()).any(|window| window == clear));
        }
    }
    assert_eq!(Serving::start(&dir, &["--demo"]).admin_token, None, "it is shown once");
}

#[test]
fn a_restart_keeps_keys_and_versions() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let (token, keys) = (serving.claims("user-1"), serving.get("/.well-known/jwks.json").text().unwrap());
    let first_keyset = common::claims(&serving.get("/v1/keyset").text().unwrap());
    assert_eq!(serving.terminate(), 0);

    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let again = serving.claims("user-1");
    assert_eq!((&again["cv"], &again["a"], &again["sub"]), (&token["cv"], &token["a"], &token["sub"]));
    assert_eq!(serving.get("/.well-known/jwks.json").text().unwrap(), keys);
    let second_keyset = common::claims(&serving.get("/v1/keyset").text().unwrap());
    assert_eq!(second_keyset["ver"], first_keyset["ver"], "the same keys are the same version");
}

#[test]
fn a_good_change_is_served_and_a_bad_one_is_refused_whole() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(1, 1));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    let before = serving.claims("user-1");

    fs::write(&file, two_variants(1, 1).replace("weight: 1", "wieght: 1")).unwrap();
    eventually("the refusal is logged", || serving.log().contains("experiments.yaml:5:"));
    assert!(serving.log().contains("wieght"), "{}", serving.log());
    assert_eq!(serving.claims("user-1")["a"], before["a"], "the last good snapshot keeps serving");

    fs::write(&file, two_variants(1, 3)).unwrap();
    let next = before["cv"].as_u64().unwrap() + 1;
    eventually("the good change is served", || serving.claims("user-1")["cv"] == next);
    assert_eq!(serving.claims("user-1")["a"]["checkout"]["xv"], 2);
}

#[test]
fn a_bad_file_at_the_start_leaves_the_last_good_snapshot_serving() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(1, 1));
    let args = ["--experiments", file.to_str().unwrap()];
    let before = Serving::start(&scratch.data_dir(), &args).claims("user-1");

    fs::write(&file, "experiments: [").unwrap();
    let serving = Serving::start(&scratch.data_dir(), &args);
    assert_eq!(serving.claims("user-1")["a"], before["a"]);
    eventually("the refusal is logged", || serving.log().contains("experiments.yaml:"));
}

#[test]
fn a_bad_file_at_the_first_start_is_refused_with_its_line() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(0, 0));
    let ended =
        Serving::try_start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]).err().unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("experiments.yaml:5:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("weight"), "{}", ended.stderr);
}

#[test]
fn without_a_file_it_serves_what_the_database_holds() {
    let scratch = Scratch::new();
    let empty = Serving::start(&scratch.path("empty"), &[]);
    assert_eq!(empty.claims("user-1")["a"], json!({}), "experiments come through the API");
    let before = Serving::start(&scratch.data_dir(), &["--demo"]).claims("user-1");
    let serving = Serving::start(&scratch.data_dir(), &[]);
    assert_eq!(serving.claims("user-1")["a"], before["a"]);
}

#[test]
fn the_sample_never_undoes_what_people_changed() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let url = format!("{}/api/v1/experiments/checkout-button/pause", serving.control);
    let client = reqwest::blocking::Client::new();
    let token = serving.admin_token.clone().unwrap();
    assert_eq!(client.post(url).bearer_auth(token).send().unwrap().status(), 200);
    eventually("the pause is told", || status(&serving)["off"] == json!(["checkout-button"]));
    drop(serving);
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    assert_eq!(status(&serving)["off"], json!(["checkout-button"]));
}

#[test]
fn pausing_halts_at_once_and_begins_a_new_epoch() {
    let scratch = Scratch::new();
    let running = two_variants(1, 1);
    let file = scratch.write("experiments.yaml", &running);
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    assert_eq!(status(&serving)["off"], json!([]));
    let epoch = status(&serving)["ep"].as_u64().unwrap();

    fs::write(&file, running.replace("state: running", "state: paused")).unwrap();
    eventually("the pause is told", || status(&serving)["off"] == json!(["checkout"]));
    assert!(status(&serving)["ep"].as_u64().unwrap() > epoch);
    assert_eq!(serving.claims("user-1")["a"], json!({}));

    // Removed altogether.
    let next = serving.claims("user-1")["cv"].as_u64().unwrap() + 1;
    fs::write(&file, "experiments: []\n").unwrap();
    eventually("the removal is served", || serving.claims("user-1")["cv"] == next);
    assert_eq!(
        status(&serving)["off"],
        json!(["checkout"]),
        "tokens from before the pause may still be alive"
    );
}

#[test]
fn what_is_removed_while_running_is_halted() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(1, 1));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    fs::write(&file, "experiments: []\n").unwrap();
    eventually("its tokens are called back", || status(&serving)["off"] == json!(["checkout"]));
    drop(serving);
    // Also after a restart: the tokens are still out there.
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    assert_eq!(status(&serving)["off"], json!(["checkout"]));
}

#[test]
fn a_damaged_copy_of_the_snapshot_is_told_and_replaced() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(1, 1));
    let args = ["--experiments", file.to_str().unwrap()];
    let before = Serving::start(&scratch.data_dir(), &args).claims("user-1");
    let snapshot = scratch.data_dir().join("snapshot.jwt");
    let good = fs::read(&snapshot).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [&flipped[..], &good[..good.len() / 2], b""] {
        fs::write(&snapshot, damaged).unwrap();
        let serving = Serving::start(&scratch.data_dir(), &args);
        eventually("the damage is told", || serving.log().contains("snapshot.jwt"));
        let claims = serving.claims("user-1");
        assert_eq!((&claims["cv"], &claims["a"]), (&before["cv"], &before["a"]));
        assert_eq!(serving.terminate(), 0);
        assert_eq!(fs::read(&snapshot).unwrap(), good, "the control plane has the good one");
    }
}

#[test]
fn two_edges_never_share_a_data_directory() {
    let scratch = Scratch::new();
    let _first = Serving::start(&scratch.data_dir(), &["--demo"]);
    let second = Serving::try_start(&scratch.data_dir(), &["--demo"]).err().unwrap();
    assert_eq!(second.code, 3);
    assert!(second.stderr.contains("another `edgeseal serve`"), "{}", second.stderr);
}

#[test]
fn a_taken_port_is_told() {
    let (one, other) = (Scratch::new(), Scratch::new());
    let first = Serving::start(&one.data_dir(), &["--demo"]);
    let address = first.url.replace("http://localhost", "127.0.0.1");
    let data_dir = other.data_dir();
    let args = ["serve", "--demo", "--listen", &address, "--control-listen", "127.0.0.1:0"];
    let args = [&args[..], &["--data-dir", data_dir.to_str().unwrap()]].concat();
    assert!(run(&args).expect(3).stderr.contains("cannot listen on"));
}

#[test]
fn a_wrong_or_missing_master_key_is_told_and_nothing_is_overwritten() {
    let scratch = Scratch::new();
    drop(Serving::start(&scratch.data_dir(), &["--demo"]));
    let master = scratch.data_dir().join("master.key");
    let key = fs::read(&master).unwrap();

    fs::write(&master, format!("{}\n", "A".repeat(43))).unwrap();
    let ended = Serving::try_start(&scratch.data_dir(), &["--demo"]).err().unwrap();
    assert_eq!((ended.code, ended.stderr.contains("cannot be decrypted")), (1, true), "{}", ended.stderr);
    fs::remove_file(&master).unwrap();
    let ended = Serving::try_start(&scratch.data_dir(), &["--demo"]).err().unwrap();
    assert_eq!((ended.code, ended.stderr.contains("master.key' is missing")), (3, true), "{}", ended.stderr);

    let elsewhere = scratch.path("elsewhere.key");
    fs::write(&elsewhere, key).unwrap();
    let serving =
        Serving::start(&scratch.data_dir(), &["--demo", "--master-key-file", elsewhere.to_str().unwrap()]);
    assert_eq!(serving.claims("user-1")["cv"], 2, "nothing was lost meanwhile");
}

#[test]
fn a_data_directory_belongs_to_one_environment() {
    let scratch = Scratch::new();
    drop(Serving::start(&scratch.data_dir(), &["--demo"]));
    let file = scratch.write("staging.yaml", &format!("environment: staging\n{}", two_variants(1, 1)));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    eventually("the refusal is logged", || serving.log().contains("another --data-dir"));
    assert_eq!(serving.claims("user-1")["iss"], "production");
}

#[test]
fn another_environment_than_the_keys_is_refused() {
    let scratch = Scratch::new();
    drop(Serving::start(&scratch.data_dir(), &["--demo"]));
    let ended = Serving::try_start(&scratch.data_dir(), &["--environment", "staging"]).err().unwrap();
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("for environment 'production', not 'staging'"), "{}", ended.stderr);
    // A file without an environment is for whichever was asked for.
    let (fresh, file) = (Scratch::new(), scratch.write("any.yaml", &two_variants(1, 1)));
    let args = ["--environment", "staging", "--experiments", file.to_str().unwrap()];
    assert_eq!(Serving::start(&fresh.data_dir(), &args).claims("user-1")["iss"], "staging");
}

#[test]
fn mistyped_settings_are_errors() {
    let mut mistyped = common::edgeseal();
    let finished: common::Finished =
        mistyped.env("EDGESEAL_LISTNE", "0.0.0.0:80").args(["snapshot", "example"]).output().unwrap().into();
    assert!(finished.expect(2).stderr.contains("did you mean 'EDGESEAL_LISTEN'"));
    assert_eq!(run(&["serve", "--lisen", "x"]).code, 2);
    let scratch = Scratch::new();
    let ended =
        Serving::try_start(&scratch.data_dir(), &["--demo", "--token-life-seconds", "5"]).err().unwrap();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[test]
fn killed_at_any_moment_it_comes_back_and_no_version_repeats() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &two_variants(1, 1));
    let args = ["--experiments", file.to_str().unwrap()];
    let mut newest = (0, 0);
    let mut weight = 1;
    for round in 0..6_u64 {
        let serving = Serving::start(&scratch.data_dir(), &args);
        let claims = serving.claims("user-1");
        let seen = (claims["cv"].as_u64().unwrap(), claims["a"]["checkout"]["xv"].as_u64().unwrap());
        assert!(seen >= newest, "round {round}: {seen:?} after {newest:?}");
        newest = seen;
        // Keep the writer busy, then kill it in the middle; a little later in every round.
        for _ in 0..=round {
            weight += 1;
            fs::write(&file, two_variants(1, weight)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20 + 3 * round));
            let claims = serving.claims("user-1");
            let seen = (claims["cv"].as_u64().unwrap(), claims["a"]["checkout"]["xv"].as_u64().unwrap());
            assert!(seen >= newest, "{seen:?} after {newest:?}");
            newest = seen;
        }
        serving.kill();
    }
}
