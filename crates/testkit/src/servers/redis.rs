//! A Redis (or Valkey) for tests.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::processes::signal;

/// Names a server that the tests should use instead of starting one.
const URL_VARIABLE: &str = "EDGESEAL_TEST_REDIS_URL";
const READY_WITHIN: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Somebody else may take the free port between finding it and listening on it.
const PORT_ATTEMPTS: usize = 5;

/// A Redis that keeps nothing on disk and ends with this value, or the one that `EDGESEAL_TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    url: String,
    prefix: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    port: u16,
    password: Option<String>,
    folder: PathBuf,
    process: Option<Child>,
}

impl Redis {
    /// A server to read from and write to under [`Redis::prefix`]. Others may use it too: see [`Redis::start_own`]
    /// for one to stop or to empty.
    ///
    /// # Panics
    /// Without a Redis to run: says which script installs one.
    #[must_use]
    pub fn start() -> Self {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Self { url, prefix: random_prefix(), own: None },
            Err(_) => Self::start_own(),
        }
    }

    /// A server of the test's own.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[must_use]
    pub fn start_own() -> Self {
        Self::run(None)
    }

    /// A server of the test's own that asks for a password.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[must_use]
    pub fn start_with_password(password: &str) -> Self {
        Self::run(Some(password))
    }

    /// `redis://127.0.0.1:<port>`, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A prefix for keys and channels that no other test uses.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Ends the server at once, as a crash would; everything in it is lost.
    ///
    /// # Panics
    /// When the server is not the test's own.
    pub fn stop(&mut self) {
        self.own_mut().stop();
    }

    /// Starts it on the same port, empty.
    ///
    /// # Panics
    /// When it does not start, or is not the test's own.
    pub fn start_again(&mut self) {
        let own = self.own_mut();
        own.stop();
        if let Err(trouble) = own.launch() {
            panic!("{trouble}");
        }
    }

    /// Freezes the server: connections stay open and nothing answers.
    ///
    /// # Panics
    /// When the server is not running, or is not the test's own.
    pub fn freeze(&mut self) {
        signal("STOP", self.own_mut().id());
    }

    /// Ends [`Redis::freeze`].
    ///
    /// # Panics
    /// As [`Redis::freeze`].
    pub fn thaw(&mut self) {
        signal("CONT", self.own_mut().id());
    }

    /// `FLUSHALL`: everything in it is lost, connections live on.
    ///
    /// # Panics
    /// When it is not running, or is not the test's own.
    pub fn flush(&mut self) {
        let own = self.own_mut();
        assert_eq!(own.say("FLUSHALL").as_deref(), Some("+OK"), "{} cannot be emptied", own.describe());
    }

    fn run(password: Option<&str>) -> Self {
        let mut trouble = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let mut own = Own {
                port: free_port(),
                password: password.map(str::to_owned),
                folder: fresh_folder(),
                process: None,
            };
            match own.launch() {
                Ok(()) => {
                    let secret = password.map(|password| format!(":{password}@")).unwrap_or_default();
                    let url = format!("redis://{secret}127.0.0.1:{}", own.port);
                    return Self { url, prefix: random_prefix(), own: Some(own) };
                }
                Err(message) => trouble = message,
            }
        }
        panic!("{trouble}");
    }

    fn own_mut(&mut self) -> &mut Own {
        match &mut self.own {
            Some(own) => own,
            None => panic!("the server of {URL_VARIABLE} is not ours to stop or empty: use Redis::start_own"),
        }
    }
}

impl Own {
    fn launch(&mut self) -> Result<(), String> {
        let log = self.folder.join("log");
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = Command::new(binary());
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string()])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(output);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        self.process = Some(command.spawn().map_err(|error| format!("{}: {error}", binary().display()))?);
        let deadline = Instant::now() + READY_WITHIN;
        while self.say("PING").as_deref() != Some("+PONG") {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                self.stop();
                return Err(format!("{} does not start:\n{said}", self.describe()));
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn id(&self) -> u32 {
        match &self.process {
            Some(process) => process.id(),
            None => panic!("{} is not running", self.describe()),
        }
    }

    /// One command without arguments and the first line of the answer; nothing when there is no connection.
    fn say(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(READY_WITHIN)).ok()?;
        let mut answers = BufReader::new(stream.try_clone().ok()?).lines();
        if let Some(password) = &self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes()).ok()?;
            answers.next()?.ok()?;
        }
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        answers.next()?.ok()
    }

    fn describe(&self) -> String {
        format!("the Redis on port {}", self.port)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn binary() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/redis/server");
    assert!(
        path.exists(),
        "there is no Redis for the tests: run scripts/install-redis.sh, or name one in {URL_VARIABLE}"
    );
    path
}

fn free_port() -> u16 {
    match TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => address.port(),
        Err(error) => panic!("no free port: {error}"),
    }
}

fn fresh_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("edgeseal-redis-{}", unique()));
    if let Err(error) = fs::create_dir_all(&folder) {
        panic!("{}: {error}", folder.display());
    }
    folder
}

fn random_prefix() -> String {
    format!("test-{}/", unique())
}

/// Differs between processes, tests and calls.
fn unique() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}-{:x}-{:x}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed), now)
}
