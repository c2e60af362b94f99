//! What a thousand connected edges cost one control plane.

use anyhow::Context;
use reqwest::Client;

use crate::api::Api;
use crate::experiments;
use crate::plane::Plane;
use crate::process::{Binaries, Server};
use crate::report::{Report, Yardstick};
use crate::sse::Events;

const EDGES: usize = 1_000;
const EXPERIMENTS: usize = 100;

pub(super) async fn measure(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let database = format!("sqlite:{}", folder.path().join("edgeseal.db").display());
    let plane = Plane::start(binaries, folder.path(), &database, None)?;
    let api = Api::new(&plane);
    api.apply(&experiments::running(EXPERIMENTS)).await?;
    let token = api.edge_token().await?;
    let alone = plane.control.resident_mib()?;

    let url = format!("{}/api/v1/edge/stream", plane.url);
    let mut streams = open(&url, Some(&token)).await?;
    // A change reaches every one of them, and passes through every buffer.
    for (number, verb) in ["pause", "resume", "pause", "resume"].into_iter().enumerate() {
        api.transition("experiment-0000", verb).await?;
        for stream in &mut streams {
            // The first group was sent on connecting; each change ends with a status as well.
            while stream.next().await?.name != "status" {}
            if number == 0 {
                while stream.next().await?.name != "status" {}
            }
        }
    }
    let crowded = plane.control.resident_mib()?;
    drop(streams);

    let bare = Server::bare_stream(binaries, 2_000)?;
    let streams = open(&format!("http://{}", bare.address), None).await?;
    Client::new().post(format!("http://{}", bare.address)).send().await?;
    let theirs = bare.resident_mib()?;
    drop(streams);
    report.figure("resident memory, no edge", alone, "MiB", None, None);
    report.figure(
        "resident memory, 1 000 edges, after four changes",
        crowded,
        "MiB",
        Some(300.0),
        Some(Yardstick::plain("a bare TCP fan-out", theirs, crowded)),
    );
    Ok(())
}

async fn open(url: &str, token: Option<&str>) -> anyhow::Result<Vec<Events>> {
    let client = Client::new();
    let mut streams = Vec::with_capacity(EDGES);
    for number in 0..EDGES {
        let stream = Events::open(&client, url, token).await;
        streams.push(stream.with_context(|| format!("stream {number} of {EDGES}"))?);
    }
    Ok(streams)
}
