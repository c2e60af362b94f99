//! Delivers the events of this process's edge to this process's control plane.

use std::sync::Arc;

use edgeseal_control::{Control, read_delivery};
use edgeseal_core::ids::Environment;
use edgeseal_edge::intake::{Delivery, Drain, DrainError};

/// No network in between.
pub(super) struct InProcess {
    pub(super) control: Arc<Control>,
}

impl Drain for InProcess {
    async fn deliver(
        &self,
        environment: &Environment,
        edge: &str,
        delivery: &Delivery,
    ) -> Result<(), DrainError> {
        let batch = read_delivery(delivery.lines(), self.control.now());
        match self.control.ingest(environment, edge, batch).await {
            Ok(_ingested) => Ok(()),
            Err(error) => Err(DrainError { cause: error.to_string(), retry_after: None }),
        }
    }
}
