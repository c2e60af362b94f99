//! From the spool to the control plane, for as long as the edge runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use edgeseal_core::events::wire::{self, SpoolRecord, WireError};
use edgeseal_core::ids::Environment;
use serde::Deserialize;

use super::Intake;
use crate::pace::Backoff;
use crate::{Edge, Shared};

/// Most records of one delivery.
pub const MAX_DELIVERY_RECORDS: usize = 5_000;
/// Most bytes of one delivery.
pub const MAX_DELIVERY_BYTES: usize = 4 * 1024 * 1024;
/// Longest that one delivery may take; beyond it, it is tried again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the first event after a rest waits for others, so that many small batches go as one.
const LINGER: Duration = Duration::from_millis(50);
/// Waits after a failure: they double up to the longest.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Longest that a control plane can make an edge wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Whoever takes events: the control plane of this process, or one over the network.
pub trait Drain: Send + Sync {
    /// Takes `delivery` from the edge with the id `edge`; returns once it is durable there.
    ///
    /// The same records may come again: after an error, and after a crash of the edge.
    ///
    /// # Errors
    /// [`DrainError`] when nobody knows whether it is durable; it is delivered again.
    fn deliver(
        &self,
        environment: &Environment,
        edge: &str,
        delivery: &Delivery,
    ) -> impl Future<Output = Result<(), DrainError>> + Send;
}

/// Records on their way, in the form of [`wire`](edgeseal_core::events::wire): one a line.
#[derive(Clone, Debug)]
pub struct Delivery {
    lines: Bytes,
    count: usize,
}

impl Delivery {
    /// The lines as they are.
    pub fn lines(&self) -> &Bytes {
        &self.lines
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records. One that cannot be read is one that another version of this program wrote.
    pub fn records(&self) -> impl Iterator<Item = Result<SpoolRecord, WireError>> {
        wire::read_lines(&self.lines)
    }
}

/// Why a delivery failed.
#[derive(Debug)]
pub struct DrainError {
    /// For people.
    pub cause: String,
    /// How long to wait at least, if the other side said so.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// Delivers what the spool of `edge` holds and will hold to `to`. Never ends by itself; may be stopped at any time.
///
/// One at a time for an edge. Does nothing for one without a spool.
pub async fn drain(edge: Arc<Edge>, environment: Environment, edge_id: String, to: impl Drain) {
    let app = Arc::clone(&edge.app);
    drop(edge);
    if app.intake.get().is_none() {
        return;
    }
    let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
    let mut failing = false;
    loop {
        match step(&app, &environment, &edge_id, &to).await {
            Ok(Step::Delivered) => {
                if failing {
                    tracing::info!("events are delivered again");
                }
                failing = false;
                backoff.reset();
            }
            Ok(Step::Rested) => {}
            Err(error) => {
                app.metrics.event_delivery_failures.inc();
                if !failing {
                    tracing::warn!(cause = %error, "cannot deliver events; they are kept here and delivered later");
                }
                failing = true;
                let asked = error.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                tokio::time::sleep(backoff.step().max(asked)).await;
            }
        }
    }
}

enum Step {
    Delivered,
    Rested,
}

async fn step(
    app: &Arc<Shared>,
    environment: &Environment,
    edge_id: &str,
    to: &impl Drain,
) -> Result<Step, DrainError> {
    let next = |intake: &Intake| intake.spool.next(MAX_DELIVERY_RECORDS, MAX_DELIVERY_BYTES);
    let Some(chunk) = blocking(app, next).await?.map_err(|error| unreadable(&error))? else {
        let Some(intake) = app.intake.get() else { return Ok(Step::Rested) };
        intake.oldest_ms.store(0, Ordering::Relaxed);
        intake.spool.news().await;
        tokio::time::sleep(LINGER).await;
        return Ok(Step::Rested);
    };
    if let Some(intake) = app.intake.get() {
        intake.oldest_ms.store(received_ms(&chunk.lines), Ordering::Relaxed);
    }
    let delivery = Delivery { lines: Bytes::from(chunk.lines), count: chunk.count };
    match tokio::time::timeout(DELIVERY_TIMEOUT, to.deliver(environment, edge_id, &delivery)).await {
        Ok(delivered) => delivered?,
        Err(_elapsed) => {
            let cause = format!("no answer within {} s", DELIVERY_TIMEOUT.as_secs());
            return Err(DrainError { cause, retry_after: None });
        }
    }
    app.metrics.events_delivered.inc_by(delivery.len() as u64);
    let end = chunk.end;
    blocking(app, move |intake| intake.spool.drained(end)).await?;
    Ok(Step::Delivered)
}

/// Runs what waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    app: &Arc<Shared>,
    work: impl FnOnce(&Intake) -> T + Send + 'static,
) -> Result<T, DrainError> {
    let app = Arc::clone(app);
    let gone = || DrainError { cause: "the edge is stopping".to_owned(), retry_after: None };
    let run = move || app.intake.get().map(work);
    tokio::task::spawn_blocking(run).await.ok().flatten().ok_or_else(gone)
}

fn unreadable(error: &std::io::Error) -> DrainError {
    DrainError { cause: format!("cannot read the events on this disk: {error}"), retry_after: None }
}

/// When the first record was received; 0 when it does not say.
fn received_ms(lines: &[u8]) -> i64 {
    #[derive(Deserialize)]
    struct Received {
        received: i64,
    }
    let first = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(first).map_or(0, |Received { received }| received)
}
