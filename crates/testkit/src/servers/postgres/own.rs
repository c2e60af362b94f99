//! A server of one's own, in a temporary folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{URL_VARIABLE, client, unique};

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Somebody else may take the free port between finding it and listening on it; after a kill, the memory that the
/// last process shared may take a moment to go.
const LAUNCH_ATTEMPTS: u32 = 20;
const RELAUNCH_AFTER: Duration = Duration::from_millis(250);
/// PostgreSQL refuses to run as root, so root runs it as `nobody`.
const NOBODY: u32 = 65_534;

const USER: &str = "edgeseal";

/// Starts the server and waits for a word: `kill`, `stop`, or the end of its input, which comes even when the test was
/// killed; then nobody will need the folder any more.
const SUPERVISOR: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
read -r word
case $word in
    kill) kill -9 $server $(cat "/proc/$server/task/$server/children") ;;
    *) kill -INT $server ;;
esac
wait $server
[ -n "$word" ] || rm -rf "$folder"
"#;

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Durability {
    Full,
    None,
}

#[derive(Debug)]
pub(super) struct Own {
    folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    password: String,
    durability: Durability,
    supervisor: Option<Child>,
}

impl Own {
    pub(super) fn start(durability: Durability) -> Self {
        let folder = std::env::temp_dir().join(format!("edgeseal-postgres-{}", unique()));
        let mut own = Self {
            binaries: installed_binaries(),
            folder,
            port: 0,
            password: unique(),
            durability,
            supervisor: None,
        };
        if let Err(trouble) = own.prepare() {
            panic!("PostgreSQL does not start: {trouble}");
        }
        own.launch_patiently();
        own
    }

    pub(super) fn url(&self) -> String {
        let address = client::Address {
            host: "127.0.0.1".into(),
            port: self.port,
            user: USER.into(),
            password: self.password.clone(),
            database: String::new(),
        };
        address.url("postgres")
    }

    pub(super) fn launch_patiently(&mut self) {
        let mut trouble = String::new();
        for _ in 0..LAUNCH_ATTEMPTS {
            match self.launch() {
                Ok(()) => return,
                Err(message) => trouble = message,
            }
            self.stop();
            std::thread::sleep(RELAUNCH_AFTER);
        }
        panic!("PostgreSQL does not start: {trouble}");
    }

    /// Asks the server to end its connections, write what is left, and end.
    pub(super) fn stop(&mut self) {
        self.end("stop\n");
    }

    pub(super) fn kill(&mut self) {
        self.end("kill\n");
    }

    fn end(&mut self, word: &str) {
        if let Some(mut supervisor) = self.supervisor.take() {
            if let Some(mut input) = supervisor.stdin.take() {
                let _ = input.write_all(word.as_bytes());
            }
            let _ = supervisor.wait();
        }
    }

    /// Makes the data directory, for a user that PostgreSQL accepts and with binaries that this user can run.
    fn prepare(&mut self) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.folder.display());
        fs::create_dir_all(&self.folder).map_err(told)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)).map_err(told)?;
        if is_root() {
            chown(&self.folder, Some(NOBODY), Some(NOBODY)).map_err(told)?;
            let version = self.command(&self.binaries.join("postgres")).arg("--version").output();
            if !version.is_ok_and(|version| version.status.success()) {
                self.binaries = copy_of(&self.binaries, &self.folder).map_err(told)?;
            }
        }
        let password_file = self.folder.join("password");
        fs::write(&password_file, &self.password).map_err(told)?;
        let made = self
            .command(&self.binaries.join("initdb"))
            .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", "--username", USER])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(self.data())
            .output()
            .map_err(told)?;
        if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
    }

    fn launch(&mut self) -> Result<(), String> {
        if self.port == 0 || !self.has_run() {
            self.port = free_port();
        }
        let log = self.folder.join("log");
        File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        if is_root() {
            chown(&log, Some(NOBODY), Some(NOBODY)).map_err(|error| error.to_string())?;
        }
        let synced = match self.durability {
            Durability::Full => "on",
            Durability::None => "off",
        };
        let supervisor = self
            .command(Path::new("sh"))
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&self.folder)
            .arg(self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=300", "-c", &format!("port={}", self.port)])
            .args(["-c", &format!("fsync={synced}"), "-c", &format!("full_page_writes={synced}")])
            .stdin(Stdio::piped())
            // The shell would tell of every server that was killed.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run sh: {error}"))?;
        self.supervisor = Some(supervisor);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("ready to accept connections") {
                return fs::write(self.folder.join("ran"), "").map_err(|error| error.to_string());
            }
            if said.contains("FATAL") || Instant::now() > deadline {
                return Err(said);
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Whether it was up once: from then on it keeps its port.
    fn has_run(&self) -> bool {
        self.folder.join("ran").exists()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A command in a process group of its own: Ctrl-C is for the test, which then ends the server in its own way.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear().env("PATH", "/usr/bin:/bin").process_group(0);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end("");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn installed_binaries() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/postgres/bin");
    match folder.canonicalize() {
        Ok(folder) if folder.join("postgres").exists() => folder,
        _ => panic!(
            "there is no PostgreSQL for the tests: run scripts/install-postgres.sh, or name a server in {URL_VARIABLE}"
        ),
    }
}

/// The server finds its libraries beside its own folder, so all of it is copied.
fn copy_of(binaries: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let whole = binaries.parent().unwrap_or(binaries);
    let status = Command::new("cp").arg("-a").arg(whole).arg(folder.join("native")).status()?;
    if !status.success() {
        return Err(std::io::Error::other(format!("cannot copy {}", whole.display())));
    }
    Ok(folder.join("native/bin"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn free_port() -> u16 {
    match TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => address.port(),
        Err(error) => panic!("no free port: {error}"),
    }
}
