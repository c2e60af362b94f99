//! Restarts without network, and disks in every state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use edgeseal_core::sealing::{KeyState, KeyUse};

use super::super::testing::{Fed, Plane, open};
use super::super::{Feed, MemoryState, Offer, OpenError, Outcome, StateError, StateFile, StateStore};
use crate::testing::{CONTROL, TestEdge, config, environment, key};

/// The disk of an edge that took over these, one after the other.
fn disk_after(planes: &[&Plane]) -> Arc<MemoryState> {
    let fed = Fed::new();
    for plane in planes {
        fed.take(&plane.offer());
        fed.feed.flush();
    }
    Arc::clone(&fed.store)
}

/// A second version that runs another experiment.
fn second() -> Plane {
    let mut plane = Plane::new();
    (plane.cv, plane.ep, plane.experiment) = (2, 2, "search");
    plane
}

fn load(store: &MemoryState, file: StateFile) -> Vec<u8> {
    store.load(file).unwrap().unwrap_or_default()
}

#[test]
fn an_edge_without_network_serves_from_disk_however_late() {
    let plane = Plane::new();
    let store = disk_after(&[&plane]);
    let edge = TestEdge::unpublished(config());
    edge.advance(30 * 24 * 3_600);
    let feed = open(&edge, store).unwrap();
    assert_eq!(edge.get("/v1/assignments/user-1").status, 200);
    assert_eq!(edge.get("/v1/status").text(), plane.status());
    assert_eq!(edge.get("/v1/keyset").text(), plane.keyset());
    edge.get("/readyz").assert_problem(503, "not_ready");
    assert_eq!(edge.metric("edgeseal_config_age_seconds"), 30.0 * 24.0 * 3_600.0);
    assert_eq!(feed.position().snapshot, Some(1));
    assert!(!feed.needs_keys());
    let identity = [("x-user-id", "user-1")];
    assert_eq!(
        edge.get_with("/v1/experiments/checkout", &identity).status,
        200,
        "HMAC secrets are kept, too"
    );

    let mut fresh = second();
    fresh.now = edge.clock.now();
    assert_eq!(feed.offer(&fresh.offer(), fresh.now).unwrap().outcome, Outcome::Published);
    assert_eq!(edge.get("/readyz").status, 200);
}

#[test]
fn a_restart_with_a_wrong_clock_serves_as_well() {
    for jump in [3_600, -3_600] {
        let store = disk_after(&[&Plane::new()]);
        let edge = TestEdge::unpublished(config());
        edge.advance(jump);
        let feed = open(&edge, store).unwrap();
        assert_eq!(edge.get("/v1/assignments/user-1").status, 200, "{jump}");
        edge.advance(-jump);
        assert_eq!(feed.offer(&second().offer(), edge.clock.now()).unwrap().outcome, Outcome::Published);
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_good_one_before_it_serves_and_stays() {
    let good = disk_after(&[&Plane::new(), &second()]);
    let newest = load(&good, StateFile::Snapshot);
    let mut flipped = newest.clone();
    flipped[newest.len() / 2] ^= 1;
    for damaged in
        [b"".to_vec(), newest[..newest.len() / 2].to_vec(), flipped, vec![0xff; 64], vec![0; 4_096]]
    {
        let store = Arc::new(MemoryState::default());
        for file in ALL {
            store.save(file, &load(&good, file)).unwrap();
        }
        store.save(StateFile::Snapshot, &damaged).unwrap();
        let fed = Fed::on(Arc::clone(&store));
        assert!(fed.assigns("checkout") && !fed.assigns("search"), "the one before serves");
        assert_eq!(fed.feed.position().snapshot, Some(1));
        assert!(fed.feed.position().is_behind(), "so the newest is fetched");

        // The next one replaces the damaged one, not the good one before it.
        let previous = load(&store, StateFile::SnapshotPrevious);
        fed.take(&second().offer());
        fed.feed.flush();
        assert!(fed.assigns("search"));
        assert_eq!(load(&store, StateFile::SnapshotPrevious), previous);
        assert_eq!(load(&store, StateFile::Snapshot), newest);
        let mut third = second();
        third.cv = 3;
        fed.take(&third.offer());
        fed.feed.flush();
        assert_eq!(load(&store, StateFile::SnapshotPrevious), newest);
    }
}

const ALL: [StateFile; 9] = [
    StateFile::EdgeId,
    StateFile::Root,
    StateFile::EdgeKeys,
    StateFile::Keyset,
    StateFile::KeysetPrevious,
    StateFile::Snapshot,
    StateFile::SnapshotPrevious,
    StateFile::Status,
    StateFile::StatusPrevious,
];

#[test]
fn damaged_keysets_and_status_documents_fall_back_as_well() {
    let mut next = second();
    next.add(KeyUse::Edge, 50, KeyState::Published);
    for file in [StateFile::Keyset, StateFile::Status] {
        let store = disk_after(&[&Plane::new(), &next]);
        store.save(file, b"rubbish").unwrap();
        let fed = Fed::on(Arc::clone(&store));
        assert!(fed.assigns("search"), "{file:?}");
        fed.take(&next.offer());
        fed.feed.flush();
        assert_ne!(load(&store, file), b"rubbish");
    }
}

#[test]
fn every_file_may_be_missing_or_rubbish_and_the_edge_still_starts() {
    let plane = Plane::new();
    for file in ALL.into_iter().filter(|file| *file != StateFile::Root) {
        let store = disk_after(&[&plane]);
        store.save(file, b"rubbish").unwrap();
        let fed = Fed::on(store);
        fed.take(&second().offer());
        assert!(fed.assigns("search"), "{file:?}");
    }
}

#[test]
fn whom_to_trust_is_not_guessed() {
    let edge = TestEdge::unpublished(config());
    let store = disk_after(&[&Plane::new()]);
    let mut jwk = load(&store, StateFile::Root);
    let place = jwk.len() / 2;
    jwk[place] ^= 1;
    for damaged in [b"".to_vec(), b"{}".to_vec(), jwk] {
        store.save(StateFile::Root, &damaged).unwrap();
        let refused = open(&edge, Arc::clone(&store) as _);
        assert!(
            matches!(refused, Err(OpenError::DamagedRoot { .. })),
            "{}",
            String::from_utf8_lossy(&damaged)
        );
    }
    let store = disk_after(&[&Plane::new()]);
    let other = Some(key(77).public());
    let refused = Feed::open(Arc::clone(&edge.edge), environment(), Arc::clone(&store) as _, other);
    assert!(matches!(refused, Err(OpenError::OtherRoot { .. })));
    let same = Some(key(Plane::new().root).public());
    assert!(Feed::open(Arc::clone(&edge.edge), environment(), store, same).is_ok());
}

#[test]
fn documents_of_another_root_or_environment_on_disk_are_refused() {
    let mut foreign = Plane::new();
    foreign.root = 77;
    let (ours, theirs) = (disk_after(&[&Plane::new()]), disk_after(&[&foreign]));
    for file in [StateFile::Keyset, StateFile::EdgeKeys] {
        ours.save(file, &load(&theirs, file)).unwrap();
    }
    let fed = Fed::on(ours);
    assert!(fed.feed.serving().is_none());
    fed.take(&Plane::new().offer());
    assert!(fed.assigns("checkout"));
}

#[test]
fn a_retired_control_key_vouches_on_disk_and_a_revoked_one_does_not() {
    let mut plane = Plane::new();
    plane.add(KeyUse::Control, 40, KeyState::Active);
    let fed = Fed::serving(&plane);
    // The keyset says it first; snapshot and status by the successor have not come.
    plane.set_state(CONTROL, KeyState::Retired);
    plane.keyset_ver += 1;
    fed.take(&Offer { keyset: Some(plane.keyset()), ..Offer::default() });
    fed.feed.flush();
    let again = Fed::on(Arc::clone(&fed.store));
    assert!(again.assigns("checkout"));

    plane.control = 40;
    plane.revoked.push(CONTROL);
    plane.ep += 1;
    again.take(&plane.status_offer());
    assert!(again.assigns("checkout"), "it was good when it came");
    again.feed.flush();
    let revoked = Fed::on(Arc::clone(&again.store));
    assert!(revoked.feed.serving().is_none(), "a thief who can write to the disk gains nothing");
    revoked.take(&plane.documents());
    assert!(revoked.assigns("checkout"));
}

#[test]
fn a_status_signed_anew_leaves_the_disk_alone() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    fed.feed.flush();
    let written = load(&fed.store, StateFile::Status);
    plane.now = plane.now.plus_seconds(10);
    fed.take(&plane.status_offer());
    fed.feed.flush();
    assert_eq!(load(&fed.store, StateFile::Status), written);
    plane.halt();
    fed.take(&plane.status_offer());
    fed.feed.flush();
    assert_eq!(load(&fed.store, StateFile::Status), plane.status().into_bytes());
    assert_eq!(load(&fed.store, StateFile::StatusPrevious), written);
}

/// A disk that can be full.
#[derive(Default)]
struct Moody {
    inner: MemoryState,
    full: AtomicBool,
}

impl StateStore for Moody {
    fn load(&self, file: StateFile) -> Result<Option<Vec<u8>>, StateError> {
        self.inner.load(file)
    }

    fn save(&self, file: StateFile, bytes: &[u8]) -> Result<(), StateError> {
        if self.full.load(Ordering::Acquire) {
            return Err(StateError::new("no space left on device"));
        }
        self.inner.save(file, bytes)
    }
}

#[test]
fn a_full_disk_stops_no_takeover_and_is_caught_up() {
    let edge = TestEdge::unpublished(config());
    let store = Arc::new(Moody::default());
    store.full.store(true, Ordering::Release);
    let feed = open(&edge, Arc::clone(&store) as _).unwrap();
    let plane = Plane::new();
    assert_eq!(feed.offer(&plane.offer(), plane.now).unwrap().outcome, Outcome::Published);
    feed.flush();
    assert_eq!(edge.get("/v1/assignments/user-1").status, 200);
    assert_eq!(edge.metric("edgeseal_feed_state_failures_total"), 1.0);
    assert!(store.load(StateFile::Snapshot).unwrap().is_none());

    store.full.store(false, Ordering::Release);
    feed.offer(&plane.status_offer(), plane.now).unwrap();
    drop(feed);
    assert_eq!(
        store.load(StateFile::Snapshot).unwrap(),
        Some(plane.snapshot().into_bytes()),
        "dropping it writes"
    );
}
