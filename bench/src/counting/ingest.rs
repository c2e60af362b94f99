//! Events per second of CPU time until they are durable: of every process on the way, the database included.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use edgeseal_testkit::servers::Postgres;
use futures_util::TryStreamExt as _;
use reqwest::{Client, StatusCode};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::task::JoinSet;

use super::{CONVERSION, Database, EXPERIMENT, definition, records};
use crate::api::Api;
use crate::plane::{Part, Plane};
use crate::process::{Binaries, cpu_seconds};
use crate::report::{Report, Yardstick};

/// Events of each figure.
const EVENTS: u64 = 200_000;
/// Events of a client's batch.
const BATCH: u64 = 100;
/// Records of an edge's delivery, which is what an edge makes of batches when many come in.
const DELIVERY: u64 = 5_000;
const SENDERS: usize = 8;
const TARGET: f64 = 40_000.0;
const PER_CPU_SECOND: &str = "events per CPU-second";

/// A control plane and an edge with enough units.
struct Site {
    plane: Plane,
    edge: Part,
    edge_token: String,
    /// Of units in the experiment.
    tokens: Vec<String>,
}

impl Site {
    async fn start(binaries: &Binaries, folder: &Path, database: &str) -> anyhow::Result<Self> {
        let plane = Plane::start(binaries, folder, database, None)?;
        let api = Api::new(&plane);
        api.apply(&definition()).await?;
        let edge_token = api.edge_token().await?;
        let edge = plane.edge(0, &edge_token, None)?;
        let client = Client::new();
        let url = edge.banner["url"].as_str().context("no address")?.to_owned();
        let mut tokens = Vec::new();
        for unit in 0..EVENTS / BATCH {
            let url = format!("{url}/v1/assignments/user-{unit}");
            tokens.push(client.get(url).send().await?.error_for_status()?.text().await?);
        }
        Ok(Self { plane, edge, edge_token, tokens })
    }

    fn edge_url(&self) -> anyhow::Result<String> {
        Ok(self.edge.banner["url"].as_str().context("no address")?.to_owned())
    }

    /// What every unit's client sends, events numbered from `first`.
    fn batches(&self, first: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let first = (0..).map(|n| first + n * BATCH);
        first.zip(&self.tokens).map(|(first, token)| records::batch(token, first, BATCH)).collect()
    }

    /// Sends bodies and waits until the edge has delivered everything.
    async fn send(&self, url: String, token: Option<&str>, bodies: Vec<Vec<u8>>) -> anyhow::Result<()> {
        let client = Client::new();
        let queue = Arc::new(std::sync::Mutex::new(bodies));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (client, url, queue) = (client.clone(), url.clone(), Arc::clone(&queue));
            let (token, media) = match token {
                Some(token) => (Some(token.to_owned()), "application/x-ndjson"),
                None => (None, "application/json"),
            };
            senders.spawn(async move {
                loop {
                    let next = queue.lock().map_err(|_| anyhow::anyhow!("a sender failed"))?.pop();
                    let Some(body) = next else { return anyhow::Ok(()) };
                    let mut request = client.post(&url).header("content-type", media).body(body);
                    if let Some(token) = &token {
                        request = request.bearer_auth(token);
                    }
                    let answer = request.send().await?;
                    let status = answer.status();
                    ensure!(status == StatusCode::ACCEPTED, "{status}: {}", answer.text().await?);
                }
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender??;
        }
        let metrics = format!("{}/metrics", self.edge_url()?);
        loop {
            let text = client.get(&metrics).send().await?.text().await?;
            let spool = text.lines().find_map(|line| line.strip_prefix("edgeseal_event_spool_bytes "));
            if spool.context("the edge does not say how full its spool is")?.trim() == "0" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(super) async fn measure(
    binaries: &Binaries,
    report: &mut Report,
    postgres: &Postgres,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    on_postgres(binaries, report, folder.path(), &postgres.create_database()).await?;
    on_sqlite(binaries, report, folder.path()).await
}

async fn on_postgres(
    binaries: &Binaries,
    report: &mut Report,
    folder: &Path,
    url: &str,
) -> anyhow::Result<()> {
    let site = Site::start(binaries, &folder.join("postgres"), url).await?;
    let mut database = Database::connect(url).await?;
    let (control, edge) = (site.plane.control.pid(), site.edge.pid());
    let events_url = format!("{}/v1/events", site.plane.url);
    let deliveries_url = format!("{}/api/v1/edge/events", site.plane.url);
    let batches_url = format!("{}/v1/events", site.edge_url()?);

    // Connections are open and statements are planned.
    site.send(batches_url.clone(), None, site.batches(1 << 40)?).await?;
    database.until_counted().await?;
    // Counting is another figure: whoever holds this row keeps the roll-up from going on.
    let mut holding = Database::connect(url).await?;
    let mut held = holding.connection.begin().await?;
    sqlx::query("SELECT * FROM rollups FOR UPDATE").execute(&mut *held).await?;

    let mut first = 0;
    let mut next = || {
        first += EVENTS;
        first
    };
    let mut figures = Vec::new();
    for (name, url, token) in [
        ("client batches of 100, edge and control plane", &batches_url, None),
        ("client batches of 100, control plane alone", &events_url, None),
        ("deliveries of 5 000, control plane alone", &deliveries_url, Some(site.edge_token.as_str())),
    ] {
        let bodies = match token {
            None => site.batches(next())?,
            Some(_) => deliveries(next())?,
        };
        let cpu = || anyhow::Ok([cpu_seconds(control)?, cpu_seconds(edge)?, database.cpu_seconds()?]);
        let before = cpu()?;
        site.send(url.clone(), token, bodies).await?;
        let after = cpu()?;
        let [control, edge, database] = std::array::from_fn(|part| after[part] - before[part]);
        figures.push((format!("PostgreSQL: {name}"), EVENTS as f64 / (control + edge + database)));
        println!("    control plane {control:.2} s, edge {edge:.2} s, PostgreSQL {database:.2} s");
    }
    held.rollback().await?;
    let bare = bare_copy(&mut database).await?;
    for (name, figure) in figures {
        let yardstick = Yardstick::plain("a bare COPY of the same rows", bare, figure);
        report.figure(name, figure, PER_CPU_SECOND, Some(TARGET), Some(yardstick));
    }

    database.until_counted().await?;
    let cpu = || anyhow::Ok(cpu_seconds(control)? + cpu_seconds(edge)? + database.cpu_seconds()?);
    let before = cpu()?;
    site.send(batches_url, None, site.batches(next())?).await?;
    let mut counting = Database::connect(url).await?;
    counting.until_counted().await?;
    let figure = EVENTS as f64 / (cpu()? - before);
    report.figure("PostgreSQL: the first line, and counted", figure, PER_CPU_SECOND, None, None);
    Ok(())
}

/// As an edge delivers them: `EVENTS` records of units of their own.
fn deliveries(first: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let delivery = |first: u64| {
        // An exposure and a metric each.
        let units = (first..first + DELIVERY / 2).map(|unit| {
            let variant = if unit % 2 == 0 { "control" } else { "treatment" };
            (format!("visitor-{unit}"), variant, true)
        });
        records::delivery([EXPERIMENT, CONVERSION, "user"], first, units)
    };
    (0..EVENTS / DELIVERY).map(|n| delivery(first + n * DELIVERY)).collect()
}

/// The same rows into a table with the same indexes, as many a commit as in a delivery, by nothing but COPY.
async fn bare_copy(database: &mut Database) -> anyhow::Result<f64> {
    let connection = &mut database.connection;
    sqlx::query("CREATE TABLE bench_events (LIKE events INCLUDING ALL)").execute(&mut *connection).await?;
    let mut chunks = Vec::new();
    for chunk in 0..EVENTS / DELIVERY {
        let (from, to) = (EVENTS + chunk * DELIVERY, EVENTS + (chunk + 1) * DELIVERY);
        let select = format!(
            "COPY (SELECT * FROM events WHERE number > {from} AND number <= {to}) TO STDOUT (FORMAT binary)"
        );
        let parts: Vec<_> = connection.copy_out_raw(&select).await?.try_collect().await?;
        chunks.push(parts.concat());
    }
    let before = database.cpu_seconds()?;
    for chunk in &chunks {
        let mut copy =
            database.connection.copy_in_raw("COPY bench_events FROM STDIN (FORMAT binary)").await?;
        copy.send(chunk.as_slice()).await?;
        copy.finish().await?;
    }
    let rate = EVENTS as f64 / (database.cpu_seconds()? - before);
    let copied = database.number("SELECT count(*) FROM bench_events").await?;
    ensure!(copied == EVENTS as i64, "the yardstick copied {copied} rows");
    Ok(rate)
}

/// On one file nobody can write while somebody else does, so here counting is always part of it.
async fn on_sqlite(binaries: &Binaries, report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("edgeseal.db");
    let site = Site::start(binaries, &folder.join("sqlite"), &format!("sqlite:{}", file.display())).await?;
    let (control, edge) = (site.plane.control.pid(), site.edge.pid());
    let url = format!("{}/v1/events", site.edge_url()?);
    let before = cpu_seconds(control)? + cpu_seconds(edge)?;
    site.send(url, None, site.batches(0)?).await?;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).read_only(true);
    let mut reading = sqlx::SqliteConnection::connect_with(&options).await?;
    let figure = |cpu: f64| EVENTS as f64 / (cpu - before);
    let durable = figure(cpu_seconds(control)? + cpu_seconds(edge)?);
    const BEHIND: &str = "SELECT COALESCE((SELECT MAX(number) FROM events), 0)
        - COALESCE((SELECT cursor FROM rollups), 0)";
    while sqlx::query_scalar::<_, i64>(BEHIND).fetch_one(&mut reading).await? > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let counted = figure(cpu_seconds(control)? + cpu_seconds(edge)?);
    let bare = bare_insert(folder, &file).await?;
    let yardstick = Yardstick::plain("a bare INSERT of the same rows", bare, durable);
    report.figure(
        "SQLite: client batches of 100, edge and control plane, which counts meanwhile",
        durable,
        PER_CPU_SECOND,
        None,
        Some(yardstick),
    );
    report.figure("SQLite: the same, and counted", counted, PER_CPU_SECOND, None, None);
    Ok(())
}

/// The same rows into a table with the same indexes in another file, as many a transaction as in a delivery.
async fn bare_insert(folder: &Path, source: &Path) -> anyhow::Result<f64> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    sqlx::query("ATTACH ? AS source").bind(source.display().to_string()).execute(&mut connection).await?;
    let schema: Vec<String> = sqlx::query_scalar(
        "SELECT sql FROM source.sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL ORDER BY type DESC",
    )
    .fetch_all(&mut connection)
    .await?;
    for statement in schema {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    let own = std::process::id();
    let before = cpu_seconds(own)?;
    let mut copied = 0;
    for chunk in 0..(EVENTS / DELIVERY) as i64 {
        let (from, to) = (chunk * DELIVERY as i64, (chunk + 1) * DELIVERY as i64);
        let insert = "INSERT INTO main.events SELECT * FROM source.events WHERE stream = 1 AND number > ? AND number <= ?";
        copied += sqlx::query(insert).bind(from).bind(to).execute(&mut connection).await?.rows_affected();
    }
    ensure!(copied == EVENTS, "the yardstick wrote {copied} rows");
    Ok(EVENTS as f64 / (cpu_seconds(own)? - before))
}
