//! Events as they came in.

use std::collections::HashSet;
use std::sync::LazyLock;

use async_trait::async_trait;
use edgeseal_core::events::{EventRecord, Quarantined};
use edgeseal_core::ids::Environment;
use edgeseal_store::event_columns::{self, EventColumns, NOTE_KEY_BYTES};
use edgeseal_store::{
    Appended, EventBatch, Events, QuarantineFilter, StoreError, StoredEvent, StoredNote, UnitRef, columns,
};
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::SqliteStore;
use crate::fault::Attempt as _;

const KEEPING: &str = "keeping events";
const READING: &str = "reading events";
const READING_QUARANTINE: &str = "reading refused events";

/// Rows of one `INSERT`, the most first: the way to SQLite's thread and back costs more than a row. Few sizes, so that
/// each statement is prepared once.
static INSERTS: LazyLock<[(usize, std::sync::Arc<str>); 3]> =
    LazyLock::new(|| [128, 16, 1].map(|rows| (rows, insert(rows).into())));

fn insert(rows: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!(
        "INSERT INTO events
            (stream, number, kind, at_ms, received_ms, id, unit, unit_type, name, variant, xv, amount, detail)
         VALUES {}",
        vec![row; rows].join(", ")
    )
}

#[async_trait]
impl Events for SqliteStore {
    async fn append_events(
        &self,
        environment: &Environment,
        batch: &EventBatch,
    ) -> Result<Appended, StoreError> {
        // Takes the write lock at once: so what is new stays new, and numbers follow the order of commits.
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.attempting(KEEPING)?;
        let appended = append_records(&mut transaction, environment, &batch.records).await?;
        quarantine(&mut transaction, KEEPING, environment, &batch.quarantined).await?;
        transaction.commit().await.attempting(KEEPING)?;
        Ok(appended)
    }

    async fn newest_event(&self, environment: &Environment) -> Result<u64, StoreError> {
        let head: Option<i64> = sqlx::query_scalar("SELECT head FROM event_streams WHERE environment = ?")
            .bind(environment.as_str())
            .fetch_optional(&self.readers)
            .await
            .attempting(READING)?;
        Ok(columns::counter(head.unwrap_or_default()))
    }

    async fn events_after(
        &self,
        environment: &Environment,
        number: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT number, id, at_ms, received_ms, unit_type, unit, kind, name, variant, xv, amount, detail
             FROM events
             WHERE stream = (SELECT stream FROM event_streams WHERE environment = ?) AND number > ?
             ORDER BY number LIMIT ?",
        )
        .bind(environment.as_str())
        .bind(columns::number(number))
        .bind(event_columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING)?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn events_of_units(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        limit_per_unit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut units: Vec<&UnitRef> = units.iter().collect();
        units.sort_unstable();
        units.dedup();
        let mut connection = self.readers.acquire().await.attempting(READING)?;
        let mut events = Vec::new();
        for unit in units {
            // Left to itself, SQLite reads the whole stream in the order of numbers.
            let rows: Vec<EventRow> = sqlx::query_as(
                "SELECT number, id, at_ms, received_ms, unit_type, unit, kind, name, variant, xv, amount, detail
                 FROM events INDEXED BY events_by_unit
                 WHERE stream = (SELECT stream FROM event_streams WHERE environment = ?)
                    AND unit = ? AND kind <= 2 AND unit_type = ?
                 ORDER BY number LIMIT ?",
            )
            .bind(environment.as_str())
            .bind(unit.tag.as_bytes().as_slice())
            .bind(unit.unit_type.as_str())
            .bind(i64::from(limit_per_unit))
            .fetch_all(&mut *connection)
            .await
            .attempting(READING)?;
            let first = events.len();
            for row in rows {
                events.push(StoredEvent::try_from(row)?);
            }
            if let Some(of_unit) = events.get_mut(first..) {
                of_unit.sort_by_key(|event| (event.record.at_ms, event.number));
            }
        }
        Ok(events)
    }

    async fn quarantine(
        &self,
        environment: &Environment,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<Vec<StoredNote>, StoreError> {
        let rows: Vec<NoteRow> = sqlx::query_as(
            "SELECT number, id, received_ms, code, about FROM quarantine
             WHERE environment = ?1 AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR about = ?3)
                AND (?4 IS NULL OR number < ?4)
             ORDER BY number DESC LIMIT ?5",
        )
        .bind(environment.as_str())
        .bind(filter.code.as_deref())
        .bind(filter.about.as_deref())
        .bind(filter.before.map(columns::number))
        .bind(columns::page(limit))
        .fetch_all(&self.readers)
        .await
        .attempting(READING_QUARANTINE)?;
        rows.into_iter().map(StoredNote::try_from).collect()
    }

    async fn quarantine_counts(&self, environment: &Environment) -> Result<Vec<(String, u64)>, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT code, count FROM quarantine_counts WHERE environment = ? ORDER BY code")
                .bind(environment.as_str())
                .fetch_all(&self.readers)
                .await
                .attempting(READING_QUARANTINE)?;
        Ok(rows.into_iter().map(|(code, count)| (code, columns::counter(count))).collect())
    }

    async fn forget_quarantine(&self, received_before_ms: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM quarantine WHERE received_ms < ?")
            .bind(received_before_ms)
            .execute(&self.writer)
            .await
            .attempting("forgetting refused events")?;
        Ok(())
    }
}

async fn append_records(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    records: &[EventRecord],
) -> Result<Appended, StoreError> {
    if records.is_empty() {
        return Ok(Appended::default());
    }
    let (stream, head): (i64, i64) = sqlx::query_as(
        "INSERT INTO event_streams (environment) VALUES (?)
         ON CONFLICT (environment) DO UPDATE SET head = head RETURNING stream, head",
    )
    .bind(environment.as_str())
    .fetch_one(&mut *transaction)
    .await
    .attempting(KEEPING)?;
    let known = known(transaction, stream, records).await?;
    let mut seen: HashSet<&[u8]> = known.iter().map(Vec::as_slice).collect();
    let new: Vec<&EventRecord> =
        records.iter().filter(|record| seen.insert(record.id.as_bytes().as_slice())).collect();
    let (mut rest, mut number) = (new.as_slice(), head);
    for (rows, statement) in INSERTS.iter() {
        while let Some((chunk, others)) = rest.split_at_checked(*rows) {
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for record in chunk {
                number = number.saturating_add(1);
                let columns = event_columns::of_event(record)?;
                query = query
                    .bind(stream)
                    .bind(number)
                    .bind(columns.kind)
                    .bind(record.at_ms)
                    .bind(record.received_ms)
                    .bind(record.id.as_bytes().as_slice())
                    .bind(record.unit.as_ref().map(|tag| tag.as_bytes().as_slice()))
                    .bind(record.unit_type.as_str())
                    .bind(columns.name)
                    .bind(columns.variant)
                    .bind(columns.xv)
                    .bind(columns.amount.map(|amount| amount.to_string()))
                    .bind(columns.detail);
            }
            query.execute(&mut *transaction).await.attempting(KEEPING)?;
            rest = others;
        }
    }
    sqlx::query("UPDATE event_streams SET head = ? WHERE stream = ?")
        .bind(number)
        .bind(stream)
        .execute(transaction)
        .await
        .attempting(KEEPING)?;
    let new = new.len() as u64;
    Ok(Appended { new, duplicates: (records.len() as u64).saturating_sub(new) })
}

/// Which of the records are there already. One statement for any number of them: their ids in one blob.
async fn known(
    transaction: &mut SqliteConnection,
    stream: i64,
    records: &[EventRecord],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let ids: Vec<u8> = records.iter().flat_map(|record| *record.id.as_bytes()).collect();
    sqlx::query_scalar(
        "WITH RECURSIVE place(first) AS (
             SELECT 1 UNION ALL SELECT first + 16 FROM place WHERE first + 16 < length(?2)
         )
         SELECT id FROM place CROSS JOIN events ON stream = ?1 AND id = substr(?2, first, 16)",
    )
    .bind(stream)
    .bind(ids)
    .fetch_all(transaction)
    .await
    .attempting(KEEPING)
}

/// Keeps notes that are not there yet, and counts them.
pub(crate) async fn quarantine(
    transaction: &mut SqliteConnection,
    attempt: &'static str,
    environment: &Environment,
    notes: &[Quarantined],
) -> Result<(), StoreError> {
    for (note, key) in notes.iter().zip(event_columns::note_keys(notes)) {
        let code = event_columns::note_text(&note.code);
        let kept = keep_note(transaction, environment, note, &key, &code).await.attempting(attempt)?;
        if kept {
            count_note(transaction, environment, &code).await.attempting(attempt)?;
        }
    }
    Ok(())
}

async fn keep_note(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    note: &Quarantined,
    key: &[u8; NOTE_KEY_BYTES],
    code: &str,
) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query(
        "INSERT INTO quarantine (environment, note, id, received_ms, code, about) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (environment, note) DO NOTHING",
    )
    .bind(environment.as_str())
    .bind(key.as_slice())
    .bind(note.id.as_ref().map(|id| id.as_bytes().as_slice()))
    .bind(note.received_ms)
    .bind(code)
    .bind(note.about.as_deref().map(|about| event_columns::note_text(about).into_owned()))
    .execute(transaction)
    .await?;
    Ok(kept.rows_affected() > 0)
}

async fn count_note(
    transaction: &mut SqliteConnection,
    environment: &Environment,
    code: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO quarantine_counts (environment, code, count) VALUES (?, ?, 1)
         ON CONFLICT (environment, code) DO UPDATE SET count = count + 1",
    )
    .bind(environment.as_str())
    .bind(code)
    .execute(transaction)
    .await
    .map(drop)
}

#[derive(sqlx::FromRow)]
struct EventRow {
    number: i64,
    id: Vec<u8>,
    at_ms: i64,
    received_ms: i64,
    unit_type: String,
    unit: Option<Vec<u8>>,
    kind: i16,
    name: Option<String>,
    variant: Option<String>,
    xv: Option<i64>,
    amount: Option<String>,
    detail: Option<String>,
}

impl TryFrom<EventRow> for StoredEvent {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let EventRow {
            number,
            id,
            at_ms,
            received_ms,
            unit_type,
            unit,
            kind,
            name,
            variant,
            xv,
            amount,
            detail,
        } = row;
        let columns =
            EventColumns { id, at_ms, received_ms, unit_type, unit, kind, name, variant, xv, amount, detail };
        Ok(Self { number: columns::counter(number), record: event_columns::event(READING, columns)? })
    }
}

#[derive(sqlx::FromRow)]
struct NoteRow {
    number: i64,
    id: Option<Vec<u8>>,
    received_ms: i64,
    code: String,
    about: Option<String>,
}

impl TryFrom<NoteRow> for StoredNote {
    type Error = StoreError;

    fn try_from(row: NoteRow) -> Result<Self, StoreError> {
        let id = row.id.map(|id| event_columns::id(READING_QUARANTINE, &id)).transpose()?;
        let NoteRow { received_ms, code, about, .. } = row;
        let note = Quarantined { id, received_ms, code, about };
        Ok(Self { number: columns::counter(row.number), note })
    }
}
