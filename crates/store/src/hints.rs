//! Spreads hints about commits among the listeners of one process.

use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::records::Change;

/// Hints that wait for a slow listener; older ones are lost to it.
const WAITING: usize = 256;

/// Where a backend tells of commits, its own and those that it hears of, and where [`Store::changes`](crate::Store::changes)
/// listens. Holds nobody up: a listener that falls behind loses hints.
#[derive(Debug)]
pub struct Hints {
    // `None` once closed.
    sender: Mutex<Option<broadcast::Sender<Change>>>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { sender: Mutex::new(Some(broadcast::channel(WAITING).0)) }
    }
}

impl Hints {
    /// Tells everybody who listens.
    pub fn tell(&self, change: Change) {
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listening is fine.
            let _ = sender.send(change);
        }
    }

    /// What is told from now on; ends when the hints are closed or dropped.
    pub fn listen(&self) -> BoxStream<'static, Change> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(receiver) = sender.as_ref().map(broadcast::Sender::subscribe) else {
            return stream::empty().boxed();
        };
        stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(change) => return Some((change, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    /// Ends every listener's stream.
    pub fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_what_is_told_until_the_end() {
        let hints = Hints::default();
        let (early, later) = (hints.listen(), hints.listen());
        hints.tell(Change::Tokens);
        hints.close();
        hints.tell(Change::Tokens);
        assert_eq!(early.collect::<Vec<_>>().await, [Change::Tokens]);
        assert_eq!(later.collect::<Vec<_>>().await, [Change::Tokens]);
        assert_eq!(hints.listen().count().await, 0);
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_loses_hints_and_goes_on() {
        let hints = Hints::default();
        let slow = hints.listen();
        for _ in 0..WAITING * 2 {
            hints.tell(Change::Tokens);
        }
        hints.close();
        assert_eq!(slow.count().await, WAITING);
    }
}
