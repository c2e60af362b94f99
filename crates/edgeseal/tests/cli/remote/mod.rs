//! The commands that ask a control plane, against a stand-in that replays documented answers.

mod apply;
mod audit;
mod client;
mod doctor;
mod experiment;
mod fake;
mod keys;
mod login;
mod story;
mod token;

use serde_json::{Value, json};

use crate::common::{Finished, Scratch, edgeseal};
use fake::Fake;

/// The secret part of [`TOKEN`]: must never be printed.
const SECRET: &str = "s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3tx";
const TOKEN: &str = "edgeseal_0123456789abcdef_s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3tx";

/// A home directory of its own, and a file with the token.
struct Home {
    scratch: Scratch,
    token_file: String,
}

impl Home {
    fn new() -> Self {
        let scratch = Scratch::new();
        let token_file = scratch.write("api.token", &format!("{TOKEN}\n")).display().to_string();
        Self { scratch, token_file }
    }

    /// Runs a command against `fake` with the token file.
    fn run(&self, fake: &Fake, args: &[&str]) -> Finished {
        let with = ["--control", &fake.url, "--token-file", &self.token_file];
        self.bare(&[args, &with].concat())
    }

    /// Runs a command with what was logged in, or nothing.
    fn bare(&self, args: &[&str]) -> Finished {
        let mut command = edgeseal();
        command
            .args(args)
            .env("XDG_CONFIG_HOME", self.scratch.path("config"))
            .stdin(std::process::Stdio::null());
        let finished: Finished = command.output().unwrap().into();
        for printed in [&finished.stdout, &finished.stderr] {
            assert!(!printed.contains(SECRET), "the token was printed: {printed}");
        }
        finished
    }
}

fn whoami(scope: &str) -> Value {
    json!({ "id": "0123456789abcdef", "name": "ci", "scope": scope })
}

fn problem(status: u16, code: &str, detail: &str) -> Value {
    json!({ "type": "about:blank", "title": "Refused", "status": status, "code": code, "detail": detail, "requestId": "req-1" })
}
