//! The thread that writes: everything that waits goes to disk with one write and one fsync.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{AppendError, Shared, State, Waiting};

/// The segment that grows.
struct Growing {
    number: u64,
    file: File,
    /// Durable bytes.
    length: u64,
}

/// Writes until the spool closes and nothing waits.
pub(super) fn run(shared: &Shared, mut next_segment: u64) {
    let mut growing: Option<Growing> = None;
    let mut failing = false;
    while let Some(group) = wait(shared) {
        let bytes: Vec<u8> = group.iter().flat_map(|waiting| waiting.frames.iter().copied()).collect();
        let written = write(shared, &mut growing, &mut next_segment, &bytes);
        let mut state = shared.state();
        state.waiting_bytes -= bytes.len() as u64;
        let outcome = match written {
            Ok(()) => {
                if let Some(growing) = &growing {
                    state.segments.insert(growing.number, growing.length);
                }
                Ok(())
            }
            Err(_) => Err(AppendError::Unwritable),
        };
        drop(state);
        match written {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("events are kept again");
            }
            Ok(()) => {}
            Err(error) => {
                if !failing {
                    tracing::error!(%error, directory = %shared.dir.display(), "cannot keep events; clients are told to come again");
                }
                failing = true;
            }
        }
        if outcome.is_ok() {
            shared.news.notify_one();
        }
        for done in group.into_iter().filter_map(|waiting| waiting.done) {
            // Whoever hung up will send again.
            let _gone = done.send(outcome);
        }
    }
}

/// Everything that waits; `None` when the spool is closing and nothing does.
fn wait(shared: &Shared) -> Option<Vec<Waiting>> {
    let idle = |state: &mut State| state.waiting.is_empty() && !state.closing;
    let mut state =
        shared.work.wait_while(shared.state(), idle).unwrap_or_else(std::sync::PoisonError::into_inner);
    let group = std::mem::take(&mut state.waiting);
    (!group.is_empty()).then_some(group)
}

/// Appends `bytes` and makes them durable. After a failure the segment is as long as before, or given up: what an fsync
/// that failed left in the file is not to be relied on.
fn write(shared: &Shared, growing: &mut Option<Growing>, next: &mut u64, bytes: &[u8]) -> io::Result<()> {
    let is_full =
        |growing: &Growing| growing.length > 0 && growing.length + bytes.len() as u64 > shared.segment_bytes;
    if growing.as_ref().is_some_and(is_full) {
        *growing = None;
    }
    let mut segment = match growing.take() {
        Some(segment) => segment,
        None => open(shared, next)?,
    };
    match segment.file.write_all(bytes).and_then(|()| segment.file.sync_data()) {
        Ok(()) => {
            segment.length += bytes.len() as u64;
            *growing = Some(segment);
            Ok(())
        }
        Err(error) => {
            // Readers stop at the durable length in any case; this gives the room back, and spares the next start a
            // torn tail.
            let _as_it_was = segment.file.set_len(segment.length);
            if segment.length == 0 {
                let _removed = std::fs::remove_file(shared.path_of(segment.number));
            }
            Err(error)
        }
    }
}

/// A new segment whose name survives a crash.
fn open(shared: &Shared, next: &mut u64) -> io::Result<Growing> {
    let number = *next;
    let path: PathBuf = shared.path_of(number);
    // Whatever becomes of it, the number is used up.
    *next += 1;
    let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path)?;
    File::open(&shared.dir)?.sync_all()?;
    Ok(Growing { number, file, length: 0 })
}
