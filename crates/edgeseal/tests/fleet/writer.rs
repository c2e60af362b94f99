//! Somebody who keeps changing experiments whatever happens to the control plane, and remembers what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{Keyset, PublicKey, Status, verify_snapshot};
use serde_json::{Value, json};

use crate::api::{Api, Call, experiment};
use crate::common::{Dice, now};

/// Longest that one change may take, a restart of the control plane included.
const CHANGED_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Experiments that one writer works on. Few, so that histories grow long.
const EXPERIMENTS: u64 = 6;

/// A writer and its memory.
pub(crate) struct Writer {
    name: String,
    api: Api,
    dice: Dice,
    requests: u64,
    /// Everything that was acknowledged, by experiment; one per revision, in the order of time.
    pub(crate) acknowledged: BTreeMap<String, Vec<Acknowledged>>,
    /// Changes that were sent again because no answer came.
    pub(crate) repeated: u64,
}

/// A revision that the control plane said it had written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) revision: u64,
    pub(crate) state: &'static str,
    pub(crate) weight: u64,
}

impl Writer {
    pub(crate) fn new(name: &str, api: Api) -> Self {
        let mut dice = Dice::new();
        // Writers must not throw the same dice.
        for _ in 0..name.bytes().map(u64::from).sum() {
            dice.below(2);
        }
        Self { name: name.to_owned(), api, dice, requests: 0, acknowledged: BTreeMap::new(), repeated: 0 }
    }

    /// Changes one thing after another until told to stop.
    pub(crate) fn write_until(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.write();
        }
    }

    /// Revisions that were acknowledged.
    pub(crate) fn revisions(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    fn write(&mut self) {
        let key = format!("{}-{}", self.name, self.dice.below(EXPERIMENTS));
        let Some(last) = self.acknowledged.get(&key).and_then(|all| all.last()).cloned() else {
            let weight = 1 + self.dice.below(998);
            return self.change(&key, Call::post("/experiments", experiment(&key, weight)), "draft", weight);
        };
        let verb = |verb: &str| Call::post(&format!("/experiments/{key}/{verb}"), json!({}));
        match (last.state, self.dice.below(3)) {
            ("draft", _) => self.change(&key, verb("start"), "running", last.weight),
            ("running", 0) => self.change(&key, verb("pause"), "paused", last.weight),
            ("paused", 0 | 1) => self.change(&key, verb("resume"), "running", last.weight),
            (state, _) => {
                let weight = 1 + (last.weight + self.dice.below(997)) % 998;
                let mut definition = experiment(&key, weight);
                definition["state"] = json!(state);
                let call = Call::put(&format!("/experiments/{key}"), last.revision, definition);
                self.change(&key, call, state, weight);
            }
        }
    }

    /// Sends until somebody answers, and remembers what was acknowledged. An answer that got lost is asked for again: by
    /// the same idempotency key, or where there can be none by looking whether the revision is there.
    fn change(&mut self, key: &str, call: Call, state: &'static str, weight: u64) {
        self.requests += 1;
        let put = call.revision.is_some();
        let call = if put { call } else { call.once(&format!("{}-{}", self.name, self.requests)) };
        let expected = self.acknowledged.get(key).map_or(0, Vec::len) as u64 + 1;
        let start = Instant::now();
        let mut doubtful = false;
        let answer = loop {
            let answer = self.api.ask(call.clone());
            match answer {
                Ok(reply) if (200..300).contains(&reply.status) => break reply.body,
                // Written by the attempt whose answer got lost.
                Ok(reply) if put && doubtful && reply.status == 412 => {
                    match self.api.ask(Call::get(&format!("/experiments/{key}"))) {
                        Ok(now) if now.status == 200 => break now.body,
                        _ => {}
                    }
                }
                // The database may have broken off while committing: nobody knows.
                Ok(reply) if reply.status == 503 => doubtful = true,
                Ok(reply) => assert_eq!(reply.status, 409, "{call:?} was refused: {reply:?}"),
                Err(_) => doubtful = true,
            }
            assert!(start.elapsed() < CHANGED_WITHIN, "nobody answers {call:?}");
            self.repeated += 1;
            thread::sleep(RETRY_EVERY);
        };
        let written = Acknowledged { revision: answer["revision"].as_u64().unwrap(), state, weight };
        assert_eq!(written.revision, expected, "{key} skipped or repeated a revision: {answer}");
        assert_eq!(said(&answer["definition"]), (state.to_owned(), weight), "{key}: {answer}");
        self.acknowledged.entry(key.to_owned()).or_default().push(written);
    }

    /// Everything acknowledged is in the history, once, as it was acknowledged; nothing else is.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self, api: &Api) {
        for (key, acknowledged) in &self.acknowledged {
            let mut kept: Vec<Acknowledged> = Vec::new();
            for revision in api.list(&format!("/experiments/{key}/revisions")) {
                let (state, weight) = said(&revision["definition"]);
                let state = ["draft", "running", "paused"].into_iter().find(|word| *word == state).unwrap();
                kept.push(Acknowledged { revision: revision["revision"].as_u64().unwrap(), state, weight });
            }
            kept.sort_by_key(|revision| revision.revision);
            assert_eq!(&kept, acknowledged, "history of {key}");
        }
    }

    /// The published snapshot holds what was acknowledged last.
    #[track_caller]
    pub(crate) fn assert_published(&self, snapshot: &Value) {
        for (key, acknowledged) in &self.acknowledged {
            let last = acknowledged.last().unwrap();
            let published =
                snapshot["experiments"].as_array().unwrap().iter().find(|it| it["key"] == key.as_str());
            // A draft is nobody's business but its author's.
            let Some(published) = published else {
                assert_eq!(last.state, "draft", "{key} is missing in {snapshot}");
                continue;
            };
            assert_eq!(published["state"], last.state, "{key}: {published}");
            let ranges = published["variants"][0]["ranges"].as_array().unwrap();
            let share = |range: &Value| range[1].as_u64().unwrap() - range[0].as_u64().unwrap();
            assert_eq!(ranges.iter().map(share).sum::<u64>(), last.weight * 1_000, "{key}: {published}");
        }
    }
}

/// State and weight of the first variant, as a definition says them.
fn said(definition: &Value) -> (String, u64) {
    let state = definition["state"].as_str().unwrap_or("draft").to_owned();
    // Weights may come back as fractions, in whichever form JSON numbers take.
    let weight = definition["variants"][0]["weight"].as_f64().unwrap();
    (state, weight.round() as u64)
}

/// Which versions were published, in the order of the audit log. They grow by themselves and never repeat.
#[track_caller]
pub(crate) fn assert_versions_strictly_increase(audit: &[Value]) -> Vec<u64> {
    let published = audit.iter().filter(|record| record["entry"]["action"] == "snapshot.publish");
    let versions: Vec<u64> =
        published.map(|record| record["entry"]["detail"]["cv"].as_u64().unwrap()).collect();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "published versions: {versions:?}");
    versions
}

/// The whole audit log, oldest first, its chain verified.
#[track_caller]
pub(crate) fn verified_audit(api: &Api) -> Vec<Value> {
    use edgeseal_store::audit::{GENESIS, verify};
    let mut newest = GENESIS;
    let mut all = Vec::new();
    loop {
        let page = api.get(&format!("/audit/chain?after={}&limit=200", newest.0));
        let page = page["items"].as_array().unwrap().clone();
        if page.is_empty() {
            return all;
        }
        let records: Vec<_> = page.iter().map(record).collect();
        newest = verify(newest, &records).unwrap();
        all.extend(page);
    }
}

fn record(json: &Value) -> edgeseal_store::AuditRecord {
    let bytes = |member: &str| {
        let hex = json[member].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    };
    let (previous, hash) = (bytes("previous"), bytes("hash"));
    let entry = json["canonical"].as_str().unwrap().to_owned();
    edgeseal_store::AuditRecord { number: json["number"].as_u64().unwrap(), entry, previous, hash }
}

/// What `bundle` of the control plane holds, every signature verified with the root key that `root` is.
#[track_caller]
pub(crate) fn verified_bundle(bundle: &Value, root: &PublicKey) -> (Value, Status) {
    let production = Environment::parse("production").unwrap();
    let text = |member: &str| bundle[member].as_str().unwrap();
    let keyset = Keyset::verify(text("keyset"), root, &production, now()).unwrap();
    let snapshot = verify_snapshot(text("snapshot"), &keyset, &production, now()).unwrap();
    let status = Status::verify(text("status"), &keyset, &production, now()).unwrap();
    assert_eq!(snapshot["cv"], status.cv, "snapshot and status of one bundle");
    (snapshot, status)
}

/// The root key that the control plane names.
#[track_caller]
pub(crate) fn root_key(api: &Api) -> PublicKey {
    PublicKey::from_jwk(&api.get("/keys")["root"]["jwk"]).unwrap()
}
