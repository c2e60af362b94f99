//! Flags of the HTTP edge, the same for `edge` and `serve`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use edgeseal_core::ids::Environment;
use edgeseal_edge::intake::{MIN_SPOOL_BYTES, SPOOL_MAX_BYTES, Spool};
use edgeseal_edge::{CdnProfile, Config, TOKEN_LIFE_SECONDS};

use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, Outcome};

/// How the edge listens, and how it talks to caches.
#[derive(Debug, Args)]
pub(crate) struct ServingArgs {
    /// Address of the edge; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "EDGESEAL_LISTEN")]
    listen: SocketAddr,
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
    /// Most bytes of events kept on disk for the control plane; beyond it: 429
    #[arg(long, value_name = "BYTES", default_value_t = SPOOL_MAX_BYTES, env = "EDGESEAL_SPOOL_MAX_BYTES", value_parser = clap::value_parser!(u64).range(MIN_SPOOL_BYTES..))]
    spool_max_bytes: u64,
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

impl ServingArgs {
    /// The place for events in `dir`: one for each environment, so that none comes to a control plane of another.
    pub(crate) fn spool(&self, dir: &DataDir, environment: &Environment) -> Outcome<Spool> {
        let path = dir.path_of(file::EVENTS).join(environment.as_str());
        Spool::open(&path, self.spool_max_bytes).map_err(Failure::unreachable)
    }

    /// The settings of the edge.
    pub(crate) fn config(&self) -> Config {
        Config {
            listen: self.listen,
            threads: self.threads.map(usize::from),
            max_connections: self.max_connections,
            token_life_seconds: self.token_life_seconds,
            cdn_profile: match self.cdn_profile {
                CdnArg::None => CdnProfile::None,
                CdnArg::Cloudflare => CdnProfile::Cloudflare,
                CdnArg::Fastly => CdnProfile::Fastly,
            },
            hmac_public: self.hmac_public,
            ..Config::default()
        }
    }
}
