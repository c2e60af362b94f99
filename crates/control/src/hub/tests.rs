use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use edgeseal_core::sealing::{Keyset, verify_snapshot};
use edgeseal_store::{AnnounceError, Announcer};
use serde_json::json;

use super::*;
use crate::keys::{self, Rotating};
use crate::lifecycle::Transition;
use crate::testing::{START, World, master};
use crate::{Config, Context, Control, Decision};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(START + seconds)
}

fn policy() -> RotationPolicy {
    RotationPolicy { keyset_lifetime_seconds: 3_600, ..RotationPolicy::default() }
}

async fn running() -> World {
    let world = World::new().await;
    let experiment = json!({ "key": "e", "state": "running", "variants": [{ "key": "a" }] });
    world.apply(json!({ "experiments": [experiment] })).await;
    world
}

async fn pause(world: &World) {
    let decide = |state: &EnvironmentState, _| {
        crate::lifecycle::transition(state, "e", &Transition::Pause, None, None)
    };
    world.control.change(&world.environment, &Context::system(), decide).await.unwrap();
}

/// Checks everything as an edge would that trusts the root key only.
fn status_of(current: &Current, now: Timestamp) -> Status {
    let (set, environment) = (&current.set, &current.environment);
    let keyset = Keyset::verify(&set.keyset, &current.root, environment, now).unwrap();
    assert_eq!(keyset.ver, set.keyset_ver);
    let claims = verify_snapshot(&set.snapshot, &keyset, environment, now).unwrap();
    assert_eq!(claims["cv"], set.cv);
    let status = Status::verify(&set.status, &keyset, environment, now).unwrap();
    assert_eq!((status.ep, status.cv, status.iat.unix_seconds()), (set.ep, set.cv, set.status_iat));
    status
}

#[tokio::test]
async fn what_edges_get_verifies_under_the_root_key_alone() {
    let world = running().await;
    let watch = world.control.subscribe(&world.environment).await.unwrap();
    let status = status_of(&watch.borrow(), at(0));
    assert!(status.off.is_empty());
    pause(&world).await;
    let status = status_of(&watch.borrow(), at(0));
    assert_eq!(status.off.first().unwrap().as_str(), "e");
}

#[tokio::test]
async fn a_status_document_is_signed_anew_when_it_grows_old_or_comes_from_the_future() {
    let world = running().await;
    let slot = world.control.slot(&world.environment).unwrap();
    let watch = slot.subscribe();
    for (seconds, fresh) in [(9, false), (10, true), (19, false), (20, true), (-3_600, true), (7_200, true)] {
        assert_eq!(slot.refresh(&policy(), at(seconds)), fresh, "at {seconds}");
        if fresh {
            assert_eq!(watch.borrow().set.status_iat, START + seconds);
        }
    }
}

#[tokio::test]
async fn a_keyset_is_signed_anew_at_half_of_its_life_under_its_version() {
    let world = running().await;
    let slot = world.control.slot(&world.environment).unwrap();
    let watch = slot.subscribe();
    let first = watch.borrow().set.clone();
    slot.refresh(&policy(), at(1_799));
    assert_eq!(watch.borrow().set.keyset, first.keyset);
    slot.refresh(&policy(), at(1_800));
    let second = watch.borrow().set.clone();
    assert_ne!(second.keyset, first.keyset);
    assert_eq!((second.keyset_ver, second.cv, second.ep), (first.keyset_ver, first.cv, first.ep));
}

#[tokio::test]
async fn a_store_that_is_down_keeps_nobody_from_a_fresh_status_document() {
    let world = running().await;
    world.store.is_down.store(true, Ordering::SeqCst);
    let watch = world.control.subscribe(&world.environment).await.unwrap();
    let slot = world.control.slot(&world.environment).unwrap();
    assert!(slot.refresh(&policy(), at(10)));
    status_of(&watch.borrow(), at(10));
}

#[tokio::test]
async fn nothing_older_follows_something_newer() {
    let world = running().await;
    let old = world.state().await;
    pause(&world).await;
    let slot = world.control.slot(&world.environment).unwrap();
    let watch = slot.subscribe();
    let newest = watch.borrow().set.clone();
    assert!(!slot.adopt(old, &policy(), at(0)));
    assert_eq!(watch.borrow().set, newest);
    slot.refresh(&policy(), at(10));
    assert_eq!((watch.borrow().set.cv, watch.borrow().set.ep), (newest.cv, newest.ep));
}

#[tokio::test]
async fn a_rotated_control_key_signs_everything_anew_at_once() {
    let world = running().await;
    let watch = world.control.subscribe(&world.environment).await.unwrap();
    let before = watch.borrow().clone();
    let leaked = world.state().await.keyring.active_kid(KeyUse::Control).unwrap().clone();
    let decide = |state: &EnvironmentState, now| keys::revoke(state, &leaked, &master(), now, &policy());
    world.control.change(&world.environment, &Context::system(), decide).await.unwrap();
    let after = watch.borrow().clone();
    let status = status_of(&after, at(0));
    assert!(status.rev.contains(&leaked));
    assert_eq!(after.set.cv, before.set.cv);
    assert_ne!(after.set.snapshot, before.set.snapshot);
    assert!(after.set.ep > before.set.ep && after.set.keyset_ver > before.set.keyset_ver);
}

#[tokio::test]
async fn a_rotated_edge_key_reaches_edges_with_the_keyset_that_lists_it() {
    let world = running().await;
    let watch = world.control.subscribe(&world.environment).await.unwrap();
    let before = watch.borrow().clone();
    for _ in 0..2 {
        let decide = |state: &EnvironmentState, now| {
            keys::rotate(state, Rotating::Edge, &master(), now, &policy(), true)
        };
        world.control.change(&world.environment, &Context::system(), decide).await.unwrap();
    }
    let after = watch.borrow().clone();
    assert_ne!(after.keys.name(), before.keys.name());
    let keyset = Keyset::verify(&after.set.keyset, &after.root, &after.environment, at(0)).unwrap();
    let kid = edgeseal_core::sealing::Signer::kid(after.keys.signer());
    assert_eq!(keyset.find(kid.as_str()).unwrap().state, edgeseal_core::sealing::KeyState::Active);
}

#[tokio::test]
async fn background_work_brings_the_news_of_other_processes() {
    let here = running().await;
    let there = World::on(here.store.clone());
    let background = tokio::spawn(Arc::clone(&there.control).run());
    let mut watch = there.control.subscribe(&there.environment).await.unwrap();
    pause(&here).await;
    let paused = watch.wait_for(|current| current.set.ep == 2);
    tokio::time::timeout(PATIENCE, paused).await.unwrap().unwrap();
    background.abort();
}

#[tokio::test]
async fn what_was_withdrawn_is_forgotten_in_a_new_epoch() {
    let world = running().await;
    let gone = world.apply(json!({})).await;
    assert_eq!(gone.state.head.ep, 2);
    world.control.housekeep(&world.environment).await.unwrap();
    assert_eq!(world.state().await.head.ep, 2, "not yet");
    world.advance(3 * 3_600);
    world.control.housekeep(&world.environment).await.unwrap();
    let state = world.state().await;
    assert_eq!((state.head.ep, state.head.cv), (3, gone.state.head.cv));
    assert!(state.counters.halted.is_empty());
}

/// Fails a few times, then takes note.
struct Flaky {
    failures: AtomicU32,
    heard: Mutex<Vec<u64>>,
}

#[async_trait]
impl Announcer for Flaky {
    async fn announce(&self, _: &Environment, news: &SignedSet) -> Result<(), AnnounceError> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(AnnounceError { through: "a test", source: "not now".into() });
        }
        self.heard.lock().unwrap().push(news.ep);
        Ok(())
    }
}

#[tokio::test]
async fn announcers_hear_the_latest_even_after_failures() {
    let world = running().await;
    let flaky = Arc::new(Flaky { failures: AtomicU32::new(2), heard: Mutex::default() });
    let announcers: Vec<Arc<dyn Announcer>> = vec![flaky.clone()];
    let control = Control::new(Config::default(), world.store.clone(), master(), announcers);
    let background = tokio::spawn(Arc::clone(&control).run());
    control.state(&world.environment).await.unwrap();
    pause(&world).await;
    let heard = async {
        while flaky.heard.lock().unwrap().last() != Some(&2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    background.abort();
}

#[tokio::test]
async fn nothing_is_decided_for_an_environment_that_needs_no_housekeeping() {
    let world = running().await;
    let sequence = world.state().await.head.sequence;
    let decide = |_: &EnvironmentState, _| Ok(Decision::nothing(()));
    let changed = world.control.change(&world.environment, &Context::system(), decide).await.unwrap();
    assert!(!changed.changed);
    world.control.housekeep(&world.environment).await.unwrap();
    assert_eq!(world.state().await.head.sequence, sequence);
}
