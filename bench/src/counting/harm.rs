//! From a regression that can be seen in the aggregates to the moment when every edge serves the pause.
//!
//! One experiment after the other gets worse, at times that have nothing to do with those of the guardrail's looks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use edgeseal_testkit::servers::Postgres;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Database, records};
use crate::api::Api;
use crate::plane::{Part, Plane};
use crate::process::Binaries;
use crate::report::{Report, quantile};
use crate::sse::Events;

const EDGES: usize = 20;
const EXPERIMENTS: usize = 100;
/// More would not fit into one unit's token.
const UNIT_TYPES: usize = 4;
/// In each variant; a fifth of the control's convert, and nobody in the treatment.
const UNITS: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

/// One edge answers without this experiment.
struct Seen {
    experiment: String,
    at: Instant,
}

pub(super) async fn measure(
    binaries: &Binaries,
    report: &mut Report,
    postgres: &Postgres,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // The time between two regressions is no part of the time between two looks.
    for (name, flags, between, target) in [
        ("a look every 10 s", [].as_slice(), Duration::from_millis(1_130), 11.0),
        ("a look every second", &["--guardrail-interval-ms", "1000"], Duration::from_millis(430), 1.5),
    ] {
        let folder = folder.path().join(name.replace(' ', "-"));
        let url = postgres.create_database();
        let plane = Plane::start_with(binaries, &folder, &url, flags)?;
        let mut seconds = run(&plane, &url, between).await?;
        seconds.sort_by(f64::total_cmp);
        for (share, target) in [(0.5, None), (0.99, Some(target))] {
            let figure = format!("{name}: p{}", share * 100.0);
            report.figure(figure, quantile(&seconds, share), "s", target, None);
        }
    }
    Ok(())
}

/// Seconds of each regression until the last edge served the pause.
async fn run(plane: &Plane, url: &str, between: Duration) -> anyhow::Result<Vec<f64>> {
    let api = Api::new(plane);
    api.apply(&definition()).await?;
    let token = api.edge_token().await?;
    let edges =
        (0..EDGES).map(|number| plane.edge(number, &token, None)).collect::<anyhow::Result<Vec<Part>>>()?;
    let (sender, mut seen) = mpsc::channel(EDGES * EXPERIMENTS);
    let mut browsers = JoinSet::new();
    for edge in &edges {
        let url = edge.banner["url"].as_str().context("no address")?.to_owned();
        browsers.spawn(browse(url, sender.clone()));
    }
    drop(sender);

    let mut database = Database::connect(url).await?;
    let client = Client::new();
    let mut visible = BTreeMap::new();
    for number in 0..EXPERIMENTS {
        let units = (0..2 * UNITS).map(|unit| {
            let (variant, converted) =
                if unit < UNITS { ("control", unit % 5 == 0) } else { ("treatment", false) };
            (format!("visitor-{unit}"), variant, converted)
        });
        let (experiment, metric, unit_type) = (key(number), metric(number), unit_type(number));
        let body = records::delivery([&experiment, &metric, &unit_type], number as u64 * 10_000, units)?;
        let deliver = client.post(format!("{}/api/v1/edge/events", plane.url)).bearer_auth(&token);
        let answer = deliver.header("content-type", "application/x-ndjson").body(body).send().await?;
        let status = answer.status();
        ensure!(status == StatusCode::ACCEPTED, "{status}: {}", answer.text().await?);
        database.until_counted().await?;
        visible.insert(experiment, Instant::now());
        tokio::time::sleep(between).await;
    }
    let mut last = BTreeMap::<String, (usize, Instant)>::new();
    while last.values().map(|(edges, _)| edges).sum::<usize>() < EDGES * EXPERIMENTS {
        let next = tokio::time::timeout(PATIENCE, seen.recv()).await.context("an edge never followed")?;
        let Some(Seen { experiment, at }) = next else {
            let Some(ended) = browsers.join_next().await else { anyhow::bail!("no browser is left") };
            return ended?.map(|()| Vec::new());
        };
        let entry = last.entry(experiment).or_insert((0, at));
        *entry = (entry.0 + 1, entry.1.max(at));
    }
    let seconds = visible.iter().map(|(experiment, visible)| {
        let (_, paused) = last.get(experiment).context("an experiment was never paused")?;
        Ok(paused.saturating_duration_since(*visible).as_secs_f64())
    });
    seconds.collect()
}

fn key(number: usize) -> String {
    format!("experiment-{number:04}")
}

fn metric(number: usize) -> String {
    format!("purchase-{number:04}")
}

fn definition() -> Value {
    let metrics: Vec<Value> =
        (0..EXPERIMENTS).map(|number| json!({ "key": metric(number), "kind": "conversion" })).collect();
    let experiments: Vec<Value> = (0..EXPERIMENTS)
        .map(|number| {
            json!({
                "key": key(number),
                "state": "running",
                "unit_type": unit_type(number),
                "variants": [{ "key": "control", "weight": 50 }, { "key": "treatment", "weight": 50 }],
                "metrics": { "guardrails": [metric(number)] }
            })
        })
        .collect();
    json!({ "metrics": metrics, "experiments": experiments })
}

fn unit_type(number: usize) -> String {
    format!("unit-{}", number % UNIT_TYPES)
}

/// Holds a stream open; whenever more is halted, asks for an assignment, and tells what is not in it any more.
async fn browse(url: String, seen: mpsc::Sender<Seen>) -> anyhow::Result<()> {
    let client = Client::new();
    let mut events = Events::open(&client, &format!("{url}/v1/stream"), None).await?;
    let mut known = std::collections::BTreeSet::new();
    loop {
        let event = events.next().await?;
        if event.name != "status" {
            continue;
        }
        let status = claims(&event.data)?;
        let off = status["off"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for experiment in off {
            if !known.insert(experiment.to_owned()) {
                continue;
            }
            let number: usize = experiment.trim_start_matches("experiment-").parse()?;
            let url = format!("{url}/v1/assignments/user-1?ut={}", unit_type(number));
            let token = client.get(url).send().await?.error_for_status()?.text().await?;
            ensure!(
                claims(&token)?["a"].get(experiment).is_none(),
                "an edge answered from the old snapshot after telling of the new status"
            );
            if seen.send(Seen { experiment: experiment.to_owned(), at: Instant::now() }).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn claims(token: &str) -> anyhow::Result<Value> {
    let part = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}
