//! The data directory of `serve` and the state directory of `edge`: what outlives a run, written so that a crash never
//! spoils it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `master.key` | 32 random bytes (base64url) that encrypt private keys; may live elsewhere |
//! | `edgeseal.db` | `serve` only: experiments, history, keys, tokens and the audit log (SQLite) |
//! | `root.jwk` | the public root key, which clients and `edgeseal verify` pin |
//! | `keyset.jwt`, `snapshot.jwt`, `status.jwt` | what the edge took over last; `*.previous.jwt` are the ones before |
//! | `edge-keys` | what the edge signs with, encrypted under the master key |
//! | `edge-id` | tells this edge from others in the control plane's list |
//! | `events/<environment>/` | events that the control plane does not have yet |
//! | `serve.lock` | held while a process works on the directory |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::exit::{Failure, OrExit, Outcome};

/// Used when neither flag nor environment names a directory.
pub(crate) const DEFAULT_DATA_DIR: &str = ".edgeseal";
/// Largest file that is read back from the directory; a snapshot token is the largest thing in it.
const MAX_READ_BYTES: u64 = 17 * 1024 * 1024;

/// The files of a data directory.
pub(crate) mod file {
    use edgeseal_edge::feed::StateFile;

    pub(crate) const MASTER_KEY: &str = "master.key";
    pub(crate) const DATABASE: &str = "edgeseal.db";
    pub(crate) const EDGE_KEYS: &str = StateFile::EdgeKeys.name();
    pub(crate) const ROOT: &str = StateFile::Root.name();
    pub(crate) const KEYSET: &str = StateFile::Keyset.name();
    pub(crate) const SNAPSHOT: &str = StateFile::Snapshot.name();
    pub(crate) const EVENTS: &str = "events";
    pub(crate) const SERVE_LOCK: &str = "serve.lock";
}

/// A data directory that exists.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// Held while a process works on a data directory; dropping it (or dying) lets the next one in.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DataDir {
    /// Opens the directory, making it (readable by its owner only) when it is missing.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .or_unreachable(|| format!("cannot make the data directory '{}'", path.display()))?;
        Self::open(path)
    }

    /// Opens a directory that `serve` has made before.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        if !path.is_dir() {
            return Err(Failure::unreachable(format_args!(
                "there is no data directory '{}': start `edgeseal serve` once, or name another with --data-dir",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Where a file of the directory is.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes a lock, or says who is in the way.
    pub(crate) fn lock(&self, name: &str, holder: &str) -> Outcome<DirLock> {
        let path = self.path_of(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .or_unreachable(|| format!("cannot open the lock file '{}'", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::unreachable(format_args!(
                "another {holder} is working on '{}': stop it, or choose another --data-dir",
                self.path.display()
            ))),
            Err(TryLockError::Error(error)) => {
                Err(Failure::unreachable(format_args!("cannot lock '{}': {error}", path.display())))
            }
        }
    }

    /// A file's bytes; `None` when it does not exist.
    pub(crate) fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let path = self.path_of(name);
        match read_bounded(&path, MAX_READ_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Failure::unreachable(format_args!("cannot read '{}': {error}", path.display())))
            }
        }
    }

    /// Replaces a file as a whole: after a crash it holds either the old bytes or the new ones.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Outcome<()> {
        let path = self.path_of(name);
        self.write_atomically(name, bytes, mode)
            .or_unreachable(|| format!("cannot write '{}'", path.display()))
    }

    fn write_atomically(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        // One fixed temporary name per process: a leftover of a killed run is overwritten, not collected.
        let temporary = self.path_of(&format!(".{name}.{}.tmp", std::process::id()));
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, self.path_of(name))?;
        File::open(&self.path)?.sync_all()
    }

    /// Removes what killed runs left half-written; called under the lock of `serve`.
    pub(crate) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                // A leftover does no harm: the next start tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A whole file, refused beyond `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("the file is larger than the {limit} bytes allowed")));
    }
    Ok(bytes)
}
