//! Keys that change while the edge serves: no request fails, whatever comes first.

use edgeseal_core::sealing::{KeyState, KeyUse};

use super::super::testing::{Fed, Plane};
use super::super::{Offer, Outcome, Taken};
use crate::testing::{CONTROL, EDGE, key};

const SUCCESSOR: u8 = 30;

/// A plane whose successor is published, and an edge that serves it.
fn published() -> (Plane, Fed) {
    let mut plane = Plane::new();
    plane.add(KeyUse::Edge, SUCCESSOR, KeyState::Published);
    let fed = Fed::serving(&plane);
    (plane, fed)
}

/// The successor signs from now on.
fn activate(plane: &mut Plane) {
    plane.set_state(EDGE, KeyState::Retiring);
    plane.set_state(SUCCESSOR, KeyState::Active);
    plane.keyset_ver += 1;
    plane.edge = SUCCESSOR;
}

fn signer(fed: &Fed) -> u8 {
    let token = fed.edge.get("/v1/assignments/user-1").text();
    let status = edgeseal_core::sealing::Status {
        rev: [key(EDGE).public().kid()].into(),
        ..crate::testing::status(1, fed.edge.clock.now())
    };
    if edgeseal_core::sealing::check_signer(&token, &status).is_err() { EDGE } else { SUCCESSOR }
}

#[test]
fn keys_may_come_before_their_keyset() {
    let (mut plane, fed) = published();
    activate(&mut plane);
    let keys = Offer { keys: Some(plane.keys()), ..Offer::default() };
    assert_eq!(fed.take(&keys), Taken { outcome: Outcome::Unchanged, needs_keys: false });
    assert_eq!(signer(&fed), EDGE, "the successor signs nothing yet");
    assert_eq!(fed.take(&plane.documents()), Taken { outcome: Outcome::Published, needs_keys: false });
    assert_eq!(signer(&fed), SUCCESSOR);
}

#[test]
fn keys_may_come_after_their_keyset_and_halts_pass_meanwhile() {
    let (mut plane, fed) = published();
    activate(&mut plane);
    plane.cv = 2;
    assert_eq!(fed.take(&plane.documents()), Taken { outcome: Outcome::Published, needs_keys: true });
    assert_eq!(signer(&fed), EDGE);
    assert_eq!(
        fed.feed.serving().unwrap().keyset_ver,
        plane.keyset_ver - 1,
        "keyset and signer belong together"
    );
    plane.halt();
    assert_eq!(fed.take(&plane.status_offer()), Taken { outcome: Outcome::Published, needs_keys: true });
    assert!(!fed.assigns("checkout"));
    let keys = Offer { keys: Some(plane.keys()), ..Offer::default() };
    assert_eq!(fed.take(&keys), Taken { outcome: Outcome::Published, needs_keys: false });
    assert_eq!((signer(&fed), fed.feed.serving().unwrap().keyset_ver), (SUCCESSOR, plane.keyset_ver));
}

#[test]
fn a_crash_amid_a_rotation_leaves_a_disk_to_serve_from() {
    for keys_first in [true, false] {
        let (mut plane, fed) = published();
        activate(&mut plane);
        let (keys, documents) = (Offer { keys: Some(plane.keys()), ..Offer::default() }, plane.documents());
        fed.take(if keys_first { &keys } else { &documents });
        fed.feed.flush();
        let again = Fed::on(std::sync::Arc::clone(&fed.store));
        assert!(again.assigns("checkout"));
        assert_eq!(signer(&again), EDGE);
        again.take(&keys);
        again.take(&documents);
        assert_eq!(signer(&again), SUCCESSOR);
    }
}

#[test]
fn a_revoked_edge_key_signs_no_more_once_there_is_another() {
    let (mut plane, fed) = published();
    plane.revoked.push(EDGE);
    plane.ep += 1;
    // Nothing else can sign: the edge goes on and asks for keys. Clients refuse by the status themselves.
    let taken = fed.take(&plane.status_offer());
    assert_eq!(taken, Taken { outcome: Outcome::Unchanged, needs_keys: true });
    assert!(fed.assigns("checkout"));
    activate(&mut plane);
    assert_eq!(fed.take(&plane.offer()), Taken { outcome: Outcome::Published, needs_keys: false });
    assert_eq!(signer(&fed), SUCCESSOR);
    assert_eq!(fed.edge.get("/v1/status").text(), plane.status());
}

#[test]
fn a_revoked_control_key_signs_nothing_and_does_not_take_it_back() {
    let mut plane = Plane::new();
    plane.add(KeyUse::Control, 40, KeyState::Active);
    let fed = Fed::serving(&plane);
    plane.control = 40;
    plane.revoked.push(CONTROL);
    plane.ep += 1;
    fed.take(&plane.status_offer());

    let mut thief = Plane::new();
    (thief.cv, thief.ep) = (9, 9);
    assert_eq!(fed.refuse(&thief.status_offer()), "E_KEY", "taking its revocation back");
    assert_eq!(fed.refuse(&Offer { snapshot: Some(thief.snapshot()), ..Offer::default() }), "E_KEY");
    thief.revoked.push(CONTROL);
    assert_eq!(fed.refuse(&thief.status_offer()), "E_KEY");

    // One offer that revokes the key and brings a snapshot by it.
    let other = Fed::serving(&Plane::new());
    let keyset = Some(plane.keyset());
    let offer = Offer { keyset, status: Some(plane.status()), snapshot: Some(thief.snapshot()), keys: None };
    assert_eq!(other.refuse(&offer), "E_KEY");
}

#[test]
fn new_hmac_secrets_are_taken_over() {
    let plane = Plane::new();
    let fed = Fed::serving(&plane);
    let identity = [("x-user-id", "user-1")];
    let before = fed.edge.get_with("/v1/experiments/checkout", &identity).text();
    assert!(before.contains("\"secretVersion\":1"), "{before}");
    let json = plane.keys_json().replace("\"version\":1", "\"version\":2");
    let keys = std::sync::Arc::new(super::super::EdgeKeys::from_json(json.as_bytes()).unwrap());
    let taken = fed.take(&Offer { keys: Some(keys), ..Offer::default() });
    assert_eq!(taken.outcome, Outcome::Published);
    assert!(fed.edge.get_with("/v1/experiments/checkout", &identity).text().contains("\"secretVersion\":2"));
}
