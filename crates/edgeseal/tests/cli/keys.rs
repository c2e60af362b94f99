//! `edgeseal keys`: rotation step by step, refused when early, and without one failed verification under load.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{self, Scratch, Serving, eventually, run};
use serde_json::Value;

/// A running edge with its control plane, and the token that may change keys.
struct Running {
    scratch: Scratch,
    serving: Serving,
    token_file: PathBuf,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let scratch = Scratch::new();
        let serving = Serving::start(&scratch.data_dir(), &[&["--demo"], args].concat());
        let token_file = scratch.write("admin.token", serving.admin_token.as_deref().unwrap());
        Self { scratch, serving, token_file }
    }

    fn keys(&self, args: &[&str]) -> common::Finished {
        let token_file = self.token_file.to_str().unwrap();
        run(&[&["keys", "--json", "--control", &self.serving.control, "--token-file", token_file], args]
            .concat())
    }

    fn state_of(&self, kid: &str) -> String {
        let listed = self.keys(&["list"]).expect(0).json();
        let key = listed["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap().clone();
        key["state"].as_str().unwrap().to_owned()
    }
}

fn kid_of(token: &str) -> String {
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header: Value =
        serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[test]
fn every_step_is_refused_early_with_the_seconds_left() {
    let running = Running::start(&["--keyset-lifetime-seconds", "3600"]);
    for use_ in ["edge", "control", "hmac"] {
        let published = running.keys(&["rotate", "--use", use_]).expect(0).json();
        assert_eq!(published["step"], "published", "{use_}");
        assert_eq!(published["waitSeconds"], 7200, "{use_}");
        let refused = running.keys(&["rotate", "--use", use_]).expect(1);
        assert!(refused.stderr.contains("more seconds"), "{use_}: {}", refused.stderr);
        let seconds = refused.stderr.split("wait ").nth(1).unwrap().split(' ').next().unwrap();
        assert!((7_100..=7_200).contains(&seconds.parse::<i64>().unwrap()), "{use_}: {seconds}");
    }
    assert_eq!(running.keys(&["rotate", "--force"]).expect(0).json()["step"], "activated");
    let refused = running.keys(&["retire"]).expect(1);
    assert!(refused.stderr.contains("tokens that it signed may still be alive"), "{}", refused.stderr);
}

#[test]
fn the_active_key_cannot_be_retired_not_even_by_force() {
    let running = Running::start(&[]);
    let listed = running.keys(&["list"]).expect(0).json();
    let kid = listed["keys"][0]["kid"].as_str().unwrap().to_owned();
    let refused = running.keys(&["retire", &kid, "--force"]).expect(1);
    assert!(refused.stderr.contains("is active"), "{}", refused.stderr);
    running.keys(&["retire", "nonsense"]).expect(2);
    running.keys(&["retire", "AAAAAAAAAAAAAAAAAAAAAA"]).expect(2);
}

#[test]
fn a_kid_that_begins_like_a_flag_is_still_a_kid() {
    let running = Running::start(&[]);
    for kid in [
        "-eAAAAAAAAAAAAAAAAAAAA",
        "--AAAAAAAAAAAAAAAAAAAA",
        "-qAAAAAAAAAAAAAAAAAAAA",
        "-hAAAAAAAAAAAAAAAAAAAA",
    ] {
        let refused = running.keys(&["retire", kid, "--force"]).expect(2);
        assert!(refused.stderr.contains(&format!("'{kid}'")), "{}", refused.stderr);
        assert!(!refused.stderr.contains("unexpected argument"), "{}", refused.stderr);
    }
}

#[test]
fn a_key_retired_by_force_is_revoked() {
    let running = Running::start(&[]);
    let (scratch, serving) = (&running.scratch, &running.serving);
    let token = serving.token("user-1");
    let leaked = kid_of(&token);
    let version =
        |serving: &Serving| common::claims(&serving.get("/v1/keyset").text().unwrap())["ver"].as_u64();
    let before = version(serving);
    running.keys(&["rotate"]).expect(0);
    running.keys(&["rotate", "--force"]).expect(0);
    running.keys(&["retire", &leaked, "--force"]).expect(0);
    eventually("the status document revokes it", || {
        let status = common::claims(&serving.get("/v1/status").text().unwrap());
        status["rev"].as_array().unwrap().iter().any(|kid| kid == leaked.as_str())
    });
    assert!(version(serving) > before, "other keys are a newer keyset");
    // A client that still holds the keyset of before refuses the leaked key's tokens by the status document alone.
    assert_ne!(kid_of(&serving.token("user-2")), leaked);
    let data_dir = scratch.data_dir();
    let args = [
        "verify",
        &token,
        "--unit",
        "user-1",
        "--edge",
        &serving.url,
        "--json",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    assert_eq!(run(&args).expect(1).json()["code"], "E_KEY");
}

#[test]
fn rotating_the_control_key_signs_snapshot_and_status_anew() {
    let running = Running::start(&[]);
    let (scratch, serving) = (&running.scratch, &running.serving);
    let version = serving.claims("user-1")["cv"].clone();
    let before = kid_of(&serving.get("/v1/status").text().unwrap());
    running.keys(&["rotate", "--use", "control"]).expect(0);
    let new = running.keys(&["rotate", "--use", "control", "--force"]).expect(0).json()["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(before, new);
    eventually("the status is signed by the new key", || {
        kid_of(&serving.get("/v1/status").text().unwrap()) == new
    });
    let on_disk = scratch.data_dir().join("snapshot.jwt");
    eventually("the snapshot on disk is signed by the new key", || {
        kid_of(&std::fs::read_to_string(&on_disk).unwrap()) == new
    });
    running.keys(&["retire", "--force"]).expect(0);
    let Running { scratch, serving, .. } = running;
    drop(serving);
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    assert_eq!(
        serving.claims("user-1")["cv"],
        version,
        "its own snapshot is still trusted after the key retired"
    );
}

#[test]
fn hmac_secrets_rotate_and_can_be_handed_over() {
    let running = Running::start(&[]);
    let serving = &running.serving;
    let signed_by = |serving: &Serving| {
        let client = reqwest::blocking::Client::new();
        let url = format!("{}/v1/experiments/checkout-button", serving.url);
        client.get(url).header("x-user-id", "user-1").send().unwrap().json::<Value>().unwrap()["secretVersion"].clone()
    };
    assert_eq!(signed_by(serving), 1);
    running.keys(&["rotate", "--use", "hmac"]).expect(0);
    let next = running.keys(&["export-hmac", "--secret-version", "2"]).expect(0).json();
    assert_eq!(next["secretHex"].as_str().unwrap().len(), 64);
    let current = running.keys(&["export-hmac"]).expect(0).json();
    assert_eq!(current["secretVersion"], 1);
    running.keys(&["rotate", "--use", "hmac", "--force"]).expect(0);
    eventually("the new secret signs", || signed_by(serving) == 2);
    running.keys(&["retire", "--use", "hmac"]).expect(1);
    running.keys(&["retire", "--use", "hmac", "--force"]).expect(0);
    running.keys(&["export-hmac", "--secret-version", "1"]).expect(1);
}

/// Clients as SDKs are: they hold a keyset until it ends, and verify every answer with it.
#[test]
fn a_rotation_under_load_fails_no_verification() {
    const KEYSET_SECONDS: &str = "2";
    let running = Running::start(&["--keyset-lifetime-seconds", KEYSET_SECONDS]);
    let (scratch, serving) = (&running.scratch, &running.serving);
    let root: Value =
        serde_json::from_slice(&std::fs::read(scratch.data_dir().join("root.jwk")).unwrap()).unwrap();
    let root = edgeseal_core::sealing::PublicKey::from_jwk(&root).unwrap();
    let (done, verified) = (AtomicBool::new(false), AtomicU64::new(0));
    let first = kid_of(&serving.token("user-0"));

    std::thread::scope(|scope| {
        for client in 0..2 {
            let (done, verified) = (&done, &verified);
            scope.spawn(move || load(serving, root, client, done, verified));
        }
        let new = running.keys(&["rotate"]).expect(0).json()["kid"].as_str().unwrap().to_owned();
        // Two lifetimes, as the state machine asks: forcing skips its skew allowance of a minute, not the wait.
        std::thread::sleep(Duration::from_secs(4));
        running.keys(&["rotate", "--force"]).expect(0);
        eventually("the new key signs", || kid_of(&serving.token("user-1")) == new);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(running.state_of(&first), "retiring");
        running.keys(&["retire", &first, "--force"]).expect(0);
        std::thread::sleep(Duration::from_secs(3));
        done.store(true, Ordering::Relaxed);
    });
    assert!(verified.load(Ordering::Relaxed) > 100, "{verified:?} answers were verified");
    assert_eq!(running.state_of(&first), "retired");
}

fn load(
    serving: &Serving,
    root: edgeseal_core::sealing::PublicKey,
    client: u32,
    done: &AtomicBool,
    verified: &AtomicU64,
) {
    use edgeseal_core::ids::{Environment, UnitId, UnitType};
    use edgeseal_core::sealing::{Expected, Keyset, SubjectTag, verify_assignment};
    use edgeseal_core::time::Timestamp;

    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
    };
    let environment = Environment::parse("production").unwrap();
    let user = UnitType::parse("user").unwrap();
    let http = reqwest::blocking::Client::new();
    let text = |path: &str| http.get(format!("{}{path}", serving.url)).send().unwrap().text().unwrap();
    let mut keyset: Option<(Keyset, Instant)> = None;
    for number in 0_u64.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        // A client refreshes its keyset when that ends, not before.
        if keyset.as_ref().is_none_or(|(_, since)| since.elapsed() > Duration::from_millis(1_900)) {
            keyset = Some((
                Keyset::verify(&text("/v1/keyset"), &root, &environment, now()).unwrap(),
                Instant::now(),
            ));
        }
        let unit = format!("client-{client}-{number}");
        let token = text(&format!("/v1/assignments/{unit}"));
        let subject = SubjectTag::of(&environment, &user, UnitId::parse(&unit).unwrap());
        let expected =
            Expected { environment: &environment, subject, now: now(), status: None, memory: None };
        verify_assignment(&token, &keyset.as_ref().unwrap().0, &expected).unwrap();
        verified.fetch_add(1, Ordering::Relaxed);
    }
}
