//! The story that every backend passes, each case in a database of its own.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;

use async_trait::async_trait;
use edgeseal_store::Store;
use edgeseal_store::conformance::Database;
use edgeseal_store_postgres::PostgresStore;
use edgeseal_testkit::servers::Postgres;

edgeseal_store::conformance_story!(empty_database);

struct Fresh {
    url: String,
}

#[async_trait]
impl Database for Fresh {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::connect(&self.url).await.unwrap())
    }
}

async fn empty_database() -> Fresh {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    PostgresStore::migrate(&url).await.unwrap();
    Fresh { url }
}
