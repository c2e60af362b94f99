//! Logs on stderr, and spans to an OpenTelemetry collector when one is named.
//!
//! Nothing is exported unless `--otlp-endpoint` is given. Neither logs nor spans carry unit ids, attributes, tokens
//! or keys.

use std::io;

use clap::{Args, ValueEnum};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::{OrExit, Outcome};
use crate::output::colours_wanted;

/// Path that OTLP over HTTP adds for traces (OTLP specification, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// Whose logs and spans count: the targets are the names of our crates.
const OUR_CRATES: [&str; 7] = [
    "edgeseal",
    "edgeseal_control",
    "edgeseal_edge",
    "edgeseal_store",
    "edgeseal_store_postgres",
    "edgeseal_store_redis",
    "edgeseal_store_sqlite",
];

/// Flags about logs and spans.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    /// How log lines on stderr look
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "EDGESEAL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Least important log lines to show
    #[arg(long, value_enum, default_value_t = LogLevel::Info, env = "EDGESEAL_LOG_LEVEL")]
    pub(crate) log_level: LogLevel,
    /// OpenTelemetry collector to send spans to, as http://localhost:4318 [default: none]
    #[arg(long, value_name = "URL", env = "EDGESEAL_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Importance of log lines.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    /// Something failed
    Error,
    /// Something needs a look
    Warn,
    /// What happened
    Info,
    /// What was looked at
    Debug,
}

/// Keeps the exporter alive; [`Telemetry::shut_down`] sends what is left.
#[derive(Debug)]
pub(crate) struct Telemetry {
    exporter: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs the global subscriber. Call outside any async runtime: the exporter has a thread of its own.
    pub(crate) fn start(args: &TelemetryArgs) -> Outcome<Self> {
        let level = LevelFilter::from(args.log_level);
        let logs = match args.log_format {
            LogFormat::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
            LogFormat::Text => fmt::layer()
                .with_target(false)
                .with_ansi(colours_wanted(&io::stderr()))
                .with_writer(io::stderr)
                .boxed(),
        };
        // Only what this program says itself: a collector that is down must not fill the log with its client's woes.
        let own = OUR_CRATES.map(|name| (name, level));
        let own = Targets::new().with_default(LevelFilter::ERROR).with_targets(own);
        let exporter = args.otlp_endpoint.as_deref().map(exporter).transpose()?;
        let spans = exporter.as_ref().map(|provider| {
            let spans = Targets::new().with_targets(OUR_CRATES.map(|name| (name, LevelFilter::DEBUG)));
            tracing_opentelemetry::layer().with_tracer(provider.tracer("edgeseal")).with_filter(spans)
        });
        tracing_subscriber::registry()
            .with(logs.with_filter(own))
            .with(spans)
            .try_init()
            .map_err(anyhow::Error::from)?;
        Ok(Self { exporter })
    }

    /// Sends the spans that are left. Blocks for a few seconds at most when the collector does not answer.
    pub(crate) fn shut_down(self) {
        if let Some(Err(error)) = self.exporter.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "some spans did not reach the collector");
        }
    }
}

fn exporter(endpoint: &str) -> Outcome<SdkTracerProvider> {
    let base = endpoint.trim_end_matches('/');
    let url = if base.ends_with(TRACES_PATH) { base.to_owned() } else { format!("{base}{TRACES_PATH}") };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .or_usage(|| format!("cannot send spans to '{endpoint}'"))?;
    let service = Resource::builder().with_service_name("edgeseal").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(service).build())
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        }
    }
}
