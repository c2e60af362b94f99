//! Where the master key comes from: a file, a variable, or (first start of `serve` and `edge`) drawn and kept.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use clap::Args;
use edgeseal_control::MasterKey;
use edgeseal_control::keys::{MASTER_KEY_BYTES, random_bytes};
use zeroize::Zeroizing;

use crate::data_dir::{DataDir, file, read_bounded};
use crate::exit::{Failure, OrExit, Outcome};

/// The variable that may hold the master key itself, for platforms that hand out secrets that way.
pub(crate) const MASTER_KEY_VARIABLE: &str = "EDGESEAL_MASTER_KEY";
/// Bound of a master key file; it holds 43 characters and perhaps a newline.
const MAX_MASTER_KEY_FILE_BYTES: u64 = 1_024;

/// Where the master key is, when not in the data directory.
#[derive(Debug, Args)]
pub(crate) struct MasterKeyArgs {
    /// File with the master key that encrypts private keys [default: the variable EDGESEAL_MASTER_KEY, then
    /// master.key in the data or state directory]
    #[arg(long, value_name = "FILE", env = "EDGESEAL_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
}

impl MasterKeyArgs {
    /// The key from where it was put; `None` when nothing says where.
    pub(crate) fn given(&self) -> Outcome<Option<MasterKey>> {
        if let Some(path) = &self.master_key_file {
            return from_file(path).map(Some);
        }
        match std::env::var(MASTER_KEY_VARIABLE) {
            Ok(text) => parse(&Zeroizing::new(text.into_bytes()), MASTER_KEY_VARIABLE).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The key from where it was put, or else from the directory, where one is drawn if `first_start`.
    pub(crate) fn in_dir(&self, data_dir: &DataDir, first_start: bool) -> Outcome<MasterKey> {
        if let Some(key) = self.given()? {
            return Ok(key);
        }
        let own = data_dir.path_of(file::MASTER_KEY);
        if own.exists() {
            return from_file(&own);
        }
        if first_start {
            let text = draw()?;
            data_dir.write(file::MASTER_KEY, text.as_bytes(), 0o600)?;
            return parse(text.as_bytes(), file::MASTER_KEY);
        }
        Err(Failure::unreachable(format_args!(
            "the master key '{}' is missing, so the private keys cannot be read: put it back, or name it with \
             --master-key-file; without it a new directory (and a new root key in every client) is the only way",
            own.display()
        )))
    }
}

/// Writes a new master key to a file that does not exist yet.
pub(crate) fn create(path: &Path) -> Outcome<()> {
    use std::io::Write;
    let attempt = || format!("cannot make the master key '{}'", path.display());
    // Never over an older one: what that encrypted would be lost.
    let mut file =
        fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).or_unreachable(attempt)?;
    file.write_all(draw()?.as_bytes()).and_then(|()| file.sync_all()).or_unreachable(attempt)
}

fn draw() -> Outcome<Zeroizing<String>> {
    let bytes = random_bytes::<MASTER_KEY_BYTES>().map_err(anyhow::Error::from)?;
    Ok(Zeroizing::new(format!("{}\n", BASE64URL.encode(bytes.as_slice()))))
}

fn from_file(path: &Path) -> Outcome<MasterKey> {
    let attempt = || format!("cannot read the master key '{}'", path.display());
    let text = Zeroizing::new(read_bounded(path, MAX_MASTER_KEY_FILE_BYTES).or_unreachable(attempt)?);
    let mode = fs::metadata(path).or_unreachable(attempt)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format_args!("{mode:o}"), "others can read the master key: chmod 600 it");
    }
    parse(&text, &format!("'{}'", path.display()))
}

fn parse(text: &[u8], place: &str) -> Outcome<MasterKey> {
    let bytes = Zeroizing::new(BASE64URL.decode(text.trim_ascii()).unwrap_or_default());
    if bytes.len() != MASTER_KEY_BYTES {
        return Err(Failure::no(format_args!(
            "{place} is not a master key: it must hold {MASTER_KEY_BYTES} random bytes as base64url without padding \
             (43 characters); `edgeseal keys new-master-key FILE` makes one"
        )));
    }
    MasterKey::from_bytes(&bytes).or_no(|| place.to_owned())
}
