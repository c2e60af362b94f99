//! Environments and what was published for them.

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_store::{
    Actor, EnvironmentRecord, Environments, Head, Publication, StoreError, StoredSnapshot, columns,
};

use crate::SqliteStore;
use crate::fault::Attempt as _;

#[async_trait]
impl Environments for SqliteStore {
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, StoreError> {
        const ATTEMPT: &str = "listing the environments";
        let rows: Vec<EnvironmentRow> = sqlx::query_as("SELECT name, created_at, sequence, cv, ep, keyset_ver, keyring, state FROM environments ORDER BY name")
            .fetch_all(&self.readers)
            .await
            .attempting(ATTEMPT)?;
        rows.into_iter()
            .map(|row| {
                Ok(EnvironmentRecord {
                    name: columns::environment(ATTEMPT, &row.name)?,
                    created_at: columns::time(row.created_at),
                    head: row.head.into(),
                })
            })
            .collect()
    }

    async fn head(&self, environment: &Environment) -> Result<Option<Head>, StoreError> {
        let row: Option<HeadRow> = sqlx::query_as(
            "SELECT sequence, cv, ep, keyset_ver, keyring, state FROM environments WHERE name = ?",
        )
        .bind(environment.as_str())
        .fetch_optional(&self.readers)
        .await
        .attempting("reading an environment")?;
        Ok(row.map(Head::from))
    }

    async fn sequence(&self, environment: &Environment) -> Result<Option<u64>, StoreError> {
        let sequence: Option<i64> = sqlx::query_scalar("SELECT sequence FROM environments WHERE name = ?")
            .bind(environment.as_str())
            .fetch_optional(&self.readers)
            .await
            .attempting("asking for an environment's sequence")?;
        Ok(sequence.map(columns::counter))
    }

    async fn snapshot(&self, environment: &Environment) -> Result<Option<StoredSnapshot>, StoreError> {
        let row: Option<(i64, String, i64)> = sqlx::query_as(
            "SELECT cv, token, at FROM publications JOIN snapshots USING (environment, cv)
             WHERE environment = ? ORDER BY cv DESC LIMIT 1",
        )
        .bind(environment.as_str())
        .fetch_optional(&self.readers)
        .await
        .attempting("reading the newest snapshot")?;
        Ok(row.map(|(cv, token, at)| StoredSnapshot {
            cv: columns::counter(cv),
            token,
            at: columns::time(at),
        }))
    }

    async fn publications(
        &self,
        environment: &Environment,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Publication>, StoreError> {
        let rows: Vec<(i64, i64, i64, String, String)> = sqlx::query_as(
            "SELECT cv, at, sequence, actor_id, actor_name FROM publications
             WHERE environment = ?1 AND (?2 IS NULL OR cv < ?2) ORDER BY cv DESC LIMIT ?3",
        )
        .bind(environment.as_str())
        .bind(before.map(columns::number))
        .bind(columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting("listing what was published")?;
        Ok(rows
            .into_iter()
            .map(|(cv, at, sequence, id, name)| Publication {
                cv: columns::counter(cv),
                at: columns::time(at),
                actor: Actor { id, name },
                sequence: columns::counter(sequence),
            })
            .collect())
    }
}

#[derive(sqlx::FromRow)]
struct EnvironmentRow {
    name: String,
    created_at: i64,
    #[sqlx(flatten)]
    head: HeadRow,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    sequence: i64,
    cv: i64,
    ep: i64,
    keyset_ver: i64,
    keyring: String,
    state: String,
}

impl From<HeadRow> for Head {
    fn from(row: HeadRow) -> Self {
        Self {
            sequence: columns::counter(row.sequence),
            cv: columns::counter(row.cv),
            ep: columns::counter(row.ep),
            keyset_ver: columns::counter(row.keyset_ver),
            keyring: row.keyring,
            state: row.state,
        }
    }
}
