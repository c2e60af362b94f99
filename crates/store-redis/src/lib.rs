//! Change notices and the shared cache of signed documents, through Redis or Valkey.
//!
//! The control plane writes the newest documents of an environment into one hash and rings a bell; edges hear the
//! bell and read the hash. Nothing in it is secret and nothing in it is trusted: every edge checks every signature.
//! It may vanish at any time: the control plane announces again with each status document, and an edge that loses
//! it is told so, and polls until it is back.
//!
//! | key | holds |
//! | --- | --- |
//! | `<prefix>edgeseal:{<environment>}` | a hash: `keyset`, `snapshot`, `status` (tokens), `keyset_ver`, `cv`, `ep`, `status_iat` (decimal numbers), `snapshot_signature` |
//! | `<prefix>edgeseal:{<environment>}:news` | the bell, a channel; what is said on it means nothing |
//!
//! ```no_run
//! use edgeseal_core::ids::Environment;
//! use edgeseal_store_redis::{Notice, RedisNotices, Settings};
//!
//! # async fn example() -> Result<(), edgeseal_store_redis::OpenError> {
//! let redis = RedisNotices::open(&Settings { url: "redis://127.0.0.1:6379/0".into(), ..Settings::default() })?;
//! let mut news = redis.subscribe(&Environment::default());
//! loop {
//!     match news.next().await {
//!         Notice::News(documents) => println!("{} bytes of snapshot", documents.snapshot.len()),
//!         Notice::Lost(trouble) => println!("polling from now on: {trouble}"),
//!         Notice::Back => println!("no need to poll any more"),
//!     }
//! }
//! # }
//! ```

mod announce;
mod connection;
mod error;
mod retry;
mod subscription;

pub use announce::RedisNotices;
pub use connection::Settings;
pub use error::{CacheError, OpenError};
pub use subscription::{Notice, SignedDocuments, Subscription};
