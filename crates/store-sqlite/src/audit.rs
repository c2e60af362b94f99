//! The audit log.

use async_trait::async_trait;
use edgeseal_store::{AuditFilter, AuditLog, AuditRecord, StoreError, columns};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const READING: &str = "reading the audit log";

#[async_trait]
impl AuditLog for SqliteStore {
    async fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let (action, prefix) = columns::action_filter(filter.action.as_deref());
        // One statement for each index, because no index serves a condition that may be absent.
        let statement = match (&filter.key, &filter.actor) {
            (Some(_), _) => {
                "SELECT number, entry, previous, hash FROM audit
                 WHERE key = ?6 AND (?1 IS NULL OR environment = ?1) AND (?2 IS NULL OR actor = ?2)
                   AND (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR substr(action, 1, length(?4)) = ?4)
                   AND (?5 IS NULL OR kind = ?5) AND (?7 IS NULL OR number < ?7)
                 ORDER BY number DESC LIMIT ?8"
            }
            (None, Some(_)) => {
                "SELECT number, entry, previous, hash FROM audit
                 WHERE actor = ?2 AND (?1 IS NULL OR environment = ?1) AND (?6 IS NULL OR key = ?6)
                   AND (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR substr(action, 1, length(?4)) = ?4)
                   AND (?5 IS NULL OR kind = ?5) AND (?7 IS NULL OR number < ?7)
                 ORDER BY number DESC LIMIT ?8"
            }
            (None, None) => {
                "SELECT number, entry, previous, hash FROM audit
                 WHERE (?1 IS NULL OR environment = ?1) AND (?2 IS NULL OR actor = ?2) AND (?6 IS NULL OR key = ?6)
                   AND (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR substr(action, 1, length(?4)) = ?4)
                   AND (?5 IS NULL OR kind = ?5) AND (?7 IS NULL OR number < ?7)
                 ORDER BY number DESC LIMIT ?8"
            }
        };
        let rows: Vec<AuditRow> = sqlx::query_as(statement)
            .bind(filter.environment.as_ref().map(|name| name.as_str().to_owned()))
            .bind(filter.actor.as_deref())
            .bind(action)
            .bind(prefix)
            .bind(filter.kind.as_deref())
            .bind(filter.key.as_deref())
            .bind(filter.before.map(columns::number))
            .bind(columns::page(limit))
            .fetch_all(&self.readers)
            .await
            .attempting(READING)?;
        rows.into_iter().map(AuditRecord::try_from).collect()
    }

    async fn audit_after(&self, number: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let rows: Vec<AuditRow> = sqlx::query_as(
            "SELECT number, entry, previous, hash FROM audit WHERE number > ? ORDER BY number LIMIT ?",
        )
        .bind(columns::number(number))
        .bind(columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(AuditRecord::try_from).collect()
    }
}

#[derive(sqlx::FromRow)]
struct AuditRow {
    number: i64,
    entry: String,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl TryFrom<AuditRow> for AuditRecord {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        Ok(Self {
            number: columns::counter(row.number),
            entry: row.entry,
            previous: columns::hash(READING, &row.previous)?,
            hash: columns::hash(READING, &row.hash)?,
        })
    }
}
