//! Where `evaluate` and `leak-test` get their ruleset from: an experiments file, the sample, or what is being served.

use std::path::{Path, PathBuf};

use clap::Args;
use edgeseal_core::snapshot::Snapshot;

use crate::cli::DataDirArgs;
use crate::clock;
use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::keystore::Keyring;
use crate::snapshot_store;

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

/// The snapshot that the data directory last served, its signature checked; `None` when there is none.
fn served(path: &Path) -> Outcome<Option<Snapshot>> {
    if !path.join(file::KEYRING).exists() {
        return Ok(None);
    }
    let data_dir = DataDir::open(path)?;
    let Some(keyring) = Keyring::load(&data_dir)? else { return Ok(None) };
    snapshot_store::read(&data_dir, file::SNAPSHOT, &keyring, clock::now())
}

fn nothing_served(path: &Path) -> Failure {
    Failure::usage(format_args!(
        "there are no experiments to look at, because nothing was served from '{}' yet: name a file with --experiments, \
         use --demo, or name the data directory of a running edge with --data-dir",
        path.display()
    ))
}
