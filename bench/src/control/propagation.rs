//! From asking for a pause until twenty edges answer without the experiment, and until their browsers know.
//!
//! The clock starts before the request is sent, so it includes the request, the commit and its fsync.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use edgeseal_testkit::servers::{Postgres, Redis};
use reqwest::Client;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::api::Api;
use crate::experiments;
use crate::plane::{Part, Plane};
use crate::process::{Binaries, Server};
use crate::report::quantile;
use crate::report::{Report, Yardstick};
use crate::sse::Events;

const EDGES: usize = 20;
const PAUSES: usize = 200;
const EXPERIMENTS: usize = 20;
const PAUSED: &str = "experiment-0000";
/// A unit that is in every experiment.
const PROBE: &str = "/v1/assignments/user-1?attrs=eyJjb3VudHJ5IjoiZGUifQ";
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that an edge did, and when.
struct Seen {
    paused: bool,
    /// When the status document was at its browser.
    told: Instant,
    /// When it had answered from the new snapshot.
    answered: Instant,
}

pub(super) async fn measure(
    binaries: &Binaries,
    report: &mut Report,
    postgres: &Postgres,
    redis: &Redis,
) -> anyhow::Result<()> {
    let bare = bare(binaries).await?;
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite:{}", folder.path().join("edgeseal.db").display());
    for (name, database, redis) in [
        ("SQLite, SSE", sqlite, None),
        ("PostgreSQL, SSE", postgres.create_database(), None),
        ("PostgreSQL, Redis", postgres.create_database(), Some(redis.url())),
    ] {
        let folder = folder.path().join(name.replace(", ", "-"));
        let (answered, told) = run(binaries, &folder, &database, redis).await?;
        let yardstick =
            Yardstick::plain("a bare TCP fan-out", quantile(&bare, 0.5), quantile(&answered, 0.5));
        report.figure(
            format!("{name}: all edges answer without it, p50"),
            quantile(&answered, 0.5),
            "ms",
            Some(50.0),
            Some(yardstick),
        );
        report.figure(
            format!("{name}: all edges answer without it, p99"),
            quantile(&answered, 0.99),
            "ms",
            Some(250.0),
            Some(Yardstick::plain("a bare TCP fan-out", quantile(&bare, 0.99), quantile(&answered, 0.99))),
        );
        report.figure(
            format!("{name}: status document at every browser, p99"),
            quantile(&told, 0.99),
            "ms",
            Some(1_000.0),
            None,
        );
    }
    Ok(())
}

/// Milliseconds of each pause until the last edge had answered, and until the last browser was told; sorted.
async fn run(
    binaries: &Binaries,
    folder: &std::path::Path,
    database: &str,
    redis: Option<&str>,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let plane = Plane::start(binaries, folder, database, redis)?;
    let api = Api::new(&plane);
    api.apply(&experiments::running(EXPERIMENTS)).await?;
    let token = api.edge_token().await?;
    let edges =
        (0..EDGES).map(|number| plane.edge(number, &token, redis)).collect::<anyhow::Result<Vec<Part>>>()?;

    let (sender, mut seen) = mpsc::channel(EDGES * 4);
    let mut browsers = tokio::task::JoinSet::new();
    for edge in &edges {
        let url = edge.banner["url"].as_str().context("no address")?.to_owned();
        browsers.spawn(browse(url, sender.clone()));
    }
    // Everyone sees the beginning first.
    collect(&mut seen, false, Instant::now()).await?;
    let (mut answered, mut told) = (Vec::new(), Vec::new());
    for _ in 0..PAUSES {
        for (verb, paused) in [("pause", true), ("resume", false)] {
            let begun = Instant::now();
            let (asked, collected) =
                tokio::join!(api.transition(PAUSED, verb), collect(&mut seen, paused, begun));
            asked?;
            let (last_answer, last_told) = collected?;
            if paused {
                answered.push(last_answer);
                told.push(last_told);
            }
        }
    }
    answered.sort_by(f64::total_cmp);
    told.sort_by(f64::total_cmp);
    Ok((answered, told))
}

/// Waits until every edge says so; milliseconds from `begun` to the last of each.
async fn collect(
    seen: &mut mpsc::Receiver<Seen>,
    paused: bool,
    begun: Instant,
) -> anyhow::Result<(f64, f64)> {
    let (mut answered, mut told) = (0.0_f64, 0.0_f64);
    let mut missing = EDGES;
    while missing > 0 {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await;
        let next = next.context("an edge never followed")?.context("no browser is left")?;
        if next.paused == paused {
            missing -= 1;
            answered = answered.max(next.answered.duration_since(begun).as_secs_f64() * 1000.0);
            told = told.max(next.told.duration_since(begun).as_secs_f64() * 1000.0);
        }
    }
    Ok((answered, told))
}

/// Holds a stream open; whenever the halts change, asks for an assignment and checks that it obeys.
async fn browse(url: String, seen: mpsc::Sender<Seen>) -> anyhow::Result<()> {
    let client = Client::new();
    let mut events = Events::open(&client, &format!("{url}/v1/stream"), None).await?;
    let mut before = None;
    loop {
        let event = events.next().await?;
        let told = Instant::now();
        if event.name != "status" {
            continue;
        }
        let off = claims(&event.data)?;
        let paused = off["off"].as_array().is_some_and(|off| off.iter().any(|key| key == PAUSED));
        if before == Some(paused) {
            continue;
        }
        before = Some(paused);
        let token = client.get(format!("{url}{PROBE}")).send().await?.text().await?;
        let absent = claims(&token)?["a"].get(PAUSED).is_none();
        ensure!(absent == paused, "an edge answered from the old snapshot after telling of the new status");
        seen.send(Seen { paused, told, answered: Instant::now() }).await?;
    }
}

fn claims(token: &str) -> anyhow::Result<Value> {
    let part = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}

/// The same fan-out without a store, signatures or edges.
async fn bare(binaries: &Binaries) -> anyhow::Result<Vec<f64>> {
    let server = Server::bare_stream(binaries, 2_000)?;
    let client = Client::new();
    let url = format!("http://{}", server.address);
    let (sender, mut seen) = mpsc::channel(EDGES * 4);
    let mut listeners = tokio::task::JoinSet::new();
    for _ in 0..EDGES {
        let mut events = Events::open(&client, &url, None).await?;
        let sender = sender.clone();
        listeners.spawn(async move {
            while let Ok(event) = events.next().await {
                if sender.send((event.id, Instant::now())).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut times = Vec::new();
    for number in 1..=PAUSES {
        let begun = Instant::now();
        client.post(&url).send().await?;
        let mut last = begun;
        for _ in 0..EDGES {
            let (id, at) = tokio::time::timeout(PATIENCE, seen.recv()).await?.context("no listener")?;
            ensure!(id == number.to_string(), "the yardstick lost an event");
            last = last.max(at);
        }
        times.push(last.duration_since(begun).as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
