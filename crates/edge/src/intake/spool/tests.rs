use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A directory of its own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("edgeseal-spool-{}-{number}", std::process::id()));
        Self(path)
    }

    fn open(&self) -> Spool {
        Spool::open(&self.0, SPOOL_MAX_BYTES).unwrap()
    }

    /// With tiny segments.
    fn tiny(&self, max_bytes: u64) -> Spool {
        Spool::open_with(&self.0, max_bytes, 100).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        find_segments(&self.0).unwrap().into_values().collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn frames(records: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        frame::write(record.as_bytes(), &mut out);
    }
    out
}

fn append(spool: &Spool, records: &[&str]) -> Result<(), AppendError> {
    runtime().block_on(spool.append(frames(records)))
}

/// Everything that is there, chunk by chunk, each acknowledged.
fn drain(spool: &Spool) -> Vec<String> {
    let mut records = Vec::new();
    while let Some(chunk) = spool.next(3, 1 << 20).unwrap() {
        let lines = String::from_utf8(chunk.lines).unwrap();
        assert_eq!(lines.lines().count(), chunk.count);
        records.extend(lines.lines().map(str::to_owned));
        spool.drained(chunk.end);
    }
    records
}

#[test]
fn what_was_appended_comes_out_once_and_in_order() {
    let scratch = Scratch::new();
    let spool = scratch.open();
    assert!(spool.next(10, 10).unwrap().is_none());
    for number in 0..5 {
        append(&spool, &[&format!("a{number}"), &format!("b{number}")]).unwrap();
    }
    let all: Vec<String> = (0..5).flat_map(|number| [format!("a{number}"), format!("b{number}")]).collect();
    assert_eq!(drain(&spool), all);
    assert_eq!((drain(&spool).len(), spool.undelivered_bytes()), (0, 0));
    append(&spool, &["later"]).unwrap();
    assert_eq!(drain(&spool), ["later"]);
}

#[test]
fn what_was_not_delivered_survives_and_what_was_does_not_come_back() {
    let scratch = Scratch::new();
    {
        let spool = scratch.tiny(10_000);
        for number in 0..20 {
            append(&spool, &[&format!("record-{number:02}-{}", "x".repeat(30))]).unwrap();
        }
        let chunk = spool.next(7, 1 << 20).unwrap().unwrap();
        spool.drained(chunk.end);
        // Read, but never acknowledged.
        assert!(spool.next(3, 1 << 20).unwrap().is_some());
    }
    let spool = scratch.tiny(10_000);
    append(&spool, &["newest"]).unwrap();
    let records = drain(&spool);
    assert!(records[0].starts_with("record-01"), "one record fills a tiny segment: {}", records[0]);
    assert_eq!((records.len(), records.last().unwrap().as_str()), (20, "newest"));
    assert!(scratch.segments().len() <= 1, "delivered segments go");
    drop(spool);
    assert_eq!(drain(&scratch.tiny(10_000)).len(), 0);
}

#[test]
fn chunks_keep_to_their_bounds_but_hold_at_least_one() {
    let scratch = Scratch::new();
    let spool = scratch.open();
    append(&spool, &["1234567890", "1234567890", "1234567890", "x"]).unwrap();
    let sizes = |records, bytes| {
        let chunk = spool.next(records, bytes).unwrap().unwrap();
        (chunk.count, chunk.lines.len())
    };
    assert_eq!(sizes(100, 1), (1, 11));
    assert_eq!(sizes(100, 22), (2, 22));
    assert_eq!(sizes(3, 1000), (3, 33));
    assert_eq!(sizes(100, 1000), (4, 35));
}

#[test]
fn a_torn_tail_is_cut_off_and_what_is_before_it_kept() {
    for cut in 1..frames(&["two"]).len() {
        let scratch = Scratch::new();
        {
            let spool = scratch.open();
            append(&spool, &["one"]).unwrap();
            append(&spool, &["two"]).unwrap();
        }
        let segment = scratch.segments().remove(0);
        let length = fs::metadata(&segment).unwrap().len();
        let file = OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(length - cut as u64).unwrap();
        let spool = scratch.open();
        append(&spool, &["three"]).unwrap();
        assert_eq!(drain(&spool), ["one", "three"]);
        assert_eq!(spool.damaged(), 0);
    }
}

#[test]
fn a_flipped_bit_costs_one_record_and_is_told() {
    let scratch = Scratch::new();
    drop({
        let spool = scratch.open();
        append(&spool, &["one", "two", "three"]).unwrap();
        spool
    });
    let segment = scratch.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let place = frames(&["one"]).len() + frame::HEADER_BYTES + 1;
    bytes[place] ^= 0x10;
    fs::write(&segment, bytes).unwrap();
    let spool = scratch.open();
    assert_eq!(drain(&spool), ["one", "three"]);
    assert_eq!(spool.damaged(), 1);
}

#[test]
fn a_full_spool_refuses_until_something_is_drained() {
    let scratch = Scratch::new();
    let spool = scratch.tiny(400);
    let record = "x".repeat(80);
    let mut kept = 0;
    while append(&spool, &[&record]).is_ok() {
        kept += 1;
        assert!(kept < 100);
    }
    assert_eq!(append(&spool, &[&record]), Err(AppendError::Full));
    assert_eq!(kept, 4);
    let chunk = spool.next(1, 1 << 20).unwrap().unwrap();
    spool.drained(chunk.end);
    assert_eq!(append(&spool, &[&record]), Ok(()));
    assert_eq!(drain(&spool).len(), 4);
}

#[test]
fn an_unwritable_disk_is_told_and_forgotten_once_it_works_again() {
    let scratch = Scratch::new();
    let spool = scratch.open();
    let away = scratch.0.with_extension("away");
    fs::rename(&scratch.0, &away).unwrap();
    assert_eq!(append(&spool, &["lost"]), Err(AppendError::Unwritable));
    assert_eq!(append(&spool, &["lost again"]), Err(AppendError::Unwritable));
    fs::rename(&away, &scratch.0).unwrap();
    assert_eq!(append(&spool, &["kept"]), Ok(()));
    assert_eq!(drain(&spool), ["kept"]);
}

#[test]
fn a_lost_or_damaged_cursor_delivers_again_and_one_from_the_future_skips_nothing_new() {
    let scratch = Scratch::new();
    for cursor in ["", "{}", "\0\0\0", r#"{"format":2,"segment":9,"offset":9}"#] {
        drop({
            let spool = scratch.open();
            drain(&spool);
            append(&spool, &["again"]).unwrap();
            assert_eq!(drain(&spool), ["again"]);
            spool
        });
        fs::write(scratch.0.join("cursor"), cursor).unwrap();
        let spool = scratch.open();
        assert!(drain(&spool).contains(&"again".to_owned()), "{cursor}");
    }
    fs::write(scratch.0.join("cursor"), r#"{"format":1,"segment":7,"offset":999999}"#).unwrap();
    let spool = scratch.open();
    append(&spool, &["new"]).unwrap();
    assert_eq!(drain(&spool), ["new"]);
}

#[test]
fn a_removed_file_is_told_and_stops_nothing() {
    let scratch = Scratch::new();
    let spool = scratch.tiny(10_000);
    append(&spool, &[&"x".repeat(90)]).unwrap();
    append(&spool, &[&"y".repeat(90)]).unwrap();
    fs::remove_file(&scratch.segments()[0]).unwrap();
    assert_eq!(drain(&spool), ["y".repeat(90)]);
    assert_eq!(spool.damaged(), 1);
}

#[test]
fn those_who_wait_together_are_written_together_and_none_is_lost() {
    const CLIENTS: usize = 32;
    const EACH: usize = 20;
    let scratch = Scratch::new();
    let spool = Arc::new(Spool::open_with(&scratch.0, SPOOL_MAX_BYTES, 4_000).unwrap());
    let runtime = runtime();
    let delivered = runtime.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let spool = Arc::clone(&spool);
                tokio::spawn(async move {
                    for number in 0..EACH {
                        spool.append(frames(&[&format!("{client}-{number}")])).await.unwrap();
                    }
                })
            })
            .collect();
        let ours = Arc::clone(&spool);
        let mut delivered = BTreeSet::new();
        while delivered.len() < CLIENTS * EACH {
            tokio::time::timeout(std::time::Duration::from_secs(20), ours.news()).await.unwrap();
            for record in drain(&ours) {
                assert!(delivered.insert(record.clone()), "{record} came twice");
            }
        }
        for client in clients {
            client.await.unwrap();
        }
        delivered
    });
    assert_eq!(delivered.len(), CLIENTS * EACH);
    assert!(scratch.segments().len() <= 1);
}

#[test]
fn a_spool_that_is_too_small_is_refused() {
    let scratch = Scratch::new();
    assert!(matches!(Spool::open(&scratch.0, 1024), Err(SpoolError::TooSmall { bytes: 1024 })));
}
