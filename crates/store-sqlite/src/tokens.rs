//! API tokens.

use async_trait::async_trait;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, ApiToken, StoreError, Tokens, columns};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const READING: &str = "reading the API tokens";
const NOTING_USE: &str = "noting the use of API tokens";

#[async_trait]
impl Tokens for SqliteStore {
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        let row: Option<TokenRow> = sqlx::query_as(
            "SELECT id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at,
                 revoked_at, last_used_at
             FROM api_tokens WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .attempting(READING)?;
        row.map(ApiToken::try_from).transpose()
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let rows: Vec<TokenRow> = sqlx::query_as(
            "SELECT id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at,
                 revoked_at, last_used_at
             FROM api_tokens ORDER BY created_at, id",
        )
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(ApiToken::try_from).collect()
    }

    async fn tokens_used(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(NOTING_USE)?;
        for (id, at) in used {
            sqlx::query(
                "UPDATE api_tokens SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1",
            )
            .bind(id)
            .bind(at.unix_ms())
            .execute(&mut *transaction)
            .await
            .attempting(NOTING_USE)?;
        }
        transaction.commit().await.attempting(NOTING_USE)
    }
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: String,
    name: String,
    scope: String,
    environment: Option<String>,
    hash: Vec<u8>,
    created_at: i64,
    creator_id: String,
    creator_name: String,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl TryFrom<TokenRow> for ApiToken {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: row.name,
            scope: row.scope,
            environment: row.environment.map(|name| columns::environment(READING, &name)).transpose()?,
            hash: columns::hash(READING, &row.hash)?,
            created_at: columns::time(row.created_at),
            created_by: Actor { id: row.creator_id, name: row.creator_name },
            expires_at: row.expires_at.map(columns::time),
            revoked_at: row.revoked_at.map(columns::time),
            last_used_at: row.last_used_at.map(columns::time),
        })
    }
}
