//! Events: what it costs to keep them, to count them, and how soon harm ends.

mod harm;
mod ingest;
mod records;
mod rollup;

use anyhow::Context;
use edgeseal_testkit::servers::Postgres;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::process::{self, Binaries};
use crate::report::Report;

/// The experiment of these figures, and its metrics.
const EXPERIMENT: &str = "checkout-button";
const CONVERSION: &str = "purchase";
const AMOUNT: &str = "revenue";

pub(crate) fn measure(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    // As durable as in production.
    let postgres = Postgres::start_own();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        report.section("events, until they are durable");
        ingest::measure(binaries, report, &postgres).await?;
        report.section("from a regression to a pause on 20 edges");
        harm::measure(binaries, report, &postgres).await?;
        report.section("the roll-up, 10 000 events on top of a history");
        rollup::measure(binaries, report, &postgres).await
    })
}

/// One running experiment, half and half.
fn definition() -> Value {
    json!({
        "metrics": [{ "key": CONVERSION, "kind": "conversion" }, { "key": AMOUNT, "kind": "continuous" }],
        "experiments": [{
            "key": EXPERIMENT,
            "state": "running",
            "variants": [{ "key": "control", "weight": 50 }, { "key": "treatment", "weight": 50 }],
            "metrics": { "primary": CONVERSION, "guardrails": [AMOUNT] }
        }]
    })
}

/// A connection of one's own to a database, and the process whose children serve it.
struct Database {
    connection: PgConnection,
    postmaster: u32,
}

impl Database {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let stat = std::fs::read_to_string(format!("/proc/{backend}/stat"))?;
        let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
        Ok(Self { connection, postmaster: parent.context("no parent")?.parse()? })
    }

    /// CPU time of the whole server, in seconds.
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.postmaster)
    }

    async fn number(&mut self, query: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(&mut self.connection).await?)
    }

    /// Waits until the roll-up has counted every event.
    async fn until_counted(&mut self) -> anyhow::Result<()> {
        const BEHIND: &str = "SELECT COALESCE((SELECT head FROM event_streams), 0)
            - COALESCE((SELECT cursor FROM rollups), 0)";
        while self.number(BEHIND).await? > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
