//! One edge, asked as a client would: its documents verified, and an assignment that it signs.

use edgeseal_core::ids::{Environment, UnitId, UnitType};
use edgeseal_core::sealing::{Expected, SubjectTag, verify_assignment};
use edgeseal_core::time::Timestamp;

use super::check::Check;
use super::clock_difference;
use super::control::Known;
use crate::api_client::ApiArgs;
use crate::cli::DataDirArgs;
use crate::clock;
use crate::commands::verify::trust::{Trust, TrustArgs};
use crate::data_dir::DEFAULT_DATA_DIR;
use crate::exit::{Failure, Outcome};
use crate::http_client;
use crate::printable::span;

/// Below this many seconds of life left, a keyset is not being renewed: that happens at half its life.
const KEYSET_WARNING_SECONDS: i64 = 3_600;
/// A status document is signed anew every 10 seconds.
const OLD_STATUS_SECONDS: i64 = 20;
/// The unit that is asked for.
const UNIT: &str = "edgeseal-doctor";

/// Looks at the edge at `url`.
pub(super) async fn examine(
    url: &str,
    args: &ApiArgs,
    known: &Known,
    checks: &mut Vec<Check>,
) -> Outcome<()> {
    let edge = url.trim_end_matches('/');
    let client = http_client::client()?;
    let asked = clock::now();
    let ready = http_client::send(client.get(format!("{edge}/readyz"))).await;
    let answered = clock::now();
    match ready {
        Ok(answer) if answer.status.is_success() => {
            checks.push(Check::good("edge", format_args!("{edge} is ready")));
            let date = answer.headers.get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
            checks.push(clock_difference::check("edge clock", date, asked, answered));
        }
        Ok(answer) => checks.push(
            Check::bad("edge", format_args!("'{edge}/readyz' answered {}", answer.status))
                .remedy("see its log; it needs a snapshot, and a status document that has not expired"),
        ),
        Err(failure) => {
            checks.push(Check::of_failure("edge", &failure));
            return Ok(());
        }
    }

    let environment = args.environment().unwrap_or(&known.environment).clone();
    let data_dir = DataDirArgs { data_dir: DEFAULT_DATA_DIR.into() };
    let pinned = TrustArgs::of_edge(edge.to_owned(), known.root.as_ref().map(ToString::to_string), data_dir);
    let now = clock::now();
    let trust = match Trust::establish(&pinned, &environment, now).await {
        Ok(trust) => trust,
        Err(failure) => {
            checks.push(Check::of_failure("edge keyset", &failure));
            return Ok(());
        }
    };
    let keyset = match &trust.keyset {
        Ok(keyset) => keyset,
        Err(error) => {
            checks.push(
                Check::bad("edge keyset", format_args!("{} {error}", error.code()))
                    .remedy("does this edge belong to this control plane and environment?"),
            );
            return Ok(());
        }
    };
    if known.root.is_some() {
        let left = keyset.exp.seconds_since(now);
        let detail = format!("version {}, {} keys, ends in {}", keyset.ver, keyset.keys.len(), span(left));
        checks.push(if left < KEYSET_WARNING_SECONDS {
            Check::warn("edge keyset", detail)
                .remedy("is the control plane running? it signs a new one at half its life")
        } else {
            Check::good("edge keyset", detail)
        });
        checks.push(status(&trust, now));
    } else {
        checks.push(Check::skipped(
            "edge keyset",
            "its signature, because no control plane names the root key",
        ));
    }
    checks.push(match assignment(edge, &environment, &trust).await {
        Ok(count) => Check::good("edge assignment", format_args!("verified, with {count} experiments")),
        Err(failure) => Check::of_failure("edge assignment", &failure),
    });
    Ok(())
}

fn status(trust: &Trust, now: Timestamp) -> Check {
    match &trust.status {
        Some(status) => {
            let age = now.seconds_since(status.iat);
            let detail =
                format!("epoch {}, signed {} ago, {} halted", status.ep, span(age), status.off.len());
            if age > OLD_STATUS_SECONDS {
                return Check::warn("edge status", detail)
                    .remedy("the edge does not hear from the control plane");
            }
            Check::good("edge status", detail)
        }
        None => {
            let step = trust.steps.iter().find(|step| step.name == "status");
            let detail = step.map_or("it could not be verified", |step| step.detail.as_str());
            Check::bad("edge status", detail).remedy("see the logs of the edge and of the control plane")
        }
    }
}

/// Asks for a unit's token and verifies it; gives the number of experiments in it.
async fn assignment(edge: &str, environment: &Environment, trust: &Trust) -> Outcome<usize> {
    let token =
        http_client::get_ok(&http_client::client()?, &format!("{edge}/v1/assignments/{UNIT}")).await?;
    let token = String::from_utf8_lossy(&token).into_owned();
    let Ok(keyset) = &trust.keyset else { return Err(Failure::no("there is no keyset")) };
    let unit = UnitId::parse(UNIT).map_err(anyhow::Error::from)?;
    let subject = SubjectTag::of(environment, &UnitType::default(), unit);
    let expected =
        Expected { environment, subject, now: clock::now(), status: trust.status.as_ref(), memory: None };
    let verified = verify_assignment(token.trim_end(), keyset, &expected)
        .map_err(|error| Failure::no(format_args!("refused, {}: {error}", error.code())))?;
    Ok(verified.claims().a.len())
}
