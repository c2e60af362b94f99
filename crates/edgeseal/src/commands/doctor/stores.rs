//! What the parts talk through: Redis, and the database behind a control plane.

use std::time::Duration;

use edgeseal_core::ids::Environment;
use edgeseal_store::Store as _;
use edgeseal_store_postgres::PostgresStore;
use edgeseal_store_redis::{Notice, RedisNotices, Settings};

use super::check::Check;

/// How long Redis may take to show the documents of an environment.
const REDIS_WITHIN: Duration = Duration::from_secs(10);

/// Whether the documents of `environment` are in this Redis.
pub(super) async fn redis(url: &str, environment: &Environment) -> Check {
    let settings = Settings { url: url.to_owned(), ..Settings::default() };
    let notices = match RedisNotices::open(&settings) {
        Ok(notices) => notices,
        Err(error) => return Check::bad("redis", error),
    };
    let mut subscription = notices.subscribe(environment);
    let documents = async {
        loop {
            match subscription.next().await {
                Notice::News(_) => {
                    return Check::good("redis", format_args!("holds the documents of '{environment}'"));
                }
                Notice::Lost(trouble) => {
                    return Check::bad("redis", trouble).remedy("edges that listen there poll meanwhile");
                }
                Notice::Back => {}
            }
        }
    };
    let waited = tokio::time::timeout(REDIS_WITHIN, documents).await;
    waited.unwrap_or_else(|_| Check::bad("redis", "it answers, and shows no documents in time"))
}

/// Whether the database is there, with the schema of this version.
pub(super) async fn database(url: &str) -> Check {
    match PostgresStore::connect(url).await {
        Ok(store) => {
            store.close().await;
            Check::good("schema", "the PostgreSQL database has the schema of this version")
        }
        Err(error) => Check::bad("schema", error),
    }
}
