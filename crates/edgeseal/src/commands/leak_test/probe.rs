//! The requests of a leak test, and what is counted about their answers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use edgeseal_core::attributes::Attributes;
use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{Expected, Keyset, SubjectTag, VerifyError, verify_assignment};
use indicatif::ProgressBar;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;

use super::headers;
use crate::clock;
use crate::exit::{Failure, OrExit, Outcome};
use crate::http_client::{self, Answer};

/// Most examples of a finding that are kept.
pub(super) const MAX_EXAMPLES: usize = 10;
/// Every so manyth unit is asked for again, through whatever cache there is.
const REPEAT_EVERY: u64 = 20;
/// Units that are played on the HMAC route.
const IDENTIFIED_UNITS: u64 = 100;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Units whose token was verified.
    pub(super) verified: u64,
    /// Answers that belonged to another unit.
    pub(super) leaks: u64,
    /// Subject tags of leaked answers: whose was expected, whose came.
    pub(super) examples: Vec<String>,
    /// Tokens refused for other reasons, by code.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Requests that got no usable answer, by what came instead.
    pub(super) failed: BTreeMap<String, u64>,
    /// Header problems and how many answers had them.
    pub(super) header_problems: BTreeMap<&'static str, u64>,
    /// What was not looked at, and why.
    pub(super) skipped: Vec<String>,
    counts: BTreeMap<(String, String), u64>,
}

/// One edge, and the units that are played against it.
pub(super) struct Probe {
    edge: String,
    environment: Environment,
    unit_type: UnitType,
    query: String,
    keyset: Keyset,
    seed: String,
    client: Client,
    /// Writes header names as `X-User-Id`: a cache must not tell it from `x-user-id`.
    title_case: Client,
}

impl Tally {
    /// Units with this variant, by their bucket.
    pub(super) fn count(&self, experiment: &str, variant: &str) -> u64 {
        self.counts.get(&(experiment.to_owned(), variant.to_owned())).copied().unwrap_or(0)
    }

    fn leak(&mut self, example: String) {
        self.leaks += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(example);
        }
    }

    fn fail(&mut self, what: String) {
        *self.failed.entry(what).or_default() += 1;
    }

    fn headers(&mut self, problems: Vec<&'static str>) {
        for problem in problems {
            *self.header_problems.entry(problem).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.verified += other.verified;
        self.leaks += other.leaks;
        self.examples.extend(other.examples);
        self.examples.truncate(MAX_EXAMPLES);
        self.skipped.extend(other.skipped);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
        for (problem, count) in other.header_problems {
            *self.header_problems.entry(problem).or_default() += count;
        }
        for (cell, count) in other.counts {
            *self.counts.entry(cell).or_default() += count;
        }
    }
}

impl Probe {
    pub(super) fn new(
        edge: String,
        environment: Environment,
        unit_type: UnitType,
        attributes: &Attributes,
        keyset: Keyset,
        seed: String,
    ) -> Outcome<Self> {
        let mut query = format!("?ut={unit_type}");
        if !attributes.is_empty() {
            let json = serde_json::to_vec(attributes).map_err(anyhow::Error::from)?;
            query = format!("{query}&attrs={}", BASE64URL.encode(json));
        }
        let title_case =
            http_client::builder().http1_title_case_headers().build().map_err(anyhow::Error::from)?;
        let client = http_client::client()?;
        UnitId::parse(&format!("{seed}-{}", u64::MAX)).or_usage(|| "--seed")?;
        if !seed.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err(Failure::usage("--seed takes letters, digits, '-', '_' and '.'"));
        }
        Ok(Self { edge, environment, unit_type, query, keyset, seed, client, title_case })
    }

    /// Plays `units` with so many requests under way at once.
    pub(super) async fn units(
        self: Arc<Self>,
        units: Range<u64>,
        concurrency: u64,
        tally: Tally,
        progress: &ProgressBar,
    ) -> Outcome<Tally> {
        let next = Arc::new(AtomicU64::new(units.start));
        let total = Arc::new(Mutex::new(tally));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..concurrency.min(units.end.saturating_sub(units.start)) {
            let (probe, next, total) = (Arc::clone(&self), Arc::clone(&next), Arc::clone(&total));
            let (progress, end) = (progress.clone(), units.end);
            workers.spawn(async move {
                let mut own = Tally::default();
                loop {
                    let unit = next.fetch_add(1, Ordering::Relaxed);
                    if unit >= end {
                        break;
                    }
                    if let Err(failure) = probe.unit(unit, &mut own).await {
                        own.fail(failure.error.to_string());
                    }
                    progress.inc(1);
                }
                total.lock().await.add(own);
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.map_err(anyhow::Error::from)?;
        }
        let mut total = total.lock().await;
        Ok(std::mem::take(&mut *total))
    }

    /// Asks for one unit's token and looks at everything about it; some units are asked for twice.
    pub(super) async fn unit(&self, number: u64, tally: &mut Tally) -> Outcome<()> {
        let id = self.id(number);
        let url = format!("{}/v1/assignments/{id}{}", self.edge, self.query);
        tally.requests += 1;
        // Whoever else an identity header names, the path alone says whose token it is.
        let request = self.client.get(&url);
        let request =
            if number % 2 == 1 { request.header("x-user-id", self.id(number + 1)) } else { request };
        let answer = http_client::send(request).await?;
        let Some(claims) = self.check(&id, &answer, tally) else { return Ok(()) };
        tally.verified += 1;
        for (experiment, assigned) in &claims.a {
            // Forced and winning variants are not the work of the buckets.
            if assigned.r == "split" {
                *tally.counts.entry((experiment.to_string(), assigned.v.to_string())).or_default() += 1;
            }
        }
        if number.is_multiple_of(REPEAT_EVERY) {
            self.repeat(&id, &url, &answer, tally).await?;
        }
        Ok(())
    }

    /// Asks again: the same unit's answer must come, from the edge or from a cache; and again with its ETag.
    async fn repeat(&self, id: &str, url: &str, first: &Answer, tally: &mut Tally) -> Outcome<()> {
        tally.requests += 1;
        let second = http_client::send(self.title_case.get(url)).await?;
        self.check(id, &second, tally);
        let Some(etag) = first.headers.get(ETAG) else { return Ok(()) };
        tally.requests += 1;
        let third = http_client::send(self.client.get(url).header(IF_NONE_MATCH, etag)).await?;
        match third.status {
            StatusCode::NOT_MODIFIED if third.body.is_empty() => {}
            StatusCode::NOT_MODIFIED => tally.fail("304 with a body".to_owned()),
            // A new minute gives a new token; it must still be this unit's.
            _ => drop(self.check(id, &third, tally)),
        }
        Ok(())
    }

    fn check(
        &self,
        id: &str,
        answer: &Answer,
        tally: &mut Tally,
    ) -> Option<edgeseal_core::sealing::AssignmentClaims> {
        if answer.status != StatusCode::OK {
            tally.fail(format!("status {}", answer.status));
            return None;
        }
        let now = clock::now();
        let subject = SubjectTag::of(&self.environment, &self.unit_type, UnitId::parse(id).ok()?);
        let expected = Expected { environment: &self.environment, subject, now, status: None, memory: None };
        let token = std::str::from_utf8(&answer.body).unwrap_or_default();
        match verify_assignment(token, &self.keyset, &expected) {
            Ok(verified) => {
                let claims = verified.into_claims();
                tally.headers(headers::of_token(&answer.headers, claims.exp.seconds_since(now)));
                Some(claims)
            }
            Err(VerifyError::Subject { expected, found }) => {
                tally.leak(format!("token of subject {found} came for subject {expected}"));
                None
            }
            Err(error) => {
                *tally.refused.entry(error.code()).or_default() += 1;
                None
            }
        }
    }

    /// Plays the HMAC route, where a header says who asks: the place where caches mix users up.
    pub(super) async fn identity_headers(
        &self,
        experiment: Option<&str>,
        units: u64,
        tally: &mut Tally,
    ) -> Outcome<()> {
        let Some(experiment) = experiment else {
            tally.skipped.push("the HMAC route: no experiment is known to ask for".to_owned());
            return Ok(());
        };
        let url = format!("{}/v1/experiments/{experiment}", self.edge);
        tally.requests += 1;
        let anonymous = http_client::send(self.client.get(&url)).await?;
        if problem_code(&anonymous).as_deref() == Some("profile_disabled") {
            tally.skipped.push("the HMAC route: this edge does not serve it".to_owned());
            return Ok(());
        }
        self.must_be(&anonymous, StatusCode::UNAUTHORIZED, "the HMAC route without x-user-id", tally);
        for number in 0..IDENTIFIED_UNITS.min(units) {
            let id = self.id(number);
            for client in [&self.client, &self.title_case] {
                tally.requests += 1;
                let answer = http_client::send(client.get(&url).header("x-user-id", &id)).await?;
                self.check_identified(&id, &answer, tally);
            }
        }
        let (one, other) = (self.id(0), self.id(1));
        tally.requests += 2;
        let joined = self.client.get(&url).header("x-user-id", format!("{one}, {other}"));
        let joined = http_client::send(joined).await?;
        self.must_be(&joined, StatusCode::BAD_REQUEST, "two ids joined in one x-user-id", tally);
        let repeated = self.client.get(&url).header("x-user-id", &one).header("x-user-id", &other);
        let repeated = http_client::send(repeated).await?;
        self.must_be(&repeated, StatusCode::BAD_REQUEST, "two x-user-id headers", tally);
        Ok(())
    }

    fn check_identified(&self, id: &str, answer: &Answer, tally: &mut Tally) {
        tally.headers(headers::of_identified(&answer.headers));
        match (answer.status, problem_code(answer).as_deref()) {
            (StatusCode::OK, _) => {}
            // Nothing is signed for who is not in the experiment, so there is nothing to mix up.
            (StatusCode::NOT_FOUND, Some("not_assigned")) => return,
            (other, _) => return tally.fail(format!("status {other} on the HMAC route")),
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match body.get("userId").and_then(Value::as_str) {
            Some(found) if found == id => {}
            Some(found) => {
                let tag = |id| {
                    UnitId::parse(id).ok().map(|id| SubjectTag::of(&self.environment, &self.unit_type, id))
                };
                let shown = |id| tag(id).map_or_else(|| "unknown".to_owned(), |tag| tag.to_string());
                tally.leak(format!("HMAC answer of subject {} came for subject {}", shown(found), shown(id)));
            }
            None => tally.fail("an answer without userId on the HMAC route".to_owned()),
        }
    }

    fn must_be(&self, answer: &Answer, expected: StatusCode, what: &str, tally: &mut Tally) {
        if answer.status != expected {
            tally.fail(format!("{what} answered {} instead of {expected}", answer.status));
        }
    }

    fn id(&self, number: u64) -> String {
        format!("leak-test-{}-{number}", self.seed)
    }
}

/// The `code` of a problem+json answer (RFC 9457).
fn problem_code(answer: &Answer) -> Option<String> {
    if answer.status.is_success() {
        return None;
    }
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    problem.get("code")?.as_str().map(str::to_owned)
}
