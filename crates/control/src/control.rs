//! The control plane without HTTP: what it holds, and how it answers questions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Announcer, Store};
use tokio::sync::{Notify, watch};

use crate::answer::InFlight;
use crate::config::Config;
use crate::environment::{self, EnvironmentState};
use crate::error::ControlError;
use crate::hub::{Current, Slot};
use crate::ingest::IngestCounts;
use crate::keys::MasterKey;
use crate::metrics::Counts;
use crate::rollup::RollUpCounts;

/// Most environments in one store.
pub const MAX_ENVIRONMENTS: usize = 100;

/// The control plane. Several processes may work on one store.
pub struct Control {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) announcers: Vec<Arc<dyn Announcer>>,
    pub(crate) in_flight: InFlight,
    /// Counts hints that API tokens changed.
    pub(crate) tokens: watch::Sender<u64>,
    slots: Mutex<BTreeMap<Environment, Arc<Slot>>>,
    /// Counts environments that were met for the first time.
    pub(crate) met: watch::Sender<u64>,
    pub(crate) publishes: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    /// Rings when events came in.
    pub(crate) arrived: Notify,
    pub(crate) ingested: IngestCounts,
    pub(crate) rolled: RollUpCounts,
}

impl Control {
    /// Puts the parts together. Nothing happens by itself until [`Control::run`].
    pub fn new(
        config: Config,
        store: Arc<dyn Store>,
        master: MasterKey,
        announcers: Vec<Arc<dyn Announcer>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            store,
            master: Arc::new(master),
            announcers,
            in_flight: InFlight::default(),
            tokens: watch::Sender::new(0),
            slots: Mutex::default(),
            met: watch::Sender::new(0),
            publishes: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            arrived: Notify::new(),
            ingested: IngestCounts::default(),
            rolled: RollUpCounts::default(),
        })
    }

    /// The environment as it is now: asks the store for its sequence and loads only what is new.
    ///
    /// # Errors
    /// [`ControlError::NoEnvironment`], [`ControlError::Store`], or [`ControlError::Keyring`] under a wrong master key.
    pub async fn state(&self, environment: &Environment) -> Result<Arc<EnvironmentState>, ControlError> {
        Ok(self.refreshed(environment).await?.known())
    }

    /// What edges should have: the latest wins. Works from memory while the store is down, if the environment was met.
    ///
    /// # Errors
    /// As [`Control::state`].
    pub async fn subscribe(
        &self,
        environment: &Environment,
    ) -> Result<watch::Receiver<Arc<Current>>, ControlError> {
        let slot = match self.slot(environment) {
            Some(slot) => slot,
            None => self.refreshed(environment).await?,
        };
        Ok(slot.subscribe())
    }

    /// Grows whenever API tokens may have changed: whoever holds a connection open looks its token up again.
    pub fn tokens_changed(&self) -> watch::Receiver<u64> {
        self.tokens.subscribe()
    }

    /// The store, for questions that need no [`EnvironmentState`].
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The master key.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// What was counted so far besides requests.
    pub(crate) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            publishes: read(&self.publishes),
            conflicts: read(&self.conflicts),
            events_new: read(&self.ingested.new),
            events_repeated: read(&self.ingested.repeated),
            events_refused: read(&self.ingested.refused),
            events_rolled_up: read(&self.rolled.events),
            rollup_steps: read(&self.rolled.steps),
            rollup_conflicts: read(&self.rolled.conflicts),
            rolled_up_for: Duration::from_micros(read(&self.rolled.micros)),
        }
    }

    /// The environments that were met so far.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn slot(&self, environment: &Environment) -> Option<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(environment).cloned()
    }

    /// Takes in a state of an environment that may be new to this process.
    pub(crate) fn meet(&self, state: Arc<EnvironmentState>) -> Arc<Slot> {
        let now = self.now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&state.name) {
            let slot = Arc::clone(slot);
            drop(slots);
            slot.adopt(state, &self.config.policy(), now);
            return slot;
        }
        let name = state.name.clone();
        let slot = Arc::new(Slot::new(state, &self.config.policy(), now));
        slots.insert(name, Arc::clone(&slot));
        drop(slots);
        self.met.send_modify(|met| *met = met.wrapping_add(1));
        slot
    }

    /// The slot of an environment, with everything that was committed before the call.
    pub(crate) async fn refreshed(&self, environment: &Environment) -> Result<Arc<Slot>, ControlError> {
        let Some(slot) = self.slot(environment) else {
            // Only what exists gets a slot: names that somebody makes up take no memory.
            let state = environment::load(self.store.as_ref(), environment, None, &self.master).await?;
            return Ok(self.meet(Arc::new(state)));
        };
        if self.is_current(&slot).await? {
            return Ok(slot);
        }
        let one_reader = slot.loading.lock().await;
        // Somebody else may have read while we waited.
        if !self.is_current(&slot).await? {
            let known = Some(slot.known());
            let state = environment::load(self.store.as_ref(), environment, known, &self.master).await?;
            slot.adopt(Arc::new(state), &self.config.policy(), self.now());
        }
        drop(one_reader);
        Ok(slot)
    }

    async fn is_current(&self, slot: &Slot) -> Result<bool, ControlError> {
        // In this order: a commit of our own in between must not look like a store that went back.
        let known = slot.known().head.sequence;
        let missing = || ControlError::NoEnvironment { name: slot.name.clone() };
        let stored = self.store.sequence(&slot.name).await?.ok_or_else(missing)?;
        if stored < known {
            tracing::error!(
                environment = %slot.name, stored, known,
                "the store went back in time; was it restored from a backup? everything is read again"
            );
        }
        Ok(stored == known || stored == slot.known().head.sequence)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Runs what takes the processor for long, such as building a snapshot of thousands of experiments, where it does not
/// keep other requests waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ControlError::Internal { attempt: "working in the background" })
}
