//! Where `evaluate` and `leak-test` get their ruleset from: an experiments file, the sample, or what is being served.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use clap::Args;
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{Keyset, verify_snapshot_at_rest};
use edgeseal_core::snapshot::Snapshot;

use crate::cli::DataDirArgs;
use crate::clock;
use crate::commands::verify::read_root_key;
use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, OrExit, Outcome};
use crate::experiments_file::ExperimentsFile;

/// Flags that choose a ruleset.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Experiments file, YAML or (by its ending) JSON [default: what the data directory last served]
    #[arg(long, value_name = "FILE", env = "EDGESEAL_EXPERIMENTS", conflicts_with = "demo")]
    pub(crate) experiments: Option<PathBuf>,
    /// Use the built-in sample
    #[arg(long, env = "EDGESEAL_DEMO", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) demo: bool,
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
}

impl SourceArgs {
    /// The snapshot to work with.
    ///
    /// A file is built on top of what the data directory last served, if it belongs to the same environment: weights
    /// that were changed while serving leave units where an untouched file would not put them.
    pub(crate) fn snapshot(&self) -> Outcome<Snapshot> {
        let served = served(&self.data_dir.data_dir);
        let file = match &self.experiments {
            Some(path) => ExperimentsFile::load(path)?,
            None if self.demo => ExperimentsFile::demo()?,
            None => return served?.ok_or_else(|| nothing_served(&self.data_dir.data_dir)),
        };
        let previous = served.ok().flatten().filter(|served| served.iss == file.definition().environment);
        Ok(file.build(previous.as_ref(), clock::now())?)
    }
}

/// The snapshot that the directory last served, checked against the root key pinned there; `None` when there is none.
fn served(path: &Path) -> Outcome<Option<Snapshot>> {
    if !path.join(file::SNAPSHOT).exists() {
        return Ok(None);
    }
    let dir = DataDir::open(path)?;
    let text = |name: &str| -> Outcome<Option<String>> {
        let bytes = dir.read(name)?;
        bytes.map(|bytes| String::from_utf8(bytes).or_no(|| place(path, name))).transpose()
    };
    let (Some(keyset), Some(snapshot)) = (text(file::KEYSET)?, text(file::SNAPSHOT)?) else {
        return Ok(None);
    };
    let root = read_root_key(&path.join(file::ROOT).display().to_string())?;
    let environment = issuer(&keyset)
        .ok_or_else(|| Failure::no(format_args!("{}: not a keyset", place(path, file::KEYSET))))?;
    let keyset = Keyset::verify_at_rest(&keyset, &root, &environment).or_no(|| place(path, file::KEYSET))?;
    let claims = verify_snapshot_at_rest(&snapshot, &keyset, &environment, None)
        .or_no(|| place(path, file::SNAPSHOT))?;
    Ok(Some(serde_json::from_value(claims).or_no(|| place(path, file::SNAPSHOT))?))
}

fn place(path: &Path, name: &str) -> String {
    format!("'{}' is refused", path.join(name).display())
}

/// The environment that a token names; its signature is checked afterwards, for that environment.
fn issuer(token: &str) -> Option<Environment> {
    let claims = BASE64URL.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Environment::parse(claims.get("iss")?.as_str()?).ok()
}

fn nothing_served(path: &Path) -> Failure {
    Failure::usage(format_args!(
        "there are no experiments to look at, because nothing was served from '{}' yet: name a file with --experiments, \
         use --demo, or name the data directory of a running edge with --data-dir",
        path.display()
    ))
}
