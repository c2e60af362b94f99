//! `edgeseal token`: API tokens: created, listed, revoked.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use edgeseal_core::ids::Environment;
use serde_json::{Map, Value, json};

use super::{print_json, print_json_items};
use crate::api_client::{Api, Call, ServerArgs};
use crate::exit::{Exit, Failure, OrExit, Outcome};
use crate::http_client::block_on;
use crate::output::{JSON_FORMAT, Output, Tone};
use crate::printable::{Cell, table, text_at, time_at};

/// Flags of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    #[command(flatten)]
    server: ServerArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a token and print it, this once
    Create(CreateArgs),
    /// List tokens, without their secrets
    List,
    /// End a token; what still uses it is refused at once
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// What people call it
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    scope: ScopeArg,
    /// The only environment it is good for [default: all]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// When it ends by itself: a number with s, min, h or d, such as 90d [default: never]
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    expires_in: Option<u64>,
    /// Write the token into this new file, readable by its owner only, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArg {
    /// Reads everything but secrets
    Viewer,
    /// Changes what is not published yet
    Editor,
    /// Starts, pauses, stops, publishes
    Publisher,
    /// Keys, tokens, environments
    Admin,
    /// For an edge; nothing else
    Edge,
    /// For sending events; nothing else
    Ingest,
}

/// Runs the chosen one.
pub(crate) fn run(args: &TokenArgs, output: Output) -> Outcome {
    let api = Api::of_server(&args.server, output)?;
    block_on(async {
        match &args.command {
            TokenCommand::Create(args) => create(args, &api, output).await,
            TokenCommand::List => list(&api, output).await,
            TokenCommand::Revoke { id } => revoke(id, &api, output).await,
        }
    })?;
    Ok(Exit::Ok)
}

async fn create(args: &CreateArgs, api: &Api, output: Output) -> Outcome<()> {
    let scope = args.scope.to_possible_value().map(|value| value.get_name().to_owned());
    let mut body =
        Map::from_iter([("name".to_owned(), json!(args.name)), ("scope".to_owned(), json!(scope))]);
    if let Some(name) = &args.environment {
        let environment = Environment::parse(name).or_usage(|| format!("--environment '{name}'"))?;
        body.insert("environment".to_owned(), json!(environment));
    }
    if let Some(seconds) = args.expires_in {
        body.insert("expiresInSeconds".to_owned(), json!(seconds));
    }
    // The file first: a token that cannot be written down would be lost.
    let file = args.out.as_deref().map(NewFile::create).transpose()?;
    let mut created = api.send(Call::post("/tokens", Value::Object(body))).await?;
    let Some(Value::String(token)) = created.get_mut("token").map(Value::take) else {
        return Err(anyhow::anyhow!("the control plane answered without a token").into());
    };
    let id = text_at(&created, "/id");
    match file {
        Some(file) => {
            file.keep(&token)?;
            if let Some(members) = created.as_object_mut() {
                members.remove("token");
                members.insert("file".to_owned(), json!(args.out));
            }
            if output.json {
                return print_json(output, created);
            }
            let path = args.out.as_deref().unwrap_or(Path::new("")).display();
            output.line(format_args!("{} token {id} in {path}", output.paint(Tone::Good, "created")))
        }
        None if output.json => {
            created["token"] = json!(token);
            print_json(output, created)
        }
        None => {
            output.remark(format_args!("created token {id}; it is shown this once, so keep it now:"));
            output.line(token)
        }
    }
}

async fn list(api: &Api, output: Output) -> Outcome<()> {
    let items = api.list(Call::get("/tokens"), None).await?;
    if output.json {
        return print_json_items(output, items);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let revoked = item.get("revokedAt").is_some_and(|at| !at.is_null());
            let (state, tone) = if revoked { ("revoked", Tone::Dim) } else { ("good", Tone::Good) };
            [
                Cell::from(text_at(item, "/id")),
                text_at(item, "/name").into(),
                text_at(item, "/scope").into(),
                text_at(item, "/environment").into(),
                Cell::toned(state, tone),
                time_at(item, "/expiresAt").into(),
                time_at(item, "/lastUsedAt").into(),
            ]
        })
        .collect();
    table(output, ["ID", "NAME", "SCOPE", "ENVIRONMENT", "STATE", "EXPIRES (UTC)", "LAST USED (UTC)"], &rows)
}

async fn revoke(id: &str, api: &Api, output: Output) -> Outcome<()> {
    // The whole token instead of its id is a likely slip; it must not end up in an address.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(Failure::usage(
            "that is no token id: it has letters and digits only, as `edgeseal token list` shows",
        ));
    }
    api.send(Call::delete(format!("/tokens/{id}"))).await?;
    if output.json {
        return output.json(&json!({ "format": JSON_FORMAT, "revoked": id }));
    }
    output.line(format_args!("revoked {id}"))
}

/// A file that did not exist before; it goes away again unless something is kept in it.
struct NewFile<'p> {
    path: &'p Path,
    file: File,
    kept: bool,
}

impl<'p> NewFile<'p> {
    fn create(path: &'p Path) -> Outcome<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.or_unreachable(|| format!("cannot make the new file '{}'", path.display()))?;
        Ok(Self { path, file, kept: false })
    }

    fn keep(mut self, token: &str) -> Outcome<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        self.kept = written.is_ok();
        written.or_unreachable(|| {
            format!("cannot write '{}'; the new token is lost, so revoke it", self.path.display())
        })
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // An empty file left behind does no harm.
            let _ = fs::remove_file(self.path);
        }
    }
}

fn span_seconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let unit_seconds = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = amount.parse::<u64>().ok().and_then(|amount| amount.checked_mul(unit_seconds));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "is no span such as 12h or 90d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!(span_seconds("90d"), Ok(7_776_000));
        assert_eq!(span_seconds("15min"), Ok(900));
        for bad in ["", "90", "d", "0h", "-1h", "1.5h", "99999999999999999999d"] {
            assert!(span_seconds(bad).is_err(), "{bad}");
        }
    }
}
