//! `edgeseal serve`: control plane, edge and store in one process, on one SQLite file.
//!
//! The same parts as `control` and `edge`, put together here: what the control plane has for edges is offered to this
//! process's edge without a network between them, and verified all the same.

mod banner;
mod delivery;
mod file;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgeseal_control::{Control, Current};
use edgeseal_core::ids::Environment;
use edgeseal_edge::feed::{EdgeKeys, Feed, HEARTBEAT_INTERVAL, Offer};
use edgeseal_edge::intake::drain;
use edgeseal_edge::{Clock, Edge};
use edgeseal_store::EdgeReport;
use tokio::sync::watch::Receiver;

use crate::commands::edge::ServingArgs;
use crate::data_dir::{self, DataDir};
use crate::databases;
use crate::edge_state::EdgeState;
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::master_key::MasterKeyArgs;
use crate::output::Output;
use crate::plane::{self, Plane, PlaneArgs};
use crate::ruleset_source::SourceArgs;
use crate::stop::Stop;
use crate::telemetry::{Telemetry, TelemetryArgs};
use banner::Banner;
use delivery::InProcess;
use file::Experiments;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// Environment to serve [default: the one that the experiments file names]
    #[arg(long, value_name = "NAME", env = "EDGESEAL_ENVIRONMENT", value_parser = Environment::parse)]
    environment: Option<Environment>,
    #[command(flatten)]
    serving: ServingArgs,
    /// Address of the control plane's API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090", env = "EDGESEAL_CONTROL_LISTEN")]
    control_listen: SocketAddr,
    #[command(flatten)]
    plane: PlaneArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: &ServeArgs, output: Output) -> Outcome {
    let telemetry = Telemetry::start(&args.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let served = runtime.block_on(serve(args, output));
    runtime.shutdown_background();
    telemetry.shut_down();
    served
}

async fn serve(args: &ServeArgs, output: Output) -> Outcome {
    let mut stop = Stop::listen()?;
    let guardrail = args.plane.guardrail()?;
    let data_dir = DataDir::create(&args.source.data_dir.data_dir)?;
    let _lock = data_dir.lock(data_dir::file::SERVE_LOCK, "`edgeseal serve`")?;
    data_dir.sweep();
    let store = databases::open_file(&data_dir.path_of(data_dir::file::DATABASE)).await?;
    let known = store.environments().await.map_err(databases::refused)?;
    let belongs_to = known.iter().min_by_key(|known| known.created_at).map(|known| known.name.clone());
    let mut experiments = Experiments::new(&args.source, args.environment.clone());
    let first = experiments.load();
    let environment = settle(belongs_to.clone(), args.environment.clone(), &first)?;
    let first_start = belongs_to.is_none();
    let master = |first_start| args.master_key.in_dir(&data_dir, first_start);
    let control = plane::control(&args.plane, store, master(first_start)?, Vec::new());
    plane::ensure_environment(&control, &environment).await?;
    experiments.begin(&control, &environment, first, first_start).await?;

    let mut current = control.subscribe(&environment).await.map_err(plane::refused)?;
    let edge = Arc::new(Edge::new(args.serving.config(), Clock::system()).map_err(Failure::usage)?);
    let state = EdgeState::new(data_dir.clone(), master(false)?);
    let root = current.borrow().root;
    let feed = Feed::open(Arc::clone(&edge), environment.clone(), Arc::new(state), Some(root))
        .or_no(|| format!("the data directory '{}'", args.source.data_dir.data_dir.display()))?;
    edge.accept_events(args.serving.spool(&data_dir, &environment)?);
    let delivering = tokio::spawn(drain(
        Arc::clone(&edge),
        environment.clone(),
        feed.edge_id().to_owned(),
        InProcess { control: Arc::clone(&control) },
    ));
    let mut hand = Hand { feed, last: None };
    hand.over(&mut current)?;
    // What `verify` and `leak-test` read is there when the banner is.
    hand.feed.flush();
    let running = edge.start().map_err(Failure::unreachable)?;
    let token = plane::admin_token(&control, None).await?;
    let plane = Plane::start(Arc::clone(&control), args.control_listen, guardrail).await?;
    let state = control.state(&environment).await.map_err(plane::refused)?;
    Banner::new(args, running.local_addr(), plane.url(), &state, token).print(output)?;

    attend(
        args.plane.poll_interval(),
        &mut stop,
        &mut experiments,
        &control,
        &environment,
        &mut current,
        &mut hand,
    )
    .await;
    tracing::info!("stopping: requests under way are finished; ask again to stop at once");
    delivering.abort();
    running.shutdown();
    let end = async {
        plane.shut_down().await;
        let _ended = tokio::task::spawn_blocking(move || {
            running.join();
            hand.feed.flush();
        })
        .await;
    };
    tokio::select! {
        () = end => {}
        () = stop.asked() => tracing::warn!("stopped at once"),
    }
    Ok(Exit::Ok)
}

/// Which environment a data directory serves: the one it belongs to.
fn settle(
    belongs_to: Option<Environment>,
    asked: Option<Environment>,
    first: &Outcome<Option<crate::experiments_file::ExperimentsFile>>,
) -> Outcome<Environment> {
    match (belongs_to, asked) {
        (Some(ours), Some(asked)) if ours != asked => Err(Failure::usage(format_args!(
            "the keys of this data directory are for environment '{ours}', not '{asked}': use another --data-dir, one \
             for each environment"
        ))),
        (Some(ours), _) => Ok(ours),
        (None, asked) => {
            let named = first.as_ref().ok().and_then(Option::as_ref);
            let named = named.map(|file| file.definition().environment.clone());
            Ok(named.or(asked).unwrap_or_default())
        }
    }
}

/// Turns changes into what the edge serves, until somebody asks to stop.
async fn attend(
    interval: Duration,
    stop: &mut Stop,
    experiments: &mut Experiments,
    control: &Control,
    environment: &Environment,
    current: &mut Receiver<Arc<Current>>,
    hand: &mut Hand,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reports = tokio::time::interval(HEARTBEAT_INTERVAL);
    reports.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            changed = current.changed() => {
                if changed.is_err() {
                    return tracing::error!("the control plane of this process is gone");
                }
                if let Err(failure) = hand.over(current) {
                    tracing::error!(cause = format_args!("{:#}", failure.error), "the edge did not take over what is new");
                }
            }
            _ = ticks.tick() => experiments.look(control, environment).await,
            _ = reports.tick() => hand.report(control).await,
        }
    }
}

/// Hands what the control plane has to the edge of this process.
struct Hand {
    feed: Feed,
    last: Option<Arc<Current>>,
}

impl Hand {
    /// Offers what differs from the last time.
    fn over(&mut self, current: &mut Receiver<Arc<Current>>) -> Outcome<()> {
        let now = Arc::clone(&current.borrow_and_update());
        let last = self.last.as_ref();
        let new = |same: &dyn Fn(&Current) -> bool, token: &Arc<str>| {
            (!last.is_some_and(|last| same(last))).then(|| token.to_string())
        };
        let set = &now.set;
        let keys = if last.is_some_and(|last| Arc::ptr_eq(&last.keys, &now.keys)) {
            None
        } else {
            let json = now.keys.to_json().map_err(anyhow::Error::from)?;
            Some(Arc::new(EdgeKeys::from_json(json.as_bytes()).map_err(anyhow::Error::from)?))
        };
        let offer = Offer {
            keys,
            keyset: new(&|last| Arc::ptr_eq(&last.set.keyset, &set.keyset), &set.keyset),
            snapshot: new(&|last| Arc::ptr_eq(&last.set.snapshot, &set.snapshot), &set.snapshot),
            status: Some(set.status.to_string()),
        };
        // Compiling a large snapshot takes a moment; the API goes on meanwhile.
        let taken = tokio::task::block_in_place(|| self.feed.offer(&offer, self.feed.now()));
        taken.map_err(anyhow::Error::from)?;
        self.last = Some(now);
        Ok(())
    }

    /// Puts this edge into the list of edges, as one that follows over the network puts itself.
    async fn report(&self, control: &Control) {
        let (Some(serving), now) = (self.feed.serving(), self.feed.now()) else { return };
        let report = EdgeReport {
            id: self.feed.edge_id().to_owned(),
            environment: self.feed.environment().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: "process".to_owned(),
            cv: serving.cv,
            ep: serving.ep,
            keyset_ver: serving.keyset_ver,
            config_age_ms: now.unix_ms().saturating_sub(serving.status_iat.unix_ms()),
            seen_at_ms: now.unix_ms(),
        };
        if let Err(error) = control.store().edges_seen(&[report]).await {
            tracing::warn!(%error, "this process's edge is missing from the list of edges");
        }
    }
}
