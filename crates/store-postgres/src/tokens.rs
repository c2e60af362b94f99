//! API tokens.

use async_trait::async_trait;
use edgeseal_core::time::Timestamp;
use edgeseal_store::columns::is_storable;
use edgeseal_store::{Actor, ApiToken, StoreError, Tokens, columns};

use crate::PostgresStore;
use crate::fault::operation;

const READING: &str = "reading the API tokens";

#[async_trait]
impl Tokens for PostgresStore {
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        if !is_storable(id) {
            return Ok(None);
        }
        let row: Option<TokenRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at,
                 revoked_at, last_used_at
             FROM api_tokens WHERE id = $1",
            )
            .bind(id)
            .fetch_optional(&self.pool),
        )
        .await?;
        row.map(ApiToken::try_from).transpose()
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let rows: Vec<TokenRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at,
                 revoked_at, last_used_at
             FROM api_tokens ORDER BY created_at, id",
            )
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(ApiToken::try_from).collect()
    }

    async fn tokens_used(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let (ids, times): (Vec<&str>, Vec<i64>) =
            used.iter().filter(|(id, _)| is_storable(id)).map(|(id, at)| (id.as_str(), at.unix_ms())).unzip();
        // Locked in one order, so that two processes that note the same tokens do not wait for one another.
        operation(
            "noting the use of API tokens",
            sqlx::query(
                "WITH used AS (
                     SELECT id, max(at) AS at FROM unnest($1::text[], $2::bigint[]) AS used(id, at) GROUP BY id
                 ), locked AS (
                     SELECT id, at FROM api_tokens JOIN used USING (id) ORDER BY id FOR UPDATE OF api_tokens
                 )
                 UPDATE api_tokens SET last_used_at = greatest(last_used_at, locked.at)
                 FROM locked WHERE api_tokens.id = locked.id",
            )
            .bind(ids)
            .bind(times)
            .execute(&self.pool),
        )
        .await?;
        Ok(())
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
