//! What counting the last 10 000 events costs on top of a short history and of a long one.
//!
//! Histories are written by SQL, in the form in which events are kept, and counted by the control plane. Every unit is
//! exposed once and comes back four times, spread over all of the history, so that what is read is rarely in memory
//! already. Of the last 10 000 events half are of new units.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use edgeseal_testkit::servers::Postgres;
use reqwest::Client;
use sqlx::AssertSqlSafe;

use super::{AMOUNT, CONVERSION, Database, EXPERIMENT, definition};
use crate::api::Api;
use crate::plane::Plane;
use crate::process::Binaries;
use crate::report::{Report, Yardstick, quantile};

const HISTORIES: [(i64, &str); 2] = [(100_000, "1e5"), (10_000_000, "1e7")];
const LAST: i64 = 10_000;
const TIMES: i64 = 7;
/// Most rows of one statement, so that the roll-up can begin.
const AT_ONCE: i64 = 250_000;
/// How often a unit was seen.
const VISITS: i64 = 5;

pub(super) async fn measure(
    binaries: &Binaries,
    report: &mut Report,
    postgres: &Postgres,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut short = None;
    for (events, name) in HISTORIES {
        let url = postgres.create_database();
        let plane = Plane::start(binaries, &folder.path().join(name), &url, None)?;
        Api::new(&plane).apply(&definition()).await?;
        let mut history =
            History { database: Database::connect(&url).await?, events: 0, units: events / VISITS };
        history.begin().await?;
        history.grow(events).await?;
        // What writing so much leaves to be done is not part of counting.
        for tidy in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(tidy).execute(&mut history.database.connection).await?;
        }

        let mut times = Vec::new();
        for _ in 0..TIMES {
            let before = seconds(&plane).await?;
            history.grow(LAST).await?;
            times.push((seconds(&plane).await? - before) * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let median = quantile(&times, 0.5);
        let yardstick = short.map(|short| Yardstick {
            target_ratio: Some(1.5),
            ..Yardstick::plain("the same after 1e5", short, median)
        });
        short = Some(median);
        report.figure(
            format!("after {name} events: the last 10 000 are counted"),
            median,
            "ms",
            None,
            yardstick,
        );
        let refreshed = history.refresh().await?;
        let yardstick = Yardstick::plain("counting the last 10 000", median, refreshed);
        report.figure(
            format!("after {name} events: REFRESH MATERIALIZED VIEW"),
            refreshed,
            "ms",
            None,
            Some(yardstick),
        );
    }
    Ok(())
}

/// How long the roll-up of this control plane has worked so far.
async fn seconds(plane: &Plane) -> anyhow::Result<f64> {
    // What is committed is added up a moment later.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let text = Client::new().get(format!("{}/metrics", plane.url)).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix("edgeseal_control_rollup_seconds_total "));
    Ok(line.context("the control plane does not say how long it counted")?.trim().parse()?)
}

struct History {
    database: Database,
    events: i64,
    /// Units that are seen again and again; later events bring new ones besides.
    units: i64,
}

impl History {
    async fn begin(&mut self) -> anyhow::Result<()> {
        let stream = "INSERT INTO event_streams (environment) VALUES ('production') ON CONFLICT DO NOTHING";
        sqlx::query(stream).execute(&mut self.database.connection).await?;
        Ok(())
    }

    /// Appends events and waits until they are counted.
    async fn grow(&mut self, more: i64) -> anyhow::Result<()> {
        let end = self.events + more;
        while self.events < end {
            let to = end.min(self.events + AT_ONCE);
            // Every second event of those after the history is of a unit that nobody saw before.
            let insert = format!(
                "WITH appended AS (
                    INSERT INTO events (stream, kind, number, at_ms, received_ms, id, unit, unit_type, name, variant, xv, amount)
                    SELECT stream, CASE WHEN exposed THEN 1 ELSE 2 END, n, 1800000000000 + n / 40, 1800000000040 + n / 40,
                        decode(lpad(to_hex(1800000000000 + n / 40), 12, '0') || '7' || substr(md5('id' || n), 1, 3)
                            || '8' || substr(md5('id' || n), 4, 15), 'hex'),
                        decode(md5('unit' || unit), 'hex'), 'user',
                        CASE WHEN exposed THEN '{EXPERIMENT}' WHEN n % 2 = 0 THEN '{CONVERSION}' ELSE '{AMOUNT}' END,
                        CASE WHEN exposed THEN CASE WHEN unit % 2 = 0 THEN 'control' ELSE 'treatment' END END,
                        CASE WHEN exposed THEN 1 END,
                        CASE WHEN NOT exposed THEN 1000000 * (1 + n % 90) END
                    FROM event_streams, LATERAL (
                        SELECT n, CASE WHEN fresh THEN n ELSE (n * 7919) % {units} END AS unit, fresh OR n <= {units} AS exposed
                        FROM (SELECT n, n > {history} AND n % 2 = 0 AS fresh FROM generate_series({from}, {to}) AS n) AS n
                    ) AS event
                    WHERE environment = 'production'
                )
                UPDATE event_streams SET head = {to} WHERE environment = 'production'",
                units = self.units,
                history = self.units * VISITS,
                from = self.events + 1,
            );
            sqlx::query(AssertSqlSafe(insert)).execute(&mut self.database.connection).await?;
            self.events = to;
            self.database.until_counted().await?;
        }
        let units = self.units + (self.events - self.units * VISITS).max(0) / 2;
        let counted: i64 = self
            .database
            .number("SELECT COALESCE(SUM(n), 0)::bigint FROM aggregates WHERE metric = ''")
            .await?;
        ensure!(self.events < self.units || counted == units, "{counted} of {units} units are counted");
        Ok(())
    }

    /// Milliseconds that PostgreSQL takes to compute the same aggregate from all events.
    async fn refresh(&mut self) -> anyhow::Result<f64> {
        let view = "CREATE MATERIALIZED VIEW bench_aggregates AS
            WITH exposed AS (
                SELECT DISTINCT ON (unit) unit, variant, xv, at_ms FROM events WHERE kind = 1 ORDER BY unit, at_ms, number
            ), totals AS (
                SELECT exposed.variant, exposed.xv, events.name, sum(events.amount) AS total
                FROM exposed JOIN events ON events.unit = exposed.unit AND events.kind = 2 AND events.at_ms >= exposed.at_ms
                GROUP BY exposed.unit, exposed.variant, exposed.xv, events.name
            )
            SELECT variant, xv, name, count(*) AS n, sum(total) AS sum, sum(total * total) AS sum_of_squares
            FROM totals GROUP BY variant, xv, name
            WITH NO DATA";
        sqlx::query(view).execute(&mut self.database.connection).await?;
        let begun = Instant::now();
        sqlx::query("REFRESH MATERIALIZED VIEW bench_aggregates")
            .execute(&mut self.database.connection)
            .await?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }
}
