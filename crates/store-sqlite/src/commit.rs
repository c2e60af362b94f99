//! A commit: one transaction, all of it or nothing.

use edgeseal_core::ids::Environment;
use edgeseal_store::{
    Actor, AllocationWrite, ApiToken, AuditEntry, Change, Commit, CommitError, DocumentWrite,
    EnvironmentWrite, IdempotencyRecord, KEPT_SNAPSHOTS, NewAlert, NewSnapshot, StoreError, TokenWrite,
    audit, columns, event_columns,
};
use sqlx::{SqliteConnection, SqlitePool};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const COMMITTING: &str = "committing a change";

/// Returns the environment's new sequence. A transaction that is dropped before its end is rolled back.
pub(crate) async fn apply(writer: &SqlitePool, commit: &Commit) -> Result<u64, CommitError> {
    commit.check()?;
    // Takes the write lock at once: whoever comes second reads what the first one wrote.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.attempting(COMMITTING)?;
    if let Some(answer) = &commit.idempotency {
        keep_answer(&mut transaction, answer).await?;
    }
    let sequence = match &commit.environment {
        Some(environment) => write_environment(&mut transaction, commit, environment).await?,
        None => 0,
    };
    for token in &commit.tokens {
        match token {
            TokenWrite::Create(token) => create_token(&mut transaction, token).await?,
            TokenWrite::Revoke { id, at } => revoke_token(&mut transaction, id, at.unix_ms()).await?,
        }
    }
    for alert in &commit.alerts {
        write_alert(&mut transaction, alert, commit.at.unix_ms()).await?;
    }
    append_audit(&mut transaction, &commit.audit).await?;
    transaction.commit().await.attempting(COMMITTING)?;
    Ok(sequence)
}

impl SqliteStore {
    /// Tells this process; others watch the file.
    pub(crate) fn tell_of(&self, commit: &Commit, sequence: u64) {
        if let Some(environment) = &commit.environment {
            self.hints.tell(Change::Environment { environment: environment.name.clone(), sequence });
        }
        if !commit.tokens.is_empty() {
            self.hints.tell(Change::Tokens);
        }
    }
}

async fn keep_answer(
    transaction: &mut SqliteConnection,
    answer: &IdempotencyRecord,
) -> Result<(), CommitError> {
    let kept = sqlx::query(
        "INSERT INTO answers (token_id, key, fingerprint, status, at, sealed_body) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(&answer.token_id)
    .bind(&answer.key)
    .bind(answer.fingerprint.as_slice())
    .bind(answer.status)
    .bind(answer.at.unix_ms())
    .bind(&answer.sealed_body)
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    if kept.rows_affected() == 0 { Err(CommitError::IdempotencyTaken) } else { Ok(()) }
}

async fn write_environment(
    transaction: &mut SqliteConnection,
    commit: &Commit,
    environment: &EnvironmentWrite,
) -> Result<u64, CommitError> {
    let sequence = match environment.expected {
        None => create_environment(transaction, commit, environment).await?,
        Some(expected) => move_head(transaction, environment, expected).await?,
    };
    for document in &environment.documents {
        write_document(transaction, commit, &environment.name, sequence, document).await?;
    }
    if let Some(snapshot) = &environment.snapshot {
        publish(transaction, commit, &environment.name, sequence, snapshot).await?;
    }
    for allocation in &environment.allocations {
        write_allocation(transaction, &environment.name, allocation).await?;
    }
    Ok(sequence)
}

async fn create_environment(
    transaction: &mut SqliteConnection,
    commit: &Commit,
    environment: &EnvironmentWrite,
) -> Result<u64, CommitError> {
    let created = sqlx::query(
        "INSERT INTO environments (name, created_at, sequence, cv, ep, keyset_ver, keyring, state)
         VALUES (?, ?, 1, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(environment.name.as_str())
    .bind(commit.at.unix_ms())
    .bind(columns::number(environment.cv))
    .bind(columns::number(environment.ep))
    .bind(columns::number(environment.keyset_ver))
    .bind(environment.keyring.as_deref().unwrap_or_default())
    .bind(environment.state.as_deref().unwrap_or_default())
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    if created.rows_affected() == 0 { Err(CommitError::Conflict) } else { Ok(1) }
}

async fn move_head(
    transaction: &mut SqliteConnection,
    environment: &EnvironmentWrite,
    expected: u64,
) -> Result<u64, CommitError> {
    let stored: Option<(i64, i64, i64, i64)> =
        sqlx::query_as("SELECT sequence, cv, ep, keyset_ver FROM environments WHERE name = ?")
            .bind(environment.name.as_str())
            .fetch_optional(&mut *transaction)
            .await
            .attempting(COMMITTING)?;
    let Some((sequence, cv, ep, keyset_ver)) = stored else { return Err(CommitError::Conflict) };
    if columns::counter(sequence) != expected {
        return Err(CommitError::Conflict);
    }
    environment.check_after(columns::counter(cv), columns::counter(ep), columns::counter(keyset_ver))?;
    sqlx::query(
        "UPDATE environments SET sequence = sequence + 1, cv = ?2, ep = ?3, keyset_ver = ?4,
             keyring = coalesce(?5, keyring), state = coalesce(?6, state)
         WHERE name = ?1",
    )
    .bind(environment.name.as_str())
    .bind(columns::number(environment.cv))
    .bind(columns::number(environment.ep))
    .bind(columns::number(environment.keyset_ver))
    .bind(environment.keyring.as_deref())
    .bind(environment.state.as_deref())
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(expected.saturating_add(1))
}

async fn write_document(
    transaction: &mut SqliteConnection,
    commit: &Commit,
    environment: &Environment,
    sequence: u64,
    document: &DocumentWrite,
) -> Result<(), StoreError> {
    let Actor { id, name } = &commit.actor;
    let body = columns::body_text(document.body.as_ref());
    let revision: i64 = sqlx::query_scalar(
        "INSERT INTO documents
            (environment, kind, key, revision, sequence, created_at, updated_at, actor_id, actor_name, body)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?5, ?6, ?7, ?8)
         ON CONFLICT (environment, kind, key) DO UPDATE SET
            revision = revision + 1, sequence = excluded.sequence, updated_at = excluded.updated_at,
            actor_id = excluded.actor_id, actor_name = excluded.actor_name, body = excluded.body
         RETURNING revision",
    )
    .bind(environment.as_str())
    .bind(document.kind.as_str())
    .bind(&document.key)
    .bind(columns::number(sequence))
    .bind(commit.at.unix_ms())
    .bind(id)
    .bind(name)
    .bind(body.as_deref())
    .fetch_one(&mut *transaction)
    .await
    .attempting(COMMITTING)?;
    sqlx::query(
        "INSERT INTO revisions (environment, kind, key, revision, at, actor_id, actor_name, action, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(environment.as_str())
    .bind(document.kind.as_str())
    .bind(&document.key)
    .bind(revision)
    .bind(commit.at.unix_ms())
    .bind(id)
    .bind(name)
    .bind(document.action)
    .bind(body.as_deref())
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}

async fn publish(
    transaction: &mut SqliteConnection,
    commit: &Commit,
    environment: &Environment,
    sequence: u64,
    snapshot: &NewSnapshot,
) -> Result<(), StoreError> {
    // A version that is signed anew was published already.
    sqlx::query(
        "INSERT INTO publications (environment, cv, at, sequence, actor_id, actor_name) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(environment.as_str())
    .bind(columns::number(snapshot.cv))
    .bind(commit.at.unix_ms())
    .bind(columns::number(sequence))
    .bind(&commit.actor.id)
    .bind(&commit.actor.name)
    .execute(&mut *transaction)
    .await
    .attempting(COMMITTING)?;
    sqlx::query(
        "INSERT INTO snapshots (environment, cv, token) VALUES (?, ?, ?)
         ON CONFLICT (environment, cv) DO UPDATE SET token = excluded.token",
    )
    .bind(environment.as_str())
    .bind(columns::number(snapshot.cv))
    .bind(&snapshot.token)
    .execute(&mut *transaction)
    .await
    .attempting(COMMITTING)?;
    sqlx::query(
        "DELETE FROM snapshots WHERE environment = ?1 AND cv <= (
             SELECT cv FROM publications WHERE environment = ?1 ORDER BY cv DESC LIMIT 1 OFFSET ?2
         )",
    )
    .bind(environment.as_str())
    .bind(i64::from(KEPT_SNAPSHOTS))
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}

async fn create_token(transaction: &mut SqliteConnection, token: &ApiToken) -> Result<(), CommitError> {
    let created = sqlx::query(
        "INSERT INTO api_tokens
            (id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at, revoked_at,
             last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&token.id)
    .bind(&token.name)
    .bind(&token.scope)
    .bind(token.environment.as_ref().map(Environment::as_str))
    .bind(token.hash.as_slice())
    .bind(token.created_at.unix_ms())
    .bind(&token.created_by.id)
    .bind(&token.created_by.name)
    .bind(token.expires_at.map(|at| at.unix_ms()))
    .bind(token.revoked_at.map(|at| at.unix_ms()))
    .bind(token.last_used_at.map(|at| at.unix_ms()))
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    if created.rows_affected() == 0 { Err(CommitError::Conflict) } else { Ok(()) }
}

async fn revoke_token(transaction: &mut SqliteConnection, id: &str, at: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")
        .bind(id)
        .bind(at)
        .execute(transaction)
        .await
        .attempting(COMMITTING)?;
    Ok(())
}

/// The transaction holds the file's write lock, so nobody else appends meanwhile.
async fn write_allocation(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    allocation: &AllocationWrite,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO allocations (environment, experiment, xv, at_ms, unit_type, shares)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (environment, experiment, xv) DO UPDATE SET
            unit_type = excluded.unit_type, shares = excluded.shares",
    )
    .bind(environment.as_str())
    .bind(allocation.experiment.as_str())
    .bind(columns::number(allocation.xv))
    .bind(allocation.at.unix_ms())
    .bind(allocation.unit_type.as_str())
    .bind(event_columns::shares_text(&allocation.shares))
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}

async fn write_alert(
    transaction: &mut SqliteConnection,
    alert: &NewAlert,
    at: i64,
) -> Result<(), CommitError> {
    let written = sqlx::query(
        "INSERT INTO alerts (id, environment, experiment, kind, body, at_ms, next_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&alert.id)
    .bind(alert.environment.as_str())
    .bind(event_columns::absent(alert.experiment.as_ref()))
    .bind(&alert.kind)
    .bind(&alert.body)
    .bind(at)
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    if written.rows_affected() == 0 { Err(CommitError::Conflict) } else { Ok(()) }
}

async fn append_audit(transaction: &mut SqliteConnection, entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let newest: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await
            .attempting(COMMITTING)?;
    let mut newest = match newest {
        Some((number, hash)) => (columns::counter(number), columns::hash(COMMITTING, &hash)?),
        None => audit::GENESIS,
    };
    for entry in entries {
        let record = audit::link(newest, entry)?;
        sqlx::query("INSERT INTO audit (number, entry, previous, hash) VALUES (?, ?, ?, ?)")
            .bind(columns::number(record.number))
            .bind(&record.entry)
            .bind(record.previous.as_slice())
            .bind(record.hash.as_slice())
            .execute(&mut *transaction)
            .await
            .attempting(COMMITTING)?;
        newest = (record.number, record.hash);
    }
    Ok(())
}
