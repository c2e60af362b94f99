//! What every command has in common: whom it asks, with which token, how often, and how it tells a refusal.

use serde_json::json;

use super::fake::{Fake, Reply};
use super::{Home, TOKEN, problem, whoami};

#[test]
fn the_token_goes_into_the_header_and_nowhere_else() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("viewer")));
    let finished = home.run(&fake, &["whoami"]).expect(0);
    assert!(finished.stdout.contains("'ci' (viewer, every environment)"), "{}", finished.stdout);
    let asked = fake.asked_once();
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(!asked.path.contains("edgeseal_") && !asked.query.contains("edgeseal_"));
    assert_eq!(asked.header("idempotency-key"), None, "reading changes nothing");
}

#[test]
fn without_a_control_plane_or_a_token_it_says_which_flag_is_missing() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/whoami", whoami("viewer")));
    assert!(home.bare(&["whoami"]).expect(2).stderr.contains("edgeseal login"));
    assert!(
        home.bare(&["whoami", "--control", &fake.url]).expect(2).stderr.contains("there is no token for")
    );
    let short = home.scratch.write("short.token", &TOKEN[..40]);
    let args = ["whoami", "--control", &fake.url, "--token-file", short.to_str().unwrap()];
    let refused = home.bare(&args).expect(2);
    assert!(
        refused.stderr.contains("copied whole") && !refused.stderr.contains(&TOKEN[26..40]),
        "{}",
        refused.stderr
    );
    assert!(fake.asked().is_empty());
}

#[test]
fn a_token_is_not_sent_over_plain_http_to_another_machine() {
    let home = Home::new();
    let refused =
        home.bare(&["whoami", "--control", "http://control.invalid", "--token-file", &home.token_file]);
    assert!(refused.expect(2).stderr.contains("--insecure-http"));
    let args = [
        "whoami",
        "--insecure-http",
        "--control",
        "http://control.invalid",
        "--token-file",
        &home.token_file,
    ];
    assert!(home.bare(&args).expect(3).stderr.contains("cannot reach the control plane"));
}

#[test]
fn refusals_are_answers_and_silence_is_not() {
    let refused = |status: u16, code: &'static str| {
        let fake = Fake::start(move |_, _| {
            Reply::json(status, &problem(status, code, "the reason\u{1b}[2J")).with("retry-after", 3_600)
        });
        let finished = Home::new().run(&fake, &["whoami"]);
        assert!(finished.stderr.contains("the reason"), "{}", finished.stderr);
        assert!(finished.stderr.contains(code) && finished.stderr.contains("req-1"), "{}", finished.stderr);
        assert!(!finished.stderr.contains('\u{1b}'), "a terminal obeys it: {}", finished.stderr);
        (finished.code, finished.stderr)
    };
    let (code, words) = refused(401, "unauthenticated");
    assert!(code == 1 && words.contains("log in again"), "{words}");
    for (status, word) in
        [(403, "scope_insufficient"), (404, "not_found"), (409, "exists"), (412, "revision_mismatch")]
    {
        assert_eq!(refused(status, word).0, 1, "{status}");
    }
    for (status, word) in [(429, "too_many_failures"), (500, "internal"), (503, "unavailable")] {
        assert_eq!(refused(status, word).0, 3, "{status}");
    }
}

#[test]
fn several_faults_are_told_one_by_one() {
    let body = json!({
        "status": 422, "code": "invalid", "detail": "two faults",
        "errors": [{ "pointer": "/name", "detail": "is empty" }, { "pointer": "/scope", "detail": "is unknown" }],
    });
    let fake = Fake::start(move |_, _| Reply::json(422, &body));
    let refused = Home::new().run(&fake, &["environment", "create", "staging"]).expect(1);
    assert!(refused.stderr.contains("/name: is empty") && refused.stderr.contains("/scope: is unknown"));
}

#[test]
fn what_does_not_answer_as_the_api_does_is_named_as_such() {
    let html = Fake::start(|_, _| Reply::text(502, "<html>bad gateway</html>"));
    let finished = Home::new().run(&html, &["whoami"]).expect(3);
    assert!(finished.stderr.contains("is this the address of a control plane"), "{}", finished.stderr);
    let elsewhere = Fake::start(|_, _| Reply::empty(302).with("location", "https://login.example/?next=x"));
    let finished = Home::new().run(&elsewhere, &["whoami"]).expect(3);
    assert!(finished.stderr.contains("https://login.example"), "{}", finished.stderr);
    assert_eq!(elsewhere.asked().len(), 1, "a redirect is not followed");
    let odd = Fake::route("GET", "/whoami", json!({ "id": 7 }));
    assert!(Home::new().run(&odd, &["whoami"]).expect(3).stderr.contains("does not know"));
}

#[test]
fn a_busy_control_plane_is_asked_again_as_it_wishes() {
    let busy = |times: usize| {
        let fake = Fake::start(move |_, before| {
            if before < times {
                return Reply::json(503, &problem(503, "overloaded", "too much to do"))
                    .with("retry-after", 0);
            }
            Reply::json(200, &whoami("viewer"))
        });
        let finished = Home::new().run(&fake, &["whoami"]);
        (finished.code, fake.asked().len())
    };
    assert_eq!(busy(2), (0, 3));
    assert_eq!(busy(3), (3, 3), "twice is enough");
}

#[test]
fn a_change_whose_connection_broke_is_repeated_under_the_same_key() {
    let fake = Fake::start(|_, before| {
        if before == 0 { Reply::Broken } else { Reply::json(201, &json!({ "name": "staging" })) }
    });
    let home = Home::new();
    home.run(&fake, &["environment", "create", "staging"]).expect(0);
    let asked = fake.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].len() == 36, "a UUID: {}", keys[0]);
    home.run(&fake, &["environment", "create", "staging"]).expect(0);
    assert_ne!(
        fake.asked()[2].header("idempotency-key"),
        asked[0].header("idempotency-key"),
        "another run, another key"
    );

    let gone = Fake::start(|_, _| Reply::Broken);
    home.run(&gone, &["environment", "create", "staging"]).expect(3);
    assert_eq!(gone.asked().len(), 2, "once more, then it says so");
}

#[test]
fn lists_are_read_to_their_last_page() {
    let fake = Fake::start(|asked, _| {
        let page: u32 = asked.parameter("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let mut body = json!({ "items": [{ "name": format!("env-{page}") }] });
        if page < 2 {
            body["nextCursor"] = json!((page + 1).to_string());
        }
        Reply::json(200, &body)
    });
    let home = Home::new();
    let listed = home.run(&fake, &["environment", "list", "--json"]).expect(0).json();
    assert_eq!(listed["format"], 1);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["env-0", "env-1", "env-2"]);
    let table = home.run(&fake, &["environment", "list"]).expect(0).stdout;
    assert!(table.lines().next().unwrap().starts_with("NAME   EXPERIMENTS"), "{table}");
    let bare = home.run(&fake, &["environment", "list", "--quiet"]).expect(0).stdout;
    assert_eq!(bare.lines().count(), 3, "{bare}");
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let long = format!("\"{}\"", " ".repeat(17 * 1024 * 1024));
    let fake = Fake::start(move |_, _| Reply::text(200, &long));
    assert!(Home::new().run(&fake, &["whoami"]).expect(3).stderr.contains("more than 16777216 bytes"));
}
