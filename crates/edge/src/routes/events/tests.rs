use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edgeseal_core::events::wire::SpoolRecord;
use edgeseal_core::events::{EventRecord, Happening};
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{KeyUse, RotationPolicy, SecretKey, Signer, TokenKind, rotation, seal};
use serde_json::{Value, json};

use crate::NativeSigner;
use crate::intake::{Delivery, Drain, DrainError, Spool, drain};
use crate::testing::{EDGE, Reply, START, TestEdge, key};

const NOW_MS: i64 = START * 1000;
/// Seed of the key that signs after the first one.
const NEXT: u8 = 7;

/// A directory of its own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("edgeseal-events-{}-{number}", std::process::id())))
    }

    fn spool(&self) -> Spool {
        Spool::open(&self.0, crate::intake::SPOOL_MAX_BYTES).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn edge() -> (Scratch, TestEdge) {
    let (scratch, test) = (Scratch::new(), TestEdge::new());
    test.edge.accept_events(scratch.spool());
    (scratch, test)
}

fn id(number: usize) -> String {
    format!("018f0000-0000-7000-8000-{number:012x}")
}

fn exposure(number: usize, experiment: &str) -> Value {
    json!({ "id": id(number), "type": "exposure", "ts": NOW_MS, "experiment": experiment })
}

fn metric(number: usize, value: f64) -> Value {
    json!({ "id": id(number), "type": "metric", "ts": NOW_MS, "metric": "revenue", "value": value })
}

fn token(test: &TestEdge, unit: &str) -> String {
    test.get(&format!("/v1/assignments/{unit}")).text()
}

fn batch(test: &TestEdge, events: &[Value]) -> Value {
    json!({ "token": token(test, "user-1"), "events": events })
}

#[track_caller]
fn assert_taken(reply: &Reply, accepted: usize, rejected: &Value) {
    assert_eq!(reply.status, 202, "{}", reply.text());
    let body = reply.json();
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(accepted), rejected), "{body}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("set-cookie"), None);
}

/// A control plane that remembers what it was given, and may be down for a while.
#[derive(Clone, Default)]
struct Sink {
    records: Arc<Mutex<Vec<SpoolRecord>>>,
    failures_left: Arc<AtomicUsize>,
}

impl Drain for Sink {
    async fn deliver(
        &self,
        environment: &Environment,
        edge: &str,
        delivery: &Delivery,
    ) -> Result<(), DrainError> {
        assert_eq!((environment.as_str(), edge), ("production", "edge-1"));
        let fails = |left: usize| left.checked_sub(1);
        if self.failures_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, fails).is_ok() {
            return Err(DrainError { cause: "down".into(), retry_after: None });
        }
        self.records.lock().unwrap().extend(delivery.records().map(Result::unwrap));
        Ok(())
    }
}

impl Sink {
    /// Drains `test` until `count` records came.
    fn takes(&self, test: &TestEdge, count: usize) -> Vec<SpoolRecord> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let environment = Environment::parse("production").unwrap();
        runtime.spawn(drain(Arc::clone(&test.edge), environment, "edge-1".into(), self.clone()));
        let start = Instant::now();
        while self.records.lock().unwrap().len() < count || test.metric("edgeseal_event_spool_bytes") > 0.0 {
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for {count} records");
            std::thread::sleep(Duration::from_millis(5));
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        self.records.lock().unwrap().clone()
    }
}

fn events(records: &[SpoolRecord]) -> Vec<&EventRecord> {
    let event = |record: &'_ SpoolRecord| matches!(record, SpoolRecord::Event(_));
    let only = records.iter().filter(|record| event(record));
    only.map(|record| match record {
        SpoolRecord::Event(event) => event,
        SpoolRecord::Quarantined(_) => unreachable!(),
    })
    .collect()
}

#[test]
fn a_batch_is_kept_and_delivered_with_what_its_token_says() {
    let (_scratch, test) = edge();
    let reply = test.post("/v1/events", &batch(&test, &[exposure(1, "checkout"), metric(2, 19.99)]));
    assert_taken(&reply, 2, &json!([]));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(test.metric("edgeseal_events_accepted_total"), 2.0);
    assert!(test.metric("edgeseal_event_spool_bytes") > 0.0);

    let records = Sink::default().takes(&test, 2);
    let events = events(&records);
    let variant = test.variant(&token(&test, "user-1"), "user-1", "checkout");
    match &events[0].what {
        Happening::Exposure { experiment, variant: said, xv } => {
            assert_eq!((experiment.as_str(), Some(said.to_string()), *xv), ("checkout", variant, 1));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(&events[1].what, Happening::Metric { amount: 19_990_000, .. }));
    assert_eq!((events[0].received_ms, events[0].unit_type.as_str()), (NOW_MS, "user"));
    assert_eq!(test.metric("edgeseal_events_delivered_total"), 2.0);
    assert_eq!(test.metric("edgeseal_event_delivery_lag_seconds"), 0.0);
}

#[test]
fn what_is_wrong_with_one_event_leaves_the_others_alone_and_is_noted() {
    let (_scratch, test) = edge();
    let text = batch(
        &test,
        &[
            exposure(1, "checkout"),
            exposure(2, "never-heard-of"),
            exposure(3, "won"),
            json!({ "id": "x", "type": "metric", "ts": NOW_MS, "metric": "revenue", "value": 1 }),
            metric(5, 5.5),
            metric(1, 7.0),
        ],
    );
    let text = text.to_string().replace("5.5", "1e400");
    let reply = test.send("POST", "/v1/events", &[("content-type", "application/json")], text.as_bytes());
    let rejected = json!([
        { "index": 1, "id": id(2), "code": "unknown_experiment" },
        { "index": 2, "id": id(3), "code": "not_counted" },
        { "index": 3, "code": "bad_id" },
        { "index": 4, "id": id(5), "code": "value_too_large" },
    ]);
    assert_taken(&reply, 1, &rejected);
    assert_eq!(reply.json()["duplicates"], 1);
    assert_eq!(test.metric("edgeseal_events_received_total"), 6.0);
    assert_eq!(test.metric("edgeseal_events_rejected_total{code=\"not_counted\"}"), 1.0);

    let records = Sink::default().takes(&test, 5);
    let notes: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            SpoolRecord::Quarantined(note) => Some((note.code.as_str(), note.about.as_deref())),
            SpoolRecord::Event(_) => None,
        })
        .collect();
    let expected = [
        ("unknown_experiment", Some("never-heard-of")),
        ("not_counted", Some("won")),
        ("bad_id", Some("revenue")),
        ("value_too_large", Some("revenue")),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_token_that_does_not_verify_refuses_the_batch() {
    let (_scratch, test) = edge();
    let good = token(&test, "user-1");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, other) =
        token(&test, "user-2").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let stranger = SecretKey::from_seed(&[99; 32]);
    let foreign =
        json!({ "iss": "staging", "aud": "edgeseal:staging", "sub": "AAAAAAAAAAAAAAAAAAAAAA", "ut": "user",
        "iat": START, "exp": START + 600, "cv": 1, "ep": 0, "cd": "", "a": {} })
        .to_string();
    for (token, reason) in [
        (format!("{signed}.{other}"), "E_SIGNATURE"),
        ("rubbish".into(), "E_MALFORMED"),
        (seal(TokenKind::Assignment, b"{}", &stranger), "E_KEY"),
        (seal(TokenKind::Assignment, foreign.as_bytes(), &key(EDGE)), "E_AUDIENCE"),
        (test.parts.status_token.clone(), "E_TYPE"),
    ] {
        let reply = test.post("/v1/events", &json!({ "token": token, "events": [metric(1, 1.0)] }));
        reply.assert_problem(401, "token_refused");
        assert_eq!(reply.json()["reason"], reason);
        assert_eq!(test.metric(&format!("edgeseal_event_tokens_refused_total{{code=\"{reason}\"}}")), 1.0);
    }
    assert_eq!(test.metric("edgeseal_events_accepted_total"), 0.0);
    let records = Sink::default().takes(&test, 5);
    assert!(events(&records).is_empty());
}

#[test]
fn a_remembered_token_is_refused_once_its_key_is_revoked_or_gone() {
    let (_scratch, test) = edge();
    let text = batch(&test, &[metric(1, 1.0)]);
    let now = test.clock.now();
    let publish = |keys: &[u8], version: u64, epoch: u64, revoked: &[u8]| {
        let mut parts = test.parts.clone();
        let records: Vec<_> =
            keys.iter().map(|&seed| rotation::first(KeyUse::Edge, key(seed).public(), now)).collect();
        parts.keyset =
            rotation::keyset_from(&records, &parts.keyset.iss, version, now, &RotationPolicy::default());
        parts.signer = Arc::new(NativeSigner::new(&key(NEXT)).unwrap());
        parts.status.ep = epoch;
        parts.status.rev = revoked.iter().map(|&seed| key(seed).kid().clone()).collect();
        test.publish(parts);
    };
    assert_taken(&test.post("/v1/events", &text), 1, &json!([]));
    publish(&[EDGE, NEXT], 2, 1, &[]);
    assert_taken(&test.post("/v1/events", &text), 1, &json!([]));
    for (keys, epoch, revoked) in [(&[EDGE, NEXT][..], 2, &[EDGE][..]), (&[NEXT], 3, &[])] {
        publish(keys, 2, epoch, revoked);
        let reply = test.post("/v1/events", &text);
        reply.assert_problem(401, "token_refused");
        assert_eq!(reply.json()["reason"], "E_KEY");
    }
}

#[test]
fn without_a_token_only_a_failed_verification_is_taken() {
    let (_scratch, test) = edge();
    let failed = json!({ "id": id(1), "type": "verification_failed", "ts": NOW_MS, "code": "E_SIGNATURE" });
    let reply = test.post("/v1/events", &json!({ "events": [failed, metric(2, 1.0)] }));
    assert_taken(&reply, 1, &json!([{ "index": 1, "id": id(2), "code": "needs_token" }]));
}

#[test]
fn an_old_token_still_vouches_for_what_happened_under_it() {
    let (_scratch, test) = edge();
    let text = batch(&test, &[exposure(1, "checkout")]);
    test.advance(20 * 24 * 3600);
    assert_taken(&test.post("/v1/events", &text), 1, &json!([]));
    let late = json!({ "token": text["token"], "events": [
        { "id": id(2), "type": "metric", "ts": test.clock.now().unix_ms(), "metric": "revenue", "value": 1 } ] });
    let reply = test.post("/v1/events", &late);
    assert_taken(&reply, 0, &json!([{ "index": 0, "id": id(2), "code": "outside_token_life" }]));
}

#[test]
fn beacons_and_preflights_work() {
    let (_scratch, test) = edge();
    let text = batch(&test, &[metric(1, 1.0)]).to_string();
    let beacon = [("content-type", "text/plain;charset=UTF-8")];
    assert_taken(&test.send("POST", "/v1/events", &beacon, text.as_bytes()), 1, &json!([]));
    let preflight = test.send("OPTIONS", "/v1/events", &[("access-control-request-method", "POST")], b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    test.send("POST", "/v1/events", &form, text.as_bytes()).assert_problem(415, "unsupported_media_type");
    test.get("/v1/events").assert_problem(405, "method_not_allowed");
}

#[test]
fn a_batch_is_bounded_in_bytes_and_events() {
    let (_scratch, test) = edge();
    let padded = |bytes: usize| {
        let text = batch(&test, &[metric(1, 1.0)]).to_string();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    let send = |text: &str| {
        test.send("POST", "/v1/events", &[("content-type", "application/json")], text.as_bytes())
    };
    assert_taken(&send(&padded(256 * 1024)), 1, &json!([]));
    send(&padded(256 * 1024 + 1)).assert_problem(413, "body_too_large");
    let many: Vec<_> = (0..501).map(|number| metric(number, 1.0)).collect();
    test.post("/v1/events", &batch(&test, &many)).assert_problem(400, "too_many_events");
    assert_taken(&test.post("/v1/events", &batch(&test, &many[..500])), 500, &json!([]));
    for text in ["", "{", "[]", "{}", r#"{"events":[NaN]}"#] {
        send(text).assert_problem(400, "malformed_body");
    }
    assert_taken(&send(r#"{"events":[]}"#), 0, &json!([]));
}

#[test]
fn an_edge_says_when_it_cannot_keep_events() {
    let test = TestEdge::new();
    let text = batch(&test, &[metric(1, 1.0)]);
    test.post("/v1/events", &text).assert_problem(404, "events_disabled");

    let scratch = Scratch::new();
    test.edge.accept_events(Spool::open_with(&scratch.0, 1_000, 400).unwrap());
    let full = loop {
        let reply = test.post("/v1/events", &text);
        if reply.status != 202 {
            break reply;
        }
    };
    full.assert_problem(429, "spool_full");
    assert_eq!(full.header("retry-after"), Some("10"));
    Sink::default().takes(&test, 1);
    assert_taken(&test.post("/v1/events", &text), 1, &json!([]));

    Sink::default().takes(&test, 1);
    std::fs::remove_dir_all(&scratch.0).unwrap();
    // A segment that is open still takes some; a new one cannot be made.
    let unwritable = loop {
        let reply = test.post("/v1/events", &text);
        if reply.status != 202 {
            break reply;
        }
    };
    unwritable.assert_problem(503, "spool_unwritable");
    assert_eq!(unwritable.header("retry-after"), Some("10"));
    assert_eq!(test.get("/v1/assignments/user-1").status, 200, "assignments do not care");
}

#[test]
fn an_edge_without_a_snapshot_takes_nothing() {
    let (scratch, test) = (Scratch::new(), TestEdge::unpublished(crate::testing::config()));
    test.edge.accept_events(scratch.spool());
    test.post("/v1/events", &json!({ "events": [] })).assert_problem(503, "not_ready");
}

#[test]
fn a_control_plane_that_was_down_gets_everything() {
    let (scratch, test) = edge();
    for number in 0..20 {
        assert_taken(&test.post("/v1/events", &batch(&test, &[metric(number, 1.0)])), 1, &json!([]));
    }
    let sink = Sink::default();
    sink.failures_left.store(2, Ordering::Release);
    let records = sink.takes(&test, 20);
    let ids: Vec<_> = events(&records).iter().map(|event| event.id.to_string()).collect();
    assert_eq!(ids, (0..20).map(id).collect::<Vec<_>>());
    assert_eq!(test.metric("edgeseal_event_delivery_failures_total"), 2.0);
    drop(scratch);
}
