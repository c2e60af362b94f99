//! Servers as child processes: started, watched from outside, always stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::experiments;
use crate::report::Report;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The programs that are measured, built the way users get them.
pub(crate) struct Binaries {
    pub(crate) edgeseal: PathBuf,
    pub(crate) bare_hyper: PathBuf,
    pub(crate) bare_stream: PathBuf,
}

impl Binaries {
    pub(crate) fn build() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["-p", "edgeseal", "-p", "edgeseal-bench", "--bins"])
            .status()?;
        ensure!(status.success(), "the release build failed");
        let folder = std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned();
        Ok(Self {
            edgeseal: folder.join("edgeseal"),
            bare_hyper: folder.join("bare_hyper"),
            bare_stream: folder.join("bare_stream"),
        })
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// `edgeseal serve` with one thread on `count` running experiments, its data in `data_dir`.
    pub(crate) fn edgeseal(binaries: &Binaries, data_dir: &Path, count: usize) -> anyhow::Result<Self> {
        let file = data_dir.with_extension("json");
        std::fs::write(&file, experiments::running(count).to_string())?;
        // Free now; nobody else on this machine is starting servers during a benchmark.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(&binaries.edgeseal)
            .args(["serve", "--quiet", "--threads", "1", "--listen", &address.to_string()])
            .args(["--control-listen", "127.0.0.1:0"])
            .arg("--experiments")
            .arg(&file)
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, address };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Bare hyper, answering with `bytes` of body.
    pub(crate) fn bare_hyper(binaries: &Binaries, bytes: usize) -> anyhow::Result<Self> {
        Self::bare(&binaries.bare_hyper, bytes)
    }

    /// A bare fan-out of events of `bytes`.
    pub(crate) fn bare_stream(binaries: &Binaries, bytes: usize) -> anyhow::Result<Self> {
        Self::bare(&binaries.bare_stream, bytes)
    }

    fn bare(binary: &Path, bytes: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(binary).arg(bytes.to_string()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !answers(self.address, "/readyz") {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the server ended with {status}");
            }
            ensure!(begun.elapsed() < START_LIMIT, "the server was not ready in {START_LIMIT:?}");
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// CPU time of the process so far, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> anyhow::Result<f64> {
        // The scheduler's own account, in nanoseconds per thread: /proc/PID/stat counts in ticks of 10 ms.
        let mut total_ns = 0_u64;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total_ns += text.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
        }
        Ok(total_ns as f64 / 1000.0)
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        resident_mib(self.child.id())
    }
}

/// Resident memory of a process now, in MiB.
pub(crate) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// CPU time so far of a process, of its living children, and of those that have ended, user and system, in seconds.
/// In ticks of 10 ms, but nothing is lost when a thread ends.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(other) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may have ended meanwhile.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{other}/stat")) else { continue };
        // The name may hold anything; after it come numbers: 2 is the parent, 12 to 15 are times (proc(5), less the name).
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<u64> = fields.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        if other == pid {
            ticks += fields[11..15].iter().sum::<u64>();
        } else if fields[1] == u64::from(pid) {
            ticks += fields[11] + fields[12];
        }
    }
    ensure!(ticks > 0, "process {pid} is gone");
    Ok(ticks as f64 / 100.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// From starting the process until it answers `/readyz`, with 1 000 running experiments.
pub(crate) fn measure_start_up(binaries: &Binaries, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("data");
    let start = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        let _server = Server::edgeseal(binaries, &data_dir, 1000)?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    };
    let first = start()?;
    report.figure("first start, 1 000 experiments (keys are made)", first, "ms", Some(100.0), None);
    let mut again = (0..9).map(|_| start()).collect::<anyhow::Result<Vec<f64>>>()?;
    again.sort_by(f64::total_cmp);
    report.figure("start again, 1 000 experiments (median of 9)", again[4], "ms", Some(100.0), None);
    Ok(())
}
