//! The control plane: is it there, does it work, what does it know of keys and edges.

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::KeyState;
use serde_json::Value;

use super::check::Check;
use super::clock_difference;
use crate::api_client::{Api, ApiError, Call};
use crate::clock;
use crate::commands::edge_list::{self, OLD_AFTER_SECONDS, SILENT_AFTER_SECONDS, edges};
use crate::commands::keys::list::{Keys, Listed};
use crate::commands::login::Identity;
use crate::http_client;
use crate::printable::{span, text_at};

/// Days before its end at which a token is worth replacing.
const TOKEN_WARNING_DAYS: i64 = 7;

/// What the other examinations need to know.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The environment that is looked at.
    pub(super) environment: Environment,
    /// Its root key.
    pub(super) root: Option<Value>,
}

/// Looks at everything that the API tells.
pub(super) async fn examine(api: &Api, checks: &mut Vec<Check>) -> Known {
    let mut known = Known { environment: api.target().environment.clone().unwrap_or_default(), root: None };
    if !reachable(api, checks).await {
        return known;
    }
    checks.push(ready(api).await);
    match Identity::of(api).await {
        Ok(identity) => checks.push(token(&identity)),
        Err(failure) => {
            checks.push(Check::of_failure("token", &failure));
            return known;
        }
    }
    match Keys::of(api).await {
        Ok(keys) => {
            checks.push(self::keys(&keys));
            known = Known { environment: keys.environment, root: Some(keys.root.jwk) };
        }
        Err(failure) => checks.push(Check::skipped("keys", format_args!("{:#}", failure.error))),
    }
    match edges(api).await {
        Ok(found) => {
            let newest = published(api, &known.environment).await;
            reports(&found, newest, checks);
        }
        Err(failure) => checks.push(Check::skipped("edges", format_args!("{:#}", failure.error))),
    }
    known
}

/// Whether anybody answers, over a connection that nobody can read.
async fn reachable(api: &Api, checks: &mut Vec<Check>) -> bool {
    let control = &api.target().control;
    let asked = clock::now();
    let answer = http_client::send(api.bare_client().get(control.join("", "/healthz", &[]))).await;
    let answered = clock::now();
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            let remedy = "start it with `edgeseal control` or `edgeseal serve`, or correct the address";
            checks.push(Check::of_failure("control", &failure).remedy(remedy));
            return false;
        }
    };
    let wire = match (control.is_plain(), control.is_loopback()) {
        (false, _) => "over TLS",
        (true, true) => "on this machine",
        (true, false) => "over plain http",
    };
    let detail = format!("{control} answers {wire}");
    checks.push(if !answer.status.is_success() {
        Check::bad("control", format_args!("'{control}/healthz' answered {}", answer.status))
            .remedy("is this the address of a control plane?")
    } else if control.is_plain() && !control.is_loopback() {
        Check::warn("control", detail)
            .remedy("everybody on the way can read the tokens; put TLS in front of it")
    } else {
        Check::good("control", detail)
    });
    let date = answer.headers.get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    checks.push(clock_difference::check("clock", date, asked, answered));
    answer.status.is_success()
}

/// Whether it can do its work: the database.
async fn ready(api: &Api) -> Check {
    let url = api.target().control.join("", "/readyz", &[]);
    match http_client::send(api.bare_client().get(url)).await {
        Ok(answer) if answer.status.is_success() => {
            Check::good("database", "the control plane reaches its database")
        }
        Ok(answer) => {
            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let detail =
                problem.get("detail").and_then(Value::as_str).unwrap_or("it is not ready").to_owned();
            Check::bad("database", detail).remedy("see the log of the control plane")
        }
        Err(failure) => Check::of_failure("database", &failure),
    }
}

fn token(identity: &Identity) -> Check {
    let Identity { name, scope, environment, .. } = identity;
    let whose = match environment {
        Some(environment) => format!("'{name}', scope {scope}, environment '{environment}'"),
        None => format!("'{name}', scope {scope}, every environment"),
    };
    let end = identity.expires_at.as_deref().and_then(|end| end.parse::<jiff::Timestamp>().ok());
    let Some(end) = end else { return Check::good("token", format_args!("{whose}, without an end")) };
    let left = end.as_second() - clock::now().unix_seconds();
    let detail = format!("{whose}, ends in {}", span(left));
    if left < TOKEN_WARNING_DAYS * 86_400 {
        return Check::warn("token", detail)
            .remedy("create another with `edgeseal token create`, then log in with it");
    }
    Check::good("token", detail)
}

/// Rotations that wait for somebody, and keys that are missing.
fn keys(keys: &Keys) -> Check {
    let listed = match keys.listed() {
        Ok(listed) => listed,
        Err(failure) => return Check::of_failure("keys", &failure),
    };
    let active = |use_: &str| listed.iter().any(|key| key.use_ == use_ && key.state == KeyState::Active);
    for use_ in ["edge", "control"] {
        if !active(use_) {
            return Check::bad("keys", format_args!("no {use_} key is active, so nothing can be signed"))
                .remedy("restore the database from a backup");
        }
    }
    let due = |key: &&Listed| key.wait_seconds == Some(0) && !key.revoked;
    if let Some(key) = listed.iter().find(due) {
        let (step, command) = match key.state {
            KeyState::Published => ("activated", format!("edgeseal keys rotate --use {}", key.use_)),
            _ => ("retired", "edgeseal keys retire".to_owned()),
        };
        let detail = format!("{} key {} waits to be {step}", key.use_, key.kid);
        return Check::warn("keys", detail).remedy(format_args!("run `{command}`"));
    }
    let waiting = listed.iter().filter_map(|key| Some((key, key.wait_seconds?)));
    match waiting.min_by_key(|(_, seconds)| *seconds) {
        Some((key, seconds)) => Check::good(
            "keys",
            format_args!(
                "every use has an active key; {} key {} is {} and takes its next step in {}",
                key.use_,
                key.kid,
                key.state.as_str(),
                span(seconds)
            ),
        ),
        None => Check::good("keys", "every use has an active key, and no rotation is under way"),
    }
}

/// What every edge should serve, once it has reported again.
struct Published {
    cv: u64,
    seconds_ago: i64,
}

async fn published(api: &Api, environment: &Environment) -> Option<Published> {
    let answer: Result<Value, ApiError> = api.fetch(Call::get(format!("/environments/{environment}"))).await;
    let answer = answer.ok()?;
    let at = answer.get("publishedAt").and_then(Value::as_str);
    let at = at.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let seconds_ago = at.map_or(i64::MAX, |at| clock::now().unix_seconds().saturating_sub(at.as_second()));
    Some(Published { cv: answer.get("cv")?.as_u64()?, seconds_ago })
}

/// One line for all edges that are well, and one for each that is not.
fn reports(edges: &[Value], published: Option<Published>, checks: &mut Vec<Check>) {
    if edges.is_empty() {
        let detail =
            "none has reported; `edgeseal serve` has one of its own, others are started with `edgeseal edge`";
        checks.push(Check::skipped("edges", detail));
        return;
    }
    let Published { cv: newest, seconds_ago } = published
        .unwrap_or_else(|| Published { cv: edge_list::newest_snapshot(edges), seconds_ago: i64::MAX });
    let before = checks.len();
    for edge in edges {
        let id = text_at(edge, "/id");
        let seen = edge_list::seconds(edge, "/seenAgoSeconds");
        let age = edge_list::seconds(edge, "/configAgeMs") / 1_000;
        let serves = edge_list::number(edge, "/cv");
        if seen > SILENT_AFTER_SECONDS {
            let detail = format!("{id} was last heard of {} ago", span(seen));
            checks.push(
                Check::warn("edges", detail).remedy("is it running, and does it reach the control plane?"),
            );
        // What it said before the publication says nothing about it.
        } else if serves < newest && seen < seconds_ago {
            let detail = format!("{id} serves snapshot {serves}, and {newest} is published");
            checks.push(Check::warn("edges", detail).remedy("see its log: it may refuse the newer one"));
        } else if age > OLD_AFTER_SECONDS {
            let detail = format!("{id} serves a status document that is {} old", span(age));
            checks.push(
                Check::warn("edges", detail).remedy("see its log: it does not hear from the control plane"),
            );
        }
    }
    if checks.len() == before {
        let oldest = edges.iter().map(|edge| edge_list::seconds(edge, "/configAgeMs")).max().unwrap_or(0);
        let mut versions: Vec<String> = edges.iter().map(|edge| text_at(edge, "/version")).collect();
        versions.sort();
        versions.dedup();
        checks.push(Check::good(
            "edges",
            format_args!(
                "{} in all: snapshot {newest}, configuration at most {} old, version {}",
                edges.len(),
                span(oldest / 1_000),
                versions.join(" and ")
            ),
        ));
    }
}
