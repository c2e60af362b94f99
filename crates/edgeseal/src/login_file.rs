//! What `edgeseal login` remembers: a control plane, a token for it, an environment. Readable by its owner only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use edgeseal_core::ids::Environment;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api_client::{ApiToken, ControlUrl};
use crate::data_dir::read_bounded;
use crate::exit::{Failure, OrExit, Outcome};
use crate::output::Output;

/// Version of the file.
const FORMAT: u32 = 1;
/// Largest login file that is read.
const MAX_BYTES: u64 = 16 * 1024;

/// Where the file is, whether it exists or not.
#[derive(Debug)]
pub(crate) struct LoginFile {
    path: PathBuf,
}

/// What is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The control plane that was logged in to.
    pub(crate) control: ControlUrl,
    /// The token that it knows.
    pub(crate) token: ApiToken,
    /// The environment that commands speak of when none is named.
    pub(crate) environment: Option<Environment>,
    /// Plain http to another machine was accepted.
    pub(crate) insecure_http: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Stored {
    format: u32,
    control: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    insecure_http: bool,
}

impl LoginFile {
    /// The named file, or the one in the user's configuration directory.
    pub(crate) fn locate(named: Option<&Path>) -> Outcome<Self> {
        if let Some(path) = named {
            return Ok(Self { path: path.to_owned() });
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        match config {
            Some(config) => Ok(Self { path: config.join("edgeseal").join("login.json") }),
            None => Err(Failure::usage(
                "there is no home directory to keep the login in: name a file with --login-file, or give --control URL \
                 and --token-file FILE",
            )),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it remembers; `None` when nobody logged in.
    pub(crate) fn read(&self, output: Output) -> Outcome<Option<Login>> {
        let shown = self.path.display();
        let bytes = match read_bounded(&self.path, MAX_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::unreachable(format_args!(
                    "cannot read the login file '{shown}': {error}"
                )));
            }
        };
        let mode = fs::metadata(&self.path).map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            output.remark(format_args!("warning: others can read the login file '{shown}': chmod 600 it"));
        }
        // The reason is not told: it could quote the token.
        let stored = serde_json::from_slice(&bytes).ok().and_then(Login::restored);
        stored.map(Some).ok_or_else(|| {
            Failure::no(format_args!(
                "'{shown}' is no login file of this version: log in again with `edgeseal login URL`"
            ))
        })
    }

    /// Replaces the file as a whole, mode 0600, in a directory that is made with 0700.
    pub(crate) fn write(&self, login: &Login) -> Outcome<()> {
        let attempt = || format!("cannot write the login file '{}'", self.path.display());
        self.try_write(&login.stored()).or_unreachable(attempt)
    }

    /// Forgets the login; says whether there was one.
    pub(crate) fn remove(&self) -> Outcome<bool> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::unreachable(format_args!(
                "cannot remove the login file '{}': {error}",
                self.path.display()
            ))),
        }
    }

    fn try_write(&self, stored: &Stored) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_string_pretty(stored)? + "\n");
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        // A leftover of a killed run may have any mode, so it is not written into.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl Login {
    fn restored(stored: Stored) -> Option<Self> {
        Some(Self {
            control: ControlUrl::parse(&stored.control).ok().filter(|_| stored.format == FORMAT)?,
            token: ApiToken::parse(&Zeroizing::new(stored.token))?,
            environment: stored.environment,
            insecure_http: stored.insecure_http,
        })
    }

    fn stored(&self) -> Stored {
        Stored {
            format: FORMAT,
            control: self.control.to_string(),
            token: self.token.expose().to_owned(),
            environment: self.environment.clone(),
            insecure_http: self.insecure_http,
        }
    }
}
