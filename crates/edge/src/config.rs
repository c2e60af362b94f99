//! Settings of an edge: plain values, each bound with a name. Only the binary reads flags, environment and files.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Port that an edge listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8080;
/// Most bytes of a request line and its header fields together; beyond it: 431.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most header fields of a request; beyond it: 431. hyper's own default, kept because raising or lowering it moves
/// hyper's header table from the stack to the heap for every request.
pub const MAX_HEADERS: usize = 100;
/// Most bytes of a request target; beyond it: 414. Room for attributes of their largest size in base64url.
pub const MAX_URL_BYTES: usize = 8 * 1024;
/// Most bytes of a request body; beyond it: 413.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Deepest nesting of a JSON request body.
pub const MAX_BODY_DEPTH: usize = 16;
/// Longest that a client may take to send a request's header, from its first byte; beyond it: 408.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a client may take to send a request's body; beyond it: 408.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a connection may rest between requests, or refuse to take an answer; beyond it: closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Most connections open at once, over all threads; beyond it: 503 and closed.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Most streams of status documents open at once, over all threads; beyond it: 503.
pub const MAX_STREAMS: usize = 5_000;
/// How long a stream may be silent before a comment shows that it lives.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest that the reader of a stream may take no bytes; beyond it: closed. Longer than [`STREAM_HEARTBEAT`], or
/// streams would end for want of news.
pub const STREAM_STALL_TIMEOUT: Duration = Duration::from_secs(75);
/// Longest that requests under way may take to finish once a shutdown was asked for.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Most bytes of remembered tokens; beyond it the least useful are forgotten.
pub const MEMO_BYTES: u64 = 16 * 1024 * 1024;
/// What a client is told to wait, in seconds, when the edge cannot answer now.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// What a client with events is told to wait, in seconds, when the disk of the edge is full or does not work.
pub const SPOOL_RETRY_AFTER_SECONDS: u32 = 10;
/// Life of a token, in seconds, from its issue time, which is rounded down to a minute.
pub const TOKEN_LIFE_SECONDS: u32 = 3600;
/// Shortest life of a token, in seconds: it must outlive the minute that its issue time is rounded to.
pub const MIN_TOKEN_LIFE_SECONDS: u32 = 120;
/// Longest life of a token, in seconds: what verifiers accept.
pub const MAX_TOKEN_LIFE_SECONDS: u32 = 3600;
/// How long a browser may keep a token without asking again, in seconds.
pub const TOKEN_MAX_AGE_SECONDS: i64 = 30;

/// How one edge listens, what it bounds, and how it talks to caches.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, each with its own runtime and listening socket; `None`: one per core.
    pub threads: Option<usize>,
    /// See [`HEADER_READ_TIMEOUT`].
    pub header_read_timeout: Duration,
    /// See [`BODY_READ_TIMEOUT`].
    pub body_read_timeout: Duration,
    /// See [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// See [`MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// See [`MAX_STREAMS`].
    pub max_streams: usize,
    /// See [`STREAM_HEARTBEAT`].
    pub stream_heartbeat: Duration,
    /// See [`STREAM_STALL_TIMEOUT`].
    pub stream_stall_timeout: Duration,
    /// See [`SHUTDOWN_GRACE`].
    pub shutdown_grace: Duration,
    /// See [`MEMO_BYTES`].
    pub memo_bytes: u64,
    /// See [`TOKEN_LIFE_SECONDS`]; from [`MIN_TOKEN_LIFE_SECONDS`] to [`MAX_TOKEN_LIFE_SECONDS`].
    pub token_life_seconds: u32,
    /// Which cache tags the CDN in front understands.
    pub cdn_profile: CdnProfile,
    /// Lets shared caches keep answers of the HMAC profile. Only behind a cache that is proven to keep two values of
    /// `x-user-id` apart: one that ignores `Vary` hands one user's variant to another.
    pub hmac_public: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            threads: None,
            header_read_timeout: HEADER_READ_TIMEOUT,
            body_read_timeout: BODY_READ_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            max_connections: MAX_CONNECTIONS,
            max_streams: MAX_STREAMS,
            stream_heartbeat: STREAM_HEARTBEAT,
            stream_stall_timeout: STREAM_STALL_TIMEOUT,
            shutdown_grace: SHUTDOWN_GRACE,
            memo_bytes: MEMO_BYTES,
            token_life_seconds: TOKEN_LIFE_SECONDS,
            cdn_profile: CdnProfile::None,
            hmac_public: false,
        }
    }
}

impl Config {
    /// How many threads will serve.
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(cores).max(1)
    }
}

/// Which header names cache tags, by the CDN in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CdnProfile {
    /// No tags are sent.
    #[default]
    None,
    /// `Cache-Tag`, comma-separated.
    Cloudflare,
    /// `Surrogate-Key`, space-separated. `Surrogate-Control` is never sent: Cloudflare would then ignore
    /// `Cache-Control`.
    Fastly,
}
