//! A PostgreSQL for tests.

mod client;
mod own;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use own::{Durability, Own};

/// Names a server that the tests should use instead of starting one.
const URL_VARIABLE: &str = "EDGESEAL_TEST_POSTGRES_URL";

/// A PostgreSQL that ends with this value, or the one that `EDGESEAL_TEST_POSTGRES_URL` names.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    own: Option<Own>,
}

impl Postgres {
    /// A server to make databases in. Others may use it too: see [`Postgres::start_own`] for one to stop.
    ///
    /// # Panics
    /// Without a PostgreSQL to run: says which script installs one.
    #[must_use]
    pub fn start() -> Self {
        Self::named().unwrap_or_else(Self::start_own)
    }

    /// A server of the test's own, as durable as in production.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_own() -> Self {
        Self::run(Durability::Full)
    }

    /// A server of one's own that would lose data if the machine failed (though not if the server did), and is quicker.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_quick() -> Self {
        Self::run(Durability::None)
    }

    /// One server for all tests of a process, as [`Postgres::start_quick`]. It ends with the process.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::named().unwrap_or_else(Self::start_quick))
    }

    /// The URL of one of its databases; `postgres` is always there.
    ///
    /// # Panics
    /// When `EDGESEAL_TEST_POSTGRES_URL` is not of the form `postgres://user:password@host:port/database`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match client::Address::parse(&self.url) {
            Ok(address) => address.url(database),
            Err(trouble) => panic!("{trouble}"),
        }
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", unique());
        execute(&self.url, &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Stops the server; connections break off. What was committed stays.
    ///
    /// # Panics
    /// When the server is not the test's own.
    pub fn stop(&mut self) {
        self.own_mut().stop();
    }

    /// Ends all of the server's processes with SIGKILL; what was committed stays.
    ///
    /// # Panics
    /// When the server is not the test's own.
    pub fn kill(&mut self) {
        self.own_mut().kill();
    }

    /// Starts it again on the same port with the same data.
    ///
    /// # Panics
    /// When it does not start, or is not the test's own.
    pub fn start_again(&mut self) {
        let own = self.own_mut();
        own.stop();
        own.launch_patiently();
    }

    fn named() -> Option<Self> {
        let url = std::env::var(URL_VARIABLE).ok()?;
        Some(Self { url, own: None })
    }

    fn run(durability: Durability) -> Self {
        let own = Own::start(durability);
        Self { url: own.url(), own: Some(own) }
    }

    fn own_mut(&mut self) -> &mut Own {
        match &mut self.own {
            Some(own) => own,
            None => panic!("the server of {URL_VARIABLE} is not ours to stop: use Postgres::start_own"),
        }
    }
}

/// Runs one statement in the database of the URL, without TLS.
///
/// # Panics
/// When the server does not answer or refuses.
pub fn execute(url: &str, statement: &str) {
    if let Err(trouble) = try_execute(url, statement) {
        panic!("{statement}: {trouble}");
    }
}

/// As [`execute`], for statements that should be refused.
///
/// # Errors
/// What the server said.
pub fn try_execute(url: &str, statement: &str) -> Result<(), String> {
    client::Connection::open(&client::Address::parse(url)?)?.execute(statement)
}

/// Differs between processes, tests and calls; lower case letters and digits.
fn unique() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}x{:x}x{now:x}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_or_killed_server_comes_back_with_its_data() {
        let mut postgres = Postgres::start_own();
        let url = postgres.create_database();
        execute(&url, "CREATE TABLE kept (number INTEGER)");
        postgres.stop();
        assert!(try_execute(&url, "SELECT 1").is_err());
        postgres.start_again();
        execute(&url, "INSERT INTO kept VALUES (1)");
        postgres.kill();
        assert!(try_execute(&url, "SELECT 1").is_err());
        postgres.start_again();
        execute(&url, "SELECT 1 / count(*) FROM kept");
        assert!(try_execute(&url, "SELECT 1 / (count(*) - 1) FROM kept").unwrap_err().contains("zero"));
    }
}
