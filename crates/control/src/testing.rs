//! Helpers for this crate's tests.

mod memory_events;
mod memory_store;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use edgeseal_core::definition::{Definition, ExperimentDefinition};
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::Actor;
use serde_json::{Value, json};

use crate::{Clock, Config, Context, Control, EnvironmentState, MasterKey};

pub(crate) use memory_store::MemoryStore;

/// Where the clocks of tests begin.
pub(crate) const START: i64 = 1_800_000_000;

/// A control plane on a store, with a clock that tests move, and one environment.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) control: Arc<Control>,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) environment: Environment,
}

impl World {
    /// With an empty environment.
    pub(crate) async fn new() -> Self {
        let world = Self::on(MemoryStore::new());
        world.control.create_environment(&Context::system(), &world.environment).await.unwrap();
        world
    }

    /// Another process on the same store.
    pub(crate) fn on(store: Arc<MemoryStore>) -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let seconds = Arc::clone(&clock);
        let config = Config {
            clock: Clock::new(move || Timestamp::from_unix_seconds(seconds.load(Ordering::SeqCst))),
            keyset_lifetime_seconds: 3_600,
            ..Config::default()
        };
        let control = Control::new(config, store.clone(), master(), Vec::new());
        Self { store, control, clock, environment: Environment::default() }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) async fn state(&self) -> Arc<EnvironmentState> {
        self.control.state(&self.environment).await.unwrap()
    }

    /// Applies a file given as JSON.
    pub(crate) async fn apply(&self, file: Value) -> crate::Changed<crate::Plan> {
        let definition: Definition = serde_json::from_value(file).unwrap();
        self.control.apply(&self.environment, &Context::system(), &definition, true).await.unwrap()
    }
}

pub(crate) fn master() -> MasterKey {
    MasterKey::from_bytes(&[7; 32]).unwrap()
}

/// Somebody who may not publish.
pub(crate) fn editor() -> Context {
    let actor = Actor { id: "editor0000000000".into(), name: "an editor".into() };
    Context { actor, may_publish: false, ..Context::system() }
}

/// A two-variant experiment in a state.
pub(crate) fn experiment(key: &str, state: &str) -> ExperimentDefinition {
    serde_json::from_value(json!({
        "key": key, "state": state, "variants": [{ "key": "a" }, { "key": "b" }]
    }))
    .unwrap()
}
