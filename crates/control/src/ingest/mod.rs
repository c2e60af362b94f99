//! Events on their way in: from edges, which checked them, and from clients and servers, whom this checks itself.
//!
//! Whatever is wrong with one event quarantines that event and leaves the others alone. Nothing is acknowledged before it
//! is durable; whoever got no answer sends again, and what is there already is passed over.

mod group;
mod intake;
mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};

use edgeseal_core::definition::MetricKind;
use edgeseal_core::events::wire::{self, SpoolRecord};
use edgeseal_core::events::{EventRecord, Happening, Quarantined, Rejection};
use edgeseal_core::ids::{Environment, Key};
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Appended, EventBatch, StoreError};
use tracing::Instrument;

use crate::control::Control;
use crate::environment::EnvironmentState;
use crate::error::ControlError;
use crate::rollup::metric;

pub(crate) use group::Group;
pub(crate) use intake::{Intake, Judged, Reporter};

/// The code of a record that this version cannot read: another one wrote it.
const UNREADABLE: &str = "unreadable_record";

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Events that were not there before.
    pub new: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events that do not count; notes of them are kept.
    pub quarantined: u64,
}

/// What came in through this process so far.
#[derive(Debug, Default)]
pub(crate) struct IngestCounts {
    pub(crate) new: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Reads what an edge delivers: [`wire`] records, one a line. A line that this version cannot read becomes a note, so
/// that it holds nobody up.
pub fn read_delivery(lines: &[u8], received: Timestamp) -> EventBatch {
    let mut batch = EventBatch::default();
    for record in wire::read_lines(lines) {
        match record {
            Ok(SpoolRecord::Event(record)) => batch.records.push(record),
            Ok(SpoolRecord::Quarantined(note)) => batch.quarantined.push(note),
            Err(error) => {
                tracing::error!(%error, "an event is unreadable to this version; it is noted and not counted");
                batch.quarantined.push(Quarantined {
                    id: None,
                    received_ms: received.unix_ms(),
                    code: UNREADABLE.to_owned(),
                    about: None,
                });
            }
        }
    }
    batch
}

impl Control {
    /// Keeps events, durably and each once. `source` names who delivers them, for traces.
    ///
    /// # Errors
    /// [`ControlError::NoEnvironment`], [`ControlError::Store`]; the batch may be sent again after any of them.
    pub async fn ingest(
        &self,
        environment: &Environment,
        source: &str,
        batch: EventBatch,
    ) -> Result<Ingested, ControlError> {
        let span = tracing::info_span!("control.ingest", %environment, source, events = batch.records.len());
        let ingested = async {
            let state = self.state(environment).await?;
            Ok::<_, ControlError>(self.keep(environment, &sort_out(&state, batch)).await?)
        };
        ingested.instrument(span).await
    }

    /// Keeps what was sorted out.
    async fn keep(&self, environment: &Environment, batch: &EventBatch) -> Result<Ingested, StoreError> {
        let Appended { new, duplicates } = self.store().append_events(environment, batch).await?;
        let ingested = Ingested { new, duplicates, quarantined: batch.quarantined.len() as u64 };
        let counts = &self.ingested;
        counts.new.fetch_add(ingested.new, Ordering::Relaxed);
        counts.repeated.fetch_add(ingested.duplicates, Ordering::Relaxed);
        counts.refused.fetch_add(ingested.quarantined, Ordering::Relaxed);
        if ingested.new > 0 {
            self.arrived.notify_one();
        }
        Ok(ingested)
    }
}

/// Sets aside what only the control plane can find wrong.
fn sort_out(state: &EnvironmentState, batch: EventBatch) -> EventBatch {
    let EventBatch { records, mut quarantined } = batch;
    let mut counted = Vec::with_capacity(records.len());
    for record in records {
        match fault(state, &record.what) {
            None => counted.push(record),
            Some(rejection) => quarantined.push(note(&record, rejection)),
        }
    }
    EventBatch { records: counted, quarantined }
}

fn fault(state: &EnvironmentState, what: &Happening) -> Option<Rejection> {
    match what {
        Happening::Metric { metric: key, amount } => match metric(state, key).map(|metric| metric.kind) {
            None => Some(Rejection::UnknownMetric),
            Some(MetricKind::Conversion | MetricKind::Count) if *amount < 0 => Some(Rejection::Negative),
            Some(_) => None,
        },
        // No store can hold it, and no edge ever signed it.
        Happening::Exposure { xv, .. } if i64::try_from(*xv).is_err() => Some(Rejection::MalformedEvent),
        _ => None,
    }
}

fn note(record: &EventRecord, rejection: Rejection) -> Quarantined {
    Quarantined {
        id: Some(record.id),
        received_ms: record.received_ms,
        code: rejection.as_str().to_owned(),
        about: about(&record.what).map(str::to_owned),
    }
}

/// Which experiment or metric an event is about.
pub(crate) fn about(what: &Happening) -> Option<&str> {
    match what {
        Happening::Metric { metric, .. } => Some(metric.as_str()),
        what => what.experiment().map(Key::as_str),
    }
}
