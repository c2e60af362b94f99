//! Ctrl-C, or the polite signal of an init system.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Outcome;

/// Listens for somebody who asks to stop.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Begins to listen; call inside a runtime.
    pub(crate) fn listen() -> Outcome<Self> {
        let of = |kind| signal(kind).map_err(anyhow::Error::from);
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())? })
    }

    /// Waits until somebody asks.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
