//! The control plane: how fast a pause reaches edges and browsers, what size costs, what a crowd of edges costs.

mod crowd;
mod propagation;
mod scale;

use edgeseal_testkit::servers::{Postgres, Redis};

use crate::process::Binaries;
use crate::report::Report;

pub(crate) fn measure(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    // Of its own: as durable as in production, and nobody else works on it.
    let postgres = Postgres::start_own();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        report.section("a pause on its way, 20 edges");
        let redis = Redis::start_own();
        propagation::measure(binaries, report, &postgres, &redis).await?;
        report.section("5 000 experiments, 10 000 revisions");
        scale::measure(binaries, report, &postgres).await?;
        report.section("1 000 edges on one control plane");
        crowd::measure(binaries, report).await
    })
}
