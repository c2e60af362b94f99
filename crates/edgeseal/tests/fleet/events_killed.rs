//! An edge killed while it takes events, over and over: every event that it acknowledged reaches the control plane, and
//! after dedupe by id it is there once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeseal_core::events::{EventId, Happening};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::common::{Dice, eventually, now};
use crate::event_sink::EventSink;
use crate::fleet::{Edge, Site};

const KILLS: u32 = 50;
/// Longest life between two kills.
const LONGEST_LIFE_MS: u64 = 250;
/// Clients that send at once.
const CLIENTS: u64 = 4;
/// Most events of one batch.
const MOST_EVENTS: u64 = 40;
/// Longest that one batch may take, restarts of the edge included.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_millis(10);

#[test]
fn killed_while_it_takes_events_an_edge_loses_none_that_it_acknowledged() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let sink = EventSink::before(control.port);
    let mut edge = site.edge("edge", &sink.url, &api, &[]);
    let tokens: Vec<String> = (0..CLIENTS).map(|client| edge.token(&format!("user-{client}"))).collect();

    let (stop, ids) = (AtomicBool::new(false), AtomicU64::new(0));
    let url = edge.url();
    let mut clients: Vec<Sender<'_>> = tokens.iter().map(|token| Sender::new(&url, token, &ids)).collect();
    let mut dice = Dice::new();
    thread::scope(|scope| {
        let sending: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(|| client.send_until(&stop))).collect();
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            edge.kill();
            edge.start_again();
            assert!(!sending.iter().any(thread::ScopedJoinHandle::is_finished), "a client gave up");
        }
        stop.store(true, Ordering::Relaxed);
    });
    eventually("the spool is drained", || metric(&edge, "edgeseal_event_spool_bytes") == 0.0);

    let sent: BTreeMap<EventId, i128> = clients.iter().flat_map(|client| client.sent.clone()).collect();
    let acknowledged: Vec<EventId> = clients.iter().flat_map(|client| client.acknowledged.clone()).collect();
    let repeated: u64 = clients.iter().map(|client| client.repeated).sum();
    sink.kept(|kept| {
        println!(
            "{KILLS} kills, {} events sent, {} acknowledged, {repeated} batches sent again; {} deliveries, {} of them \
             unacknowledged, {} events delivered again",
            sent.len(),
            acknowledged.len(),
            kept.deliveries,
            kept.unacknowledged,
            kept.again
        );
        for id in &acknowledged {
            let event = kept.events.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            match &event.what {
                Happening::Metric { amount, .. } => assert_eq!(amount, &sent[id], "{id}"),
                other => panic!("{id} became {other:?}"),
            }
        }
        let strangers: Vec<_> = kept.events.keys().filter(|id| !sent.contains_key(id)).collect();
        assert!(strangers.is_empty(), "nobody sent {strangers:?}");
        assert!(kept.notes.is_empty(), "{:?}", kept.notes);
        assert!(acknowledged.len() > 1_000, "too few events to mean anything");
    });
    let log = edge.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_edge_without_its_control_plane_takes_events_and_delivers_them_when_it_is_back() {
    let site = Site::sqlite();
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let sink = EventSink::before(control.port);
    let wire = crate::wire::Wire::to(sink.url.rsplit(':').next().unwrap().parse().unwrap());
    let edge = site.edge("edge", wire.url(), &api, &[]);
    let token = edge.token("user-1");
    wire.cut();
    control.kill();

    let ids = AtomicU64::new(0);
    let url = edge.url();
    let mut client = Sender::new(&url, &token, &ids);
    for _ in 0..20 {
        client.send();
    }
    assert!(metric(&edge, "edgeseal_event_spool_bytes") > 0.0);
    assert_eq!(sink.kept(|kept| kept.events.len()), 0);
    control.start_again();
    wire.mend();
    eventually("the spool is drained", || metric(&edge, "edgeseal_event_spool_bytes") == 0.0);
    sink.kept(|kept| assert!(client.acknowledged.iter().all(|id| kept.events.contains_key(id))));
}

/// A client of the edge, and its memory.
pub(crate) struct Sender<'a> {
    url: String,
    token: &'a str,
    ids: &'a AtomicU64,
    client: Client,
    dice: Dice,
    /// Every event, whatever became of it, with its amount.
    pub(crate) sent: BTreeMap<EventId, i128>,
    pub(crate) acknowledged: Vec<EventId>,
    /// Batches that were sent again because no answer came.
    repeated: u64,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(url: &str, token: &'a str, ids: &'a AtomicU64) -> Self {
        let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let mut dice = Dice::new();
        // Clients must not throw the same dice.
        for _ in 0..token.bytes().map(u64::from).sum() {
            dice.below(2);
        }
        Self {
            url: format!("{url}/v1/events"),
            token,
            ids,
            client,
            dice,
            sent: BTreeMap::new(),
            acknowledged: Vec::new(),
            repeated: 0,
        }
    }

    pub(crate) fn send_until(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.send();
        }
    }

    /// As [`Self::send_until`], a batch every `pause` and about `most` events in all: who counts them counts only so many of one unit.
    pub(crate) fn send_slowly_until(&mut self, stop: &AtomicBool, pause: Duration, most: usize) {
        while !stop.load(Ordering::Relaxed) {
            if self.sent.len() < most {
                self.send();
            }
            thread::sleep(pause);
        }
    }

    /// One batch, sent until it is acknowledged; now and then it is given up after its first try, so that nobody knows
    /// what became of it.
    fn send(&mut self) {
        let mut events = Vec::new();
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(MOST_EVENTS) {
            let (id, cents) = (self.next_id(), self.dice.below(1_000_000));
            events.push(
                json!({ "id": id.to_string(), "type": "metric", "ts": now().unix_ms(), "metric": "revenue",
                "value": format!("{}.{:02}", cents / 100, cents % 100).parse::<f64>().unwrap() }),
            );
            self.sent.insert(id, i128::from(cents) * 10_000);
            batch.push(id);
        }
        let body = json!({ "token": self.token, "events": events });
        let gives_up = self.dice.below(10) == 0;
        let start = Instant::now();
        loop {
            match self.post(&body) {
                Some(answer) => {
                    assert_eq!(answer["accepted"], batch.len(), "{answer}");
                    self.acknowledged.extend(batch);
                    return;
                }
                None if gives_up => return,
                None => {}
            }
            assert!(start.elapsed() < ACKNOWLEDGED_WITHIN, "nobody acknowledges a batch");
            self.repeated += 1;
            thread::sleep(RETRY_EVERY);
        }
    }

    /// The answer, if it is a 202; nothing when none came or the edge is not ready.
    fn post(&self, body: &Value) -> Option<Value> {
        let response = self.client.post(&self.url).json(body).send().ok()?;
        match response.status().as_u16() {
            202 => response.json().ok(),
            503 | 429 => None,
            other => panic!("{other}: {:?}", response.text()),
        }
    }

    fn next_id(&self) -> EventId {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        EventId::parse(&format!("018f0000-0000-7000-8000-{number:012x}")).unwrap()
    }
}

/// The value of one line of `/metrics`.
pub(crate) fn metric(edge: &Edge, name: &str) -> f64 {
    let text = edge.get("/metrics").text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
