//! Delivers alerts: each to every channel, again until it works, for a day.
//!
//! Delivery is at least once. A channel that has an alert does not get it again while this process lives; after a
//! restart it may, under the same id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Alert, Store, StoreError};

use crate::alert::{AlertBody, Channel};

/// Longest time that an alert is tried, in milliseconds.
pub const MAX_AGE_MS: i64 = 24 * 3_600_000;
/// Wait after the first failure, at most; it doubles up to [`LONGEST_WAIT_MS`].
pub const FIRST_WAIT_MS: i64 = 2_000;
/// Longest wait between two tries.
pub const LONGEST_WAIT_MS: i64 = 15 * 60_000;
/// How long one delivery may take before another process may try.
const LEASE_MS: i64 = 120_000;
/// Most alerts that are delivered at the same time.
const MAX_AT_ONCE: u32 = 8;

/// A request to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where; may be a secret.
    pub url: String,
    /// Header fields besides `content-type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({} bytes, rest redacted)", self.body.len())
    }
}

/// Sends requests; the binary has the HTTP client.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Posts one request; any answer but 2xx is an error.
    ///
    /// # Errors
    /// [`SendError`].
    async fn send(&self, request: &Outgoing) -> Result<(), SendError>;
}

/// Why a receiver did not take an alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct SendError {
    /// What happened; never a secret.
    pub cause: String,
    /// Whether the receiver wants no more (HTTP 410).
    pub gone: bool,
}

/// Alerts on their way out.
pub struct Outbox {
    store: Arc<dyn Store>,
    sender: Arc<dyn Sender>,
    channels: Vec<Channel>,
    /// Which channels have an alert already that others do not have yet.
    partly: BTreeMap<String, Vec<bool>>,
}

impl Outbox {
    /// Delivers what is in the store. Without channels it leaves everything to other processes.
    pub fn new(store: Arc<dyn Store>, sender: Arc<dyn Sender>, channels: Vec<Channel>) -> Self {
        Self { store, sender, channels, partly: BTreeMap::new() }
    }

    /// Delivers what is due; gives how many alerts every channel has now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tick(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        if self.channels.is_empty() {
            return Ok(0);
        }
        let due = self.store.take_due_alerts(now.unix_ms(), MAX_AT_ONCE, LEASE_MS).await?;
        let mut delivered = 0;
        for alert in due {
            delivered += usize::from(self.deliver(&alert, now).await?);
        }
        Ok(delivered)
    }

    /// Delivers for ever, looking for what is due this often.
    pub async fn run(mut self, interval: Duration, clock: impl Fn() -> Timestamp + Send) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.tick(clock()).await {
                tracing::warn!(%error, "alerts wait for the database");
            }
        }
    }

    async fn deliver(&mut self, alert: &Alert, now: Timestamp) -> Result<bool, StoreError> {
        let id = alert.alert.id.as_str();
        let Ok(body) = serde_json::from_str::<AlertBody>(&alert.alert.body) else {
            tracing::error!(id, "an alert is unreadable to this version; it is given up");
            self.store.alert_failed(id, alert.attempts, None, "unreadable").await?;
            return Ok(false);
        };
        let mut has = self.partly.remove(id).unwrap_or_else(|| vec![false; self.channels.len()]);
        let mut failures: Vec<String> = Vec::new();
        for (channel, has) in self.channels.iter().zip(&mut has).filter(|(_, has)| !**has) {
            match self.sender.send(&channel.request(id, &body, now)).await {
                Ok(()) => *has = true,
                Err(error) if error.gone => {
                    tracing::error!(
                        id,
                        channel = channel.name(),
                        "the receiver of alerts wants no more of them"
                    );
                    *has = true;
                }
                Err(error) => failures.push(format!("{}: {error}", channel.name())),
            }
        }
        if failures.is_empty() {
            self.store.alert_delivered(id, now.unix_ms()).await?;
            tracing::info!(id, kind = %alert.alert.kind, attempts = alert.attempts, "an alert was delivered");
            return Ok(true);
        }
        let cause = failures.join("; ");
        let next_at_ms = next_try(alert, now);
        if next_at_ms.is_some() {
            tracing::warn!(
                id,
                attempts = alert.attempts,
                cause,
                "an alert was not delivered; it is tried again"
            );
            self.partly.insert(id.to_owned(), has);
        } else {
            tracing::error!(
                id,
                attempts = alert.attempts,
                cause,
                "an alert was not delivered within a day; it is given up"
            );
        }
        self.store.alert_failed(id, alert.attempts, next_at_ms, &cause).await?;
        Ok(false)
    }
}

/// When to try again; `None` when it is too late.
fn next_try(alert: &Alert, now: Timestamp) -> Option<i64> {
    let doublings = alert.attempts.saturating_sub(1).min(20);
    let longest = FIRST_WAIT_MS.saturating_mul(1_i64 << doublings).min(LONGEST_WAIT_MS);
    // Between half of it and the whole, by the alert's own id, so that alerts of one moment do not come back together.
    let spread =
        alert.alert.id.bytes().fold(u64::from(alert.attempts), |hash, byte| {
            hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
    let wait = longest / 2 + i64::try_from(spread % 1_024).unwrap_or(0) * (longest / 2) / 1_024;
    let next = now.unix_ms().saturating_add(wait);
    (next < alert.at_ms.saturating_add(MAX_AGE_MS)).then_some(next)
}

#[cfg(test)]
mod tests {
    use edgeseal_core::ids::Environment;
    use edgeseal_store::NewAlert;

    use super::*;

    fn alert(id: &str, attempts: u32, at_ms: i64) -> Alert {
        Alert {
            alert: NewAlert {
                id: id.into(),
                environment: Environment::default(),
                experiment: None,
                kind: "guardrail.paused".into(),
                body: String::new(),
            },
            at_ms,
            attempts,
            next_at_ms: None,
            delivered_at_ms: None,
            error: None,
        }
    }

    #[test]
    fn waits_double_up_to_their_bound_and_differ() {
        let now = Timestamp::from_unix_ms(1_000_000);
        for attempts in 1..30 {
            let longest = (FIRST_WAIT_MS << (attempts - 1).min(20)).min(LONGEST_WAIT_MS);
            let waits: Vec<i64> = (0..20)
                .map(|number| next_try(&alert(&format!("msg_{number}"), attempts, 1_000_000), now).unwrap())
                .map(|next| next - 1_000_000)
                .collect();
            assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)), "{attempts}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }

    #[test]
    fn after_a_day_it_is_given_up() {
        let begun = alert("msg_1", 5, 0);
        assert!(next_try(&begun, Timestamp::from_unix_ms(MAX_AGE_MS - LONGEST_WAIT_MS)).is_some());
        assert_eq!(next_try(&begun, Timestamp::from_unix_ms(MAX_AGE_MS)), None);
    }
}
