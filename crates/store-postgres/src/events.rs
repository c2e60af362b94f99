//! Events as they came in.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use edgeseal_core::events::{EventRecord, Quarantined};
use edgeseal_core::ids::Environment;
use edgeseal_store::event_columns::{self, EventColumns, NOTE_KEY_BYTES};
use edgeseal_store::{
    Appended, EventBatch, Events, QuarantineFilter, StoreError, StoredEvent, StoredNote, UnitRef, columns,
};
use sqlx::{PgConnection, PgPool};

use crate::copy::{COPY_EVENTS, Rows};
use crate::fault::{Attempt as _, collided, operation, within};
use crate::{OPERATION_TIMEOUT, PostgresStore};

const KEEPING: &str = "keeping events";
const READING: &str = "reading events";
const READING_QUARANTINE: &str = "reading refused events";

/// How often a batch is tried that PostgreSQL undid because it collided with another.
const ATTEMPTS: u32 = 3;

#[async_trait]
impl Events for PostgresStore {
    async fn append_events(
        &self,
        environment: &Environment,
        batch: &EventBatch,
    ) -> Result<Appended, StoreError> {
        let keys = event_columns::note_keys(&batch.quarantined);
        let mut tried: u32 = 1;
        loop {
            // Asking which events are there already costs a tenth of writing them, and mostly none is. But who had to
            // ask once expects more of them: when many deliver again, nothing should be written twice.
            let expects_news = self.expects_news.load(Ordering::Relaxed);
            let attempt = append(&self.pool, environment, batch, &keys, expects_news);
            match within(OPERATION_TIMEOUT, KEEPING, attempt).await {
                Err(error) if collided(&error) && tried < ATTEMPTS => tried = tried.saturating_add(1),
                Ok(None) => self.expects_news.store(false, Ordering::Relaxed),
                Ok(Some(appended)) => {
                    self.expects_news.store(appended.duplicates == 0, Ordering::Relaxed);
                    return Ok(appended);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn newest_event(&self, environment: &Environment) -> Result<u64, StoreError> {
        let head: Option<i64> = operation(
            READING,
            sqlx::query_scalar("SELECT head FROM event_streams WHERE environment = $1")
                .bind(environment.as_str())
                .fetch_optional(&self.pool),
        )
        .await?;
        Ok(columns::counter(head.unwrap_or_default()))
    }

    async fn events_after(
        &self,
        environment: &Environment,
        number: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows: Vec<EventRow> = operation(
            READING,
            sqlx::query_as(
                "SELECT number, id, at_ms, received_ms, unit_type, unit, kind, name, variant, xv, amount::text, detail
                 FROM events
                 WHERE stream = (SELECT stream FROM event_streams WHERE environment = $1) AND number > $2
                 ORDER BY number LIMIT $3",
            )
            .bind(environment.as_str())
            .bind(columns::number(number))
            .bind(event_columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn events_of_units(
        &self,
        environment: &Environment,
        units: &[UnitRef],
        limit_per_unit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let types: Vec<&str> = units.iter().map(|unit| unit.unit_type.as_str()).collect();
        let tags: Vec<&[u8]> = units.iter().map(|unit| unit.tag.as_bytes().as_slice()).collect();
        let rows: Vec<EventRow> = operation(
            READING,
            // One look into the index for each unit, whatever the planner believes about them.
            sqlx::query_as(
                "SELECT found.number, id, at_ms, received_ms, unit_type, unit, kind, name, variant, xv,
                    amount::text, detail
                 FROM (SELECT DISTINCT * FROM unnest($2::text[], $3::bytea[]) AS wanted(kind_of_unit, tag)) AS wanted
                 CROSS JOIN LATERAL (
                    SELECT * FROM events
                    WHERE stream = (SELECT stream FROM event_streams WHERE environment = $1)
                        AND unit = wanted.tag AND kind <= 2 AND unit_type = wanted.kind_of_unit
                    ORDER BY number LIMIT $4
                 ) AS found
                 ORDER BY unit_type, unit, at_ms, number",
            )
            .bind(environment.as_str())
            .bind(types)
            .bind(tags)
            .bind(i64::from(limit_per_unit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(StoredEvent::try_from).collect()
    }

    async fn quarantine(
        &self,
        environment: &Environment,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<Vec<StoredNote>, StoreError> {
        let texts = [&filter.code, &filter.about];
        if !texts.into_iter().flatten().all(|text| columns::is_storable(text)) {
            return Ok(Vec::new());
        }
        let rows: Vec<NoteRow> = operation(
            READING_QUARANTINE,
            sqlx::query_as(
                "SELECT number, id, received_ms, code, about FROM quarantine
                 WHERE environment = $1 AND ($2 IS NULL OR code = $2) AND ($3 IS NULL OR about = $3)
                    AND ($4 IS NULL OR number < $4)
                 ORDER BY number DESC LIMIT $5",
            )
            .bind(environment.as_str())
            .bind(filter.code.as_deref())
            .bind(filter.about.as_deref())
            .bind(filter.before.map(columns::number))
            .bind(columns::page(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(StoredNote::try_from).collect()
    }

    async fn quarantine_counts(&self, environment: &Environment) -> Result<Vec<(String, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = operation(
            READING_QUARANTINE,
            sqlx::query_as("SELECT code, count FROM quarantine_counts WHERE environment = $1 ORDER BY code")
                .bind(environment.as_str())
                .fetch_all(&self.pool),
        )
        .await?;
        Ok(rows.into_iter().map(|(code, count)| (code, columns::counter(count))).collect())
    }

    async fn forget_quarantine(&self, received_before_ms: i64) -> Result<(), StoreError> {
        operation(
            "forgetting refused events",
            sqlx::query("DELETE FROM quarantine WHERE received_ms < $1")
                .bind(received_before_ms)
                .execute(&self.pool),
        )
        .await?;
        Ok(())
    }
}

/// `None`: not everything is new, which was expected. A transaction that is dropped before its end is rolled back.
async fn append(
    pool: &PgPool,
    environment: &Environment,
    batch: &EventBatch,
    keys: &[[u8; NOTE_KEY_BYTES]],
    expects_news: bool,
) -> Result<Option<Appended>, StoreError> {
    let mut transaction = pool.begin().await.attempting(KEEPING)?;
    let appended = append_records(&mut transaction, environment, &batch.records, expects_news).await?;
    let Some(appended) = appended else { return Ok(None) };
    quarantine(&mut transaction, KEEPING, environment, &batch.quarantined, keys).await?;
    transaction.commit().await.attempting(KEEPING)?;
    Ok(Some(appended))
}

/// From here on those who append to the same stream wait for one another until this transaction has ended: so what is
/// new stays new, and numbers follow the order of commits.
async fn append_records(
    transaction: &mut PgConnection,
    environment: &Environment,
    records: &[EventRecord],
    expects_news: bool,
) -> Result<Option<Appended>, StoreError> {
    if records.is_empty() {
        return Ok(Some(Appended::default()));
    }
    let (stream, mut number) = lock_stream(transaction, environment).await?;
    let mut known = Vec::new();
    if !expects_news {
        let ids: Vec<&[u8]> = records.iter().map(|record| record.id.as_bytes().as_slice()).collect();
        // A statement of its own: it must see what the lock's last holder has written.
        known = sqlx::query_scalar("SELECT id FROM events WHERE stream = $1 AND id = ANY($2::bytea[])")
            .bind(stream)
            .bind(ids)
            .fetch_all(&mut *transaction)
            .await
            .attempting(KEEPING)?;
    }
    let mut seen: HashSet<&[u8]> = known.iter().map(Vec::<u8>::as_slice).collect();
    let mut rows = Rows::with_capacity(records.len());
    let mut new: u64 = 0;
    for record in records {
        if seen.insert(record.id.as_bytes()) {
            (number, new) = (number.saturating_add(1), new.saturating_add(1));
            rows.push(stream, number, record, &event_columns::of_event(record)?);
        }
    }
    if new > 0 {
        let mut copy = transaction.copy_in_raw(COPY_EVENTS).await.attempting(KEEPING)?;
        copy.send(rows.finish()).await.attempting(KEEPING)?;
        match copy.finish().await {
            Err(sqlx::Error::Database(error)) if expects_news && error.is_unique_violation() => {
                return Ok(None);
            }
            written => written.attempting(KEEPING)?,
        };
        sqlx::query("UPDATE event_streams SET head = $2 WHERE stream = $1")
            .bind(stream)
            .bind(number)
            .execute(transaction)
            .await
            .attempting(KEEPING)?;
    }
    Ok(Some(Appended { new, duplicates: (records.len() as u64).saturating_sub(new) }))
}

/// The environment's stream and its newest number.
async fn lock_stream(
    transaction: &mut PgConnection,
    environment: &Environment,
) -> Result<(i32, i64), StoreError> {
    loop {
        let locked: Option<(i32, i64)> =
            sqlx::query_as("SELECT stream, head FROM event_streams WHERE environment = $1 FOR NO KEY UPDATE")
                .bind(environment.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .attempting(KEEPING)?;
        if let Some(locked) = locked {
            return Ok(locked);
        }
        // Waits for whoever is creating it; nobody deletes it.
        sqlx::query("INSERT INTO event_streams (environment) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(environment.as_str())
            .execute(&mut *transaction)
            .await
            .attempting(KEEPING)?;
    }
}

/// Keeps notes that are not there yet, and counts them.
pub(crate) async fn quarantine(
    transaction: &mut PgConnection,
    attempt: &'static str,
    environment: &Environment,
    notes: &[Quarantined],
    keys: &[[u8; NOTE_KEY_BYTES]],
) -> Result<(), StoreError> {
    if notes.is_empty() {
        return Ok(());
    }
    let codes: Vec<_> = notes.iter().map(|note| event_columns::note_text(&note.code).into_owned()).collect();
    let about: Vec<_> = notes
        .iter()
        .map(|note| note.about.as_deref().map(|about| event_columns::note_text(about).into_owned()))
        .collect();
    sqlx::query(
        "WITH new AS (
             INSERT INTO quarantine (environment, note, id, received_ms, code, about)
             SELECT $1, note, id, received_ms, code, about
             FROM unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::text[], $6::text[])
                WITH ORDINALITY AS notes(note, id, received_ms, code, about, place)
             ORDER BY place
             ON CONFLICT DO NOTHING
             RETURNING code
         )
         INSERT INTO quarantine_counts (environment, code, count)
         SELECT $1, code, count(*) FROM new GROUP BY code ORDER BY code
         ON CONFLICT (environment, code) DO UPDATE SET count = quarantine_counts.count + excluded.count",
    )
    .bind(environment.as_str())
    .bind(keys.iter().map(<[u8; NOTE_KEY_BYTES]>::as_slice).collect::<Vec<_>>())
    .bind(notes.iter().map(|note| note.id.as_ref().map(|id| id.as_bytes().as_slice())).collect::<Vec<_>>())
    .bind(notes.iter().map(|note| note.received_ms).collect::<Vec<_>>())
    .bind(codes)
    .bind(about)
    .execute(transaction)
    .await
    .attempting(attempt)?;
    Ok(())
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
