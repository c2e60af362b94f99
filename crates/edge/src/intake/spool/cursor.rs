//! Up to where the control plane has the events, on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Place;

const NAME: &str = "cursor";
const TEMPORARY: &str = "cursor.tmp";
const FORMAT: u32 = 1;
/// Largest cursor file that is read.
const MAX_BYTES: u64 = 1024;

#[derive(Serialize, Deserialize)]
struct Cursor {
    format: u32,
    segment: u64,
    offset: u64,
}

/// What was saved last. Without anything readable it is the beginning: everything on disk is delivered again, which
/// costs work and counts nothing twice.
pub(super) fn load(dir: &Path) -> Place {
    let read = || {
        let mut text = Vec::new();
        File::open(dir.join(NAME))?.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok::<_, io::Error>(text)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Place::default(),
        Err(error) => {
            tracing::warn!(%error, "cannot read how far events were delivered; delivering again what is on disk");
            return Place::default();
        }
    };
    match serde_json::from_slice(&text) {
        Ok(Cursor { format: FORMAT, segment, offset }) => Place { segment, offset },
        _ => {
            tracing::warn!("how far events were delivered is unreadable; delivering again what is on disk");
            Place::default()
        }
    }
}

/// Replaces the file as a whole. That the directory forgets the replacement in a crash is no harm.
pub(super) fn save(dir: &Path, Place { segment, offset }: Place) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(&Cursor { format: FORMAT, segment, offset })?)?;
    file.sync_data()?;
    drop(file);
    fs::rename(temporary, dir.join(NAME))
}
