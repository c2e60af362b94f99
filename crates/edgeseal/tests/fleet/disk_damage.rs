//! An edge that starts with no network, from a disk that is as it was left, damaged, or worthless.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{Dice, claims_of, eventually};
use crate::fleet::{Edge, Site, UnderLoad};
use crate::wire::Wire;
use crate::writer::Writer;

/// How often an edge is killed while it takes over one snapshot after another.
const KILLS: u32 = 12;
/// Longest that it lives in between.
const LONGEST_LIFE_MS: u64 = 700;

#[test]
fn without_a_network_an_edge_serves_from_its_disk() {
    let site = Site::sqlite();
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let mut edge = site.edge("edge", &control.url, &api, &[]);
    settled(&edge);
    let before = edge.token("user-1");
    control.kill();

    edge.start_again();
    assert!(edge.serves(), "what it has is good enough");
    let load = UnderLoad::start([&edge]);
    let (before, after) = (claims_of(&before).unwrap(), claims_of(&edge.token("user-1")).unwrap());
    for claim in ["sub", "cv", "ep", "cd", "a"] {
        assert_eq!(after[claim], before[claim], "{claim}");
    }
    control.start_again();
    api.turn("checkout", "pause");
    eventually("it hears of news again", || edge.halts("checkout"));
    load.finish();
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_older_good_one_serves() {
    let site = Site::sqlite();
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let mut edge = site.edge("edge", &control.url, &api, &[]);
    // A second version, so that an older one lies beside it.
    let older = edge.cv();
    api.start_experiment("banner", 500);
    let newest = api.newest_cv();
    eventually("the edge has both", || edge.cv() == newest && settled(&edge));
    edge.kill();
    control.kill();

    let file = edge.state_dir.join("snapshot.jwt");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [&good[..good.len() / 2], &flipped, b""] {
        fs::write(&file, damaged).unwrap();
        edge.start_again();
        eventually("the damage is told", || refusals(&edge) > 0);
        assert!((older..newest).contains(&edge.cv()), "the older good one serves: {}", edge.log());
        edge.kill();
    }

    edge.start_again();
    let load = UnderLoad::start([&edge]);
    control.start_again();
    eventually("it catches up", || edge.cv() == newest);
    load.finish();
}

#[test]
fn with_nothing_good_on_disk_an_edge_waits_and_says_so() {
    let site = Site::sqlite();
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let mut edge = site.edge("edge", &control.url, &api, &[]);
    settled(&edge);
    let token = edge.token("user-1");
    edge.kill();
    control.kill();
    damage_all_snapshots(&edge.state_dir);

    edge.start_again();
    assert!(!edge.is_ready(), "it has nothing to serve");
    let refused = edge.get("/v1/assignments/user-1");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(edge.get("/healthz").status(), 200, "it lives and waits");
    assert!(refusals(&edge) > 0, "{}", edge.log());

    control.start_again();
    eventually("it recovers by itself", || edge.is_ready());
    let load = UnderLoad::start([&edge]);
    assert_eq!(claims_of(&edge.token("user-1")).unwrap()["a"], claims_of(&token).unwrap()["a"]);
    load.finish();
}

#[test]
fn whichever_file_is_damaged_the_edge_starts_and_recovers() {
    let site = Site::sqlite();
    let mut control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let mut edge = site.edge("edge", &control.url, &api, &[]);
    settled(&edge);
    for file in ["edge-id", "edge-keys", "keyset.jwt", "snapshot.jwt", "status.jwt"] {
        edge.kill();
        control.kill();
        let path = edge.state_dir.join(file);
        let damaged = damage(&path);
        let told = edge.log().len();

        edge.start_again();
        assert_eq!(edge.get("/healthz").status(), 200);
        let told = &edge.log()[told..];
        assert!(told.contains(file) || file == "edge-id", "nothing is said of {file}: {told}");
        control.start_again();
        eventually(&format!("it recovers from a damaged {file}"), || edge.is_ready());
        // An id of which a letter has changed is an id.
        eventually(&format!("{file} is written anew"), || {
            file == "edge-id" || fs::read(&path).unwrap() != damaged
        });
    }
}

#[test]
fn killed_at_any_moment_an_edge_starts_from_its_disk_without_a_network() {
    let site = Site::sqlite();
    let control = site.control(&[]);
    let api = control.api();
    api.start_experiment("checkout", 500);
    let wire = Wire::to(control.port);
    let mut edge = site.edge("edge", wire.url(), &api, &[]);
    settled(&edge);
    let mut writer = Writer::new("writer", api.clone());
    let stop = AtomicBool::new(false);
    let mut dice = Dice::new();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_until(&stop));
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            edge.kill();
            wire.cut();
            edge.start_again();
            assert!(edge.serves(), "{}", edge.log());
            wire.mend();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(refusals(&edge), 0, "a file was half written: {}", edge.log());
    eventually("it follows to what is newest", || edge.cv() == api.newest_cv());
}

/// Whether what the edge serves is on its disk: it swaps first and writes afterwards.
fn settled(edge: &Edge) -> bool {
    let serves = edge.cv();
    eventually("the snapshot is on disk", || {
        let file = fs::read_to_string(edge.state_dir.join("snapshot.jwt")).unwrap_or_default();
        claims_of(&file).is_some_and(|claims| claims["cv"] == serves)
    });
    true
}

/// How often its log says that a snapshot was refused.
fn refusals(edge: &Edge) -> usize {
    let log = edge.log();
    log.lines().filter(|line| line.contains("snapshot") && line.contains("refused")).count()
}

/// Flips a bit of every snapshot that lies there, whatever its name.
fn damage_all_snapshots(folder: &Path) {
    let mut damaged = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_str().unwrap().contains("snapshot") {
            continue;
        }
        damage(&entry.path());
        damaged += 1;
    }
    assert!(damaged > 0, "no snapshot in {}", folder.display());
}

/// Flips one bit of a file, and gives what it holds then.
fn damage(file: &Path) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, &bytes).unwrap();
    bytes
}
