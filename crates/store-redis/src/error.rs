//! What can go wrong with the shared cache. The URL never appears: it may hold a password.

use redis::{ErrorKind, RedisError};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one.
    #[error(
        "the Redis URL cannot be used: {0}; it looks like `redis://user:password@host:6379/0`, or `rediss://` for TLS"
    )]
    Url(RedisError),
    /// `#insecure`: TLS with whoever answers.
    #[error(
        "the Redis URL ends with `#insecure`, which accepts any certificate; leave it out, and name the certificate authority if it is a private one"
    )]
    Insecure,
    /// The file of the certificate authority is not one.
    #[error("the certificates that Redis shall be trusted by cannot be used: {0}; give a PEM file")]
    Authority(RedisError),
}

/// Why the shared cache carries no news at the moment.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No connection, a broken one, or no answer in time.
    #[error("Redis at {address} does not answer: {source}")]
    Unreachable {
        /// Host, port and number of the database.
        address: String,
        /// What the driver said.
        source: RedisError,
    },
    /// User or password are wrong, or the user may not do what is needed.
    #[error(
        "Redis at {address} refuses this user: {source}; check user and password in its URL, and that the user may use EVALSHA, SCRIPT LOAD, TYPE, HSTRLEN, HGET and HMGET, on an edge SUBSCRIBE, in a control plane HSET, DEL and PUBLISH, on the keys and channels `{pattern}`"
    )]
    Refused {
        /// Host, port and number of the database.
        address: String,
        /// The keys and channels of this platform.
        pattern: String,
        /// What the driver said.
        source: RedisError,
    },
    /// Redis answers with an error: it is read-only after a failover, or still loading.
    #[error("Redis at {address} could not do it: {source}")]
    Failed {
        /// Host, port and number of the database.
        address: String,
        /// What the driver said.
        source: RedisError,
    },
    /// Redis answers, and has nothing for the environment: nobody announced yet, or it was emptied.
    #[error("the key `{key}` in Redis is empty; the control plane fills it within seconds when it runs")]
    Empty {
        /// Where the documents should be.
        key: String,
    },
    /// What is there was not written by a control plane.
    #[error("the key `{key}` in Redis holds something else ({detail}); the control plane will replace it")]
    Foreign {
        /// Where the documents should be.
        key: String,
        /// What is there.
        detail: String,
    },
    /// A document longer than any that can be valid.
    #[error("the {document} of `{key}` has {bytes} bytes, more than the {limit} allowed")]
    Oversized {
        /// Where it is, or where it was to be written.
        key: String,
        /// `keyset`, `snapshot` or `status`.
        document: String,
        /// Its length.
        bytes: String,
        /// The longest that is accepted.
        limit: usize,
    },
    /// The subscription's own task ended, which it never should.
    #[error("nobody listens to Redis any more: the listening task has ended; restart the edge")]
    Deaf,
}

/// Whether the server minds who is asking. What a script may not do has no code of its own, only these words of
/// Valkey and Redis.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    let words = error.detail().unwrap_or_default();
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "NOPERM" | "WRONGPASS"))
        || words.contains("ACL failure in script")
        || words.contains("The user executing the script can't run this command")
}

/// Whether the server answered at all.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_)) || error.code().is_some()
}
