//! `edgeseal verify` accepts the unit's own genuine token, and says which step refuses everything else.

use crate::common::{self, Scratch, Serving, run, run_with_input};
use serde_json::Value;

struct Fixture {
    scratch: Scratch,
    serving: Serving,
}

impl Fixture {
    fn new() -> Self {
        let scratch = Scratch::new();
        let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
        Self { scratch, serving }
    }

    fn verify(&self, token: &str, unit: &str, more: &[&str]) -> common::Finished {
        let data_dir = self.scratch.data_dir();
        let mut args = vec!["verify", "-", "--unit", unit, "--edge", &self.serving.url];
        args.extend(["--data-dir", data_dir.to_str().unwrap()]);
        args.extend(more);
        run_with_input(&args, token)
    }
}

fn step<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

#[test]
fn accepts_the_units_own_token_and_shows_every_step() {
    let fixture = Fixture::new();
    let token = fixture.serving.token("user-1");
    let finished = fixture.verify(&format!("{token}\n"), "user-1", &[]).expect(0);
    for step in [
        "root",
        "keyset",
        "status",
        "signature",
        "audience",
        "subject",
        "halts",
        "accepted",
        "checkout-button",
    ] {
        assert!(finished.stdout.contains(step), "{step} is missing in {}", finished.stdout);
    }
    let report = fixture.verify(&token, "user-1", &["--json"]).expect(0).json();
    assert_eq!(report["accepted"], true);
    let assignments = report["assignments"].as_array().unwrap();
    assert!(assignments.iter().all(|assignment| assignment["usable"] == true), "{report}");
    assert!(step(&report, "status")["outcome"] == "passed");
}

#[test]
fn refuses_another_units_token_as_a_leak() {
    let fixture = Fixture::new();
    let token = fixture.serving.token("user-1");
    let finished = fixture.verify(&token, "user-2", &[]).expect(1);
    assert!(finished.stdout.contains("E_SUBJECT"), "{}", finished.stdout);
    let report = fixture.verify(&token, "user-2", &["--json"]).expect(1).json();
    assert_eq!((&report["accepted"], &report["code"]), (&Value::Bool(false), &Value::from("E_SUBJECT")));
    assert_eq!(step(&report, "signature")["outcome"], "passed");
    assert_eq!(step(&report, "subject")["code"], "E_SUBJECT");
}

#[test]
fn refuses_by_code_what_was_altered_expired_or_made_elsewhere() {
    let fixture = Fixture::new();
    let token = fixture.serving.token("user-1");
    let issued = common::claims(&token)["iat"].as_i64().unwrap();
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{head}.{flipped}{}", &signature[1..]);
    let status = fixture.serving.get("/v1/status").text().unwrap();
    let later = (issued + 3_700).to_string();
    // Each time is within the keyset's life, so that only the token can be at fault.
    let code = |token: &str, more: &[&str]| {
        let mut args = vec!["--json"];
        args.extend(more);
        fixture.verify(token, "user-1", &args).expect(1).json()["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&altered, &[]), "E_SIGNATURE");
    assert_eq!(code("a.b", &[]), "E_MALFORMED");
    assert_eq!(code(&status, &[]), "E_TYPE");
    assert_eq!(code(&token, &["--environment", "staging"]), "E_AUDIENCE");
    assert!(["E_EXPIRED"].contains(&code(&token, &["--now", &later]).as_str()));
}

#[test]
fn refuses_a_keyset_that_the_pinned_root_did_not_sign() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let token = fixture.serving.token("user-1");
    let root = other.scratch.data_dir().join("root.jwk");
    let report =
        fixture.verify(&token, "user-1", &["--json", "--root-key", root.to_str().unwrap()]).expect(1).json();
    assert_eq!(report["code"], "E_KEY");
    assert_eq!(step(&report, "keyset")["outcome"], "failed");
    // The key itself instead of a file.
    let jwk = std::fs::read_to_string(fixture.scratch.data_dir().join("root.jwk")).unwrap();
    fixture.verify(&token, "user-1", &["--root-key", &jwk]).expect(0);
}

#[test]
fn without_a_pinned_root_it_says_how_little_that_proves() {
    let fixture = Fixture::new();
    let token = fixture.serving.token("user-1");
    let nowhere = fixture.scratch.path("nowhere");
    let args = [
        "verify",
        &token,
        "--unit",
        "user-1",
        "--edge",
        &fixture.serving.url,
        "--json",
        "--data-dir",
        nowhere.to_str().unwrap(),
    ];
    let report = run(&args).expect(0).json();
    assert_eq!(step(&report, "root")["outcome"], "not_checked");
    assert!(step(&report, "root")["detail"].as_str().unwrap().contains("--root-key"));
}

#[test]
fn works_offline_from_files() {
    let fixture = Fixture::new();
    let token = fixture.serving.token("user-1");
    let status = fixture.scratch.write("status.jwt", &fixture.serving.get("/v1/status").text().unwrap());
    let keyset = fixture.scratch.data_dir().join("keyset.jwt");
    let root = fixture.scratch.data_dir().join("root.jwk");
    let args = [
        "verify",
        &token,
        "--unit",
        "user-1",
        "--edge",
        "http://127.0.0.1:1",
        "--root-key",
        root.to_str().unwrap(),
        "--keyset",
        keyset.to_str().unwrap(),
        "--status",
        status.to_str().unwrap(),
    ];
    run(&args).expect(0);
}

#[test]
fn says_what_is_missing_and_who_is_not_there() {
    let scratch = Scratch::new();
    let nowhere = scratch.data_dir();
    let nowhere = nowhere.to_str().unwrap();
    assert!(
        run_with_input(&["verify", "-", "--unit", "u", "--data-dir", nowhere], "")
            .expect(2)
            .stderr
            .contains("no token")
    );
    assert!(run(&["verify", "a.b.c", "--data-dir", nowhere]).expect(2).stderr.contains("--unit"));
    let unreachable =
        run(&["verify", "a.b.c", "--unit", "u", "--edge", "http://127.0.0.1:1", "--data-dir", nowhere]);
    assert!(unreachable.expect(3).stderr.contains("cannot reach 'http://127.0.0.1:1'"));
}

#[test]
fn a_problem_from_the_edge_is_not_taken_for_a_token() {
    let fixture = Fixture::new();
    let problem = fixture.serving.get("/v1/assignments/user-1?attrs=!").text().unwrap();
    let finished = fixture.verify(&problem, "user-1", &[]).expect(1);
    assert!(finished.stderr.contains("no token but an answer in JSON"), "{}", finished.stderr);
}

#[test]
fn a_paused_experiment_is_not_usable_although_its_token_is_genuine() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &common::two_variants(1, 1));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    let token = serving.token("user-1");
    std::fs::write(&file, common::two_variants(1, 1).replace("state: running", "state: paused")).unwrap();
    common::eventually("the status document halts the experiment", || {
        common::claims(&serving.get("/v1/status").text().unwrap())["off"] == serde_json::json!(["checkout"])
    });
    let fixture = Fixture { scratch, serving };
    let report = fixture.verify(&token, "user-1", &["--json"]).expect(0).json();
    let assignment = &report["assignments"][0];
    assert_eq!(assignment["usable"], false);
    assert!(assignment["refusal"].as_str().unwrap().starts_with("E_HALTED"));
}
