//! Runs a command beside one PostgreSQL and one Redis, so that tests in many processes need not start their own:
//! `cargo run -p edgeseal-testkit --bin with-servers -- COMMAND…`
//!
//! The command finds them by `EDGESEAL_TEST_POSTGRES_URL` and `EDGESEAL_TEST_REDIS_URL`; those that are set already are
//! left alone. The exit code is the command's.

use std::process::{Command, ExitCode};

use edgeseal_testkit::servers::{Postgres, Redis};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("with-servers: name the command to run");
        return ExitCode::from(2);
    };
    let postgres = Postgres::shared();
    let redis = Redis::start();
    let status = Command::new(&program)
        .args(words)
        .env("EDGESEAL_TEST_POSTGRES_URL", postgres.url("postgres"))
        .env("EDGESEAL_TEST_REDIS_URL", redis.url())
        .status();
    match status {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("with-servers: cannot run {}: {error}", program.display());
            ExitCode::from(127)
        }
    }
}
