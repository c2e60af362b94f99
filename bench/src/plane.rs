//! A control plane and edges as processes of their own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::process::Binaries;

/// A process that said on its first line where it listens.
pub(crate) struct Part {
    child: Child,
    /// What it said.
    pub(crate) banner: Value,
}

impl Part {
    fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let mut child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(!line.is_empty(), "it ended: {}", std::fs::read_to_string(log)?);
        Ok(Self { child, banner: serde_json::from_str(&line)? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        crate::process::resident_mib(self.child.id())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control plane with its admin token.
pub(crate) struct Plane {
    pub(crate) control: Part,
    /// Where its API is, without a slash at the end.
    pub(crate) url: String,
    pub(crate) admin: String,
    folder: PathBuf,
    binary: PathBuf,
}

impl Plane {
    /// Starts one on `database`, which is made ready first.
    pub(crate) fn start(
        binaries: &Binaries,
        folder: &Path,
        database: &str,
        redis: Option<&str>,
    ) -> anyhow::Result<Self> {
        let redis: &[&str] = if let Some(redis) = redis { &["--redis", redis] } else { &[] };
        Self::start_with(binaries, folder, database, redis)
    }

    /// As [`Plane::start`], with more flags.
    pub(crate) fn start_with(
        binaries: &Binaries,
        folder: &Path,
        database: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let binary = binaries.edgeseal.clone();
        let run = |args: &[&str]| -> anyhow::Result<()> {
            let output = Command::new(&binary).args(args).output()?;
            ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        let master_key = folder.join("master.key");
        let master_key = master_key.to_str().context("an odd folder")?;
        run(&["keys", "new-master-key", master_key])?;
        run(&["migrate", "--database", database])?;
        let admin_file = folder.join("admin.token");
        let mut command = Command::new(&binary);
        command
            .args(["control", "--json", "--listen", "127.0.0.1:0", "--database", database])
            .args(["--master-key-file", master_key])
            .arg("--admin-token-file")
            .arg(&admin_file)
            .args(flags);
        let control = Part::start(command, &folder.join("control.log"))?;
        let url = control.banner["control"].as_str().context("no address")?.to_owned();
        let admin = std::fs::read_to_string(admin_file)?.trim().to_owned();
        Ok(Self { control, url, admin, folder: folder.to_owned(), binary })
    }

    /// Starts edge `number`, with one serving thread.
    pub(crate) fn edge(&self, number: usize, token: &str, redis: Option<&str>) -> anyhow::Result<Part> {
        let token_file = self.folder.join("edge.token");
        std::fs::write(&token_file, token)?;
        let mut command = Command::new(&self.binary);
        command
            .args(["edge", "--json", "--threads", "1", "--listen", "127.0.0.1:0", "--control", &self.url])
            .arg("--token-file")
            .arg(&token_file)
            .arg("--state-dir")
            .arg(self.folder.join(format!("edge-{number}")));
        if let Some(redis) = redis {
            command.args(["--redis", redis]);
        }
        Part::start(command, &self.folder.join(format!("edge-{number}.log")))
    }
}
