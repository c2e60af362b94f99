//! Background work: news from the store, fresh signatures, announcements, sweeping.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::events::MAX_PAST_MS;
use edgeseal_core::ids::Environment;
use edgeseal_store::Change;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::announce::announce;
use crate::answer::ANSWER_LIFE_SECONDS;
use crate::control::Control;
use crate::error::ControlError;

/// How often it is looked whether a signature grows old.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often all environments are listed, to find those that another process created.
const LIST_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked whether time alone asks for a commit.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(10);
/// How often what is old is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long an edge that went silent is listed, in seconds: one day.
const EDGE_MEMORY_SECONDS: i64 = 24 * 3_600;
/// How long notes of refused events are kept, in seconds: as long as an event may be late.
const NOTE_MEMORY_SECONDS: i64 = MAX_PAST_MS / 1_000;
/// How long news wait for a change that is under way in this process.
const OWN_CHANGE_PATIENCE: Duration = Duration::from_millis(50);
/// Pause before listening to the store again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

impl Control {
    /// Background work until dropped: status documents every 10 seconds and keysets at half of their life, whatever the
    /// store does; news from the store by hints and by polling; announcements; counting events; sweeping what is old.
    pub async fn run(self: Arc<Self>) {
        // Apart from each other, so that a store that hangs keeps nobody from signing.
        tokio::join!(
            self.keep_fresh(),
            self.listen(),
            self.poll(),
            self.announce_all(),
            self.keep_house(),
            self.keep_rolling_up(),
            self.keep_results(),
            self.sweep()
        );
    }

    async fn keep_fresh(&self) {
        let mut ticks = every(LOOK_INTERVAL);
        loop {
            ticks.tick().await;
            for slot in self.slots() {
                slot.refresh(&self.config.policy(), self.now());
            }
        }
    }

    /// Hints. They may be lost, so polling goes on beside them.
    async fn listen(&self) {
        loop {
            match self.store.changes().await {
                Ok(mut changes) => {
                    while let Some(change) = changes.next().await {
                        self.heed(change).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "no hints from the store; polling goes on"),
            }
            sleep(LISTEN_PAUSE).await;
        }
    }

    async fn heed(&self, change: Change) {
        match change {
            Change::Tokens => self.tokens.send_modify(|count| *count = count.wrapping_add(1)),
            Change::Environment { environment, sequence } => {
                let known = self.slot(&environment).map(|slot| slot.known().head.sequence);
                if known.is_none_or(|known| known < sequence)
                    && let Err(error) = self.read_news(&environment).await
                {
                    tracing::debug!(%environment, %error, "a hint was not followed; polling finds the news");
                }
            }
        }
    }

    async fn poll(&self) {
        let (mut polls, mut lists) = (every(self.config.poll_interval), every(LIST_INTERVAL));
        let mut down = false;
        loop {
            let mut environments: Vec<Environment> =
                self.slots().iter().map(|slot| slot.name.clone()).collect();
            let mut failed = None;
            tokio::select! {
                _ = lists.tick() => match self.store.environments().await {
                    Ok(records) => environments = records.into_iter().map(|record| record.name).collect(),
                    Err(error) => failed = Some(error.into()),
                },
                _ = polls.tick() => {}
            }
            for environment in environments {
                if let Err(error) = self.read_news(&environment).await {
                    failed = Some(error);
                }
            }
            match (&failed, down) {
                (Some(error), false) => {
                    tracing::error!(%error, "no news from the store; edges keep what they have");
                }
                (None, true) => tracing::info!("the store answers again"),
                _ => {}
            }
            down = failed.is_some();
        }
    }

    async fn read_news(&self, environment: &Environment) -> Result<(), ControlError> {
        if let Some(slot) = self.slot(environment) {
            // News of a change that this process is just committing need not be read: it knows them in a moment.
            timeout(OWN_CHANGE_PATIENCE, slot.changing.lock()).await.ok();
        }
        self.refreshed(environment).await.map(drop)
    }

    /// One announcement at a time for each announcer and environment.
    async fn announce_all(&self) {
        let (mut met, mut announced) = (self.met.subscribe(), BTreeSet::new());
        let mut running = JoinSet::new();
        met.mark_changed();
        while met.changed().await.is_ok() {
            for slot in self.slots() {
                if announced.insert(slot.name.clone()) {
                    for announcer in &self.announcers {
                        running.spawn(announce(Arc::clone(announcer), slot.subscribe()));
                    }
                }
            }
        }
    }

    /// Commits what time asks for: the end of a withdrawn experiment's halt, a snapshot signed by a clock that was ahead.
    async fn keep_house(&self) {
        let mut ticks = every(HOUSEKEEPING_INTERVAL);
        loop {
            ticks.tick().await;
            for slot in self.slots() {
                if crate::publish::is_due(&slot.known(), self.now())
                    && let Err(error) = self.housekeep(&slot.name).await
                {
                    tracing::warn!(environment = %slot.name, %error, "housekeeping failed; it is tried again");
                }
            }
        }
    }

    async fn sweep(&self) {
        let mut ticks = every(SWEEP_INTERVAL);
        loop {
            ticks.tick().await;
            let now = self.now();
            let answers = self.store.forget_answers(now.plus_seconds(-ANSWER_LIFE_SECONDS)).await;
            let edges = self.store.forget_edges(now.plus_seconds(-EDGE_MEMORY_SECONDS)).await;
            let notes = self.store.forget_quarantine(now.plus_seconds(-NOTE_MEMORY_SECONDS).unix_ms()).await;
            if let Err(error) = answers.and(edges).and(notes) {
                tracing::warn!(%error, "what is old was not swept; it is tried again in an hour");
            }
        }
    }
}

/// Ticks at once and then regularly; what was missed is not made up for.
fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
