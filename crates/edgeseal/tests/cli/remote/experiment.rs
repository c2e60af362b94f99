//! `experiment`: lists, shows and steers; `edge list` beside it.

use serde_json::{Value, json};

use super::Home;
use super::fake::{Fake, Reply};

fn experiment(state: &str) -> Value {
    json!({
        "key": "checkout", "revision": 4, "createdAt": "2026-11-20T08:00:00.000Z", "updatedAt": "2026-11-23T16:21:23.456Z",
        "updatedBy": { "id": "abc", "name": "ada" },
        "definition": {
            "key": "checkout", "state": state, "traffic": "12.5%",
            "variants": [{ "key": "control", "weight": 1 }, { "key": "treatment", "weight": 3 }],
        },
    })
}

#[test]
fn lists_show_what_matters_in_aligned_columns() {
    let items = json!({ "items": [experiment("running")] });
    let (home, fake) = (Home::new(), Fake::route("GET", "/experiments", items));
    let args =
        ["experiment", "list", "--state", "running", "--query", "a b", "--tag", "q4", "--owner", "ada"];
    let printed = home.run(&fake, &args).expect(0).stdout;
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "KEY       STATE    TRAFFIC  VARIANTS               REVISION  UPDATED (UTC)");
    assert_eq!(lines[1], "checkout  running  12.5%    control:1 treatment:3  4         2026-11-23 16:21:23");
    let asked = fake.asked_once();
    let parameters = ["state", "q", "tag", "owner"].map(|name| asked.parameter(name).unwrap().to_owned());
    assert_eq!(parameters, ["running", "a+b", "q4", "ada"]);
    assert_eq!(asked.parameter("environment"), None, "the control plane knows its default");
}

#[test]
fn one_is_shown_with_its_definition() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/experiments/checkout", experiment("paused")));
    let printed =
        home.run(&fake, &["experiment", "show", "checkout", "--environment", "staging"]).expect(0).stdout;
    assert!(printed.starts_with("checkout  paused  revision 4, 2026-11-23 16:21:23 by ada\n"), "{printed}");
    assert!(printed.contains("\"traffic\": \"12.5%\""), "{printed}");
    assert_eq!(fake.asked_once().parameter("environment"), Some("staging"));
    let json = home.run(&fake, &["experiment", "show", "checkout", "--json"]).expect(0).json();
    assert_eq!((&json["format"], &json["revision"]), (&json!(1), &json!(4)));
}

#[test]
fn transitions_say_why_and_on_which_revision() {
    let fake = Fake::start(|asked, _| {
        let state = if asked.path.ends_with("pause") { "paused" } else { "stopped" };
        let mut body = experiment(state);
        if asked.body.contains("winner") {
            body["definition"]["winner"] = json!("treatment");
        }
        Reply::json(200, &body)
    });
    let home = Home::new();
    let args = ["experiment", "pause", "checkout", "--reason", "errors", "--if-revision", "3"];
    let printed = home.run(&fake, &args).expect(0).stdout;
    assert_eq!(printed, "checkout is paused (revision 4)\n");
    let asked = fake.asked_once();
    assert!(asked.is("POST", "/experiments/checkout/pause"), "{asked:?}");
    assert_eq!((asked.json(), asked.header("if-match")), (json!({ "reason": "errors" }), Some("\"3\"")));

    let stopped =
        home.run(&fake, &["experiment", "stop", "checkout", "--winner", "treatment"]).expect(0).stdout;
    assert_eq!(stopped, "checkout is stopped, everybody gets 'treatment' (revision 4)\n");
    assert_eq!(fake.asked()[1].json(), json!({ "winner": "treatment" }));
    let long = "x".repeat(1_025);
    home.run(&fake, &["experiment", "pause", "checkout", "--reason", &long]).expect(2);
}

#[test]
fn a_key_that_is_none_gets_into_no_address() {
    let (home, fake) = (Home::new(), Fake::route("GET", "/experiments/x", experiment("draft")));
    for bad in ["../tokens", "a/b", "a?b", "", "a b", "é"] {
        assert!(home.run(&fake, &["experiment", "show", bad]).expect(2).stderr.contains("the key"), "{bad}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn history_and_diff_show_what_it_was() {
    let fake = Fake::start(|asked, _| {
        if asked.is("GET", "/experiments/checkout/diff") {
            let (from, to) = (asked.parameter("from").unwrap(), asked.parameter("to").unwrap());
            let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
            let changes = json!([{ "pointer": "/state", "from": "draft", "to": "running" }]);
            return Reply::json(200, &json!({ "from": from, "to": to, "changes": changes }));
        }
        let revision = |number: u64, action: &str| {
            json!({ "revision": number, "at": "2026-11-23T16:21:23.456Z", "actor": { "id": "abc", "name": "ada" },
                    "action": action, "definition": null })
        };
        let all = [
            revision(3, "experiment.start"),
            revision(2, "experiment.update"),
            revision(1, "experiment.create"),
        ];
        let limit: usize = asked.parameter("limit").unwrap().parse().unwrap();
        let mut page = json!({ "items": &all[..limit.min(3)] });
        if limit < 3 {
            page["nextCursor"] = json!("more");
        }
        Reply::json(200, &page)
    });
    let home = Home::new();
    let history = home.run(&fake, &["experiment", "history", "checkout"]).expect(0).stdout;
    assert_eq!(history.lines().nth(1).unwrap(), "3         2026-11-23 16:21:23  experiment.start   ada");
    let diff = home.run(&fake, &["experiment", "diff", "checkout"]).expect(0).stdout;
    assert_eq!(diff, "checkout from revision 2 to 3\n    /state: \"draft\" -> \"running\"\n");
    let diff = home
        .run(&fake, &["experiment", "diff", "checkout", "--from", "1", "--to", "3", "--json"])
        .expect(0)
        .json();
    assert_eq!((&diff["from"], &diff["to"]), (&json!(1), &json!(3)));
    home.run(&fake, &["experiment", "diff", "checkout", "--to", "1"]).expect(1);
}

#[test]
fn edges_are_listed_with_how_far_behind_they_are() {
    let edge = |id: &str, cv: u64, seen: u64| {
        json!({ "id": id, "environment": "production", "version": "0.1.0", "source": "stream", "cv": cv, "ep": 3,
                "keysetVer": 1, "configAgeMs": 4_200, "seenAgoSeconds": seen })
    };
    let items = json!({ "items": [edge("edge-a", 12, 3), edge("edge-b", 11, 90)] });
    let (home, fake) = (Home::new(), Fake::route("GET", "/edges", items));
    let printed = home.run(&fake, &["edge", "list"]).expect(0).stdout;
    assert!(printed.contains("edge-a  0.1.0    stream    12        3      4 s         3 s ago"), "{printed}");
    assert_eq!(
        home.run(&fake, &["edge", "list", "--json"]).expect(0).json()["items"].as_array().unwrap().len(),
        2
    );
}
