//! Writes what is served to the edge's own disk, on a thread of its own: a slow disk delays no takeover.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use edgeseal_core::sealing::PublicKey;
use prometheus_client::metrics::counter::Counter;
use zeroize::Zeroizing;

use super::held::{Held, HeldStatus};
use super::keys::EdgeKeys;
use super::restore::Found;
use super::state::{StateError, StateFile, StateStore};

/// Pause before a failed write is tried again, unless something new comes first.
const RETRY: Duration = Duration::from_secs(30);

/// What is on disk.
#[derive(Default)]
pub(super) struct Saved {
    pub(super) root: Option<PublicKey>,
    pub(super) keys: Vec<Arc<EdgeKeys>>,
    pub(super) keyset: Slot,
    pub(super) snapshot: Slot,
    pub(super) status: Slot,
    /// What the status document on disk says.
    pub(super) said: Option<Arc<HeldStatus>>,
}

/// A document's file: the good token in it, if it is good.
#[derive(Default)]
pub(super) struct Slot(Option<Arc<str>>);

impl Slot {
    /// Notes what was found in the file. A damaged one holds nothing that deserves to become the previous one.
    pub(super) fn note<T>(&mut self, found: &Option<Found<T>>, token: impl Fn(&T) -> &Arc<str>) {
        self.0 =
            found.as_ref().filter(|found| found.is_newest).map(|found| Arc::clone(token(&found.document)));
    }

    fn replace(
        &mut self,
        store: &dyn StateStore,
        [newest, previous]: [StateFile; 2],
        token: &Arc<str>,
    ) -> Result<(), StateError> {
        if self.0.as_deref() == Some(token) {
            return Ok(());
        }
        if let Some(good) = &self.0 {
            store.save(previous, good.as_bytes())?;
        }
        store.save(newest, token.as_bytes())?;
        self.0 = Some(Arc::clone(token));
        Ok(())
    }
}

impl Saved {
    /// Brings the disk up to `held`. Keys come before the keyset that names them, and that before what it verifies: a
    /// crash in between leaves a disk from which the edge can serve.
    fn save(&mut self, store: &dyn StateStore, held: &Held) -> Result<(), StateError> {
        if let Some(root) = &held.root
            && self.root.as_ref() != Some(root)
        {
            store.save(StateFile::Root, format!("{}\n", root.jwk("sig")).as_bytes())?;
            self.root = Some(*root);
        }
        let served = held.served.as_ref();
        let mut keys = held.keys.clone();
        if let Some(served) = served
            && !keys.iter().any(|keys| Arc::ptr_eq(keys, &served.keys))
        {
            keys.push(Arc::clone(&served.keys));
        }
        let same = |(one, other): (&Arc<EdgeKeys>, &Arc<EdgeKeys>)| one.same(other);
        if keys.len() != self.keys.len() || !keys.iter().zip(&self.keys).all(same) {
            store.save(StateFile::EdgeKeys, list(&keys).as_bytes())?;
            self.keys = keys;
        }
        let Some(served) = served else { return Ok(()) };
        self.keyset.replace(store, [StateFile::Keyset, StateFile::KeysetPrevious], &served.keyset.token)?;
        self.snapshot.replace(
            store,
            [StateFile::Snapshot, StateFile::SnapshotPrevious],
            &served.snapshot.token,
        )?;
        // Signed anew every few seconds. On disk only what it says counts, so the disk is left alone meanwhile.
        if !self.said.as_ref().is_some_and(|said| says_the_same(said, &served.status)) {
            self.status.replace(
                store,
                [StateFile::Status, StateFile::StatusPrevious],
                &served.status.token,
            )?;
            self.said = Some(Arc::clone(&served.status));
        }
        Ok(())
    }
}

fn list(keys: &[Arc<EdgeKeys>]) -> Zeroizing<String> {
    let each: Vec<_> = keys.iter().map(|keys| keys.to_json()).collect();
    let mut list =
        Zeroizing::new(String::with_capacity(each.iter().map(|json| json.len() + 1).sum::<usize>() + 2));
    list.push('[');
    for (place, json) in each.iter().enumerate() {
        list.push_str(if place == 0 { "" } else { "," });
        list.push_str(json);
    }
    list.push(']');
    list
}

/// Whether they differ in nothing but when they were signed; the header names the key.
fn says_the_same(one: &HeldStatus, other: &HeldStatus) -> bool {
    let header = |held: &HeldStatus| held.token.split('.').next().map(str::to_owned);
    let (a, b) = (&one.status, &other.status);
    (a.ep, a.cv, &a.off, &a.min, &a.rev) == (b.ep, b.cv, &b.off, &b.min, &b.rev)
        && header(one) == header(other)
}

/// The thread, and what it is asked to write.
pub(super) struct Writer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

struct Desk {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    /// The newest only: what was overtaken need not be written.
    held: Option<Arc<Held>>,
    busy: bool,
    stop: bool,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn start(store: Arc<dyn StateStore>, saved: Saved, failures: Counter) -> io::Result<Self> {
        let desk = Arc::new(Desk { state: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("edgeseal-state".to_owned())
            .spawn(move || write(&theirs, &*store, saved, &failures))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Asks for this to be written.
    pub(super) fn want(&self, held: Arc<Held>) {
        self.desk.state().held = Some(held);
        self.desk.changed.notify_all();
    }

    /// Waits until the thread has nothing more to try.
    pub(super) fn flush(&self) {
        let mut state = self.desk.state();
        while state.busy || state.held.is_some() {
            state = self.desk.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.desk.state().stop = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was already reported by its thread.
            let _panicked = thread.join();
        }
    }
}

fn write(desk: &Desk, store: &dyn StateStore, mut saved: Saved, failures: &Counter) {
    let mut failed: Option<Arc<Held>> = None;
    loop {
        let mut state = desk.state();
        let held = loop {
            if let Some(held) = state.held.take() {
                break held;
            }
            if state.stop {
                return;
            }
            let (next, timeout) =
                desk.changed.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out()
                && state.held.is_none()
                && let Some(again) = failed.clone()
            {
                break again;
            }
        };
        state.busy = true;
        drop(state);
        match saved.save(store, &held) {
            Ok(()) => {
                if failed.take().is_some() {
                    tracing::info!("the edge's state is on disk again");
                }
            }
            Err(error) => {
                failures.inc();
                if failed.is_none() {
                    tracing::error!(%error, "cannot write the edge's state; serving goes on, a restart would begin with older documents");
                }
                failed = Some(held);
            }
        }
        desk.state().busy = false;
        desk.changed.notify_all();
    }
}
