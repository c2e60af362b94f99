//! Answers kept for repeated requests.

use async_trait::async_trait;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Idempotency, IdempotencyRecord, StoreError, columns};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const READING: &str = "looking for the answer to a repeated request";

#[async_trait]
impl Idempotency for SqliteStore {
    async fn answered(&self, token_id: &str, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        let row: Option<(Vec<u8>, u16, String, i64)> = sqlx::query_as(
            "SELECT fingerprint, status, sealed_body, at FROM answers WHERE token_id = ? AND key = ?",
        )
        .bind(token_id)
        .bind(key)
        .fetch_optional(&self.readers)
        .await
        .attempting(READING)?;
        row.map(|(fingerprint, status, sealed_body, at)| {
            Ok(IdempotencyRecord {
                token_id: token_id.to_owned(),
                key: key.to_owned(),
                fingerprint: columns::hash(READING, &fingerprint)?,
                status,
                sealed_body,
                at: columns::time(at),
            })
        })
        .transpose()
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM answers WHERE at < ?")
            .bind(before.unix_ms())
            .execute(&self.writer)
            .await
            .attempting("forgetting old answers")?;
        Ok(())
    }
}
