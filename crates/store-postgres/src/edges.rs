//! Edges that reported lately.

use std::collections::BTreeMap;

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{EdgeReport, Edges, StoreError, columns};

use crate::PostgresStore;
use crate::fault::operation;

const NOTING: &str = "noting reports of edges";
const READING: &str = "listing the edges";

#[async_trait]
impl Edges for PostgresStore {
    async fn edges_seen(&self, reports: &[EdgeReport]) -> Result<(), StoreError> {
        // The newest report of each edge: one statement cannot write a row twice. Sorted, so that two processes that
        // note the same edges do not wait for one another.
        let mut newest: BTreeMap<(&str, &str), &EdgeReport> = BTreeMap::new();
        for report in reports {
            let known = newest.entry((report.environment.as_str(), &report.id)).or_insert(report);
            if report.seen_at_ms >= known.seen_at_ms {
                *known = report;
            }
        }
        let column =
            |text: fn(&EdgeReport) -> &str| newest.values().map(|report| text(report)).collect::<Vec<_>>();
        let numbers =
            |number: fn(&EdgeReport) -> i64| newest.values().map(|report| number(report)).collect::<Vec<_>>();
        operation(
            NOTING,
            sqlx::query(
                "INSERT INTO edges
                    (environment, id, version, source, cv, ep, keyset_ver, config_age_ms, seen_at_ms)
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                    $7::bigint[], $8::bigint[], $9::bigint[])
                 ON CONFLICT (environment, id) DO UPDATE SET
                    version = excluded.version, source = excluded.source, cv = excluded.cv, ep = excluded.ep,
                    keyset_ver = excluded.keyset_ver, config_age_ms = excluded.config_age_ms,
                    seen_at_ms = excluded.seen_at_ms
                 WHERE excluded.seen_at_ms >= edges.seen_at_ms",
            )
            .bind(column(|report| report.environment.as_str()))
            .bind(column(|report| &report.id))
            .bind(column(|report| &report.version))
            .bind(column(|report| &report.source))
            .bind(numbers(|report| columns::number(report.cv)))
            .bind(numbers(|report| columns::number(report.ep)))
            .bind(numbers(|report| columns::number(report.keyset_ver)))
            .bind(numbers(|report| report.config_age_ms))
            .bind(numbers(|report| report.seen_at_ms))
            .execute(&self.pool),
        )
        .await?;
        Ok(())
    }

    async fn edges(&self, environment: &Environment) -> Result<Vec<EdgeReport>, StoreError> {
        let rows: Vec<EdgeRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT id, version, source, cv, ep, keyset_ver, config_age_ms, seen_at_ms
             FROM edges WHERE environment = $1 ORDER BY id",
            )
            .bind(environment.as_str())
            .fetch_all(&self.pool),
        )
        .await?;
        Ok(rows.into_iter().map(|row| row.report(environment)).collect())
    }

    async fn forget_edges(&self, before: Timestamp) -> Result<(), StoreError> {
        operation(
            "forgetting edges",
            sqlx::query("DELETE FROM edges WHERE seen_at_ms < $1").bind(before.unix_ms()).execute(&self.pool),
        )
        .await?;
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
