//! Runs the real binary: one temporary directory and, if asked, one serving edge per test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) mod proxy;

/// Longest that a test waits for something to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("edgeseal-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, away from the settings of whoever runs the tests.
pub(crate) fn edgeseal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeseal"));
    for (name, _) in std::env::vars() {
        if name.starts_with("EDGESEAL_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// How a finished run ended.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub(crate) fn run(args: &[&str]) -> Finished {
    edgeseal().args(args).stdin(Stdio::null()).output().unwrap().into()
}

pub(crate) fn run_with_input(args: &[&str], input: &str) -> Finished {
    let mut child = edgeseal()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A serving edge on a free port.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
    /// Address of the API.
    pub(crate) control: String,
    /// Of the first start only.
    pub(crate) admin_token: Option<String>,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Serving {
    /// Starts and waits until it listens.
    pub(crate) fn start(data_dir: &Path, args: &[&str]) -> Self {
        Self::try_start(data_dir, args)
            .unwrap_or_else(|ended| panic!("it ended: {}{}", ended.stdout, ended.stderr))
    }

    /// Starts; an `Err` is how it ended instead of listening.
    pub(crate) fn try_start(data_dir: &Path, args: &[&str]) -> Result<Self, Finished> {
        let mut child = edgeseal()
            .args([
                "serve",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--control-listen",
                "127.0.0.1:0",
                "--poll-interval-ms",
                "25",
                "--threads",
                "1",
            ])
            .arg("--data-dir")
            .arg(data_dir)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            let code = child.wait().unwrap().code().unwrap_or(-1);
            return Err(Finished { code, stdout: line, stderr });
        }
        let banner: Value = serde_json::from_str(&line).unwrap();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (sink, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let text = |name: &str| banner[name].as_str().map(str::to_owned);
        let (url, control) = (text("url").unwrap(), text("control").unwrap());
        Ok(Self { child, url, control, admin_token: text("adminToken"), log })
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::blocking::Response {
        reqwest::blocking::get(format!("{}{path}", self.url)).unwrap()
    }

    pub(crate) fn token(&self, unit: &str) -> String {
        let answer = self.get(&format!("/v1/assignments/{unit}"));
        assert_eq!(answer.status(), 200);
        answer.text().unwrap()
    }

    /// Claims of a unit's token, its signature unchecked.
    pub(crate) fn claims(&self, unit: &str) -> Value {
        claims(&self.token(unit))
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as Ctrl-C or an init system would, and gives its exit code.
    pub(crate) fn terminate(mut self) -> i32 {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Claims of a token, its signature unchecked.
pub(crate) fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Waits until `holds`, or fails saying `what`.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An experiments file with one experiment of two variants, weighted as given.
pub(crate) fn two_variants(control: u32, treatment: u32) -> String {
    format!(
        "experiments:\n  - key: checkout\n    state: running\n    variants:\n      \
         - {{ key: control, weight: {control} }}\n      - {{ key: treatment, weight: {treatment} }}\n"
    )
}
