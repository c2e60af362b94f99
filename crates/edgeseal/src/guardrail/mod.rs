//! The guardrail of this process: its flags, what it acts through, and how its alerts go out. For `serve` and `control`.

mod actions;
mod sender;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgeseal_control::Control;
use edgeseal_guardrail::alert::{PAGERDUTY_URL, Secret, SecretText};
use edgeseal_guardrail::{Channel, Config, Guardrail, HealthLimits, Outbox};
use reqwest::Url;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::clock;
use crate::data_dir::read_bounded;
use crate::exit::{Failure, OrExit, Outcome};
use crate::fraction::part;
pub(crate) use actions::ThroughControl;
use sender::HttpSender;

/// Bound of a file with an address or a key.
const MAX_SECRET_FILE_BYTES: u64 = 4_096;
/// How often the outbox is looked at, at most; never more rarely than the guardrail looks.
const OUTBOX_INTERVAL: Duration = Duration::from_secs(1);

/// Flags of the guardrail, the same for `control` and `serve`.
#[derive(Debug, Args)]
pub(crate) struct GuardrailArgs {
    /// How often the guardrail looks at running experiments, in milliseconds; 0 switches it off
    #[arg(long, value_name = "MS", default_value_t = 10_000, env = "EDGESEAL_GUARDRAIL_INTERVAL_MS",
          value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    guardrail_interval_ms: u64,
    /// Share of the day's exposed units that may report another unit's token, before it is alerted
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = part, env = "EDGESEAL_GUARDRAIL_LEAK_RATE")]
    guardrail_leak_rate: f64,
    /// Share of an experiment's units of the day that may change their variant within a session, before it is alerted
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = part, env = "EDGESEAL_GUARDRAIL_DRIFT_RATE")]
    guardrail_drift_rate: f64,
    /// Share of the day's exposed units that may report a token that does not verify, before it is alerted
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = part,
          env = "EDGESEAL_GUARDRAIL_VERIFICATION_RATE")]
    guardrail_verification_rate: f64,
    /// File with the address that alerts are posted to, signed as standardwebhooks.com says
    #[arg(
        long,
        value_name = "FILE",
        env = "EDGESEAL_ALERT_WEBHOOK_URL_FILE",
        requires = "alert_webhook_secret_file"
    )]
    alert_webhook_url_file: Option<PathBuf>,
    /// File with the secret that signs webhooks: 'whsec_' and base64 of 24 to 64 bytes
    #[arg(
        long,
        value_name = "FILE",
        env = "EDGESEAL_ALERT_WEBHOOK_SECRET_FILE",
        requires = "alert_webhook_url_file"
    )]
    alert_webhook_secret_file: Option<PathBuf>,
    /// File with the address of a Slack incoming webhook
    #[arg(long, value_name = "FILE", env = "EDGESEAL_ALERT_SLACK_URL_FILE")]
    alert_slack_url_file: Option<PathBuf>,
    /// File with the integration key of a PagerDuty service (Events API v2)
    #[arg(long, value_name = "FILE", env = "EDGESEAL_ALERT_PAGERDUTY_KEY_FILE")]
    alert_pagerduty_key_file: Option<PathBuf>,
    /// Where PagerDuty takes events; accounts in the EU have an address of their own
    #[arg(long, value_name = "URL", default_value = PAGERDUTY_URL, env = "EDGESEAL_ALERT_PAGERDUTY_URL")]
    alert_pagerduty_url: String,
}

/// What the guardrail needs, read before anything is opened.
#[derive(Debug)]
pub(crate) struct Settings {
    config: Option<Config>,
    channels: Vec<Channel>,
}

impl GuardrailArgs {
    /// Reads the files that flags name.
    pub(crate) fn settings(&self) -> Outcome<Settings> {
        let config = match self.guardrail_interval_ms {
            0 => None,
            ms => Some(Config {
                interval: Duration::from_millis(ms),
                health: HealthLimits {
                    leak_rate: self.guardrail_leak_rate,
                    drift_rate: self.guardrail_drift_rate,
                    verification_rate: self.guardrail_verification_rate,
                    ..HealthLimits::default()
                },
            }),
        };
        let mut channels = Vec::new();
        if let (Some(url), Some(secret)) = (&self.alert_webhook_url_file, &self.alert_webhook_secret_file) {
            let text = read(secret)?;
            let secret = Secret::parse(&text).or_usage(|| format!("'{}'", secret.display()))?;
            channels.push(Channel::Webhook { url: address(&read(url)?, url)?, secret });
        }
        if let Some(url) = &self.alert_slack_url_file {
            channels.push(Channel::Slack { url: SecretText::new(&address(&read(url)?, url)?) });
        }
        if let Some(key) = &self.alert_pagerduty_key_file {
            let routing_key = SecretText::new(&read(key)?);
            let url = address(&self.alert_pagerduty_url, Path::new("--alert-pagerduty-url"))?;
            channels.push(Channel::PagerDuty { url, routing_key });
        }
        Ok(Settings { config, channels })
    }
}

/// The guardrail and its outbox, at work.
pub(crate) struct Watching {
    tasks: Vec<JoinHandle<()>>,
}

impl Watching {
    /// Begins.
    pub(crate) fn start(control: &Arc<Control>, settings: Settings) -> Outcome<Self> {
        let Settings { config, channels } = settings;
        let store = Arc::clone(control.store());
        let interval = config.map_or(OUTBOX_INTERVAL, |config| config.interval.min(OUTBOX_INTERVAL));
        let mut tasks = Vec::new();
        if let Some(config) = config {
            let actions = Arc::new(ThroughControl::new(Arc::clone(control)));
            let guardrail = Guardrail::new(Arc::clone(&store), actions, config);
            tasks.push(tokio::spawn(guardrail.run(clock::now)));
        } else {
            tracing::warn!("the guardrail is off: nothing pauses an experiment that does harm");
        }
        // Alerts that another process wrote, or this one before, go out all the same.
        if !channels.is_empty() {
            let outbox = Outbox::new(store, Arc::new(HttpSender::new()?), channels);
            tasks.push(tokio::spawn(outbox.run(interval, clock::now)));
        }
        Ok(Self { tasks })
    }

    /// Ends. What is under way is done again by whoever is next.
    pub(crate) fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn read(path: &Path) -> Outcome<Zeroizing<String>> {
    let attempt = || format!("cannot read '{}'", path.display());
    let bytes = Zeroizing::new(read_bounded(path, MAX_SECRET_FILE_BYTES).or_unreachable(attempt)?);
    let text = std::str::from_utf8(&bytes).or_usage(attempt)?.trim();
    if text.is_empty() {
        return Err(Failure::usage(format_args!("'{}' is empty", path.display())));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// An address to post to. It may hold a secret, so errors name where it was written instead.
fn address(text: &str, place: &Path) -> Outcome<String> {
    let refused = |why: &str| Err(Failure::usage(format_args!("'{}' {why}", place.display())));
    let Ok(url) = Url::parse(text) else {
        return refused("holds no address, such as https://hooks.example.com/x");
    };
    let local = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => return refused("holds an address without a host"),
    };
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if local => Ok(url.into()),
        "http" => refused("holds a plain http:// address of another machine: use https://"),
        _ => refused("holds an address that begins with neither https:// nor http://"),
    }
}
