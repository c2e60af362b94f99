//! Real processes of the platform, for the tests that break them.
//!
//! A process is started with a clean environment, says where it listens in its first line (JSON), and can be killed,
//! frozen or asked to end. Whatever it writes is kept, and shown when something goes wrong.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const BANNER_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// A running `edgeseal`, or any other program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Starts `binary` with `arguments`. Settings of the developer's own shell (`EDGESEAL_…`) do not reach it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(binary: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::spawn_with(binary, arguments, &[])
    }

    /// As [`Process::spawn`], with environment variables.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_with<A: AsRef<OsStr>>(
        binary: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("edgeseal-process-{}-{number}", std::process::id()));
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGESEAL_") {
                command.env_remove(name);
            }
        }
        let name = format!("{} (number {number})", binary.display());
        let child = fs::create_dir_all(&folder)
            .and_then(|()| Ok((File::create(folder.join(OUTPUT))?, File::create(folder.join(LOG))?)))
            .and_then(|(output, log)| {
                command
                    .args(arguments)
                    .envs(variables.iter().copied())
                    .stdin(Stdio::null())
                    .stdout(output)
                    .stderr(log)
                    .spawn()
            });
        match child {
            Ok(child) => Self { name, child, folder },
            Err(error) => panic!("{name} cannot be started: {error}"),
        }
    }

    /// The first line that it writes to standard output, as JSON; waits for it.
    ///
    /// # Panics
    /// When it ends before, takes too long, or writes something else.
    pub fn banner(&mut self) -> Value {
        let deadline = Instant::now() + BANNER_WITHIN;
        loop {
            // Looked at before the output: whoever has ended writes nothing more.
            let running = self.is_running();
            if let Some((line, _)) = self.output().split_once('\n') {
                match serde_json::from_str(line) {
                    Ok(banner) => return banner,
                    Err(error) => self.fail(&format!("began with `{line}` instead of JSON ({error})")),
                }
            }
            if !running {
                self.fail("ended before it said where it listens");
            }
            if Instant::now() > deadline {
                self.fail("does not say where it listens");
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, as the kernel does when memory is short; returns when it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: it stays there, keeps its connections and does nothing.
    ///
    /// # Panics
    /// When it has ended.
    pub fn freeze(&self) {
        signal("STOP", self.id());
    }

    /// SIGCONT: it goes on.
    ///
    /// # Panics
    /// When it has ended.
    pub fn thaw(&self) {
        signal("CONT", self.id());
    }

    /// SIGTERM: asks it to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.is_running() {
            signal("TERM", self.id());
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL_EVERY),
                _ => self.fail("does not end when asked to"),
            }
        }
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.read(OUTPUT)
    }

    /// What it wrote to standard error so far: its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.read(LOG)
    }

    /// Memory that it occupies now, in KiB; `None` where the system does not say.
    #[must_use]
    pub fn resident_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    fn read(&self, file: &str) -> String {
        let bytes = fs::read(self.folder.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{} {what}\n--- output\n{}\n--- log\n{}", self.name, self.output(), self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const OUTPUT: &str = "output";
const LOG: &str = "log";

/// Sends a signal by its name without `SIG`. Through the shell, whose `kill` is there on every system: the call
/// itself would need `unsafe` or another library.
///
/// # Panics
/// When there is no such process.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "process {process} cannot be sent SIG{name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_the_first_line_and_the_rest_is_kept() {
        let mut process = shell(r#"echo '{"port": 7}'; echo more; echo trouble >&2; exec sleep 60"#);
        assert_eq!(process.banner()["port"], 7);
        assert!(process.is_running());
        assert!(process.resident_kib().is_none_or(|kib| kib > 0));
        process.kill();
        assert!(!process.is_running());
        assert!(process.output().ends_with("more\n"));
        assert_eq!(process.log(), "trouble\n");
    }

    #[test]
    fn a_process_that_ends_without_a_banner_shows_its_log() {
        let mut process = shell("echo no such flag >&2; exit 2");
        let trouble =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| process.banner())).unwrap_err();
        assert!(trouble.downcast_ref::<String>().unwrap().contains("no such flag"));
    }

    #[test]
    fn asked_to_end_it_may_tidy_up() {
        let mut process = shell("trap 'exit 7' TERM; echo '{}'; while :; do sleep 0.01; done");
        process.banner();
        assert_eq!(process.terminate().code(), Some(7));
        assert_eq!(process.terminate().code(), Some(7), "asking twice is no error");
    }

    #[test]
    fn frozen_it_does_nothing_and_thawed_it_goes_on() {
        let mut process = shell("echo '{}'; while :; do echo tick; sleep 0.01; done");
        process.banner();
        process.freeze();
        // Whatever it was writing is written once its state says stopped.
        while !fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap().contains(") T ") {
            std::thread::sleep(POLL_EVERY);
        }
        let written = process.output().len();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(process.output().len(), written);
        process.thaw();
        while process.output().len() == written {
            std::thread::sleep(POLL_EVERY);
        }
    }

    #[test]
    fn settings_of_the_shell_do_not_reach_it_and_given_ones_do() {
        let script = r#"env | grep -c ^EDGESEAL_ ; echo "$EDGESEAL_GIVEN""#;
        let mut process = Process::spawn_with(Path::new("sh"), ["-c", script], &[("EDGESEAL_GIVEN", "yes")]);
        process.terminate_by_itself();
        assert_eq!(process.output(), "1\nyes\n");
    }

    impl Process {
        fn terminate_by_itself(&mut self) {
            self.child.wait().unwrap();
        }
    }

    fn shell(script: &str) -> Process {
        Process::spawn(Path::new("sh"), ["-c", script])
    }
}
