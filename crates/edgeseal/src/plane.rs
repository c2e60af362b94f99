//! The control plane of this process: put together, started, and ended in order. For `serve` and `control`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgeseal_control::{
    Clock, Config, Context, Control, ControlError, HttpSettings, MasterKey, api, first_admin_token, serve,
};
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::RotationPolicy;
use edgeseal_store::{Announcer, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::clock;
use crate::databases;
use crate::exit::{Failure, OrExit, Outcome};
use crate::guardrail::{self, GuardrailArgs, Watching};

/// Longest keyset lifetime, in seconds: what verifiers accept.
const MAX_KEYSET_LIFETIME_SECONDS: i64 = edgeseal_core::sealing::MAX_KEYSET_LIFE_SECONDS;

/// Flags of the control plane, the same for `control` and `serve`.
#[derive(Debug, Args)]
pub(crate) struct PlaneArgs {
    /// Life of a signed keyset, in seconds: for how long edges and clients outlive the loss of the control plane; a
    /// rotation waits for two of them
    #[arg(long, value_name = "SECONDS", default_value_t = RotationPolicy::default().keyset_lifetime_seconds,
          env = "EDGESEAL_KEYSET_LIFETIME_SECONDS",
          value_parser = clap::value_parser!(i64).range(2..=MAX_KEYSET_LIFETIME_SECONDS))]
    keyset_lifetime_seconds: i64,
    /// How often files and the database are looked at for changes that nothing told of, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, env = "EDGESEAL_POLL_INTERVAL_MS",
          value_parser = clap::value_parser!(u64).range(10..=60_000), hide = true)]
    poll_interval_ms: u64,
    #[command(flatten)]
    guardrail: GuardrailArgs,
}

impl PlaneArgs {
    /// How often to look for changes.
    pub(crate) fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    /// What the guardrail needs; read it before anything is opened.
    pub(crate) fn guardrail(&self) -> Outcome<guardrail::Settings> {
        self.guardrail.settings()
    }

    fn config(&self) -> Config {
        Config {
            clock: Clock::new(clock::now),
            keyset_lifetime_seconds: self.keyset_lifetime_seconds,
            poll_interval: self.poll_interval(),
        }
    }
}

/// A control plane that serves its API.
pub(crate) struct Plane {
    control: Arc<Control>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    background: JoinHandle<()>,
    watching: Watching,
}

/// Puts a control plane together.
pub(crate) fn control(
    args: &PlaneArgs,
    store: Arc<dyn Store>,
    master: MasterKey,
    announcers: Vec<Arc<dyn Announcer>>,
) -> Arc<Control> {
    Control::new(args.config(), store, master, announcers)
}

/// Makes the environment when there is none of that name; `true` when it was made.
pub(crate) async fn ensure_environment(control: &Control, name: &Environment) -> Outcome<bool> {
    match control.state(name).await {
        Ok(_) => Ok(false),
        Err(ControlError::NoEnvironment { .. }) => {
            match control.create_environment(&Context::system(), name).await {
                Ok(_) => {
                    tracing::info!(environment = %name, "first start: keys were made");
                    Ok(true)
                }
                // Another control plane was faster.
                Err(ControlError::EnvironmentExists { .. }) => Ok(false),
                Err(error) => Err(refused(error)),
            }
        }
        Err(error) => Err(refused(error)),
    }
}

/// The first admin token, to be shown once; `None` when there has been one before. With `file` it goes there instead.
pub(crate) async fn admin_token(
    control: &Control,
    file: Option<&Path>,
) -> Outcome<Option<Zeroizing<String>>> {
    let token = first_admin_token(control).await.map_err(refused)?;
    let (Some(token), Some(path)) = (&token, file) else { return Ok(token) };
    let written = write_secret(path, token);
    written.or_unreachable(|| {
        format!(
            "the first admin token was made, but '{}' cannot be written; `edgeseal recover-admin` makes another one",
            path.display()
        )
    })?;
    Ok(None)
}

/// Writes a secret to a file that does not exist yet, readable by its owner only.
pub(crate) fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(format!("{secret}\n").as_bytes())?;
    file.sync_all()
}

impl Plane {
    /// Listens, serves the API, does the background work and watches experiments.
    pub(crate) async fn start(
        control: Arc<Control>,
        listen: SocketAddr,
        guardrail: guardrail::Settings,
    ) -> Outcome<Self> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Failure::unreachable(format_args!(
                "cannot listen on {listen}: {error}; free the address or choose another one for the control plane"
            ))
        })?;
        let address = listener.local_addr().map_err(anyhow::Error::from)?;
        let (stop, mut stopped) = watch::channel(false);
        let api = api(Arc::clone(&control), HttpSettings::default());
        let server = tokio::spawn(async move {
            serve(listener, api, async move {
                // An error means that the plane itself is gone: stop as well.
                let _gone = stopped.wait_for(|stop| *stop).await;
            })
            .await;
        });
        let background = tokio::spawn(Arc::clone(&control).run());
        let watching = Watching::start(&control, guardrail)?;
        Ok(Self { control, address, stop, server, background, watching })
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        url_of(self.address)
    }

    /// Ends streams, finishes requests under way, closes the store.
    pub(crate) async fn shut_down(self) {
        self.stop.send_replace(true);
        // A panic was already reported by its task.
        let _panicked = self.server.await;
        self.watching.stop();
        self.background.abort();
        self.control.store().close().await;
    }
}

/// The URL that a person of this machine would open.
pub(crate) fn url_of(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    if ip.is_loopback() || ip.is_unspecified() {
        format!("http://localhost:{port}")
    } else {
        format!("http://{address}")
    }
}

/// What the control plane refused, with its exit code.
pub(crate) fn refused(error: ControlError) -> Failure {
    match error {
        ControlError::Store(error) => databases::refused(error),
        ControlError::Busy | ControlError::InFlight => Failure::unreachable(error),
        ControlError::Internal { .. } => anyhow::Error::from(error).into(),
        _ => Failure::no(error),
    }
}
