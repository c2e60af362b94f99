//! `edgeseal serve`: the edge, fed from an experiments file and a data directory.
//!
//! [`run`] composes the parts once; then one loop turns what changes outside (the experiments file, the keyring,
//! the clock) into publications. Requests are answered on the edge's own threads and never wait for this loop.

mod banner;
mod halts;
mod publisher;
mod state;
mod watch;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::RotationPolicy;
use edgeseal_edge::{CdnProfile, Clock, Config, Edge, TOKEN_LIFE_SECONDS};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::MasterKeyArgs;
use crate::clock;
use crate::data_dir::{DataDir, file};
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::output::Output;
use crate::ruleset_source::SourceArgs;
use crate::telemetry::{Telemetry, TelemetryArgs};
use banner::Banner;
use publisher::Publisher;
use watch::FileWatch;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "EDGESEAL_LISTEN")]
    listen: SocketAddr,
    /// Environment to serve [default: the one that the experiments file names]
    #[arg(long, value_name = "NAME", env = "EDGESEAL_ENVIRONMENT")]
    environment: Option<String>,
    /// Serving threads [default: one per core]
    #[arg(long, value_name = "N", env = "EDGESEAL_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Which cache tags to send, by the CDN in front
    #[arg(long, value_enum, default_value_t = CdnArg::None, env = "EDGESEAL_CDN_PROFILE")]
    cdn_profile: CdnArg,
    /// Life of a token, in seconds: how long a cache may serve it
    #[arg(long, value_name = "SECONDS", default_value_t = TOKEN_LIFE_SECONDS, env = "EDGESEAL_TOKEN_LIFE_SECONDS")]
    token_life_seconds: u32,
    /// Most connections open at once; beyond it: 503
    #[arg(long, value_name = "N", default_value_t = edgeseal_edge::MAX_CONNECTIONS, env = "EDGESEAL_MAX_CONNECTIONS")]
    max_connections: usize,
    /// Let shared caches keep answers of the HMAC profile; only behind a cache that is proven to obey Vary
    #[arg(long, env = "EDGESEAL_HMAC_PUBLIC", value_parser = clap::builder::FalseyValueParser::new())]
    hmac_public: bool,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    /// Life of a signed keyset, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = RotationPolicy::default().keyset_lifetime_seconds,
          env = "EDGESEAL_KEYSET_LIFETIME_SECONDS", value_parser = clap::value_parser!(i64).range(2..=86_400), hide = true)]
    keyset_lifetime_seconds: i64,
    /// How often files are looked at for changes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, env = "EDGESEAL_POLL_INTERVAL_MS",
          value_parser = clap::value_parser!(u64).range(10..=60_000), hide = true)]
    poll_interval_ms: u64,
}

/// The CDN in front.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CdnArg {
    /// No tags
    None,
    /// Cache-Tag
    Cloudflare,
    /// Surrogate-Key
    Fastly,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: ServeArgs, output: Output) -> Outcome {
    let telemetry = Telemetry::start(&args.telemetry)?;
    let served = serve(&args, output);
    telemetry.shut_down();
    served
}

fn serve(args: &ServeArgs, output: Output) -> Outcome {
    let asked =
        args.environment.as_deref().map(Environment::parse).transpose().or_usage(|| "--environment")?;
    let data_dir = DataDir::create(&args.source.data_dir.data_dir)?;
    let _lock = data_dir.lock(file::SERVE_LOCK, "`edgeseal serve`")?;
    data_dir.sweep();

    let settings = publisher::Settings {
        master_key_file: args.master_key.master_key_file.clone(),
        policy: RotationPolicy {
            keyset_lifetime_seconds: args.keyset_lifetime_seconds,
            ..RotationPolicy::default()
        },
    };
    // Looked at before it is read, so that no change falls between.
    let mut keyring = FileWatch::new(data_dir.path_of(file::KEYRING));
    let first_start = !keyring.changed();
    let mut experiments = Experiments::new(args, asked.clone());
    let first = experiments.load();
    let mut publisher = Publisher::open(data_dir, settings, experiments.environment(&first), clock::now())?;
    if let Some(asked) = asked.filter(|asked| asked != publisher.environment()) {
        return Err(Failure::usage(format_args!(
            "the keys of this data directory are for environment '{}', not '{asked}': use another --data-dir, one for \
             each environment",
            publisher.environment()
        )));
    }
    if first_start {
        keyring.changed();
    }
    publisher.begin(first, clock::now())?;

    let edge = Edge::new(config(args), Clock::system()).map_err(Failure::usage)?;
    publisher.publish(&edge)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let mut stop = runtime.block_on(async { Stop::listen() })?;
    let running = edge.start().map_err(Failure::unreachable)?;
    Banner::new(args, running.local_addr(), &publisher).print(output)?;

    let interval = Duration::from_millis(args.poll_interval_ms);
    runtime.block_on(feed(interval, &mut stop, &mut keyring, &mut experiments, &mut publisher, &edge));
    tracing::info!("stopping: requests under way are finished; ask again to stop at once");
    running.shutdown();
    runtime.block_on(async {
        tokio::select! {
            _ = tokio::task::spawn_blocking(|| running.join()) => {}
            () = stop.asked() => tracing::warn!("stopped at once"),
        }
    });
    runtime.shutdown_background();
    Ok(Exit::Ok)
}

/// Turns changes into publications until somebody asks to stop.
async fn feed(
    interval: Duration,
    stop: &mut Stop,
    keyring: &mut FileWatch,
    experiments: &mut Experiments,
    publisher: &mut Publisher,
    edge: &Edge,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            _ = ticks.tick() => {}
        }
        let now = clock::now();
        let mut news = false;
        if keyring.changed() {
            let effect = "the keyring was not taken over; the keys in use stay";
            news |= told(effect, publisher.reload_keyring(now));
        }
        if experiments.changed() {
            let effect = "the experiments file was refused; the last good snapshot keeps serving";
            let adopted = experiments.load().and_then(|file| publisher.adopt(file.as_ref(), now));
            news |= told(effect, adopted);
        }
        news |= told("what was due could not be signed", publisher.refresh(now));
        if news {
            told("what changed could not be published", publisher.publish(edge).map(|()| true));
        }
    }
}

/// Ctrl-C, or the polite signal of an init system.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Outcome<Self> {
        let of = |kind| signal(kind).map_err(anyhow::Error::from);
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Logs a failure once, where it is handled; `true` when there is something new to publish.
fn told(effect: &'static str, outcome: Outcome<bool>) -> bool {
    outcome.unwrap_or_else(|failure| {
        tracing::error!(cause = format_args!("{:#}", failure.error), "{effect}");
        false
    })
}

fn config(args: &ServeArgs) -> Config {
    Config {
        listen: args.listen,
        threads: args.threads.map(usize::from),
        max_connections: args.max_connections,
        token_life_seconds: args.token_life_seconds,
        cdn_profile: match args.cdn_profile {
            CdnArg::None => CdnProfile::None,
            CdnArg::Cloudflare => CdnProfile::Cloudflare,
            CdnArg::Fastly => CdnProfile::Fastly,
        },
        hmac_public: args.hmac_public,
        ..Config::default()
    }
}

/// Where the experiments come from.
struct Experiments {
    watched: Option<FileWatch>,
    demo: bool,
    asked: Option<Environment>,
}

impl Experiments {
    fn new(args: &ServeArgs, asked: Option<Environment>) -> Self {
        let watched = args.source.experiments.clone().map(FileWatch::new);
        Self { watched, demo: args.source.demo, asked }
    }

    /// Reads the file or the sample; `None` when neither was named, to serve what was served last.
    fn load(&mut self) -> Outcome<Option<ExperimentsFile>> {
        let mut file = match &mut self.watched {
            Some(watched) => {
                watched.changed();
                ExperimentsFile::load(watched.path())?
            }
            None if self.demo => ExperimentsFile::demo()?,
            None => return Ok(None),
        };
        file.settle_environment(self.asked.as_ref())?;
        Ok(Some(file))
    }

    fn changed(&mut self) -> bool {
        self.watched.as_mut().is_some_and(FileWatch::changed)
    }

    /// The environment to make keys for on a first start.
    fn environment(&self, file: &Outcome<Option<ExperimentsFile>>) -> Option<Environment> {
        let named = file
            .as_ref()
            .ok()
            .and_then(|file| file.as_ref())
            .map(|file| file.definition().environment.clone());
        named.or_else(|| self.asked.clone())
    }
}
