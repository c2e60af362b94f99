//! Answers kept for repeated requests.

use async_trait::async_trait;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Idempotency, IdempotencyRecord, StoreError, columns};

use crate::PostgresStore;
use crate::fault::operation;

const READING: &str = "looking for the answer to a repeated request";

#[async_trait]
impl Idempotency for PostgresStore {
    async fn answered(&self, token_id: &str, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        if !columns::is_storable(token_id) || !columns::is_storable(key) {
            return Ok(None);
        }
        let row: Option<(Vec<u8>, i32, String, i64)> = operation(
            READING,
            sqlx::query_as(
                "SELECT fingerprint, status, sealed_body, at FROM answers WHERE token_id = $1 AND key = $2",
            )
            .bind(token_id)
            .bind(key)
            .fetch_optional(&self.pool),
        )
        .await?;
        row.map(|(fingerprint, status, sealed_body, at)| {
            Ok(IdempotencyRecord {
                token_id: token_id.to_owned(),
                key: key.to_owned(),
                fingerprint: columns::hash(READING, &fingerprint)?,
                status: u16::try_from(status).unwrap_or_default(),
                sealed_body,
                at: columns::time(at),
            })
        })
        .transpose()
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        operation(
            "forgetting old answers",
            sqlx::query("DELETE FROM answers WHERE at < $1").bind(before.unix_ms()).execute(&self.pool),
        )
        .await?;
        Ok(())
    }
}
