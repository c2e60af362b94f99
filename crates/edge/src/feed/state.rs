//! The edge's own disk: the last good documents and the keys that go with them.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

/// One file of an edge's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateFile {
    /// The edge's id, drawn on its first start.
    EdgeId,
    /// The root key that is trusted, as a JWK.
    Root,
    /// The secrets that sign: a JSON list of [`EdgeKeys`](super::EdgeKeys), the newest first.
    EdgeKeys,
    /// The keyset.
    Keyset,
    /// The keyset before it.
    KeysetPrevious,
    /// The snapshot.
    Snapshot,
    /// The snapshot before it.
    SnapshotPrevious,
    /// The status document.
    Status,
    /// The status document before it.
    StatusPrevious,
}

impl StateFile {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdgeId => "edge-id",
            Self::Root => "root.jwk",
            Self::EdgeKeys => "edge-keys",
            Self::Keyset => "keyset.jwt",
            Self::KeysetPrevious => "keyset.previous.jwt",
            Self::Snapshot => "snapshot.jwt",
            Self::SnapshotPrevious => "snapshot.previous.jwt",
            Self::Status => "status.jwt",
            Self::StatusPrevious => "status.previous.jwt",
        }
    }

    /// Whether it must be encrypted where it rests.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::EdgeKeys)
    }
}

/// What a store of an edge's state said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StateError(#[source] Box<dyn Error + Send + Sync>);

impl StateError {
    /// With this cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// Keeps an edge's state between runs. Called from a thread of its own: it may block.
pub trait StateStore: Send + Sync {
    /// A file as it was saved; `None` when there is none.
    ///
    /// # Errors
    /// [`StateError`] when it is out of reach, or a secret one cannot be decrypted.
    fn load(&self, file: StateFile) -> Result<Option<Vec<u8>>, StateError>;

    /// Replaces a file as a whole: after a crash it holds either the old bytes or the new ones. Readable by its owner
    /// only; [secret](StateFile::is_secret) ones are encrypted.
    ///
    /// # Errors
    /// [`StateError`]; the file is as it was.
    fn save(&self, file: StateFile, bytes: &[u8]) -> Result<(), StateError>;
}

/// State that is gone with the process: for tests, and for edges that may start from nothing.
#[derive(Default)]
pub struct MemoryState {
    files: Mutex<BTreeMap<StateFile, Vec<u8>>>,
}

impl StateStore for MemoryState {
    fn load(&self, file: StateFile) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&file).cloned())
    }

    fn save(&self, file: StateFile, bytes: &[u8]) -> Result<(), StateError> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file, bytes.to_vec());
        Ok(())
    }
}
