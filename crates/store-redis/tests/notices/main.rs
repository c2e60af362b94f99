//! Announcing and listening, against a real server.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod announcing;
mod listening;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_store::{Announcer, SignedSet};
use edgeseal_store_redis::{Notice, RedisNotices, Settings, SignedDocuments, Subscription};
use edgeseal_testkit::servers::Redis;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult};

/// Far longer than anything here takes: who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server and one environment on it.
struct World {
    redis: Redis,
    notices: RedisNotices,
    environment: Environment,
    key: String,
}

impl World {
    fn new(redis: Redis) -> Self {
        let notices = open(&redis);
        let key = format!("{}edgeseal:{{production}}", redis.prefix());
        Self { redis, notices, environment: Environment::default(), key }
    }

    async fn announce(&self, news: &SignedSet) {
        self.notices.announce(&self.environment, news).await.unwrap();
    }

    fn subscribe(&self) -> Subscription {
        self.notices.subscribe(&self.environment)
    }

    /// What lies in the hash: `keyset_ver`, `cv`, `ep`, `status_iat`.
    async fn counters(&self) -> Vec<Option<String>> {
        self.command(&["HMGET", &self.key, "keyset_ver", "cv", "ep", "status_iat"]).await
    }

    async fn field(&self, name: &str) -> Option<String> {
        self.command(&["HGET", &self.key, name]).await
    }

    async fn command<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        command(&mut self.connection().await, parts).await.unwrap()
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.redis.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

fn open(redis: &Redis) -> RedisNotices {
    let settings =
        Settings { url: redis.url().to_owned(), prefix: redis.prefix().to_owned(), authority: None };
    RedisNotices::open(&settings).unwrap()
}

async fn command<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    parts: &[&str],
) -> RedisResult<T> {
    let mut command = redis::cmd(parts[0]);
    for part in &parts[1..] {
        command.arg(*part);
    }
    command.query_async(connection).await
}

/// Documents with these counters that tell each other apart.
fn set(keyset_ver: u64, cv: u64, ep: u64, status_iat: i64) -> SignedSet {
    SignedSet {
        keyset_ver,
        keyset: format!("keyset.{keyset_ver}").into(),
        cv,
        snapshot: format!("snapshot.{cv}").into(),
        ep,
        status_iat,
        status: format!("status.{ep}.{status_iat}").into(),
    }
}

fn counters_of(set: &SignedSet) -> Vec<Option<String>> {
    let counters =
        [set.keyset_ver.to_string(), set.cv.to_string(), set.ep.to_string(), set.status_iat.to_string()];
    counters.into_iter().map(Some).collect()
}

fn documents_of(set: &SignedSet) -> SignedDocuments {
    SignedDocuments {
        keyset: Arc::clone(&set.keyset),
        snapshot: Arc::clone(&set.snapshot),
        status: Arc::clone(&set.status),
    }
}

async fn next(subscription: &mut Subscription) -> Notice {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("no notice")
}

async fn expect_back(subscription: &mut Subscription) {
    let notice = next(subscription).await;
    assert!(matches!(notice, Notice::Back), "{notice:?}");
}

async fn expect_lost(subscription: &mut Subscription) -> String {
    match next(subscription).await {
        Notice::Lost(trouble) => trouble.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn expect_news(subscription: &mut Subscription) -> Arc<SignedDocuments> {
    match next(subscription).await {
        Notice::News(documents) => documents,
        other => panic!("{other:?}"),
    }
}
