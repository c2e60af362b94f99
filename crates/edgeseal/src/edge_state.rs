//! What an edge keeps on disk, in a directory of its own.

use edgeseal_control::MasterKey;
use edgeseal_control::keys::Purpose;
use edgeseal_edge::feed::{StateError, StateFile, StateStore};

use crate::data_dir::DataDir;

/// Mode of what clients may see: the signed keyset and the public root key.
const PUBLIC_MODE: u32 = 0o644;
const OWN_MODE: u32 = 0o600;

/// The files of an edge; what it signs with rests encrypted under the master key.
pub(crate) struct EdgeState {
    dir: DataDir,
    master: MasterKey,
}

impl EdgeState {
    /// In this directory, under this master key.
    pub(crate) fn new(dir: DataDir, master: MasterKey) -> Self {
        Self { dir, master }
    }
}

impl StateStore for EdgeState {
    fn load(&self, file: StateFile) -> Result<Option<Vec<u8>>, StateError> {
        let bytes = self.dir.read(file.name()).map_err(|failure| StateError::new(failure.error))?;
        let Some(sealed) = bytes else { return Ok(None) };
        if !file.is_secret() {
            return Ok(Some(sealed));
        }
        let opened = std::str::from_utf8(&sealed)
            .ok()
            .and_then(|sealed| self.master.open(Purpose::EdgeKeys, file.name(), sealed.trim()));
        match opened {
            Some(opened) => Ok(Some(opened.to_vec())),
            None => Err(StateError::new(format!(
                "'{}' cannot be decrypted: this master key is not the one that encrypted it, or the file was altered",
                self.dir.path_of(file.name()).display()
            ))),
        }
    }

    fn save(&self, file: StateFile, bytes: &[u8]) -> Result<(), StateError> {
        let mode = match file {
            StateFile::Root | StateFile::Keyset | StateFile::KeysetPrevious => PUBLIC_MODE,
            _ => OWN_MODE,
        };
        let written = if file.is_secret() {
            let sealed = self.master.seal(Purpose::EdgeKeys, file.name(), bytes).map_err(StateError::new)?;
            self.dir.write(file.name(), sealed.as_bytes(), mode)
        } else {
            self.dir.write(file.name(), bytes, mode)
        };
        written.map_err(|failure| StateError::new(failure.error))
    }
}
