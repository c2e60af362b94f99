//! `doctor` names what is wrong and what to do, and ends with 1 when something is bad.

use serde_json::{Value, json};

use super::fake::{Asked, Fake, Reply};
use super::{Home, keys, problem, whoami};

/// A control plane in good health, one part of which `ill` may replace.
fn control(ill: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    Fake::start(move |asked, _| {
        if let Some(reply) = ill(asked) {
            return reply;
        }
        let edge = json!({ "id": "edge-a", "version": "0.1.0", "source": "stream", "cv": 12, "ep": 3, "configAgeMs": 4_200, "seenAgoSeconds": 2 });
        match asked.path.as_str() {
            "/healthz" | "/readyz" => Reply::text(200, "ok\n"),
            "/api/v1/whoami" => Reply::json(200, &whoami("viewer")),
            "/api/v1/keys" => Reply::json(200, &keys::keys()),
            "/api/v1/environments/production" => Reply::json(200, &json!({ "name": "production", "cv": 12 })),
            "/api/v1/edges" => Reply::json(200, &json!({ "items": [edge] })),
            _ => Reply::not_found(),
        }
    })
}

fn check(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name} in {report}")).clone()
}

#[test]
fn good_health_is_one_line_each() {
    let (home, fake) = (Home::new(), control(|_| None));
    let printed = home.run(&fake, &["doctor"]).expect(0).stdout;
    for start in ["ok   control", "ok   database", "ok   token", "ok   keys", "ok   edges"] {
        assert!(printed.lines().any(|line| line.starts_with(start)), "{start}:\n{printed}");
    }
    assert!(printed.contains("1 in all: snapshot 12"), "{printed}");
    let report = home.run(&fake, &["doctor", "--json"]).expect(0).json();
    assert_eq!((&report["format"], &report["ok"]), (&json!(1), &json!(true)));
    assert_eq!(check(&report, "clock")["health"], "skipped", "this stand-in names no time");
    assert_eq!(home.run(&fake, &["doctor", "--quiet"]).expect(0).stdout, "");
}

#[test]
fn a_clock_that_is_far_off_is_bad() {
    let fake = control(|asked| {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        (asked.path == "/healthz").then(|| Reply::text(200, "ok\n").with("date", date))
    });
    let report = Home::new().run(&fake, &["doctor", "--json"]).expect(1).json();
    assert_eq!(check(&report, "clock")["health"], "bad");
    assert!(check(&report, "clock")["remedy"].as_str().unwrap().contains("NTP"));
}

#[test]
fn an_unreachable_control_plane_and_a_lost_database_are_bad() {
    let home = Home::new();
    let args = ["doctor", "--json", "--control", "http://127.0.0.1:1", "--token-file", &home.token_file];
    let report = home.bare(&args).expect(1).json();
    assert_eq!(report["checks"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(check(&report, "control")["health"], "bad");
    let report = home.bare(&["doctor", "--json"]).expect(1).json();
    assert!(check(&report, "control")["detail"].as_str().unwrap().contains("edgeseal login"));

    let fake = control(|asked| {
        let lost = problem(503, "unavailable", "the database is not available");
        (asked.path == "/readyz").then(|| Reply::json(503, &lost))
    });
    let report = home.run(&fake, &["doctor", "--json"]).expect(1).json();
    assert!(check(&report, "database")["detail"].as_str().unwrap().contains("not available"));
}

#[test]
fn a_revoked_token_is_bad_and_one_about_to_end_a_warning() {
    let revoked = control(|asked| {
        let revoked = problem(401, "unauthenticated", "the token is revoked");
        asked.is("GET", "/whoami").then(|| Reply::json(401, &revoked))
    });
    let report = Home::new().run(&revoked, &["doctor", "--json"]).expect(1).json();
    assert_eq!(check(&report, "token")["health"], "bad");
    let ending = control(|asked| {
        let mut identity = whoami("viewer");
        identity["expiresAt"] = json!("2001-01-01T00:00:00.000Z");
        asked.is("GET", "/whoami").then(|| Reply::json(200, &identity))
    });
    let report = Home::new().run(&ending, &["doctor", "--json"]).expect(0).json();
    assert_eq!(check(&report, "token")["health"], "warn");
}

#[test]
fn rotations_that_wait_for_somebody_and_edges_that_lag_are_warnings() {
    let fake = control(|asked| {
        if asked.is("GET", "/keys") {
            let mut keys = keys::keys();
            keys["keys"][1]["waitSeconds"] = json!(0);
            return Some(Reply::json(200, &keys));
        }
        let edge = |id: &str, cv: u64, age_ms: u64, seen: u64| json!({ "id": id, "version": "0.1.0", "cv": cv, "configAgeMs": age_ms, "seenAgoSeconds": seen });
        let edges = json!({ "items": [edge("silent", 12, 0, 31), edge("behind", 11, 0, 1), edge("deaf", 12, 31_000, 1), edge("well", 12, 0, 1)] });
        asked.is("GET", "/edges").then(|| Reply::json(200, &edges))
    });
    let report = Home::new().run(&fake, &["doctor", "--json"]).expect(0).json();
    assert!(check(&report, "keys")["remedy"].as_str().unwrap().contains("keys rotate --use edge"));
    let edges: Vec<_> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "edges").collect();
    assert_eq!(edges.len(), 3, "{report}");
    for (edge, words) in
        edges.iter().zip(["silent was last heard", "behind serves snapshot 11", "deaf serves a status"])
    {
        assert!(edge["detail"].as_str().unwrap().contains(words), "{edge}");
    }
}

#[test]
fn an_edge_a_redis_and_a_database_that_are_not_there_are_bad() {
    let (home, fake) = (Home::new(), control(|_| None));
    let args = ["doctor", "--json", "--edge", "http://127.0.0.1:1", "--redis", "redis://:hush@127.0.0.1:1"];
    let database = ["--database", "postgres://me:hush@127.0.0.1:1/edgeseal"];
    let finished = home.run(&fake, &[&args[..], &database].concat()).expect(1);
    assert!(!finished.stdout.contains("hush") && !finished.stderr.contains("hush"), "{}", finished.stdout);
    let report = finished.json();
    for name in ["edge", "redis", "schema"] {
        assert_eq!(check(&report, name)["health"], "bad", "{name}");
    }
}
