//! What the figures were measured on.

use std::fmt;
use std::process::Command;

use serde::Serialize;

/// A description of the machine that means something elsewhere; no names of hosts or people.
#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    rustc: String,
}

pub(crate) fn describe() -> anyhow::Result<Machine> {
    let field = |file: &str, name: &str| -> anyhow::Result<String> {
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        Ok(line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default())
    };
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    let rustc = Command::new("rustc").arg("--version").output()?;
    Ok(Machine {
        cpu: field("/proc/cpuinfo", "model name")?,
        cores: std::thread::available_parallelism()?.get(),
        memory_gib: memory_kib / (1024 * 1024),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        rustc: String::from_utf8(rustc.stdout)?.trim().to_owned(),
    })
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} GiB, Linux {}, {}",
            self.cpu, self.cores, self.memory_gib, self.kernel, self.rustc
        )
    }
}
