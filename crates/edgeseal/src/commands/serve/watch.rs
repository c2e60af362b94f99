//! Notices that a file changed, by looking: works on every file system, mounted configuration included.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{Digest, SHA256, digest};

/// One watched file.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    content: Option<Digest>,
}

impl FileWatch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, content: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the bytes differ from the last time this was asked. A file that is gone for the moment has not changed:
    /// editors and `kubectl` replace files in two steps.
    pub(super) fn changed(&mut self) -> bool {
        let Ok(metadata) = fs::metadata(&self.path) else { return false };
        let stamp = metadata.modified().ok().map(|modified| (modified, metadata.len()));
        if stamp.is_some() && stamp == self.stamp {
            return false;
        }
        let Ok(bytes) = fs::read(&self.path) else { return false };
        self.stamp = stamp;
        let content = digest(&SHA256, &bytes);
        let same = self.content.is_some_and(|before| before.as_ref() == content.as_ref());
        self.content = Some(content);
        !same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_bytes_count_as_a_change() {
        let path = std::env::temp_dir().join(format!("edgeseal-watch-{}", std::process::id()));
        let mut watch = FileWatch::new(path.clone());
        assert!(!watch.changed(), "a file that is not there has not changed");
        fs::write(&path, "one").unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
        fs::write(&path, "one").unwrap();
        assert!(!watch.changed(), "the same bytes again");
        fs::write(&path, "two!").unwrap();
        assert!(watch.changed());
        fs::remove_file(&path).unwrap();
        assert!(!watch.changed());
    }
}
