//! The story that every backend passes, on files of its own.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;

use async_trait::async_trait;
use edgeseal_store::Store;
use edgeseal_store::conformance::Database;
use edgeseal_store_sqlite::SqliteStore;
use tempfile::TempDir;

edgeseal_store::conformance_story!(empty_database);

struct File {
    folder: TempDir,
}

#[async_trait]
impl Database for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.folder.path().join("edgeseal.db")).await.unwrap())
    }
}

async fn empty_database() -> File {
    File { folder: tempfile::tempdir().unwrap() }
}
