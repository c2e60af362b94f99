//! What 5 000 experiments with 10 000 revisions cost on each store.

use std::time::Instant;

use edgeseal_testkit::servers::Postgres;
use reqwest::Method;
use serde_json::json;
use sqlx::Connection;

use crate::api::Api;
use crate::experiments;
use crate::plane::Plane;
use crate::process::Binaries;
use crate::report::quantile;
use crate::report::{Report, Yardstick};

const EXPERIMENTS: usize = 5_000;
const UNIT_TYPES: usize = 4;
const LISTS: usize = 100;
const PUBLISHES: usize = 40;
const PAGE: &str = "/experiments?limit=50";

pub(super) async fn measure(
    binaries: &Binaries,
    report: &mut Report,
    postgres: &Postgres,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("edgeseal.db");
    for (name, database) in
        [("SQLite", format!("sqlite:{}", file.display())), ("PostgreSQL", postgres.create_database())]
    {
        let plane = Plane::start(binaries, &folder.path().join(name), &database, None)?;
        let api = Api::new(&plane);
        let mut definition = experiments::running(EXPERIMENTS);
        let list = definition["experiments"].as_array_mut().into_iter().flatten();
        for (number, experiment) in list.enumerate() {
            // No unit may be in more than its token can carry.
            experiment["unit_type"] = json!(format!("unit-{}", number % UNIT_TYPES));
        }
        api.apply(&definition).await?;
        // Every experiment once more: 10 000 revisions.
        for experiment in definition["experiments"].as_array_mut().into_iter().flatten() {
            experiment["description"] = json!("second revision");
            experiment["traffic"] = json!(99);
        }
        api.apply(&definition).await?;

        let lists = times(LISTS, || api.call(Method::GET, PAGE, None)).await?;
        let publishes = publishes(&api).await?;
        let (select, write) = bare(&database).await?;
        report.figure(
            format!("{name}: list, first page of 50, p50"),
            quantile(&lists, 0.5),
            "ms",
            Some(20.0),
            Some(Yardstick::plain("a bare SELECT of 50 bodies", select, quantile(&lists, 0.5))),
        );
        report.figure(
            format!("{name}: list, first page of 50, p99"),
            quantile(&lists, 0.99),
            "ms",
            Some(20.0),
            None,
        );
        report.figure(
            format!("{name}: publish (pause), p50"),
            quantile(&publishes, 0.5),
            "ms",
            Some(150.0),
            Some(Yardstick::plain("a bare write of the same bytes", write, quantile(&publishes, 0.5))),
        );
        report.figure(
            format!("{name}: publish (pause), p95"),
            quantile(&publishes, 0.95),
            "ms",
            Some(150.0),
            None,
        );
    }
    Ok(())
}

/// Milliseconds of `count` calls, sorted; the first is not counted.
async fn times<F: Future<Output = anyhow::Result<T>>, T>(
    count: usize,
    call: impl Fn() -> F,
) -> anyhow::Result<Vec<f64>> {
    call().await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        call().await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

async fn publishes(api: &Api) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(PUBLISHES);
    for _ in 0..PUBLISHES {
        let begun = Instant::now();
        api.transition("experiment-0000", "pause").await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        api.transition("experiment-0000", "resume").await?;
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// On the same database, without Edgeseal: reading 50 bodies, and writing the newest snapshot's bytes once more. Median
/// milliseconds.
async fn bare(database: &str) -> anyhow::Result<(f64, f64)> {
    const BODIES: &str = "SELECT body FROM documents WHERE kind = 'experiment' ORDER BY key LIMIT 50";
    const TOKEN: &str = "SELECT token FROM snapshots ORDER BY cv DESC LIMIT 1";
    const TABLE: &str = "CREATE TABLE bench_bytes (id INTEGER PRIMARY KEY, bytes TEXT NOT NULL)";
    let (mut select, mut write) = (Vec::new(), Vec::new());
    macro_rules! run {
        ($connection:expr, $insert:literal) => {{
            let mut connection = $connection;
            let token: String = sqlx::query_scalar(TOKEN).fetch_one(&mut connection).await?;
            sqlx::query(TABLE).execute(&mut connection).await?;
            for number in 0..PUBLISHES as i32 {
                let begun = Instant::now();
                let bodies: Vec<String> = sqlx::query_scalar(BODIES).fetch_all(&mut connection).await?;
                anyhow::ensure!(bodies.len() == 50, "the yardstick reads something else");
                select.push(begun.elapsed().as_secs_f64() * 1000.0);
                let begun = Instant::now();
                sqlx::query($insert).bind(number).bind(&token).execute(&mut connection).await?;
                write.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }};
    }
    if let Some(file) = database.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        run!(
            sqlx::SqliteConnection::connect_with(&options).await?,
            "INSERT INTO bench_bytes (id, bytes) VALUES (?, ?)"
        );
    } else {
        run!(
            sqlx::PgConnection::connect(database).await?,
            "INSERT INTO bench_bytes (id, bytes) VALUES ($1, $2)"
        );
    }
    select.sort_by(f64::total_cmp);
    write.sort_by(f64::total_cmp);
    Ok((quantile(&select, 0.5), quantile(&write, 0.5)))
}
