//! `edgeseal doctor`: looks at an installation from outside, one line for each thing that matters, and says what to do.

mod check;
mod clock_difference;
mod control;
mod edge;
mod stores;

use clap::Args;
use serde_json::json;

use crate::api_client::{Api, ApiArgs};
use crate::exit::{Exit, Outcome};
use crate::http_client::block_on;
use crate::output::{JSON_FORMAT, Output};
use check::{Check, Health};

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Also ask this edge, and verify an assignment that it signs
    #[arg(long, value_name = "URL", env = "EDGESEAL_EDGE")]
    edge: Option<String>,
    /// Also look into this Redis, as the control plane and the edges use it
    #[arg(long, value_name = "URL", env = "EDGESEAL_REDIS")]
    redis: Option<String>,
    /// Also look at this PostgreSQL database: is it there, and its schema the one of this version
    #[arg(long, value_name = "URL", env = "EDGESEAL_DATABASE")]
    database: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Checks everything that can be reached, and prints.
pub(crate) fn run(args: &DoctorArgs, output: Output) -> Outcome {
    let checks = block_on(async {
        let (mut checks, mut known) = (Vec::new(), control::Known::default());
        match Api::connect(&args.api, output) {
            Ok(api) => known = control::examine(&api, &mut checks).await,
            Err(failure) => checks.push(Check::of_failure("control", &failure)),
        }
        if let Some(edge) = &args.edge {
            edge::examine(edge, &args.api, &known, &mut checks).await?;
        }
        if let Some(url) = &args.redis {
            checks.push(stores::redis(url, &known.environment).await);
        }
        if let Some(url) = &args.database {
            checks.push(stores::database(url).await);
        }
        Ok(checks)
    })?;
    let bad = checks.iter().any(|check| check.health == Health::Bad);
    if output.json {
        output.json(&json!({ "format": JSON_FORMAT, "ok": !bad, "checks": checks }))?;
    } else {
        for check in checks.iter().filter(|check| !output.quiet || check.needs_attention()) {
            check.print(output)?;
        }
    }
    Ok(if bad { Exit::No } else { Exit::Ok })
}
