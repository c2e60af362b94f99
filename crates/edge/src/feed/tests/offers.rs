//! Offers in every order and state of repair.

use std::sync::Arc;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{KeyState, KeyUse};
use edgeseal_core::time::Timestamp;

use super::super::testing::{Fed, Plane, open};
use super::super::{Feed, MemoryState, Offer, Outcome, Taken};
use crate::testing::{START, TestEdge, config, environment, key};

const PUBLISHED: Taken = Taken { outcome: Outcome::Published, needs_keys: false };
const UNCHANGED: Taken = Taken { outcome: Outcome::Unchanged, needs_keys: false };

#[test]
fn a_whole_offer_is_served_at_once_and_once() {
    let (fed, plane) = (Fed::new(), Plane::new());
    assert!(fed.feed.serving().is_none());
    assert_eq!(fed.take(&plane.offer()), PUBLISHED);
    assert!(fed.assigns("checkout"));
    assert_eq!(fed.edge.get("/v1/status").text(), plane.status());
    assert_eq!(fed.edge.get("/v1/keyset").text(), plane.keyset());
    assert_eq!(fed.take(&plane.offer()), UNCHANGED);
    assert_eq!(fed.edge.metric("edgeseal_feed_takeovers_total"), 1.0);
    assert_eq!(fed.edge.metric("edgeseal_snapshot_version"), 1.0);
    let serving = fed.feed.serving().unwrap();
    assert_eq!((serving.cv, serving.ep, serving.keyset_ver), (1, 1, 1));
}

#[test]
fn parts_may_come_one_by_one() {
    let (fed, plane) = (Fed::new(), Plane::new());
    let Offer { keys, keyset, snapshot, status } = plane.offer();
    let parts = [
        Offer { keys, ..Offer::default() },
        Offer { keyset, ..Offer::default() },
        Offer { snapshot, ..Offer::default() },
    ];
    for part in &parts {
        assert_eq!(fed.take(part).outcome, Outcome::Waiting);
        fed.edge.get("/v1/status").assert_problem(503, "not_ready");
    }
    assert_eq!(fed.take(&Offer { status, ..Offer::default() }), PUBLISHED);
}

#[test]
fn nothing_is_verified_before_somebody_is_trusted() {
    let (fed, plane) = (Fed::new(), Plane::new());
    let offered = |offer: Offer| fed.feed.offer(&offer, plane.now).unwrap_err().reason();
    assert_eq!(offered(plane.documents()), "no_root");
    assert_eq!(offered(plane.status_offer()), "no_keyset");
    assert_eq!(offered(Offer { snapshot: Some(plane.snapshot()), ..Offer::default() }), "no_keyset");
    assert_eq!(fed.edge.metric("edgeseal_feed_refusals_total{reason=\"no_keyset\"}"), 2.0);

    // With the root key pinned by hand the documents may come before the keys.
    let edge = TestEdge::unpublished(config());
    let pinned = Some(key(plane.root).public());
    let feed =
        Feed::open(Arc::clone(&edge.edge), environment(), Arc::new(MemoryState::default()), pinned).unwrap();
    let taken = feed.offer(&plane.documents(), plane.now).unwrap();
    assert_eq!(taken, Taken { outcome: Outcome::Waiting, needs_keys: true });
    let keys = Offer { keys: Some(plane.keys()), ..Offer::default() };
    assert_eq!(feed.offer(&keys, plane.now).unwrap(), PUBLISHED);
}

#[test]
fn the_first_root_is_trusted_for_ever() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    let ours = plane.keyset();
    plane.root = 77;
    plane.keyset_ver = 9;
    assert_eq!(fed.refuse(&plane.offer()), "foreign_root");
    assert_eq!(fed.refuse(&plane.documents()), "E_KEY");
    assert_eq!(fed.refuse(&Offer { keys: Some(plane.keys()), ..Offer::default() }), "foreign_root");
    assert_eq!(fed.edge.get("/v1/keyset").text(), ours);

    fed.feed.flush();
    let again = Fed::on(Arc::clone(&fed.store));
    assert_eq!(again.refuse(&plane.offer()), "foreign_root", "a restart forgets nothing");
}

#[test]
fn nothing_goes_backwards() {
    let mut plane = Plane::new();
    let (mut old, fed) = (Plane::new(), Fed::new());
    (plane.cv, plane.ep, plane.keyset_ver) = (5, 5, 5);
    fed.take(&plane.offer());
    (old.cv, old.ep, old.keyset_ver) = (4, 5, 5);
    assert_eq!(fed.refuse(&Offer { snapshot: Some(old.snapshot()), ..Offer::default() }), "older");
    assert_eq!(fed.refuse(&old.status_offer()), "older", "a status of an older snapshot");
    (old.cv, old.ep) = (5, 4);
    old.now = old.now.plus_seconds(10);
    assert_eq!(fed.refuse(&old.status_offer()), "older");
    old.keyset_ver = 4;
    assert_eq!(fed.refuse(&Offer { keyset: Some(old.keyset()), ..Offer::default() }), "older");
    // One bad part spoils the whole offer.
    (plane.cv, plane.ep) = (6, 6);
    let mixed = Offer { keyset: Some(old.keyset()), ..plane.documents() };
    assert_eq!(fed.refuse(&mixed), "older");
    assert_eq!(fed.edge.metric("edgeseal_feed_refusals_total{reason=\"older\"}"), 5.0);
    assert_eq!(fed.take(&plane.documents()), PUBLISHED);
}

#[test]
fn a_status_that_comes_late_by_another_way_changes_nothing() {
    let mut plane = Plane::new();
    let fed = Fed::new();
    let late = plane.status_offer();
    plane.now = plane.now.plus_seconds(10);
    fed.edge.advance(10);
    fed.take(&plane.offer());
    assert_eq!(fed.take(&late), UNCHANGED);
    assert_eq!(fed.edge.get("/v1/status").text(), plane.status());
}

#[test]
fn foreign_documents_are_refused() {
    let fed = Fed::serving(&Plane::new());
    let mut foreign = Plane::new();
    foreign.environment = Environment::parse("staging").unwrap();
    (foreign.cv, foreign.ep, foreign.keyset_ver) = (9, 9, 9);
    let only = |offer: Offer| fed.refuse(&offer);
    assert_eq!(only(Offer { keyset: Some(foreign.keyset()), ..Offer::default() }), "E_AUDIENCE");
    assert_eq!(only(Offer { snapshot: Some(foreign.snapshot()), ..Offer::default() }), "E_AUDIENCE");
    assert_eq!(only(foreign.status_offer()), "E_AUDIENCE");

    let mut forger = Plane::new();
    (forger.control, forger.cv, forger.ep) = (66, 9, 9);
    assert_eq!(only(Offer { snapshot: Some(forger.snapshot()), ..Offer::default() }), "E_KEY");
    assert_eq!(only(forger.status_offer()), "E_KEY");
    forger.control = forger.edge;
    assert_eq!(only(forger.status_offer()), "E_KEY", "an edge key signs no status");

    let good = Plane::new();
    let swapped = Offer { status: Some(good.snapshot()), ..Offer::default() };
    assert_eq!(only(swapped), "E_TYPE");
}

#[test]
fn no_damaged_document_is_taken_over() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    (plane.cv, plane.ep, plane.keyset_ver) = (2, 2, 2);
    let Offer { keyset, snapshot, status, .. } = plane.documents();
    let offers = |keyset: Option<String>, snapshot: Option<String>, status: Option<String>| Offer {
        keys: None,
        keyset,
        snapshot,
        status,
    };
    let damage = |token: &str| {
        let flipped = (0..token.len()).step_by(7).map(|place| {
            let mut bytes = token.as_bytes().to_vec();
            bytes[place] ^= 1;
            String::from_utf8(bytes).unwrap()
        });
        let cut = [0, 1, token.len() / 2, token.len() - 1].map(|end| token[..end].to_owned());
        let other =
            [format!("{token}="), format!("{token}."), "<html>502</html>".to_owned(), "a".repeat(300_000)];
        flipped.chain(cut).chain(other).collect::<Vec<_>>()
    };
    for damaged in damage(keyset.as_deref().unwrap()) {
        fed.feed.offer(&offers(Some(damaged), None, None), plane.now).unwrap_err();
    }
    for damaged in damage(snapshot.as_deref().unwrap()) {
        fed.feed.offer(&offers(None, Some(damaged), None), plane.now).unwrap_err();
    }
    for damaged in damage(status.as_deref().unwrap()) {
        fed.feed.offer(&offers(None, None, Some(damaged)), plane.now).unwrap_err();
    }
    let position = fed.feed.position();
    assert_eq!((position.snapshot, position.status, position.keyset), (Some(1), Some(1), Some(1)));
    assert!(fed.assigns("checkout"));
    assert_eq!(fed.take(&plane.documents()), PUBLISHED);
}

#[test]
fn a_snapshot_signed_anew_keeps_what_was_derived_from_it() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    let token = fed.edge.get("/v1/assignments/user-1").text();
    let misses = fed.edge.metric("edgeseal_memo_misses_total");
    plane.add(KeyUse::Control, 20, KeyState::Active);
    plane.control = 20;
    assert_ne!(plane.snapshot(), Plane::new().snapshot());
    assert_eq!(fed.take(&plane.documents()), PUBLISHED);
    assert_eq!(fed.edge.get("/v1/assignments/user-1").text(), token);
    assert_eq!(fed.edge.metric("edgeseal_memo_misses_total"), misses, "the memo survived");

    let bytes_differ = plane.snapshot_with(|snapshot| snapshot.groups.clear());
    assert_eq!(
        fed.take(&Offer { snapshot: Some(bytes_differ), ..Offer::default() }).outcome,
        Outcome::Unchanged
    );
    plane.experiment = "other";
    let forked = Offer { snapshot: Some(plane.snapshot()), ..Offer::default() };
    assert_eq!(fed.refuse(&forked), "conflict", "the same version never means two things");
    plane.set_state(20, KeyState::Retiring);
    assert_eq!(fed.refuse(&Offer { keyset: Some(plane.keyset()), ..Offer::default() }), "conflict");
}

#[test]
fn a_status_may_speak_of_a_snapshot_that_has_not_come() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    plane.cv = 2;
    plane.halt();
    assert_eq!(fed.take(&plane.status_offer()), PUBLISHED);
    assert!(fed.feed.position().is_behind());
    assert!(!fed.assigns("checkout"), "the halt does not wait for the snapshot");
    fed.take(&plane.documents());
    assert!(!fed.feed.position().is_behind());
}

#[test]
fn a_snapshot_that_cannot_be_used_holds_up_no_halt() {
    let mut plane = Plane::new();
    let fed = Fed::serving(&plane);
    plane.cv = 2;
    plane.halt();
    let broken = plane.snapshot_with(|snapshot| snapshot.experiments[0].variants.clear());
    let newer = plane.snapshot_with(|snapshot| snapshot.format = 999);
    for (snapshot, reason) in [(broken, "compile"), (newer, "compile")] {
        let offer = Offer { snapshot: Some(snapshot), ..plane.documents() };
        assert_eq!(fed.refuse(&offer), reason);
    }
    let broken = plane.snapshot_with(|snapshot| snapshot.experiments[0].variants.clear());
    let offer = Offer { snapshot: Some(broken), ..plane.documents() };
    assert_eq!(fed.feed.offer_leniently(offer.clone(), plane.now).unwrap(), PUBLISHED);
    assert!(!fed.assigns("checkout"));
    assert_eq!(fed.feed.position().snapshot, Some(1));
    let alone = Offer { snapshot: offer.snapshot, ..Offer::default() };
    fed.feed.offer_leniently(alone, plane.now).unwrap_err();
}

#[test]
fn a_clock_that_jumps_stops_no_answer_and_no_later_takeover() {
    for jump in [3_600, -3_600] {
        let mut plane = Plane::new();
        let fed = Fed::serving(&plane);
        plane.cv = 2;
        plane.halt();
        fed.edge.advance(jump);
        let reason = fed.refuse(&plane.documents());
        assert_eq!(reason, if jump > 0 { "E_EXPIRED" } else { "E_NOT_YET" });
        assert!(fed.assigns("checkout"), "serving goes on");
        fed.edge.advance(-jump);
        assert_eq!(fed.take(&plane.documents()), PUBLISHED, "{jump}");
        assert!(!fed.assigns("checkout"));
    }
}

#[test]
fn what_came_under_a_wrong_clock_gives_way() {
    // The clocks of control plane and edge are one, and it is an hour ahead for a while.
    let mut plane = Plane::new();
    let fed = Fed::new();
    plane.now = plane.now.plus_seconds(3_600);
    fed.edge.advance(3_600);
    fed.take(&plane.offer());
    plane.now = Timestamp::from_unix_seconds(START + 10);
    fed.edge.advance(-3_590);
    assert!(fed.assigns("checkout"));
    assert_eq!(fed.take(&plane.documents()), PUBLISHED);
    assert_eq!(
        fed.edge.get("/v1/status").text(),
        plane.status(),
        "the same epoch, and yet the better document"
    );
    assert_eq!(fed.edge.get("/v1/keyset").text(), plane.keyset());
}

#[test]
fn offers_from_all_sides_end_with_the_newest() {
    let fed = Fed::serving(&Plane::new());
    std::thread::scope(|scope| {
        for start in 0..4 {
            let fed = &fed;
            scope.spawn(move || {
                let mut plane = Plane::new();
                for step in 0..10 {
                    (plane.cv, plane.ep) = (2 + start + 4 * step, 2 + start + 4 * step);
                    // Those that were overtaken are refused as older.
                    let _overtaken = fed.feed.offer(&plane.documents(), plane.now);
                }
            });
        }
    });
    let serving = fed.feed.serving().unwrap();
    assert_eq!((serving.cv, serving.ep), (41, 41));
}

#[test]
fn an_edge_has_an_id_of_its_own() {
    let fed = Fed::new();
    let id = fed.feed.edge_id().to_owned();
    assert!(
        id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "{id}"
    );
    let store = Arc::clone(&fed.store);
    assert_eq!(open(&fed.edge, store).unwrap().edge_id(), id);
    assert_ne!(Fed::new().feed.edge_id(), id);
}
