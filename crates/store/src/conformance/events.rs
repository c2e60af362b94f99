//! Events as they came in, and those that were refused.

use edgeseal_core::events::{
    DriftCause, EventId, EventRecord, FailureCode, Happening, LeakSource, Quarantined,
};
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitId, UnitType, VariantKey};
use edgeseal_core::sealing::{KeyId, SubjectTag};
use tokio::task::JoinSet;

use super::*;
use crate::{Appended, EventBatch, MAX_EVENTS_PAGE, QuarantineFilter, StoredEvent, UnitRef};

/// Every kind, with the greatest and least that a column must hold.
pub async fn they_come_back_as_they_were(database: &impl Database) {
    let store = with_production(database).await;
    let what = [
        exposure("checkout", "b", i64::MAX.cast_unsigned()),
        metric("revenue", 0),
        metric("revenue", 1),
        metric("revenue", -10_000),
        metric("revenue", 123_400_000_000_000_056_789),
        metric("revenue", i128::MAX),
        metric("revenue", i128::MIN),
        Happening::Drift {
            experiment: key("checkout"),
            from: None,
            to: Some(VariantKey::parse("b").unwrap()),
            cause: DriftCause::Rollback,
        },
        Happening::Leak {
            subject: tag("somebody else"),
            key_id: KeyId::parse("abcdefghijklmnopqrstuA").unwrap(),
            source: LeakSource::Storage,
        },
        Happening::VerificationFailed { code: FailureCode::parse("E_EXPIRED").unwrap() },
    ];
    let mut records: Vec<_> =
        (0..).zip(what).map(|(number, what)| EventRecord { what, ..event(number, "ada") }).collect();
    records[1].at_ms = i64::MIN;
    records[2].received_ms = i64::MAX;
    records[9].unit = None;
    records[3].unit_type = UnitType::parse("device").unwrap();
    let appended = store.append_events(&production(), &batch(&records)).await.unwrap();
    assert_eq!(appended, Appended { new: 10, duplicates: 0 });
    let stored = store.events_after(&production(), 0, 99).await.unwrap();
    assert_eq!(numbers(&stored), (1..=10).collect::<Vec<_>>());
    assert_eq!(stored.into_iter().map(|event| event.record).collect::<Vec<_>>(), records);
    assert_eq!(store.newest_event(&production()).await.unwrap(), 10);
    assert_eq!(store.append_events(&production(), &batch(&[])).await.unwrap(), Appended::default());
}

/// Delivered again as a whole, in part, and twice in one batch; the first one stays.
pub async fn one_id_counts_once(database: &impl Database) {
    let store = with_production(database).await;
    let records: Vec<_> = (0..300).map(|number| event(number, "ada")).collect();
    store.append_events(&production(), &batch(&records[..200])).await.unwrap();
    let mut again = records.clone();
    for record in &mut again {
        record.received_ms += 1;
        record.what = metric("another", 7);
    }
    again.extend_from_slice(&records[250..260]);
    let appended = store.append_events(&production(), &batch(&again)).await.unwrap();
    assert_eq!(appended, Appended { new: 100, duplicates: 210 });
    let appended = database.open().await.append_events(&production(), &batch(&again)).await.unwrap();
    assert_eq!(appended, Appended { new: 0, duplicates: 310 });
    let stored = store.events_after(&production(), 0, 999).await.unwrap();
    assert_eq!(numbers(&stored), (1..=300).collect::<Vec<_>>());
    assert_eq!(stored[199].record, records[199]);
    assert_eq!(stored[200].record, again[200]);
}

/// The same events through two handles, in batches that overlap; meanwhile somebody reads on and misses none.
pub async fn concurrent_batches_leave_no_gap_and_no_double(database: &impl Database) {
    const APPENDERS: u32 = 8;
    const BATCHES: u32 = 12;
    const STEP: u32 = 20;
    let stores = [with_production(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for appender in 0..APPENDERS {
        let store = Arc::clone(&stores[usize::from(appender % 2 == 1)]);
        tasks.spawn(async move {
            let mut new = 0;
            for place in 0..BATCHES {
                let first = ((place + appender) % BATCHES) * STEP;
                let records: Vec<_> = (first..first + 2 * STEP).map(|number| event(number, "ada")).collect();
                new += store.append_events(&production(), &batch(&records)).await.unwrap().new;
            }
            new
        });
    }
    let reader = Arc::clone(&stores[0]);
    let expected = u64::from((BATCHES + 1) * STEP);
    let reading = tokio::spawn(async move {
        let mut read: Vec<StoredEvent> = Vec::new();
        while (read.len() as u64) < expected {
            let last = read.last().map_or(0, |event| event.number);
            read.extend(reader.events_after(&production(), last, 7).await.unwrap());
        }
        read
    });
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), expected);
    let read = reading.await.unwrap();
    assert_eq!(numbers(&read), (1..=expected).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<_> = read.iter().map(|event| event.record.id).collect();
    assert_eq!(ids.len() as u64, expected);
}

/// Also the same id is another event there.
pub async fn environments_have_numbers_of_their_own(database: &impl Database) {
    let store = with_production(database).await;
    let staging = Environment::parse("staging").unwrap();
    store.commit(creation(&staging)).await.unwrap();
    for environment in [&production(), &staging] {
        let appended = store.append_events(environment, &batch(&[event(1, "ada")])).await.unwrap();
        assert_eq!(appended.new, 1);
        assert_eq!(numbers(&store.events_after(environment, 0, 9).await.unwrap()), [1]);
    }
    let nowhere = Environment::parse("nowhere").unwrap();
    for batch in [batch(&[event(1, "ada")]), noting(vec![note(Some(1), 1, "too_old", None)])] {
        let refused = store.append_events(&nowhere, &batch).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    }
    assert_eq!(store.newest_event(&nowhere).await.unwrap(), 0);
}

/// One event that no column can hold, and nothing of the batch is there.
pub async fn a_batch_is_kept_as_a_whole_or_not_at_all(database: &impl Database) {
    let store = with_production(database).await;
    let mut bad = batch(&[event(1, "ada"), event(2, "ada"), event(3, "ada")]);
    bad.records[1].what = exposure("checkout", "b", u64::MAX);
    bad.quarantined = vec![note(None, 1, "bad_id", None)];
    let refused = store.append_events(&production(), &bad).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    assert_eq!(store.events_after(&production(), 0, 9).await.unwrap(), []);
    assert_eq!(store.quarantine_counts(&production()).await.unwrap(), []);
    bad.records.remove(1);
    assert_eq!(store.append_events(&production(), &bad).await.unwrap().new, 2);
    assert_eq!(store.newest_event(&production()).await.unwrap(), 2);
}

/// As many as an edge delivers at once.
pub async fn a_large_batch_is_kept_and_read_in_pages(database: &impl Database) {
    let store = with_production(database).await;
    let count = MAX_EVENTS_PAGE + 5;
    let records: Vec<_> = (0..count).map(|number| event(number, "ada")).collect();
    store.append_events(&production(), &batch(&records)).await.unwrap();
    let page = store.events_after(&production(), 0, u32::MAX).await.unwrap();
    assert_eq!(page.len(), MAX_EVENTS_PAGE as usize);
    let rest = store.events_after(&production(), MAX_EVENTS_PAGE.into(), u32::MAX).await.unwrap();
    assert_eq!(numbers(&rest).len(), 5);
    assert_eq!(rest[4].record, records[records.len() - 1]);
}

/// By unit, then by the client's time, whatever came in first; nothing but exposures and metrics.
pub async fn a_units_events_come_in_order(database: &impl Database) {
    let store = with_production(database).await;
    let mut records: Vec<_> =
        (0..40).map(|number| event(number, if number % 2 == 0 { "ada" } else { "bob" })).collect();
    for (number, record) in records.iter_mut().enumerate() {
        record.at_ms -= 1_000 * i64::try_from(number / 4).unwrap();
    }
    records[6].what = Happening::VerificationFailed { code: FailureCode::parse("E_EXPIRED").unwrap() };
    records[8].unit_type = UnitType::parse("device").unwrap();
    store.append_events(&production(), &batch(&records)).await.unwrap();

    let (ada, bob, nobody) = (unit("ada"), unit("bob"), unit("nobody"));
    let wanted = [bob.clone(), nobody, ada.clone(), bob.clone()];
    let found = store.events_of_units(&production(), &wanted, 99).await.unwrap();
    let mut expected: Vec<_> = (1_u64..)
        .zip(&records)
        .filter(|(number, _)| ![7, 9].contains(number))
        .map(|(number, record)| StoredEvent { number, record: record.clone() })
        .collect();
    expected.sort_by_key(|event| (event.record.unit, event.record.at_ms, event.number));
    assert_eq!(found, expected);
    assert_eq!(store.events_of_units(&production(), &[], 99).await.unwrap(), []);

    // Of too many the first to come, so that what was counted stays counted; still in their order.
    let busy = store.events_of_units(&production(), &[bob], 3).await.unwrap();
    assert_eq!(numbers(&busy), [6, 2, 4]);
    let device = UnitRef { unit_type: UnitType::parse("device").unwrap(), ..ada };
    assert_eq!(numbers(&store.events_of_units(&production(), &[device], 9).await.unwrap()), [9]);
}

/// However often a note is delivered.
pub async fn a_refused_event_is_noted_and_counted_once(database: &impl Database) {
    let store = with_production(database).await;
    let notes = vec![
        note(Some(1), 10, "too_old", Some("checkout")),
        note(Some(1), 11, "too_old", None),
        note(Some(1), 10, "negative", Some("revenue")),
        note(Some(2), 12, "too_old", Some("revenue")),
        // Nobody can tell these two apart, yet they are two.
        note(None, 10, "bad_id", None),
        note(None, 10, "bad_id", None),
        note(None, 10, "bad_id", Some("a\0b")),
    ];
    for _ in 0..3 {
        store.append_events(&production(), &noting(notes.clone())).await.unwrap();
    }
    let counts = [("bad_id", 3), ("negative", 1), ("too_old", 2)];
    let counts = counts.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(store.quarantine_counts(&production()).await.unwrap(), counts);

    let all = store.quarantine(&production(), &QuarantineFilter::default(), 99).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].number > pair[1].number));
    let kept: Vec<_> = all.iter().rev().map(|stored| stored.note.clone()).collect();
    assert_eq!(kept[..5], [&notes[..1], &notes[2..6]].concat());
    assert_eq!(kept[5].about.as_deref(), Some("a\u{fffd}b"));

    let read = async |filter| store.quarantine(&production(), &filter, 2).await.unwrap();
    let code = Some("too_old".to_owned());
    let old = read(QuarantineFilter { code, ..QuarantineFilter::default() }).await;
    assert_eq!(old.iter().map(|stored| stored.note.id).collect::<Vec<_>>(), [notes[3].id, notes[0].id]);
    let about = Some("revenue".to_owned());
    assert_eq!(read(QuarantineFilter { about, ..QuarantineFilter::default() }).await.len(), 2);
    let before = Some(all[4].number);
    let last = read(QuarantineFilter { before, ..QuarantineFilter::default() }).await;
    assert_eq!(last, all[5..]);

    store.forget_quarantine(11).await.unwrap();
    let left = store.quarantine(&production(), &QuarantineFilter::default(), 99).await.unwrap();
    assert_eq!(left.iter().map(|stored| &stored.note).collect::<Vec<_>>(), [&notes[3]]);
    assert_eq!(store.quarantine_counts(&production()).await.unwrap(), counts);
}

/// Through two handles at once.
pub async fn concurrent_notes_are_counted_once(database: &impl Database) {
    let stores = [with_production(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for appender in 0..8_u32 {
        let store = Arc::clone(&stores[usize::from(appender % 2 == 1)]);
        tasks.spawn(async move {
            let mut notes: Vec<_> = (0..50).map(|number| note(Some(number), 1, "too_old", None)).collect();
            if appender % 3 == 0 {
                notes.reverse();
            }
            store.append_events(&production(), &noting(notes)).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(stores[0].quarantine_counts(&production()).await.unwrap(), [("too_old".to_owned(), 50)]);
}

/// A batch of events that count.
pub fn batch(records: &[EventRecord]) -> EventBatch {
    EventBatch { records: records.to_vec(), quarantined: Vec::new() }
}

fn noting(quarantined: Vec<Quarantined>) -> EventBatch {
    EventBatch { records: Vec::new(), quarantined }
}

/// A metric event; one number, one event.
pub fn event(number: u32, of: &str) -> EventRecord {
    let at_ms = minute(0).unix_ms() + i64::from(number);
    EventRecord {
        id: event_id(number),
        at_ms,
        received_ms: at_ms + 40,
        unit: Some(tag(of)),
        unit_type: UnitType::default(),
        what: metric("purchase", 1_000_000),
    }
}

pub(super) fn note(number: Option<u32>, received_ms: i64, code: &str, about: Option<&str>) -> Quarantined {
    Quarantined {
        id: number.map(event_id),
        received_ms,
        code: code.to_owned(),
        about: about.map(str::to_owned),
    }
}

fn event_id(number: u32) -> EventId {
    let mut bytes = [0; 16];
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes).unwrap()
}

fn exposure(experiment: &str, variant: &str, xv: u64) -> Happening {
    Happening::Exposure { experiment: key(experiment), variant: VariantKey::parse(variant).unwrap(), xv }
}

fn metric(metric: &str, amount: i128) -> Happening {
    Happening::Metric { metric: MetricKey::parse(metric).unwrap(), amount }
}

fn key(experiment: &str) -> ExperimentKey {
    ExperimentKey::parse(experiment).unwrap()
}

fn tag(unit: &str) -> SubjectTag {
    SubjectTag::of(&production(), &UnitType::default(), UnitId::parse(unit).unwrap())
}

pub(super) fn unit(name: &str) -> UnitRef {
    UnitRef { unit_type: UnitType::default(), tag: tag(name) }
}

fn numbers(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}
