//! Server CPU per request, beside bare hyper sending the same number of bytes; and memory over many units.

use std::sync::Arc;

use crate::load::{self, WriteRequest};
use crate::process::{Binaries, Server};
use crate::report::{Report, Yardstick};

const EXPERIMENTS: usize = 20;
/// Requests per round; server and yardstick take turns, and the median round counts.
const ROUND: u64 = 10_000;
const ROUNDS: u64 = 7;
/// Units that the memory is watched over.
const DISTINCT_UNITS: u64 = 1_000_000;
/// base64url of `{"country":"de"}`: in every experiment.
const ATTRIBUTES: &str = "eyJjb3VudHJ5IjoiZGUifQ";

pub(crate) fn measure(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let edge = Server::edgeseal(binaries, &folder.path().join("data"), EXPERIMENTS)?;
    let resident_at_start = edge.resident_mib()?;

    let fresh = request(|n| format!("GET /v1/assignments/user-{n}?attrs={ATTRIBUTES} HTTP/1.1\r\n"));
    let repeated =
        request(|n| format!("GET /v1/assignments/user-{}?attrs={ATTRIBUTES} HTTP/1.1\r\n", n % 100));
    let hmac = request(|n| {
        format!("GET /v1/experiments/experiment-0000?attrs={ATTRIBUTES} HTTP/1.1\r\nx-user-id: user-{n}\r\n")
    });
    let fresh_in_some = request(|n| format!("GET /v1/assignments/visitor-{n} HTTP/1.1\r\n"));
    compare(binaries, report, &edge, "fresh token per unit, in all 20", &fresh, 2.4)?;
    compare(binaries, report, &edge, "fresh token per unit, in 7 of 20", &fresh_in_some, 2.4)?;
    compare(binaries, report, &edge, "memoised token, in all 20", &repeated, 1.3)?;
    compare(binaries, report, &edge, "HMAC profile, fresh per unit", &hmac, 1.5)?;

    load::run(edge.address, 10_000_000, DISTINCT_UNITS, fresh)?;
    let resident = edge.resident_mib()?;
    report.figure("resident memory at start", resident_at_start, "MiB", None, None);
    report.figure("resident memory after 1 000 000 distinct units", resident, "MiB", Some(64.0), None);
    Ok(())
}

fn request(line: impl Fn(u64) -> String + Send + Sync + 'static) -> Arc<WriteRequest> {
    Arc::new(move |n, buffer| {
        buffer.extend_from_slice(line(n).as_bytes());
        buffer.extend_from_slice(b"host: bench\r\n\r\n");
    })
}

fn compare(
    binaries: &Binaries,
    report: &mut Report,
    edge: &Server,
    name: &str,
    write: &Arc<WriteRequest>,
    target_ratio: f64,
) -> anyhow::Result<()> {
    let bytes = load::run(edge.address, 0, 2_000, Arc::clone(write))?;
    // Bare hyper's own head is shorter; what is missing to the same total goes into the body.
    let probe = Server::bare_hyper(binaries, 1_000)?;
    let head = load::run(probe.address, 0, 1, Arc::clone(write))? - 1_000;
    let bare = Server::bare_hyper(binaries, usize::try_from(bytes - head)?)?;
    load::run(bare.address, 0, 2_000, Arc::clone(write))?;

    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        let first = round * ROUND;
        rounds.push((cpu_per_request(edge, first, write)?, cpu_per_request(&bare, first, write)?));
    }
    rounds.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
    let (ours, theirs) = rounds[rounds.len() / 2];
    let yardstick = Yardstick {
        target_ratio: Some(target_ratio),
        ..Yardstick::plain("bare hyper, same bytes,", theirs, ours)
    };
    report.figure(format!("server CPU: {name}"), ours, "us/request", None, Some(yardstick));
    Ok(())
}

fn cpu_per_request(server: &Server, first: u64, write: &Arc<WriteRequest>) -> anyhow::Result<f64> {
    let before = server.cpu_us()?;
    load::run(server.address, first, ROUND, Arc::clone(write))?;
    Ok((server.cpu_us()? - before) / ROUND as f64)
}
