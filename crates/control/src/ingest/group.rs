//! Batches of clients that come in while others are being kept go to the store together: a commit costs the same for one
//! batch as for fifty.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use edgeseal_store::{EventBatch, StoreError};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::control::Control;
use crate::environment::EnvironmentState;
use crate::error::ControlError;
use crate::hub::Slot;

use super::sort_out;

/// Most events of one group, unless a single batch has more: what an edge delivers at once.
const MAX_GROUP_EVENTS: usize = 5_000;

/// Batches of one environment that wait to be kept.
#[derive(Debug, Default)]
pub(crate) struct Group {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever keeps a group.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Waiting {
    batch: EventBatch,
    kept: oneshot::Sender<Kept>,
}

/// Whether a group is durable; otherwise what went wrong, for everybody in it.
type Kept = Result<(), Shared>;
type Shared = Arc<str>;

impl Group {
    fn join(&self, batch: EventBatch) -> oneshot::Receiver<Kept> {
        let (kept, told) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { batch, kept });
        told
    }

    /// Takes those who came first.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: usize = 0;
        let fit = waiting.iter().take_while(|it| {
            events = events.saturating_add(it.batch.records.len());
            events <= MAX_GROUP_EVENTS
        });
        let fit = fit.count().max(1).min(waiting.len());
        let rest = waiting.split_off(fit);
        mem::replace(&mut waiting, rest)
    }
}

impl Control {
    /// Keeps events as [`Control::ingest`] does, together with those of others who come in meanwhile. `state` is what the
    /// batch was judged by.
    ///
    /// # Errors
    /// [`ControlError::Store`]; the batch may be sent again.
    pub(crate) async fn ingest_with_others(
        self: &Arc<Self>,
        state: &Arc<EnvironmentState>,
        batch: EventBatch,
    ) -> Result<(), ControlError> {
        let slot = self.slot(&state.name).unwrap_or_else(|| self.meet(Arc::clone(state)));
        let mut kept = slot.group.join(sort_out(state, batch));
        loop {
            let turn = tokio::select! {
                biased;
                kept = &mut kept => {
                    // Whoever kept it is gone when nothing was said: only while the process ends.
                    return kept.unwrap_or_else(|gone| Err(gone.to_string().into())).map_err(unavailable);
                }
                turn = Arc::clone(&slot.group.turn).lock_owned() => turn,
            };
            let (control, slot) = (Arc::clone(self), Arc::clone(&slot));
            // A task of its own: who came first may hang up, and the others still want to know.
            tokio::spawn(async move {
                control.keep_group(&slot).await;
                drop(turn);
            });
        }
    }

    async fn keep_group(&self, slot: &Slot) {
        let mut everything = EventBatch::default();
        let mut waiting = Vec::new();
        for Waiting { mut batch, kept } in slot.group.take() {
            everything.records.append(&mut batch.records);
            everything.quarantined.append(&mut batch.quarantined);
            waiting.push(kept);
        }
        if waiting.is_empty() {
            return;
        }
        let span = tracing::info_span!(
            "control.ingest",
            environment = %slot.name,
            batches = waiting.len(),
            events = everything.records.len()
        );
        let outcome = match self.keep(&slot.name, &everything).instrument(span).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(environment = %slot.name, %error, "a group of events is not kept; clients send it again");
                Err(Shared::from(error.to_string()))
            }
        };
        for kept in waiting {
            // Who hung up does not want to know.
            let _ = kept.send(outcome.clone());
        }
    }
}

fn unavailable(said: Shared) -> ControlError {
    StoreError::Unavailable { attempt: "keeping events", source: said.as_ref().into() }.into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use edgeseal_core::events::{EventId, EventRecord, FailureCode, Happening};
    use edgeseal_core::ids::UnitType;
    use edgeseal_store::Events as _;

    use super::*;
    use crate::testing::World;

    fn batch(first: u32, events: u32) -> EventBatch {
        let record = |number| EventRecord {
            id: EventId::parse(&format!("018f0000-0000-7000-8000-{number:012x}")).unwrap(),
            at_ms: 0,
            received_ms: 0,
            unit: None,
            unit_type: UnitType::default(),
            what: Happening::VerificationFailed { code: FailureCode::parse("E_SIGNATURE").unwrap() },
        };
        EventBatch { records: (first..first + events).map(record).collect(), quarantined: Vec::new() }
    }

    #[tokio::test]
    async fn who_came_first_goes_first_and_a_group_is_bounded() {
        let group = Group::default();
        let _told: Vec<_> = [3_000, 2_000, 1, 6_000, 1].map(|events| group.join(batch(0, events))).into();
        let sizes = || group.take().iter().map(|it| it.batch.records.len()).collect::<Vec<_>>();
        let groups = [sizes(), sizes(), sizes(), sizes(), sizes()];
        assert_eq!(groups, [vec![3_000, 2_000], vec![1], vec![6_000], vec![1], vec![]]);
    }

    #[tokio::test]
    async fn who_waits_is_told_even_when_who_came_first_hangs_up() {
        let world = World::new().await;
        let (state, slot) = (world.state().await, world.control.slot(&world.environment).unwrap());
        let begin = |first| {
            let (control, state) = (Arc::clone(&world.control), Arc::clone(&state));
            tokio::spawn(async move { control.ingest_with_others(&state, batch(first, 10)).await })
        };
        let waiting = || slot.group.waiting.lock().unwrap().len();
        let turn = Arc::clone(&slot.group.turn).lock_owned().await;
        let (first, second, again) = (begin(0), begin(10), begin(10));
        while waiting() < 3 {
            tokio::task::yield_now().await;
        }
        first.abort();
        drop(turn);
        assert!(second.await.unwrap().is_ok() && again.await.unwrap().is_ok());
        assert_eq!(world.store.events_after(&world.environment, 0, 100).await.unwrap().len(), 20);
        let counts = &world.control.ingested;
        assert_eq!((counts.new.load(Ordering::Relaxed), counts.repeated.load(Ordering::Relaxed)), (20, 10));

        world.store.is_down.store(true, Ordering::SeqCst);
        for outcome in [begin(20), begin(30)] {
            assert!(matches!(
                outcome.await.unwrap(),
                Err(ControlError::Store(StoreError::Unavailable { .. }))
            ));
        }
        world.store.is_down.store(false, Ordering::SeqCst);
        assert!(begin(20).await.unwrap().is_ok());
        assert_eq!(waiting(), 0);
    }
}
