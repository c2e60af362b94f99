//! Documents and their history.

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_store::{Actor, Document, Documents, Kind, Revision, StoreError, columns};

use crate::PostgresStore;
use crate::fault::operation;

const READING: &str = "reading the documents";
const READING_HISTORY: &str = "reading a document's history";

#[async_trait]
impl Documents for PostgresStore {
    async fn documents_since(
        &self,
        environment: &Environment,
        sequence: u64,
    ) -> Result<Vec<Document>, StoreError> {
        let rows: Vec<DocumentRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT kind, key, revision, sequence, created_at, updated_at, actor_id, actor_name, body
             FROM documents WHERE environment = $1 AND sequence > $2",
            )
            .bind(environment.as_str())
            .bind(columns::number(sequence))
            .fetch_all(&self.pool),
        )
        .await?;
        let mut documents = rows.into_iter().map(Document::try_from).collect::<Result<Vec<_>, _>>()?;
        documents.sort_unstable_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        Ok(documents)
    }

    async fn revisions(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        if !columns::is_storable(key) {
            return Ok(Vec::new());
        }
        let rows: Vec<RevisionRow> = operation(
            READING_HISTORY,
            sqlx::query_as(
                "SELECT revision, at, actor_id, actor_name, action, body FROM revisions
             WHERE environment = $1 AND kind = $2 AND key = $3 AND ($4 IS NULL OR revision < $4)
             ORDER BY revision DESC LIMIT $5",
            )
            .bind(environment.as_str())
            .bind(kind.as_str())
            .bind(key)
            .bind(before.map(columns::number))
            .bind(columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(Revision::try_from).collect()
    }

    async fn revision(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        revision: u64,
    ) -> Result<Option<Revision>, StoreError> {
        if !columns::is_storable(key) {
            return Ok(None);
        }
        let row: Option<RevisionRow> = operation(
            READING_HISTORY,
            sqlx::query_as(
                "SELECT revision, at, actor_id, actor_name, action, body
             FROM revisions WHERE environment = $1 AND kind = $2 AND key = $3 AND revision = $4",
            )
            .bind(environment.as_str())
            .bind(kind.as_str())
            .bind(key)
            .bind(columns::number(revision))
            .fetch_optional(&self.pool),
        )
        .await?;
        row.map(Revision::try_from).transpose()
    }
}

#[derive(sqlx::FromRow)]
struct DocumentRow {
    kind: String,
    key: String,
    revision: i64,
    sequence: i64,
    created_at: i64,
    updated_at: i64,
    actor_id: String,
    actor_name: String,
    body: Option<String>,
}

impl TryFrom<DocumentRow> for Document {
    type Error = StoreError;

    fn try_from(row: DocumentRow) -> Result<Self, StoreError> {
        Ok(Self {
            kind: columns::kind(READING, &row.kind)?,
            key: row.key,
            revision: columns::counter(row.revision),
            sequence: columns::counter(row.sequence),
            body: columns::body(READING, row.body.as_deref())?,
            created_at: columns::time(row.created_at),
            updated_at: columns::time(row.updated_at),
            updated_by: Actor { id: row.actor_id, name: row.actor_name },
        })
    }
}

#[derive(sqlx::FromRow)]
struct RevisionRow {
    revision: i64,
    at: i64,
    actor_id: String,
    actor_name: String,
    action: String,
    body: Option<String>,
}

impl TryFrom<RevisionRow> for Revision {
    type Error = StoreError;

    fn try_from(row: RevisionRow) -> Result<Self, StoreError> {
        Ok(Self {
            revision: columns::counter(row.revision),
            body: columns::body(READING_HISTORY, row.body.as_deref())?,
            at: columns::time(row.at),
            actor: Actor { id: row.actor_id, name: row.actor_name },
            action: row.action,
        })
    }
}
