//! `edgeseal edge`: an edge that follows a control plane, and survives without it.

mod delivery;
mod serving;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgeseal_core::ids::Environment;
use edgeseal_edge::feed::{
    Feed, Follower, FollowerConfig, FollowerHandle, Offer, POLL_INTERVAL, TokenSource,
};
use edgeseal_edge::intake::drain;
use edgeseal_edge::{Clock, Edge};
use edgeseal_store_redis::{Notice, RedisNotices, Subscription};
use serde_json::json;
use zeroize::Zeroizing;

use crate::commands::edge_list::EdgeCommand;
use crate::commands::verify::read_root_key;
use crate::data_dir::{DataDir, file, read_bounded};
use crate::edge_state::EdgeState;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::master_key::MasterKeyArgs;
use crate::output::{JSON_FORMAT, Output};
use crate::plane::url_of;
use crate::redis::RedisArgs;
use crate::stop::Stop;
use crate::telemetry::{Telemetry, TelemetryArgs};

use delivery::HttpDrain;
pub(crate) use serving::ServingArgs;

/// Largest token file, in bytes.
const MAX_TOKEN_FILE_BYTES: u64 = 1_024;
/// How long an edge with an empty disk waits for the control plane before it listens without anything to serve.
const FIRST_NEWS_PATIENCE: Duration = Duration::from_secs(3);
const FIRST_NEWS_LOOK: Duration = Duration::from_millis(5);

/// Flags of `edge`, or a subcommand of it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct EdgeArgs {
    #[command(subcommand)]
    pub(crate) command: Option<EdgeCommand>,
    #[command(flatten)]
    run: RunArgs,
}

/// Flags of a running edge. What is required is optional in form only: subcommands do without.
#[derive(Debug, Args)]
struct RunArgs {
    /// The control plane to follow, such as `https://control.example.com`
    #[arg(long, value_name = "URL", env = "EDGESEAL_CONTROL", required = true)]
    control: Option<String>,
    /// File with an API token of scope 'edge'; read anew at each connection, so it can be replaced
    #[arg(long, value_name = "FILE", env = "EDGESEAL_TOKEN_FILE", required = true)]
    token_file: Option<PathBuf>,
    /// Directory for the last good documents, to serve from when everything else is down
    #[arg(long, value_name = "DIR", env = "EDGESEAL_STATE_DIR", required = true)]
    state_dir: Option<PathBuf>,
    /// Environment to serve
    #[arg(long, value_name = "NAME", default_value_t, env = "EDGESEAL_ENVIRONMENT", value_parser = Environment::parse)]
    environment: Environment,
    /// Root key to trust: a JWK, or a file with one [default: the first one that the control plane names, then pinned]
    #[arg(long, value_name = "JWK|FILE", env = "EDGESEAL_ROOT_KEY")]
    root_key: Option<String>,
    /// Let keys and the token travel over plain HTTP to another machine
    #[arg(long, env = "EDGESEAL_INSECURE_HTTP", value_parser = clap::builder::FalseyValueParser::new())]
    insecure_http: bool,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    serving: ServingArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// Runs until it is told to stop.
pub(crate) fn run(args: &EdgeArgs, output: Output) -> Outcome {
    let args = &args.run;
    let telemetry = Telemetry::start(&args.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let ended = runtime.block_on(edge(args, output));
    runtime.shutdown_background();
    telemetry.shut_down();
    ended
}

async fn edge(args: &RunArgs, output: Output) -> Outcome {
    let (Some(control), Some(token_file), Some(state_dir)) =
        (&args.control, &args.token_file, &args.state_dir)
    else {
        return Err(Failure::usage(
            "name --control, --token-file and --state-dir; see `edgeseal edge --help`",
        ));
    };
    let mut stop = Stop::listen()?;
    let redis = match args.redis.settings() {
        Some(settings) => Some(RedisNotices::open(&settings).or_usage(|| "--redis")?),
        None => None,
    };
    let pinned = args.root_key.as_deref().map(read_root_key).transpose()?;
    let dir = DataDir::create(state_dir)?;
    let _lock = dir.lock(file::SERVE_LOCK, "`edgeseal edge`")?;
    dir.sweep();
    let first_start = !dir.path_of(file::EDGE_KEYS).exists();
    let state = EdgeState::new(dir.clone(), args.master_key.in_dir(&dir, first_start)?);

    let edge = Arc::new(Edge::new(args.serving.config(), Clock::system()).map_err(Failure::usage)?);
    let feed = Feed::open(Arc::clone(&edge), args.environment.clone(), Arc::new(state), pinned);
    let feed = Arc::new(feed.or_no(|| format!("the state directory '{}'", state_dir.display()))?);
    let config = FollowerConfig {
        control: control.clone(),
        allow_plain_http: args.insecure_http,
        stream: redis.is_none(),
        poll_interval: POLL_INTERVAL,
    };
    let follower =
        Follower::new(config, Arc::clone(&feed), token_source(token_file)).map_err(Failure::usage)?;
    edge.accept_events(args.serving.spool(&dir, &args.environment)?);
    let control = HttpDrain::new(control, token_source(token_file))?;
    let (environment, edge_id) = (args.environment.clone(), feed.edge_id().to_owned());
    let delivering = tokio::spawn(drain(Arc::clone(&edge), environment, edge_id, control));
    let handle = follower.handle();
    if let Some(redis) = redis {
        tokio::spawn(hear(redis.subscribe(&args.environment), handle.clone()));
        handle.poke();
    }
    let following = tokio::spawn(follower.run(std::future::pending()));
    let news = async {
        while feed.serving().is_none() {
            tokio::time::sleep(FIRST_NEWS_LOOK).await;
        }
    };
    tokio::select! {
        () = stop.asked() => return Ok(Exit::Ok),
        waited = tokio::time::timeout(FIRST_NEWS_PATIENCE, news) => if waited.is_err() {
            tracing::warn!("nothing to serve yet; listening anyway, and waiting for the control plane");
        }
    }

    let running = edge.start().map_err(Failure::unreachable)?;
    let url = url_of(running.local_addr());
    if output.json {
        output.json_line(&json!({ "format": JSON_FORMAT, "url": url, "environment": args.environment }))?;
    } else if !output.quiet {
        output.line(format_args!("an edge of environment '{}' listens on {url}", args.environment))?;
    }
    stop.asked().await;
    tracing::info!("stopping: requests under way are finished; ask again to stop at once");
    following.abort();
    delivering.abort();
    running.shutdown();
    tokio::select! {
        _ended = tokio::task::spawn_blocking(move || { running.join(); feed.flush(); }) => {}
        () = stop.asked() => tracing::warn!("stopped at once"),
    }
    Ok(Exit::Ok)
}

fn token_source(path: &Path) -> TokenSource {
    let path = path.to_owned();
    Arc::new(move || {
        let bytes = Zeroizing::new(read_bounded(&path, MAX_TOKEN_FILE_BYTES)?);
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::other(format!("'{}' holds no token", path.display())))?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    })
}

/// Brings what Redis carries; the follower polls whatever happens to it.
async fn hear(mut news: Subscription, handle: FollowerHandle) {
    loop {
        match news.next().await {
            Notice::News(documents) => {
                let offer = Offer {
                    keys: None,
                    keyset: Some(documents.keyset.to_string()),
                    snapshot: Some(documents.snapshot.to_string()),
                    status: Some(documents.status.to_string()),
                };
                // A refusal was logged where it was found; the follower asks the control plane then.
                let _refused = handle.offer(offer).await;
            }
            Notice::Lost(trouble) => {
                tracing::warn!(%trouble, "Redis is lost; polling the control plane meanwhile");
                handle.poke();
            }
            Notice::Back => tracing::info!("Redis is back"),
        }
    }
}
