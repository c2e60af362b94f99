//! What edges showed while something was being broken, and whether it hangs together.
//!
//! - Per edge, snapshot version, status epoch and keyset version never go back.
//! - A snapshot version has one content, on whichever edge it is seen; so has what one unit is assigned under one
//!   version and epoch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::blocking::Client;
use serde_json::Value;

use crate::common::{claims_of, now};
use crate::fleet::Edge;

const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The unit whose assignments are compared.
const WATCHED_UNIT: &str = "watched-unit";

/// Looks at edges, each from a thread of its own, until told to finish.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
    contents: Arc<Mutex<Contents>>,
}

impl Watch {
    pub(crate) fn over(edges: &[&Edge]) -> Self {
        let (stop, contents) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let eye = |edge: &&Edge| {
            let eye = Eye {
                url: edge.url(),
                snapshot: edge.state_dir.join("snapshot.jwt"),
                // Its own connections: what it sees must not depend on one that an edge's former life left behind.
                client: Client::builder().timeout(ANSWER_WITHIN).pool_max_idle_per_host(0).build().unwrap(),
                contents: Arc::clone(&contents),
            };
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || eye.watch(&stop))
        };
        let threads = edges.iter().map(eye).collect();
        Self { stop, threads, contents }
    }

    pub(crate) fn finish(self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        let edges = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let contents = self.contents.lock().unwrap();
        History { edges, conflicts: contents.conflicts.clone(), versions: contents.snapshots.len() }
    }
}

/// What was seen of all edges.
pub(crate) struct History {
    edges: Vec<Seen>,
    /// Versions that were seen with two contents.
    conflicts: Vec<String>,
    /// How many snapshot versions were seen.
    pub(crate) versions: usize,
}

/// What was seen of one edge.
#[derive(Default)]
struct Seen {
    url: String,
    /// How often it answered.
    looks: u64,
    newest: BTreeMap<&'static str, u64>,
    steps_back: Vec<String>,
    /// Age of the oldest status document, in seconds.
    oldest_status_seconds: i64,
}

impl History {
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        for edge in &self.edges {
            assert!(edge.looks > 0, "{} was never seen", edge.url);
            assert!(edge.steps_back.is_empty(), "{}: {:?}", edge.url, edge.steps_back);
        }
        assert!(self.conflicts.is_empty(), "{:?}", self.conflicts);
    }

    /// Age of the oldest status document that an edge showed, in seconds.
    pub(crate) fn oldest_status_seconds(&self) -> i64 {
        self.edges.iter().map(|edge| edge.oldest_status_seconds).max().unwrap_or(0)
    }
}

impl Seen {
    fn see(&mut self, what: &'static str, version: u64) {
        let newest = self.newest.entry(what).or_insert(version);
        if version < *newest {
            self.steps_back.push(format!("{what} went back from {newest} to {version}"));
        }
        *newest = version.max(*newest);
    }
}

/// What every version holds, as far as it was seen.
#[derive(Default)]
struct Contents {
    snapshots: BTreeMap<u64, Value>,
    assignments: BTreeMap<(u64, u64), Value>,
    conflicts: Vec<String>,
}

impl Contents {
    fn snapshot(&mut self, cv: u64, content: Value) {
        let known = self.snapshots.entry(cv).or_insert_with(|| content.clone());
        if *known != content {
            self.conflicts.push(format!("snapshot {cv} is {known} and {content}"));
        }
    }

    fn assignments(&mut self, cv: u64, ep: u64, content: Value) {
        let known = self.assignments.entry((cv, ep)).or_insert_with(|| content.clone());
        if *known != content {
            self.conflicts.push(format!("under snapshot {cv}, epoch {ep}: {known} and {content}"));
        }
    }
}

/// One edge's observer.
struct Eye {
    url: String,
    snapshot: PathBuf,
    client: Client,
    contents: Arc<Mutex<Contents>>,
}

impl Eye {
    fn watch(&self, stop: &AtomicBool) -> Seen {
        let mut seen = Seen { url: self.url.clone(), ..Seen::default() };
        while !stop.load(Ordering::Relaxed) {
            // Whether it answers is for the load to count; a test may have stopped it on purpose.
            let _ = self.look(&mut seen);
            std::thread::sleep(LOOK_EVERY);
        }
        seen
    }

    fn look(&self, seen: &mut Seen) -> Option<()> {
        let status = self.claims("/v1/status")?;
        seen.looks += 1;
        seen.see("status cv", status["cv"].as_u64()?);
        seen.see("status ep", status["ep"].as_u64()?);
        let age = now().unix_seconds() - status["iat"].as_i64()?;
        seen.oldest_status_seconds = seen.oldest_status_seconds.max(age);

        seen.see("keyset ver", self.claims("/v1/keyset")?["ver"].as_u64()?);

        let token = self.claims(&format!("/v1/assignments/{WATCHED_UNIT}"))?;
        let (cv, ep) = (token["cv"].as_u64()?, token["ep"].as_u64()?);
        seen.see("token cv", cv);
        seen.see("token ep", ep);
        self.contents.lock().unwrap().assignments(cv, ep, token["a"].clone());

        // Rewritten as a whole or not at all, so whatever can be read is one version.
        let mut snapshot = claims_of(&std::fs::read_to_string(&self.snapshot).ok()?)?;
        let cv = snapshot["cv"].as_u64()?;
        // Signed anew by another key, it is the same snapshot.
        snapshot.as_object_mut()?.remove("iat");
        self.contents.lock().unwrap().snapshot(cv, snapshot);
        Some(())
    }

    fn claims(&self, path: &str) -> Option<Value> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().ok()?;
        claims_of(&answer.error_for_status().ok()?.text().ok()?)
    }
}

mod tests {
    use serde_json::json;

    use super::*;

    fn history(seen: Seen, contents: Contents) -> History {
        History { edges: vec![seen], conflicts: contents.conflicts, versions: contents.snapshots.len() }
    }

    #[test]
    fn going_on_and_standing_still_is_sound() {
        let (mut seen, mut contents) = (Seen { looks: 1, ..Seen::default() }, Contents::default());
        for cv in [1, 2, 2, 5] {
            seen.see("cv", cv);
            contents.snapshot(cv, json!({ "cv": cv }));
            contents.assignments(cv, 1, json!({}));
        }
        history(seen, contents).assert_sound();
    }

    #[test]
    #[should_panic(expected = "cv went back from 5 to 4")]
    fn a_version_that_goes_back_is_found() {
        let mut seen = Seen { looks: 1, ..Seen::default() };
        for cv in [3, 5, 4, 6] {
            seen.see("cv", cv);
        }
        history(seen, Contents::default()).assert_sound();
    }

    #[test]
    #[should_panic(expected = "snapshot 7 is")]
    fn one_version_with_two_contents_is_found() {
        let mut contents = Contents::default();
        contents.snapshot(7, json!({ "experiments": [] }));
        contents.snapshot(7, json!({ "experiments": [1] }));
        history(Seen { looks: 1, ..Seen::default() }, contents).assert_sound();
    }
}
