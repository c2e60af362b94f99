//! A commit: one transaction, all of it or nothing.
//!
//! Everybody takes the locks in the same order: the idempotency key, the environment's row, API tokens, alerts, and last
//! the audit log, which is the only one that all commits share.

use edgeseal_core::ids::Environment;
use edgeseal_store::{
    AllocationWrite, ApiToken, AuditEntry, Change, Commit, CommitError, DocumentWrite, EnvironmentWrite,
    IdempotencyRecord, KEPT_SNAPSHOTS, NewAlert, NewSnapshot, StoreError, TokenWrite, audit, columns,
    event_columns,
};
use sqlx::{PgConnection, PgPool};

use crate::changes::Notice;
use crate::fault::{Attempt as _, collided, within};
use crate::{OPERATION_TIMEOUT, PostgresStore};

const COMMITTING: &str = "committing a change";

/// How often a commit is tried that PostgreSQL undid because it collided with another.
const ATTEMPTS: u32 = 3;

/// The advisory lock under which records are appended to the audit log: the letters `edgesaud`.
const AUDIT_LOCK: i64 = 0x6564_6765_7361_7564;

/// Returns the environment's new sequence.
pub(crate) async fn apply(pool: &PgPool, commit: &Commit) -> Result<u64, CommitError> {
    commit.check()?;
    for _ in 0..ATTEMPTS {
        match within(OPERATION_TIMEOUT, COMMITTING, attempt(pool, commit)).await {
            Err(CommitError::Store(error)) if collided(&error) => {}
            outcome => return outcome,
        }
    }
    Err(CommitError::Conflict)
}

impl PostgresStore {
    /// Tells this process; others hear it from PostgreSQL.
    pub(crate) fn tell_of(&self, commit: &Commit, sequence: u64) {
        for notice in notices(commit, sequence) {
            self.hints.tell(notice);
        }
    }
}

fn notices(commit: &Commit, sequence: u64) -> Vec<Change> {
    let environment = commit
        .environment
        .as_ref()
        .map(|environment| Change::Environment { environment: environment.name.clone(), sequence });
    let tokens = (!commit.tokens.is_empty()).then_some(Change::Tokens);
    environment.into_iter().chain(tokens).collect()
}

/// A transaction that is dropped before its end is rolled back.
async fn attempt(pool: &PgPool, commit: &Commit) -> Result<u64, CommitError> {
    let mut transaction = pool.begin().await.attempting(COMMITTING)?;
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
    for notice in notices(commit, sequence) {
        // Sent to the listeners when the transaction commits, and only then.
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(Notice::CHANNEL)
            .bind(Notice(notice).to_string())
            .execute(&mut *transaction)
            .await
            .attempting(COMMITTING)?;
    }
    transaction.commit().await.attempting(COMMITTING)?;
    Ok(sequence)
}

/// Waits for a transaction that is about to keep an answer under the same key.
async fn keep_answer(transaction: &mut PgConnection, answer: &IdempotencyRecord) -> Result<(), CommitError> {
    let kept = sqlx::query(
        "INSERT INTO answers (token_id, key, fingerprint, status, at, sealed_body)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(&answer.token_id)
    .bind(&answer.key)
    .bind(answer.fingerprint.as_slice())
    .bind(i32::from(answer.status))
    .bind(answer.at.unix_ms())
    .bind(&answer.sealed_body)
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    if kept.rows_affected() == 0 { Err(CommitError::IdempotencyTaken) } else { Ok(()) }
}

async fn write_environment(
    transaction: &mut PgConnection,
    commit: &Commit,
    environment: &EnvironmentWrite,
) -> Result<u64, CommitError> {
    let sequence = match environment.expected {
        None => create_environment(transaction, commit, environment).await?,
        Some(expected) => move_head(transaction, environment, expected).await?,
    };
    if !environment.documents.is_empty() {
        write_documents(transaction, commit, &environment.name, sequence, &environment.documents).await?;
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
    transaction: &mut PgConnection,
    commit: &Commit,
    environment: &EnvironmentWrite,
) -> Result<u64, CommitError> {
    let created = sqlx::query(
        "INSERT INTO environments (name, created_at, sequence, cv, ep, keyset_ver, keyring, state)
         VALUES ($1, $2, 1, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
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
    transaction: &mut PgConnection,
    environment: &EnvironmentWrite,
    expected: u64,
) -> Result<u64, CommitError> {
    // Waits for whoever is committing to this environment, then sees what they wrote.
    let stored: Option<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT sequence, cv, ep, keyset_ver FROM environments WHERE name = $1 FOR NO KEY UPDATE",
    )
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
        "UPDATE environments SET sequence = sequence + 1, cv = $2, ep = $3, keyset_ver = $4,
             keyring = coalesce($5, keyring), state = coalesce($6, state)
         WHERE name = $1",
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

/// One statement, however many documents: each round trip costs more than a hundred rows.
async fn write_documents(
    transaction: &mut PgConnection,
    commit: &Commit,
    environment: &Environment,
    sequence: u64,
    documents: &[DocumentWrite],
) -> Result<(), StoreError> {
    let kinds: Vec<&str> = documents.iter().map(|document| document.kind.as_str()).collect();
    let keys: Vec<&str> = documents.iter().map(|document| document.key.as_str()).collect();
    let actions: Vec<&str> = documents.iter().map(|document| document.action).collect();
    let bodies: Vec<Option<String>> =
        documents.iter().map(|document| columns::body_text(document.body.as_ref())).collect();
    sqlx::query(
        "WITH change AS (
             SELECT * FROM unnest($6::text[], $7::text[], $8::text[], $9::text[]) AS change(kind, key, action, body)
         ), written AS (
             INSERT INTO documents
                (environment, kind, key, revision, sequence, created_at, updated_at, actor_id, actor_name, body)
             SELECT $1, kind, key, 1, $2, $3, $3, $4, $5, body FROM change
             ON CONFLICT (environment, kind, key) DO UPDATE SET
                revision = documents.revision + 1, sequence = excluded.sequence, updated_at = excluded.updated_at,
                actor_id = excluded.actor_id, actor_name = excluded.actor_name, body = excluded.body
             RETURNING kind, key, revision
         )
         INSERT INTO revisions (environment, kind, key, revision, at, actor_id, actor_name, action, body)
         SELECT $1, kind, key, revision, $3, $4, $5, action, body FROM written JOIN change USING (kind, key)",
    )
    .bind(environment.as_str())
    .bind(columns::number(sequence))
    .bind(commit.at.unix_ms())
    .bind(&commit.actor.id)
    .bind(&commit.actor.name)
    .bind(kinds)
    .bind(keys)
    .bind(actions)
    .bind(bodies)
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}

async fn publish(
    transaction: &mut PgConnection,
    commit: &Commit,
    environment: &Environment,
    sequence: u64,
    snapshot: &NewSnapshot,
) -> Result<(), StoreError> {
    // A version that is signed anew was published already.
    sqlx::query(
        "WITH published AS (
             INSERT INTO publications (environment, cv, at, sequence, actor_id, actor_name)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
         )
         INSERT INTO snapshots (environment, cv, token) VALUES ($1, $2, $7)
         ON CONFLICT (environment, cv) DO UPDATE SET token = excluded.token",
    )
    .bind(environment.as_str())
    .bind(columns::number(snapshot.cv))
    .bind(commit.at.unix_ms())
    .bind(columns::number(sequence))
    .bind(&commit.actor.id)
    .bind(&commit.actor.name)
    .bind(&snapshot.token)
    .execute(&mut *transaction)
    .await
    .attempting(COMMITTING)?;
    sqlx::query(
        "DELETE FROM snapshots WHERE environment = $1 AND cv <= (
             SELECT cv FROM publications WHERE environment = $1 ORDER BY cv DESC LIMIT 1 OFFSET $2
         )",
    )
    .bind(environment.as_str())
    .bind(i64::from(KEPT_SNAPSHOTS))
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}

async fn create_token(transaction: &mut PgConnection, token: &ApiToken) -> Result<(), CommitError> {
    let created = sqlx::query(
        "INSERT INTO api_tokens
            (id, name, scope, environment, hash, created_at, creator_id, creator_name, expires_at, revoked_at,
             last_used_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
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

async fn revoke_token(transaction: &mut PgConnection, id: &str, at: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(at)
        .execute(transaction)
        .await
        .attempting(COMMITTING)?;
    Ok(())
}

async fn write_allocation(
    transaction: &mut PgConnection,
    environment: &Environment,
    allocation: &AllocationWrite,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO allocations (environment, experiment, xv, at_ms, unit_type, shares)
         VALUES ($1, $2, $3, $4, $5, $6)
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

async fn write_alert(transaction: &mut PgConnection, alert: &NewAlert, at: i64) -> Result<(), CommitError> {
    let written = sqlx::query(
        "INSERT INTO alerts (id, environment, experiment, kind, body, at_ms, next_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING",
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

/// From here on commits wait for one another until this one has ended.
async fn append_audit(transaction: &mut PgConnection, entries: &[AuditEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    // A statement of its own: the next one must see what the lock's last holder has written.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(AUDIT_LOCK)
        .execute(&mut *transaction)
        .await
        .attempting(COMMITTING)?;
    let newest: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await
            .attempting(COMMITTING)?;
    let mut newest = match newest {
        Some((number, hash)) => (columns::counter(number), columns::hash(COMMITTING, &hash)?),
        None => audit::GENESIS,
    };
    let mut records = Vec::with_capacity(entries.len());
    for entry in entries {
        let record = audit::link(newest, entry)?;
        newest = (record.number, record.hash);
        records.push(record);
    }
    sqlx::query(
        "INSERT INTO audit (number, entry, previous, hash)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])",
    )
    .bind(records.iter().map(|record| columns::number(record.number)).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.entry.as_str()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.previous.as_slice()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.hash.as_slice()).collect::<Vec<_>>())
    .execute(transaction)
    .await
    .attempting(COMMITTING)?;
    Ok(())
}
