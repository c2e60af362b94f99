//! Where Redis is and how to get a connection.

use std::fmt;
use std::time::Duration;

use edgeseal_core::ids::Environment;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisError, RedisResult, TlsCertificates,
};

use crate::error::{CacheError, OpenError, is_answer, is_refusal};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Long enough for the longest snapshot over 30 Mbit/s; also how long a server that hangs goes unnoticed.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How to reach Redis. `Debug` shows no password.
#[derive(Clone, Default)]
pub struct Settings {
    /// `redis://user:password@host:6379/0`; `rediss://` for TLS.
    pub url: String,
    /// Put before every key and channel, for a Redis that others use too; empty by default.
    pub prefix: String,
    /// PEM of the certificate authority to trust instead of the public ones.
    pub authority: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One Redis, checked settings, no connection yet.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    prefix: String,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Result<Self, OpenError> {
        let info = settings.url.as_str().into_connection_info().map_err(OpenError::Url)?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(OpenError::Insecure);
        }
        // Answers and pushed messages on one connection need RESP3 (Redis 6 and later).
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        let client = match &settings.authority {
            Some(pem) => with_authority(info, pem.clone())?,
            None => Client::open(info).map_err(OpenError::Url)?,
        };
        // The driver takes the provider of the process, and there is none until somebody chooses. That somebody
        // else chose already is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self { client, prefix: settings.prefix.clone() })
    }

    pub(crate) async fn connect(&self, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let config =
            config.set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(Some(ANSWER_WITHIN));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// The hash of an environment. The braces keep it on one node of a cluster together with whatever may follow.
    pub(crate) fn key(&self, environment: &Environment) -> String {
        format!("{}edgeseal:{{{environment}}}", self.prefix)
    }

    /// The channel that tells of changes of that hash.
    pub(crate) fn channel(&self, environment: &Environment) -> String {
        format!("{}:news", self.key(environment))
    }

    pub(crate) fn trouble(&self, source: RedisError) -> CacheError {
        let address = self.address();
        if is_refusal(&source) {
            CacheError::Refused { address, pattern: format!("{}edgeseal:*", self.prefix), source }
        } else if is_answer(&source) {
            CacheError::Failed { address, source }
        } else {
            CacheError::Unreachable { address, source }
        }
    }

    /// Host, port and database; nothing that could be secret.
    fn address(&self) -> String {
        let info = self.client.get_connection_info();
        format!("{}/{}", info.addr(), info.redis_settings().db())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("address", &self.address()).field("prefix", &self.prefix).finish()
    }
}

fn with_authority(info: ConnectionInfo, pem: Vec<u8>) -> Result<Client, OpenError> {
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) })
        .map_err(OpenError::Authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_refused_without_being_repeated() {
        for url in
            ["", "127.0.0.1:6379", "http://:hush@host", "redis://:hush@host:port", "redis://:hush@host/x"]
        {
            let error = open(url).unwrap_err();
            assert!(matches!(error, OpenError::Url(_)), "{url}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn tls_without_checking_certificates_is_refused() {
        assert!(matches!(open("rediss://host/#insecure"), Err(OpenError::Insecure)));
    }

    #[test]
    fn an_authority_that_is_no_certificate_is_refused() {
        let settings = Settings {
            url: "rediss://host".into(),
            authority: Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec()),
            ..Settings::default()
        };
        assert!(matches!(Server::new(&settings), Err(OpenError::Authority(_))));
    }

    #[test]
    fn neither_settings_nor_server_show_the_password() {
        let settings = Settings { url: "redis://me:hush@host:7000/3".into(), ..Settings::default() };
        let server = Server::new(&settings).unwrap();
        assert!(!format!("{settings:?} {server:?}").contains("hush"));
        assert_eq!(server.address(), "host:7000/3");
    }

    #[test]
    fn keys_and_channels_carry_the_prefix() {
        let settings = Settings { url: "redis://host".into(), prefix: "team-a/".into(), authority: None };
        let server = Server::new(&settings).unwrap();
        let environment = Environment::parse("staging").unwrap();
        assert_eq!(server.key(&environment), "team-a/edgeseal:{staging}");
        assert_eq!(server.channel(&environment), "team-a/edgeseal:{staging}:news");
    }

    fn open(url: &str) -> Result<Server, OpenError> {
        Server::new(&Settings { url: url.into(), ..Settings::default() })
    }
}
