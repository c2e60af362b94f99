//! `edgeseal leak-test` finds leaks and a bad distribution, and leaves a good edge in peace.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{self, Scratch, Serving, proxy, run};

/// Enough units for the chi-square test to see a skew of a few percent; the seed makes runs repeatable.
const UNITS: &str = "2000";
const SEED: &str = "fixed";

fn leak_test(url: &str, scratch: &Scratch, more: &[&str]) -> common::Finished {
    let data_dir = scratch.data_dir();
    let mut args = vec!["leak-test", url, "--units", UNITS, "--seed", SEED, "--json"];
    args.extend(["--data-dir", data_dir.to_str().unwrap()]);
    args.extend(more);
    run(&args)
}

#[test]
fn passes_a_good_edge() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let report = leak_test(&serving.url, &scratch, &[]).expect(0).json();
    assert_eq!(report["passed"], true);
    assert_eq!(report["leaks"], 0);
    assert_eq!(report["unitsVerified"], 2000);
    let tests = report["distribution"].as_array().unwrap();
    let checkout = tests.iter().find(|test| test["experiment"] == "checkout-button").unwrap();
    assert_eq!(checkout["outcome"], "good", "{checkout}");
    assert_eq!(report["skipped"].as_array().unwrap().len(), 0, "{report}");
}

#[test]
fn finds_a_cache_that_mixes_users_up() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let (count, previous) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let url = proxy::start(&serving.url, move |answer| {
        if !answer.path.starts_with("/v1/assignments/") || answer.status != 200 {
            return;
        }
        let mut previous = previous.lock().unwrap();
        let own = answer.body.clone();
        if count.fetch_add(1, Ordering::Relaxed) % 100 == 99 {
            answer.body.clone_from(&previous);
        }
        *previous = own;
    });
    let finished = leak_test(&url, &scratch, &[]).expect(1);
    let report = finished.json();
    assert_eq!(report["passed"], false);
    assert!(report["leaks"].as_u64().unwrap() >= 10, "{report}");
    let examples = report["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 10, "a few examples, not all");
    assert!(!finished.stdout.contains("leak-test-fixed-"), "subject tags, not unit ids");
}

#[test]
fn finds_a_skewed_distribution() {
    let scratch = Scratch::new();
    // The edge serves 70:30 while its operator believes in 50:50.
    let skewed = scratch.write("skewed.yaml", &common::two_variants(70, 30));
    let believed = scratch.write("believed.yaml", &common::two_variants(50, 50));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", skewed.to_str().unwrap()]);
    let report =
        leak_test(&serving.url, &scratch, &["--experiments", believed.to_str().unwrap()]).expect(1).json();
    assert_eq!(report["leaks"], 0);
    let test = &report["distribution"][0];
    assert_eq!(
        (test["experiment"].as_str(), test["outcome"].as_str()),
        (Some("checkout"), Some("bad")),
        "{report}"
    );
}

#[test]
fn finds_answers_that_a_proxy_drops_at_random_from_one_variant() {
    let scratch = Scratch::new();
    let file = scratch.write("experiments.yaml", &common::two_variants(50, 50));
    let serving = Serving::start(&scratch.data_dir(), &["--experiments", file.to_str().unwrap()]);
    // Every second unit of one variant gets an error: survivors are no longer split by the weights.
    let seen = AtomicU64::new(0);
    let url = proxy::start(&serving.url, move |answer| {
        if !answer.path.starts_with("/v1/assignments/") || answer.status != 200 {
            return;
        }
        let claims = common::claims(std::str::from_utf8(&answer.body).unwrap());
        let hit = claims["a"]["checkout"]["v"] == "treatment";
        if hit && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            answer.status = 503;
        }
    });
    let report = leak_test(&url, &scratch, &[]).expect(1).json();
    assert_eq!(report["distribution"][0]["outcome"], "bad", "{report}");
}

#[test]
fn finds_headers_that_leave_caches_guessing() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let url = proxy::start(&serving.url, |answer| {
        answer.headers.retain(|(name, _)| name != "cache-control");
        answer.headers.push(("set-cookie".to_owned(), "session=1".to_owned()));
    });
    let data_dir = scratch.data_dir();
    let report =
        run(&["leak-test", &url, "--units", "50", "--json", "--data-dir", data_dir.to_str().unwrap()])
            .expect(1)
            .json();
    let problems = report["headerProblems"].as_object().unwrap();
    assert!(problems.keys().any(|problem| problem.contains("Cache-Control")), "{report}");
    assert!(problems.keys().any(|problem| problem.contains("Set-Cookie")), "{report}");
}

#[test]
fn without_weights_it_asks_for_them_instead_of_guessing() {
    let scratch = Scratch::new();
    let serving = Serving::start(&scratch.data_dir(), &["--demo"]);
    let elsewhere = scratch.path("nothing-here");
    let elsewhere = elsewhere.to_str().unwrap();
    let refused = run(&["leak-test", &serving.url, "--units", "10", "--data-dir", elsewhere]).expect(2);
    assert!(refused.stderr.contains("--skip-distribution"), "{}", refused.stderr);
    let skipped = run(&[
        "leak-test",
        &serving.url,
        "--units",
        "10",
        "--data-dir",
        elsewhere,
        "--skip-distribution",
        "--json",
    ])
    .expect(0);
    assert!(skipped.json()["distribution"].is_null());
}

#[test]
fn says_that_nobody_is_there() {
    let scratch = Scratch::new();
    let finished = run(&[
        "leak-test",
        "http://127.0.0.1:1",
        "--skip-distribution",
        "--data-dir",
        scratch.data_dir().to_str().unwrap(),
    ]);
    assert!(finished.expect(3).stderr.contains("cannot reach"));
}
