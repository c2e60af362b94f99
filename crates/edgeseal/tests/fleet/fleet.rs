//! An installation of real processes: a database, control planes on it, edges fed by them, and load on the edges.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use edgeseal_testkit::load::{Load, Settings};
use edgeseal_testkit::processes::Process;
use reqwest::blocking::{Client, Response};
use serde_json::Value;

use crate::api::Api;
use crate::common::{Scratch, claims_of, eventually, free_port};
use crate::history::{History, Watch};

/// Longest that an edge may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A database and the folder beside it.
pub(crate) struct Site {
    scratch: Scratch,
    database: String,
}

impl Site {
    /// On SQLite, where the backend does not matter.
    pub(crate) fn sqlite() -> Self {
        let scratch = Scratch::new();
        let database = format!("sqlite:{}", scratch.path("edgeseal.db").display());
        Self::prepared(scratch, database)
    }

    /// On a database that exists and is empty.
    pub(crate) fn on(database: String) -> Self {
        Self::prepared(Scratch::new(), database)
    }

    fn prepared(scratch: Scratch, database: String) -> Self {
        let site = Self { scratch, database };
        site.run(&["keys", "new-master-key", &site.text("master.key")]);
        site.run(&["migrate", "--database", &site.database]);
        site
    }

    /// A control plane on a port that it keeps.
    pub(crate) fn control(&self, arguments: &[&str]) -> Control {
        self.control_in(arguments, &[])
    }

    /// As [`Site::control`], with environment variables.
    pub(crate) fn control_in(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Control {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let (master, admin) = (self.text("master.key"), self.text("admin.token"));
        let mut all = vec!["control", "--json", "--database", &self.database, "--listen", &listen];
        all.extend(["--master-key-file", &master, "--admin-token-file", &admin]);
        all.extend(arguments);
        let running = Running::start(&all, variables);
        Control { running, port, url: format!("http://{listen}"), admin: self.scratch.path("admin.token") }
    }

    /// An edge that asks `control`, with a token that `api` makes for it; waits until it serves what is newest.
    pub(crate) fn edge(&self, name: &str, control: &str, api: &Api, arguments: &[&str]) -> Edge {
        self.edge_in(name, control, api, arguments, &[])
    }

    /// As [`Site::edge`], with environment variables.
    pub(crate) fn edge_in(
        &self,
        name: &str,
        control: &str,
        api: &Api,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Edge {
        let (token_id, token) = api.new_token(name, "edge");
        let token_file = self.scratch.path(&format!("{name}.token"));
        write_secret(&token_file, &token);
        let edge = self.bare_edge(name, control, token_id, arguments, variables);
        let cv = api.newest_cv();
        eventually(&format!("{name} serves"), || edge.is_ready() && edge.cv() == cv);
        edge
    }

    /// An edge with the token file `<name>.token` as it is, ready or not.
    pub(crate) fn bare_edge(
        &self,
        name: &str,
        control: &str,
        token_id: String,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Edge {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listen = address.to_string();
        let (token, state) = (self.text(&format!("{name}.token")), self.text(&format!("{name}-state")));
        let mut all = vec!["edge", "--json", "--control", control, "--token-file", &token];
        all.extend(["--state-dir", &state, "--listen", &listen, "--threads", "1"]);
        all.extend(arguments);
        let running = Running::start(&all, variables);
        let client = Client::builder().timeout(ANSWER_WITHIN).pool_max_idle_per_host(0).build().unwrap();
        Edge {
            running,
            address,
            client,
            token_id,
            token_file: self.scratch.path(&format!("{name}.token")),
            state_dir: self.scratch.path(&format!("{name}-state")),
        }
    }

    /// What a command says that asks `control`.
    pub(crate) fn ask(&self, control: &Control, arguments: &[&str]) -> String {
        let token = control.admin.to_str().unwrap();
        self.run(&[arguments, &["--control", &control.url, "--token-file", token]].concat())
    }

    /// A file beside the database.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn text(&self, name: &str) -> String {
        self.scratch.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars() {
            if name.starts_with("EDGESEAL_") {
                command.env_remove(name);
            }
        }
        let ended = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }
}

/// A process with its command line, so that the same can be started again.
struct Running {
    process: Process,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// Logs of its former lives.
    past: String,
}

impl Running {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = Process::spawn_with(binary(), arguments, variables);
        process.banner();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            process,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            variables: variables.iter().map(owned).collect(),
            past: String::new(),
        }
    }

    fn start_again(&mut self) {
        self.process.kill();
        self.past += &self.process.log();
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.process = Process::spawn_with(binary(), &self.arguments, &variables);
        self.process.banner();
    }

    fn log(&self) -> String {
        format!("{}{}", self.past, self.process.log())
    }
}

/// A control plane.
pub(crate) struct Control {
    running: Running,
    pub(crate) port: u16,
    pub(crate) url: String,
    admin: PathBuf,
}

impl Control {
    /// Its API, with the token that was made on the first start.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url, &fs::read_to_string(&self.admin).unwrap())
    }

    /// SIGKILL, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.running.process.kill();
    }

    /// Starts it again on the same port, killing it before if it still runs.
    pub(crate) fn start_again(&mut self) {
        self.running.start_again();
    }

    pub(crate) fn freeze(&self) {
        self.running.process.freeze();
    }

    pub(crate) fn thaw(&self) {
        self.running.process.thaw();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.running.process.is_running()
    }
}

/// An edge.
pub(crate) struct Edge {
    running: Running,
    pub(crate) address: SocketAddr,
    client: Client,
    pub(crate) token_id: String,
    pub(crate) token_file: PathBuf,
    pub(crate) state_dir: PathBuf,
}

impl Edge {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url())).send().unwrap()
    }

    /// An assignment token, whole.
    #[track_caller]
    pub(crate) fn token(&self, unit: &str) -> String {
        let answer = self.get(&format!("/v1/assignments/{unit}"));
        assert_eq!(answer.status(), 200);
        answer.text().unwrap()
    }

    /// Claims of the status document.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        claims_of(&self.get("/v1/status").text().unwrap()).unwrap()
    }

    /// Version of the snapshot that it serves: in its tokens, not in what the control plane says of it.
    #[track_caller]
    pub(crate) fn cv(&self) -> u64 {
        claims_of(&self.token("somebody")).unwrap()["cv"].as_u64().unwrap()
    }

    /// Whether `experiment` is halted by its status document.
    #[track_caller]
    pub(crate) fn halts(&self, experiment: &str) -> bool {
        self.status()["off"].as_array().unwrap().iter().any(|key| key == experiment)
    }

    /// Whether it serves and hears from the control plane.
    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").status() == 200
    }

    /// Whether it answers with assignments, however old what it knows may be.
    pub(crate) fn serves(&self) -> bool {
        self.get("/v1/assignments/somebody").status() == 200
    }

    /// How many offers it has refused.
    #[track_caller]
    pub(crate) fn refusals(&self) -> u64 {
        let metrics = self.get("/metrics").text().unwrap();
        let counters = metrics.lines().filter(|line| line.starts_with("edgeseal_feed_refusals_total"));
        counters.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    pub(crate) fn kill(&mut self) {
        self.running.process.kill();
    }

    /// Starts it again on the same port, killing it before if it still runs.
    pub(crate) fn start_again(&mut self) {
        self.running.start_again();
    }

    pub(crate) fn log(&self) -> String {
        self.running.log()
    }
}

/// Steady load on edges, and an eye on every version that they show.
pub(crate) struct UnderLoad {
    loads: Vec<Load>,
    watch: Watch,
}

impl UnderLoad {
    pub(crate) fn start<'e>(edges: impl IntoIterator<Item = &'e Edge>) -> Self {
        let edges: Vec<&Edge> = edges.into_iter().collect();
        Self {
            loads: edges.iter().map(|edge| Load::start(Settings::modest(edge.address))).collect(),
            watch: Watch::over(&edges),
        }
    }

    /// Every request was answered and no version went back; gives what was seen.
    #[track_caller]
    pub(crate) fn finish(self) -> History {
        let history = self.watch.finish();
        for load in self.loads {
            let report = load.finish();
            assert!(report.requests > 0, "there was no load");
            assert_eq!(report.failed(), 0, "{report:?}");
        }
        history.assert_sound();
        history
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    writeln!(file, "{text}").unwrap();
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_edgeseal"))
}
