//! `edgeseal control`: the control plane alone, on a database that several of them may share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use edgeseal_core::ids::Environment;
use edgeseal_store::Announcer;
use edgeseal_store_redis::RedisNotices;
use serde_json::json;

use crate::databases::DatabaseArgs;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::master_key::MasterKeyArgs;
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::plane::{self, Plane, PlaneArgs};
use crate::redis::RedisArgs;
use crate::stop::Stop;
use crate::telemetry::{Telemetry, TelemetryArgs};

/// Flags of `control`.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// Address of the API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090", env = "EDGESEAL_CONTROL_LISTEN")]
    listen: SocketAddr,
    /// Environment to make when the database has none
    #[arg(long, value_name = "NAME", default_value_t, env = "EDGESEAL_ENVIRONMENT", value_parser = Environment::parse)]
    environment: Environment,
    /// Where to write the first admin token, instead of printing it once; must not exist
    #[arg(long, value_name = "FILE", env = "EDGESEAL_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    #[command(flatten)]
    plane: PlaneArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &ControlArgs, output: Output) -> Outcome {
    let telemetry = Telemetry::start(&args.telemetry)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let ended = runtime.block_on(control(args, output));
    telemetry.shut_down();
    ended
}

async fn control(args: &ControlArgs, output: Output) -> Outcome {
    let mut stop = Stop::listen()?;
    let guardrail = args.plane.guardrail()?;
    let master = args.master_key.given()?.ok_or_else(|| {
        Failure::usage(
            "name the master key that all control planes of this database share, with --master-key-file FILE or the \
             variable EDGESEAL_MASTER_KEY; `edgeseal keys new-master-key FILE` makes one",
        )
    })?;
    let announcers = match args.redis.settings() {
        Some(settings) => {
            let redis = RedisNotices::open(&settings).or_usage(|| "--redis")?;
            vec![Arc::new(redis) as Arc<dyn Announcer>]
        }
        None => Vec::new(),
    };
    let store = args.database.database()?.open().await?;
    let control = plane::control(&args.plane, store, master, announcers);
    let environments = control.store().environments().await.map_err(crate::databases::refused)?;
    if environments.is_empty() {
        plane::ensure_environment(&control, &args.environment).await?;
    }
    // Before anybody can knock: whoever waits for the port finds the token.
    let token = plane::admin_token(&control, args.admin_token_file.as_deref()).await?;
    let plane = Plane::start(Arc::clone(&control), args.listen, guardrail).await?;
    let url = plane.url();
    if output.json {
        let mut banner = json!({ "format": JSON_FORMAT, "control": url });
        if let Some(token) = &token {
            banner["adminToken"] = json!(token.as_str());
        }
        output.json_line(&banner)?;
    } else {
        output.line(format_args!(
            "the control plane listens on {url}/api/v1 (OpenAPI: {url}/api/v1/openapi.json)"
        ))?;
        if let Some(token) = &token {
            let token = output.paint(Tone::Good, token.as_str());
            output.line(format_args!("first admin token, shown this once: {token}"))?;
            output.line(format_args!("next  edgeseal login {url}"))?;
        }
    }
    drop(token);
    stop.asked().await;
    tracing::info!("stopping: requests under way are finished; ask again to stop at once");
    tokio::select! {
        () = plane.shut_down() => {}
        () = stop.asked() => tracing::warn!("stopped at once"),
    }
    Ok(Exit::Ok)
}
