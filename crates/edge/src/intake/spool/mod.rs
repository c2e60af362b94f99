//! Events on this machine's own disk, from their receipt until the control plane has them.
//!
//! [`Spool::append`] returns once the records are on disk: one write and one fsync for everybody who waits
//! (group commit; the next group is what came while the last one was being written). [`Spool::next`] reads what is
//! durable, [`Spool::drained`] forgets it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `events-<number>.seg` | records in [frames](frame), at most [`SEGMENT_BYTES`]; numbers only grow |
//! | `cursor` | up to where the control plane has them; replaced as a whole |
//!
//! A process that is killed between any two steps loses nothing that was acknowledged: records are acknowledged after
//! the fsync, the cursor moves after the delivery, a segment goes after the cursor. What can happen is that records
//! are delivered again; they are known by their id.

mod cursor;
pub(super) mod frame;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};

use frame::Found;

/// Most bytes that events may take on disk unless told otherwise; beyond it new ones are refused until some are drained.
pub const SPOOL_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Least that a spool must be allowed: a few segments.
pub const MIN_SPOOL_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of one segment: what is drained goes in pieces of this size.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// Most bytes that wait to be written; beyond it new events are refused until the disk has caught up.
const MAX_WAITING_BYTES: u64 = 16 * 1024 * 1024;

const PREFIX: &str = "events-";
const SUFFIX: &str = ".seg";

/// The spool of one environment.
pub struct Spool {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The bound is too small to work with.
    #[error("a spool needs at least {MIN_SPOOL_BYTES} bytes, not {bytes}")]
    TooSmall {
        /// What was asked for.
        bytes: u64,
    },
    /// The directory or a file in it.
    #[error("cannot use the events spool '{}': {source}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that writes could not be made.
    #[error("cannot start the thread that writes events: {0}")]
    Thread(io::Error),
}

/// Why records were not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The bound is reached: the control plane has to take some first.
    Full,
    /// Too much waits for the disk.
    Busy,
    /// The disk refused.
    Unwritable,
}

/// A place in the spool: before the byte `offset` of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    segment: u64,
    offset: u64,
}

/// Records to deliver, in their order.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The payloads, each with a line end.
    pub(crate) lines: Vec<u8>,
    pub(crate) count: usize,
    /// Where the next chunk begins.
    pub(crate) end: Place,
}

struct Shared {
    dir: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    state: Mutex<State>,
    /// Something waits to be written, or the spool is closing.
    work: Condvar,
    /// Something became durable.
    news: Notify,
    damaged: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Durable bytes of every segment.
    segments: BTreeMap<u64, u64>,
    /// Up to where everything was delivered.
    cursor: Place,
    waiting: Vec<Waiting>,
    /// Bytes in `waiting`, and those being written.
    waiting_bytes: u64,
    closing: bool,
}

struct Waiting {
    frames: Vec<u8>,
    /// Nobody, for notes that nobody waits for.
    done: Option<oneshot::Sender<Result<(), AppendError>>>,
}

impl State {
    /// Durable bytes that were not delivered yet.
    fn undelivered(&self) -> u64 {
        let all: u64 = self.segments.values().sum();
        let done = if self.segments.contains_key(&self.cursor.segment) { self.cursor.offset } else { 0 };
        all.saturating_sub(done)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done when a holder panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{segment:020}{SUFFIX}"))
    }
}

impl Spool {
    /// Opens the spool in `dir`, making it (readable by its owner only) when it is missing, and repairs what a crash left
    /// behind. Only one process may have it open: the caller holds a lock.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        Self::open_with(dir, max_bytes, SEGMENT_BYTES)
    }

    pub(crate) fn open_with(dir: &Path, max_bytes: u64, segment_bytes: u64) -> Result<Self, SpoolError> {
        if max_bytes < MIN_SPOOL_BYTES.min(2 * segment_bytes) {
            return Err(SpoolError::TooSmall { bytes: max_bytes });
        }
        let refused = |path: &Path, source| SpoolError::Io { path: path.to_owned(), source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| refused(dir, source))?;
        let mut segments = find_segments(dir).map_err(|source| refused(dir, source))?;
        let mut cursor = cursor::load(dir);

        // What was delivered, but not yet removed.
        let undelivered = segments.split_off(&cursor.segment);
        for path in segments.into_values() {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove delivered events");
            }
        }
        let segments = undelivered;
        if let Some((_, newest)) = segments.last_key_value() {
            cut_torn_tail(newest).map_err(|source| refused(newest, source))?;
        }
        let mut lengths = BTreeMap::new();
        for (segment, path) in &segments {
            let length = fs::metadata(path).map_err(|source| refused(path, source))?.len();
            lengths.insert(*segment, length);
        }
        if let Some(length) = lengths.get(&cursor.segment)
            && cursor.offset > *length
        {
            tracing::error!(
                segment = cursor.segment,
                "more events were delivered than are on disk; was the disk restored from a copy?"
            );
            cursor.offset = *length;
        }
        let next = lengths.last_key_value().map_or(0, |(last, _)| *last).max(cursor.segment) + 1;
        let state = State { segments: lengths, cursor, ..State::default() };
        let undelivered = state.undelivered();
        if undelivered > 0 {
            tracing::info!(bytes = undelivered, "events of an earlier run wait for delivery");
        }
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            max_bytes,
            segment_bytes,
            state: Mutex::new(state),
            work: Condvar::new(),
            news: Notify::new(),
            damaged: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("edgeseal-spool".to_owned());
        let writer = thread.spawn(move || writer::run(&theirs, next)).map_err(SpoolError::Thread)?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Keeps these frames; returns once they are on disk.
    pub(crate) async fn append(&self, frames: Vec<u8>) -> Result<(), AppendError> {
        let (done, written) = oneshot::channel();
        self.enqueue(frames, Some(done))?;
        // The writer answers everybody, also when it ends.
        written.await.unwrap_or(Err(AppendError::Unwritable))
    }

    /// Keeps these frames if there is room, whenever the disk is ready.
    pub(crate) fn note(&self, frames: Vec<u8>) {
        // A note more or less: what it says is counted in the metrics as well.
        let _dropped = self.enqueue(frames, None);
    }

    fn enqueue(
        &self,
        frames: Vec<u8>,
        done: Option<oneshot::Sender<Result<(), AppendError>>>,
    ) -> Result<(), AppendError> {
        let bytes = frames.len() as u64;
        let mut state = self.shared.state();
        if state.closing {
            return Err(AppendError::Unwritable);
        }
        if state.undelivered() + state.waiting_bytes + bytes > self.shared.max_bytes {
            return Err(AppendError::Full);
        }
        if state.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return Err(AppendError::Busy);
        }
        state.waiting_bytes += bytes;
        state.waiting.push(Waiting { frames, done });
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Waits until something became durable since the last call.
    pub(crate) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Durable bytes that were not delivered yet.
    pub(crate) fn undelivered_bytes(&self) -> u64 {
        self.shared.state().undelivered()
    }

    /// Damaged places that were passed over.
    pub(crate) fn damaged(&self) -> u64 {
        self.shared.damaged.load(Ordering::Relaxed)
    }

    /// The oldest durable records that were not delivered, within both bounds but at least one; `None` when there are
    /// none. Blocks on the disk.
    pub(crate) fn next(&self, max_records: usize, max_bytes: usize) -> io::Result<Option<Chunk>> {
        loop {
            let (from, limit) = {
                let mut state = self.shared.state();
                let Some(place) = first_undelivered(&state) else { return Ok(None) };
                state.cursor = place;
                (place, state.segments.get(&place.segment).copied().unwrap_or_default())
            };
            let chunk = match self.read(from, limit, max_records, max_bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.shared.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        segment = from.segment,
                        "a file of undelivered events is gone; who removed it?"
                    );
                    self.shared.state().segments.remove(&from.segment);
                    continue;
                }
                read => read?,
            };
            if chunk.count > 0 {
                return Ok(Some(chunk));
            }
            // Nothing but damage.
            self.drained(chunk.end);
        }
    }

    fn read(&self, from: Place, limit: u64, max_records: usize, max_bytes: usize) -> io::Result<Chunk> {
        let mut file = File::open(self.shared.path_of(from.segment))?;
        file.seek(SeekFrom::Start(from.offset))?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_sub(from.offset)).read_to_end(&mut bytes)?;
        let (mut lines, mut count, mut place) = (Vec::new(), 0, 0);
        while place < bytes.len() && count < max_records {
            let end = match frame::find(&bytes, place) {
                Found::Record { payload, end } => {
                    if count > 0 && lines.len() + payload.len() + 1 > max_bytes {
                        break;
                    }
                    lines.extend_from_slice(payload);
                    lines.push(b'\n');
                    count += 1;
                    end
                }
                Found::Damage { end } => {
                    self.damage(from, place, end);
                    end
                }
                Found::Tail => {
                    self.damage(from, place, bytes.len());
                    bytes.len()
                }
            };
            place = end;
        }
        // A file that is shorter than it was is damaged, too; nothing more will come out of it.
        let read_all = place == bytes.len();
        let offset = if read_all { limit } else { from.offset + place as u64 };
        Ok(Chunk { lines, count, end: Place { segment: from.segment, offset } })
    }

    fn damage(&self, from: Place, start: usize, end: usize) {
        self.shared.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            segment = from.segment,
            offset = from.offset + start as u64,
            bytes = end - start,
            "events on disk are damaged and passed over; check this disk"
        );
    }

    /// Everything before `end` was delivered: moves the cursor and removes segments that are done. Blocks on the disk.
    pub(crate) fn drained(&self, end: Place) {
        let done: Vec<u64> = {
            let mut state = self.shared.state();
            state.cursor = state.cursor.max(end);
            let cursor = state.cursor;
            let newest = state.segments.last_key_value().map(|(newest, _)| *newest);
            // The newest one may still grow.
            let is_done = |segment: u64, length: u64| {
                segment < cursor.segment
                    || segment == cursor.segment && cursor.offset >= length && newest != Some(segment)
            };
            state.segments.iter().filter(|(s, l)| is_done(**s, **l)).map(|(segment, _)| *segment).collect()
        };
        if let Err(error) = cursor::save(&self.shared.dir, end) {
            // Removing what is done may be what makes room again.
            tracing::warn!(%error, "cannot write how far events are delivered; after a restart some are delivered again");
        }
        for segment in done {
            let path = self.shared.path_of(segment);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove delivered events");
                }
                _ => {}
            }
            self.shared.state().segments.remove(&segment);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        if let Some(writer) = self.writer.take() {
            // A panic was already reported by its thread.
            let _panicked = writer.join();
        }
    }
}

/// Where the oldest undelivered byte is.
fn first_undelivered(state: &State) -> Option<Place> {
    let cursor = state.cursor;
    state.segments.range(cursor.segment..).find_map(|(&segment, &length)| {
        let offset = if segment == cursor.segment { cursor.offset } else { 0 };
        (offset < length).then_some(Place { segment, offset })
    })
}

fn find_segments(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            segments.insert(number, path);
        }
    }
    Ok(segments)
}

/// Cuts off what a crash left half-written at the end of the newest segment. It was never acknowledged.
fn cut_torn_tail(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let mut place = 0;
    while place < bytes.len() {
        match frame::find(&bytes, place) {
            Found::Record { end, .. } | Found::Damage { end } => place = end,
            Found::Tail => {
                tracing::warn!(
                    path = %path.display(),
                    bytes = bytes.len() - place,
                    "cut off events that were half-written when the process ended; nobody was told that they are kept"
                );
                let file = OpenOptions::new().write(true).open(path)?;
                file.set_len(place as u64)?;
                return file.sync_all();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
