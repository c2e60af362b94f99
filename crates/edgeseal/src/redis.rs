//! Flags that name Redis.

use clap::Args;
use edgeseal_store_redis::Settings;

/// Where news are announced, or heard.
#[derive(Debug, Args)]
pub(crate) struct RedisArgs {
    /// Redis or Valkey that carries news between control planes and edges, as redis://host:6379 [default: none]
    #[arg(long, value_name = "URL", env = "EDGESEAL_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// What the names of keys and channels begin with, to share a server
    #[arg(long, value_name = "TEXT", default_value = "", env = "EDGESEAL_REDIS_PREFIX", requires = "redis")]
    redis_prefix: String,
}

impl RedisArgs {
    /// The settings, when a server was named.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let Some(url) = &self.redis else { return None };
        Some(Settings { url: url.clone(), prefix: self.redis_prefix.clone(), ..Settings::default() })
    }
}
