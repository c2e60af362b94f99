//! `audit verify`: the hash chain, recomputed here, so that nobody has to trust the server that keeps the log.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use edgeseal_store::{AuditRecord, audit};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api_client::{Api, Call};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{JSON_FORMAT, Output, Tone};

/// Records per request, the most that the API gives.
const PAGE: u32 = 1_000;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A record that an earlier run named as the newest: it must still be there, unchanged. Can be repeated
    #[arg(long, value_name = "NUMBER:HASH")]
    expect: Vec<Anchor>,
}

/// A place in the chain, told elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Anchor {
    number: u64,
    hash: [u8; 32],
}

/// A record as the API gives it.
#[derive(Deserialize)]
struct Linked {
    number: u64,
    entry: Value,
    canonical: String,
    previous: String,
    hash: String,
}

/// How the chain fared.
enum Verdict {
    Whole(Anchor),
    Broken(String),
}

pub(super) async fn run(args: &VerifyArgs, api: &Api, output: Output) -> Outcome {
    let verdict = verify(args, api, output).await?;
    if output.json {
        output.json(&match &verdict {
            Verdict::Whole(newest) => json!({
                "format": JSON_FORMAT, "ok": true, "records": newest.number,
                "newest": (newest.number > 0).then(|| newest.to_string()),
            }),
            Verdict::Broken(why) => json!({ "format": JSON_FORMAT, "ok": false, "error": why }),
        })?;
    } else {
        match &verdict {
            Verdict::Whole(Anchor { number: 0, .. }) => output.line("the audit log is empty")?,
            Verdict::Whole(newest) => {
                output.line(format_args!(
                    "{} {} records",
                    output.paint(Tone::Good, "verified"),
                    newest.number
                ))?;
                output.line(newest)?;
                output.remark(format_args!(
                    "keep that line elsewhere: `edgeseal audit verify --expect {newest}` notices if the end is cut off"
                ));
            }
            Verdict::Broken(why) => return Err(Failure::no(format_args!("the audit log is broken: {why}"))),
        }
    }
    Ok(if matches!(verdict, Verdict::Whole(_)) { Exit::Ok } else { Exit::No })
}

async fn verify(args: &VerifyArgs, api: &Api, output: Output) -> Outcome<Verdict> {
    let mut newest = audit::GENESIS;
    let mut met = Vec::new();
    loop {
        let call = Call::get("/audit/chain").query("after", newest.0).query("limit", PAGE);
        let mut body = api.send(call).await?;
        let items: Vec<Linked> = serde_json::from_value(
            body.get_mut("items").map(Value::take).unwrap_or_default(),
        )
        .map_err(|error| {
            Failure::unreachable(format_args!("the control plane gave no audit records: {error}"))
        })?;
        if items.is_empty() {
            break;
        }
        for item in items {
            newest = match item.follow(newest) {
                Ok(newest) => newest,
                Err(why) => return Ok(Verdict::Broken(why)),
            };
            for expected in args.expect.iter().filter(|expected| expected.number == newest.0) {
                if expected.hash != newest.1 {
                    let number = newest.0;
                    return Ok(Verdict::Broken(format!(
                        "record {number} is not the one that was expected: the log was written anew from there or before"
                    )));
                }
                met.push(*expected);
            }
        }
        if newest.0.is_multiple_of(u64::from(PAGE) * 10) {
            output.remark(format_args!("{} records so far", newest.0));
        }
    }
    let newest = Anchor { number: newest.0, hash: newest.1 };
    let missing = args.expect.iter().find(|expected| !met.contains(expected));
    Ok(match missing {
        Some(missing) => Verdict::Broken(format!(
            "record {} was expected, but the log ends with {}: its end was cut off",
            missing.number, newest.number
        )),
        None => Verdict::Whole(newest),
    })
}

impl Linked {
    /// Checks that this record follows `newest`, and that what it shows to people is what was hashed.
    fn follow(self, newest: (u64, [u8; 32])) -> Result<(u64, [u8; 32]), String> {
        let number = self.number;
        let hash = |text: &str| from_hex(text).ok_or_else(|| format!("record {number} has no proper hash"));
        let (previous, hash) = (hash(&self.previous)?, hash(&self.hash)?);
        let record = AuditRecord { number, entry: self.canonical, previous, hash };
        let newest =
            audit::verify(newest, std::slice::from_ref(&record)).map_err(|broken| broken.to_string())?;
        if serde_json::from_str::<Value>(&record.entry).ok() != Some(self.entry) {
            return Err(format!("record {number} shows something else than what was hashed"));
        }
        Ok(newest)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.number)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Anchor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (number, hash) = text.trim().split_once(':')?;
            Some(Self { number: number.parse().ok().filter(|number| *number > 0)?, hash: from_hex(hash)? })
        };
        read().ok_or("must be NUMBER:HASH, as `edgeseal audit verify` prints it")
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}
