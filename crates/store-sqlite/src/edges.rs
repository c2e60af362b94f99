//! Edges that reported lately.

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{EdgeReport, Edges, StoreError, columns};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const NOTING: &str = "noting reports of edges";
const READING: &str = "listing the edges";

#[async_trait]
impl Edges for SqliteStore {
    async fn edges_seen(&self, reports: &[EdgeReport]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(NOTING)?;
        for report in reports {
            sqlx::query(
                "INSERT INTO edges
                    (environment, id, version, source, cv, ep, keyset_ver, config_age_ms, seen_at_ms)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (environment, id) DO UPDATE SET
                    version = excluded.version, source = excluded.source, cv = excluded.cv, ep = excluded.ep,
                    keyset_ver = excluded.keyset_ver, config_age_ms = excluded.config_age_ms,
                    seen_at_ms = excluded.seen_at_ms
                 WHERE excluded.seen_at_ms >= edges.seen_at_ms",
            )
            .bind(report.environment.as_str())
            .bind(&report.id)
            .bind(&report.version)
            .bind(&report.source)
            .bind(columns::number(report.cv))
            .bind(columns::number(report.ep))
            .bind(columns::number(report.keyset_ver))
            .bind(report.config_age_ms)
            .bind(report.seen_at_ms)
            .execute(&mut *transaction)
            .await
            .attempting(NOTING)?;
        }
        transaction.commit().await.attempting(NOTING)
    }

    async fn edges(&self, environment: &Environment) -> Result<Vec<EdgeReport>, StoreError> {
        let rows: Vec<EdgeRow> = sqlx::query_as(
            "SELECT id, version, source, cv, ep, keyset_ver, config_age_ms, seen_at_ms
             FROM edges WHERE environment = ? ORDER BY id",
        )
        .bind(environment.as_str())
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        Ok(rows.into_iter().map(|row| row.report(environment)).collect())
    }

    async fn forget_edges(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM edges WHERE seen_at_ms < ?")
            .bind(before.unix_ms())
            .execute(&self.writer)
            .await
            .attempting("forgetting edges")?;
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct EdgeRow {
    id: String,
    version: String,
    source: String,
    cv: i64,
    ep: i64,
    keyset_ver: i64,
    config_age_ms: i64,
    seen_at_ms: i64,
}

impl EdgeRow {
    fn report(self, environment: &Environment) -> EdgeReport {
        EdgeReport {
            id: self.id,
            environment: environment.clone(),
            version: self.version,
            source: self.source,
            cv: columns::counter(self.cv),
            ep: columns::counter(self.ep),
            keyset_ver: columns::counter(self.keyset_ver),
            config_age_ms: self.config_age_ms,
            seen_at_ms: self.seen_at_ms,
        }
    }
}
