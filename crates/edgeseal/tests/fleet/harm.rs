//! A treatment that does harm, from its visitors' events to the pause on every edge, the alert, the audit log and the
//! results; and events that try to poison what is counted.

use std::sync::LazyLock;
use std::time::Duration;

use edgeseal_core::events::AMOUNT_SCALE;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_guardrail::alert::Secret;
use edgeseal_store::{Store, Sums};
use edgeseal_store_postgres::PostgresStore;
use edgeseal_store_sqlite::SqliteStore;
use edgeseal_testkit::inbox::Inbox;
use edgeseal_testkit::servers::Postgres;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::api::Api;
use crate::common::{claims_of, eventually, now, within};
use crate::fleet::{Edge, Site, write_secret};

const SECRET: &str = "whsec_ZmxlZXQtZmxlZXQtZmxlZXQtZmxlZXQtZmxlZXQ=";
/// More than enough for both to be told apart.
const VISITORS: u64 = 1_200;
const PAUSED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn on_sqlite_a_harmful_treatment_is_paused() {
    harm_is_paused(&Site::sqlite());
}

#[test]
fn on_postgres_a_harmful_treatment_is_paused() {
    harm_is_paused(&Site::on(Postgres::shared().create_database()));
}

#[test]
fn on_sqlite_bad_events_poison_nothing() {
    let site = Site::sqlite();
    let database = site.path("edgeseal.db");
    let runtime = Runtime::new().unwrap();
    bad_events_poison_nothing(&site, &runtime, || {
        Box::new(runtime.block_on(SqliteStore::open(&database)).unwrap())
    });
}

#[test]
fn on_postgres_bad_events_poison_nothing() {
    let url = Postgres::shared().create_database();
    let site = Site::on(url.clone());
    let runtime = Runtime::new().unwrap();
    bad_events_poison_nothing(&site, &runtime, || {
        Box::new(runtime.block_on(PostgresStore::connect(&url)).unwrap())
    });
}

fn harm_is_paused(site: &Site) {
    let inbox = Inbox::start();
    let (url, secret) = (site.path("webhook.url"), site.path("webhook.secret"));
    write_secret(&url, inbox.url());
    write_secret(&secret, SECRET);
    let (url, secret) = (url.to_str().unwrap(), secret.to_str().unwrap());
    let control = site.control(&[
        "--guardrail-interval-ms",
        "300",
        "--alert-webhook-url-file",
        url,
        "--alert-webhook-secret-file",
        secret,
    ]);
    let api = control.api();
    // Nobody does harm in the second one.
    start(&api, &["harmful", "harmless"], &[]);
    let edges = ["one", "two"].map(|name| site.edge(name, &control.url, &api, &[]));

    let mut events = Events::default();
    for visitor in 0..VISITORS {
        let edge = &edges[visitor as usize % 2];
        let unit = format!("visitor-{visitor}");
        let token = edge.token(&unit);
        let claims = claims_of(&token).unwrap();
        let mut batch = vec![events.exposure("harmless")];
        if let Some(variant) = claims["a"]["harmful"]["v"].as_str() {
            batch.push(events.exposure("harmful"));
            // 1 in 4 of the treatment, 1 in 25 of the control.
            if visitor % if variant == "b" { 4 } else { 25 } == 0 {
                batch.push(events.metric("harmful-error", json!(1)));
            }
        }
        if visitor % 10 == 0 {
            batch.push(events.metric("harmless-error", json!(1)));
        }
        assert_eq!(send(edge, &json!({ "token": token, "events": batch })).0, 202);
    }
    within(PAUSED_WITHIN, "every edge serves the pause", || {
        edges.iter().all(|edge| {
            let absent = claims_of(&edge.token("somebody")).unwrap()["a"].get("harmful").is_none();
            edge.halts("harmful") && absent
        })
    });

    let letter = inbox.next(PAUSED_WITHIN).unwrap();
    let id = &letter.headers["webhook-id"];
    let seconds = letter.headers["webhook-timestamp"].parse().unwrap();
    assert_eq!(
        letter.headers["webhook-signature"],
        Secret::parse(SECRET).unwrap().sign(id, seconds, &letter.body)
    );
    let alert: Value = serde_json::from_slice(&letter.body).unwrap();
    assert_eq!(alert["type"], "guardrail.paused", "{alert:#}");
    assert!(alert.to_string().contains("harmful-error"), "{alert:#}");

    let paused = api.get("/audit?action=experiment.pause");
    assert_eq!(paused["items"].as_array().unwrap().len(), 1, "once: {paused:#}");
    let entry = &paused["items"][0]["entry"];
    assert!(entry.to_string().contains("harmful-error"), "with the numbers: {entry:#}");
    assert_eq!(api.get("/experiments/harmless")["state"], "running");

    let results = api.get("/experiments/harmful/results");
    let row = &results["rows"][0];
    assert_eq!(
        (&results["state"], &row["metric"]),
        (&json!("paused"), &json!("harmful-error")),
        "{results:#}"
    );
    assert_eq!(row["guardrail"]["alarmed"], true, "{row:#}");
    assert!(row["effect"]["absolute"]["estimate"].as_f64().unwrap() > 0.1, "{row:#}");
    let told = site.ask(&control, &["results", "harmful"]);
    assert!(told.contains("harmful-error") && told.contains("alarm"), "{told}");
    assert!(inbox.next(Duration::ZERO).is_none(), "one alert for one pause");
}

/// What everybody can send, a stranger's tokens included, against an edge and against the control plane.
fn bad_events_poison_nothing(site: &Site, runtime: &Runtime, open: impl Fn() -> Box<dyn Store>) {
    let control = site.control(&[]);
    let api = control.api();
    api.post("/metrics", json!({ "key": "revenue", "kind": "continuous" }));
    start(&api, &["checkout"], &["revenue"]);
    let edge = site.edge("edge", &control.url, &api, &[]);
    let token = edge.token("somebody");

    let mut events = Events::default();
    let (month, hour) = (31 * 24 * 3_600_000, 3_600_000);
    let bad = [
        (events.metric("revenue", json!("NaN")), "not_finite"),
        (events.metric("revenue", json!("Infinity")), "not_finite"),
        (events.metric("revenue", Value::Null), "not_finite"),
        (events.metric("revenue", json!(1.1e15)), "value_too_large"),
        (events.metric("revenue", json!(-1.1e15)), "value_too_large"),
        (events.metric("revenue", json!("12")), "malformed_event"),
        (with(events.metric("revenue", json!(1)), "ts", json!(now().unix_ms() - month)), "too_old"),
        (with(events.metric("revenue", json!(1)), "ts", json!(0)), "too_old"),
        (with(events.metric("revenue", json!(1)), "ts", json!(now().unix_ms() + hour)), "in_the_future"),
        (with(events.metric("revenue", json!(1)), "id", json!("1")), "bad_id"),
        (events.exposure("elsewhere"), "unknown_experiment"),
    ];
    // What only the control plane can know: an edge takes it, and it is set aside later.
    let late = [
        (events.metric("nowhere", json!(1)), "unknown_metric"),
        (events.metric("checkout-error", json!(-1)), "negative"),
    ];
    let mut list: Vec<Value> = bad.iter().chain(&late).map(|(event, _)| event.clone()).collect();
    list.extend([events.exposure("checkout"), events.metric("revenue", json!(19.99))]);
    let body = json!({ "token": token, "events": list });

    let (status, told) = send(&edge, &body);
    assert_eq!((status, &told["accepted"]), (202, &json!(list.len() - bad.len())), "{told:#}");
    let codes: Vec<&str> =
        told["rejected"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, bad.iter().map(|(_, code)| *code).collect::<Vec<_>>());
    // The same again, through the other door, and what is no JSON at all.
    let (status, told) = post(&format!("{}/v1/events", control.url), body.to_string());
    assert_eq!((status, &told["accepted"]), (202, &json!(2)), "{told:#}");
    for text in [body.to_string().replace("19.99", "NaN"), body.to_string().replace("19.99", "1e")] {
        assert_eq!(post(&format!("{}/v1/events", edge.url()), text).0, 400);
    }

    // Nobody's, another environment's, and one that was changed.
    let foreign = foreign_token(site, &control.url, &api);
    let mut forged = token.clone();
    let place = forged.len() - 3;
    let other = if forged[place..].starts_with('A') { "E" } else { "A" };
    forged.replace_range(place..=place, other);
    for token in ["x", foreign.as_str(), forged.as_str()] {
        let body = json!({ "token": token, "events": [events.exposure("checkout"), events.metric("revenue", json!(1))] });
        for url in [edge.url(), control.url.clone()] {
            let (status, told) = post(&format!("{url}/v1/events"), body.to_string());
            assert_eq!((status, &told["code"]), (401, &json!("token_refused")), "{told:#}");
        }
    }

    eventually("the spool is drained", || {
        crate::events_killed::metric(&edge, "edgeseal_event_spool_bytes") == 0.0
    });
    let store = open();
    let production = Environment::default();
    eventually("everything is counted", || {
        let newest = runtime.block_on(store.newest_event(&production)).unwrap();
        newest == 2 && runtime.block_on(store.rolled_up(&production)).unwrap().cursor == newest
    });
    let checkout = ExperimentKey::parse("checkout").unwrap();
    let aggregates = runtime.block_on(store.aggregates(&production, Some(&checkout))).unwrap();
    let of = |metric: Option<&str>| -> Vec<&Sums> {
        let ours = aggregates.iter().filter(|it| it.key.metric.as_ref().map(|key| key.as_str()) == metric);
        ours.map(|it| &it.sums).collect()
    };
    assert_eq!(of(None).iter().map(|sums| sums.n).collect::<Vec<_>>(), [1]);
    let revenue = of(Some("revenue"));
    assert_eq!(
        revenue.iter().map(|sums| (sums.n, sums.sum[0])).collect::<Vec<_>>(),
        [(1, 1_999 * AMOUNT_SCALE / 100)]
    );
    assert!(of(Some("checkout-error")).iter().all(|sums| sums.nonzero == 0));
    let noted = api.get("/events/quarantine?limit=100");
    for (event, code) in bad.iter().chain(&late) {
        assert!(
            noted["items"].as_array().unwrap().iter().any(|it| it["code"] == *code),
            "{event}: {noted:#}"
        );
    }
}

/// Running experiments of two variants, each with a guardrail on its errors, and some that they share.
fn start(api: &Api, keys: &[&str], shared: &[&str]) {
    for key in keys {
        let metric = format!("{key}-error");
        api.post("/metrics", json!({ "key": metric, "kind": "conversion", "better": "lower" }));
        let guardrails = [&[metric.as_str()], shared].concat();
        api.post(
            "/experiments",
            json!({
                "key": key,
                "variants": [{ "key": "a", "weight": 1 }, { "key": "b", "weight": 1 }],
                "metrics": { "guardrails": guardrails },
            }),
        );
        api.turn(key, "start");
    }
}

/// A good token, of another environment of the same control plane.
fn foreign_token(site: &Site, control: &str, api: &Api) -> String {
    api.post("/environments", json!({ "name": "staging" }));
    let variants = json!([{ "key": "a" }, { "key": "b" }]);
    let experiment = json!({ "key": "checkout", "state": "running", "variants": variants });
    let definition = json!({ "environment": "staging", "experiments": [experiment] });
    api.post("/apply?environment=staging", json!({ "definition": definition }));
    let made = api.post("/tokens", json!({ "name": "staging", "scope": "edge", "environment": "staging" }));
    write_secret(&site.path("staging.token"), made["token"].as_str().unwrap());
    let edge = site.bare_edge(
        "staging",
        control,
        made["id"].as_str().unwrap().to_owned(),
        &["--environment", "staging"],
        &[],
    );
    eventually("the other environment's edge serves", || edge.is_ready());
    edge.token("somebody")
}

/// Events with ids of their own.
#[derive(Default)]
struct Events(u64);

impl Events {
    fn exposure(&mut self, experiment: &str) -> Value {
        let (id, ts) = (self.id(), now().unix_ms());
        json!({ "id": id, "type": "exposure", "ts": ts, "experiment": experiment })
    }

    fn metric(&mut self, metric: &str, value: Value) -> Value {
        let (id, ts) = (self.id(), now().unix_ms());
        json!({ "id": id, "type": "metric", "ts": ts, "metric": metric, "value": value })
    }

    fn id(&mut self) -> String {
        self.0 += 1;
        format!("018f0000-0000-7000-8000-{:012x}", self.0)
    }
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn send(edge: &Edge, body: &Value) -> (u16, Value) {
    post(&format!("{}/v1/events", edge.url()), body.to_string())
}

fn post(url: &str, body: String) -> (u16, Value) {
    static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);
    let request = CLIENT.post(url).header("content-type", "application/json").body(body);
    let answer = request.send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}
