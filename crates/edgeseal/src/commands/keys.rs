//! `edgeseal keys`: lists, rotates and retires the keys of a data directory. A running `serve` takes the change over.

use clap::{Args, Subcommand, ValueEnum};
use edgeseal_core::sealing::{
    KeyId, KeyRecord, KeyState, KeyUse, RetireStep, RotateStep, RotationError, RotationPolicy,
};
use edgeseal_core::time::Timestamp;
use serde_json::{Value, json};

use crate::cli::{DataDirArgs, MasterKeyArgs};
use crate::clock;
use crate::data_dir::{DataDir, file};
use crate::exit::{Exit, Failure, Outcome};
use crate::keystore::{HmacStep, Keyring, MasterKey};
use crate::output::{JSON_FORMAT, Output, Tone};

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List all keys and what may happen to each next
    List(ListArgs),
    /// Take the next step of a rotation: publish a successor, or activate the published one
    Rotate(RotateArgs),
    /// End keys that no longer sign, once nothing they signed is alive
    Retire(RetireArgs),
    /// Print an HMAC secret, to hand it to the servers that verify
    ExportHmac(ExportArgs),
}

/// Flags of `keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// Flags of `keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Which key
    #[arg(long = "use", value_enum, default_value_t = UseArg::Edge)]
    use_: UseArg,
    /// Skip the wait; clients without the new key refuse what it signs until they refresh
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Flags of `keys retire`.
#[derive(Debug, Args)]
pub(crate) struct RetireArgs {
    /// The key's kid [default: every retiring key whose wait is over]
    // One kid in 64 begins with a hyphen: base64url.
    #[arg(allow_hyphen_values = true)]
    kid: Option<String>,
    /// Which keys; only HMAC needs to be named
    #[arg(long = "use", value_enum, conflicts_with = "kid")]
    use_: Option<UseArg>,
    /// Skip the wait and revoke the key, because it leaked: what it signed is refused from now on
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Flags of `keys export-hmac`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Which version [default: the one that signs]
    #[arg(long, value_name = "N")]
    secret_version: Option<u32>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the keys are.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// Life of a signed keyset, in seconds, as `serve` has it
    #[arg(long, default_value_t = RotationPolicy::default().keyset_lifetime_seconds, hide = true,
          env = "EDGESEAL_KEYSET_LIFETIME_SECONDS")]
    keyset_lifetime_seconds: i64,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UseArg {
    /// Signs tokens
    Edge,
    /// Signs snapshots and status documents
    Control,
    /// Signs answers of the HMAC profile
    Hmac,
}

/// Runs the chosen one.
pub(crate) fn run(command: KeysCommand, output: Output) -> Outcome {
    match command {
        KeysCommand::List(args) => list(&args.place, output),
        KeysCommand::Rotate(args) => rotate(&args, output),
        KeysCommand::Retire(args) => retire(&args, output),
        KeysCommand::ExportHmac(args) => export_hmac(&args, output),
    }
}

fn list(place: &PlaceArgs, output: Output) -> Outcome {
    let (data_dir, policy) = (DataDir::open(&place.data_dir.data_dir)?, place.policy());
    let keyring = keyring(&data_dir)?;
    let now = clock::now();
    if output.json {
        let keys = keyring.records().iter().map(|record| described(record, &policy, now)).collect::<Vec<_>>();
        let hmac = keyring.hmac_secrets().iter().map(|secret| {
            json!({ "version": secret.version, "state": secret.state.as_str(), "since": secret.since })
        });
        output.json(&json!({
            "format": JSON_FORMAT,
            "environment": keyring.environment(),
            "root": keyring.root().kid(),
            "keys": keys,
            "hmac": hmac.collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    output.line(format_args!("environment '{}'", keyring.environment()))?;
    output.line(format_args!(
        "  {:<8} {:<24} pinned by clients: {}",
        "root",
        keyring.root().kid(),
        data_dir.path_of(file::ROOT).display()
    ))?;
    for record in keyring.records() {
        let tone = if record.state == KeyState::Active { Tone::Good } else { Tone::Dim };
        let state = output.paint(tone, format_args!("{:<10}", record.state.as_str()));
        output.line(format_args!(
            "  {:<8} {:<24} {state} {}",
            record.use_.as_str(),
            record.kid,
            next(&record, &policy, now)
        ))?;
    }
    for secret in keyring.hmac_secrets() {
        let tone = if secret.state == KeyState::Active { Tone::Good } else { Tone::Dim };
        let state = output.paint(tone, format_args!("{:<10}", secret.state.as_str()));
        output.line(format_args!(
            "  {:<8} {:<24} {state}",
            "hmac",
            format!("secret version {}", secret.version)
        ))?;
    }
    Ok(Exit::Ok)
}

fn rotate(args: &RotateArgs, output: Output) -> Outcome {
    let data_dir = DataDir::open(&args.place.data_dir.data_dir)?;
    let _lock = data_dir.lock(file::KEYRING_LOCK, "`edgeseal keys`")?;
    let master = MasterKey::load(&data_dir, args.place.master_key.master_key_file.as_deref())?;
    let (mut keyring, now, policy) = (keyring(&data_dir)?, clock::now(), args.place.policy());
    let use_ = match args.use_ {
        UseArg::Edge => KeyUse::Edge,
        UseArg::Control => KeyUse::Control,
        UseArg::Hmac => {
            let step = keyring.rotate_hmac(&master, now, &policy, args.force)?.map_err(Failure::no)?;
            keyring.save(&data_dir)?;
            return tell_hmac(step, output);
        }
    };
    let step = keyring.rotate(use_, &master, now, &policy, args.force)?.map_err(refused)?;
    keyring.save(&data_dir)?;
    match step {
        RotateStep::Published { kid, activates_after } => {
            let wait = activates_after.seconds_since(now);
            let told = json!({ "format": JSON_FORMAT, "step": "published", "kid": kid, "waitSeconds": wait });
            tell(
                output,
                &told,
                format!(
                    "published {kid}: it signs nothing yet; rotate again in {wait} seconds to activate it"
                ),
            )
        }
        RotateStep::Activated { new, old } => {
            let wait = policy.retire_wait_seconds();
            let told = json!({ "format": JSON_FORMAT, "step": "activated", "kid": new, "retiring": old, "waitSeconds": wait });
            tell(
                output,
                &told,
                format!("activated {new}; {old} is retiring: run `edgeseal keys retire` in {wait} seconds"),
            )
        }
    }
}

fn retire(args: &RetireArgs, output: Output) -> Outcome {
    let data_dir = DataDir::open(&args.place.data_dir.data_dir)?;
    let _lock = data_dir.lock(file::KEYRING_LOCK, "`edgeseal keys`")?;
    let (mut keyring, now, policy) = (keyring(&data_dir)?, clock::now(), args.place.policy());
    if args.use_ == Some(UseArg::Hmac) {
        let step = keyring.retire_hmac(now, args.force).map_err(Failure::no)?;
        keyring.save(&data_dir)?;
        return tell_hmac(step, output);
    }
    let kid = match &args.kid {
        Some(text) => Some(KeyId::parse(text).ok_or_else(|| {
            Failure::usage(format_args!("'{text}' is no kid: `edgeseal keys list` shows them"))
        })?),
        None => None,
    };
    let RetireStep { retired } = keyring.retire(kid.as_ref(), now, &policy, args.force)?.map_err(refused)?;
    keyring.save(&data_dir)?;
    let kids: Vec<_> = retired.iter().map(ToString::to_string).collect();
    tell(
        output,
        &json!({ "format": JSON_FORMAT, "step": "retired", "kids": kids }),
        format!("retired {}", kids.join(", ")),
    )
}

fn export_hmac(args: &ExportArgs, output: Output) -> Outcome {
    let data_dir = DataDir::open(&args.place.data_dir.data_dir)?;
    let master = MasterKey::load(&data_dir, args.place.master_key.master_key_file.as_deref())?;
    let keyring = keyring(&data_dir)?;
    let wanted = keyring.hmac_secrets().iter().find(|secret| match args.secret_version {
        Some(version) => secret.version == version,
        None => secret.state == KeyState::Active,
    });
    let Some(wanted) = wanted else {
        return Err(Failure::no("there is no such HMAC secret: `edgeseal keys list` shows their versions"));
    };
    let hex: String = wanted.open(&master)?.iter().map(|byte| format!("{byte:02x}")).collect();
    output.remark("whoever has this secret can sign any assignment for anyone: keep it on servers, out of browsers and logs");
    tell(
        output,
        &json!({ "format": JSON_FORMAT, "secretVersion": wanted.version, "secretHex": hex }),
        hex.clone(),
    )
}

fn keyring(data_dir: &DataDir) -> Outcome<Keyring> {
    Keyring::load(data_dir)?.ok_or_else(|| {
        Failure::unreachable(
            "this data directory has no keys yet: start `edgeseal serve` once, or name another --data-dir",
        )
    })
}

fn refused(error: RotationError) -> Failure {
    match error {
        RotationError::TooEarly { kid, wait_seconds, why } => Failure::no(format_args!(
            "too early for key {kid}: {why}; wait {wait_seconds} more seconds, or use --force and accept failed verifications"
        )),
        RotationError::UnknownKey { .. } => Failure::usage(error),
        other => Failure::no(other),
    }
}

fn tell(output: Output, json: &Value, text: String) -> Outcome {
    if output.json {
        output.json(json)?
    } else {
        output.line(text)?
    }
    Ok(Exit::Ok)
}

fn tell_hmac(step: HmacStep, output: Output) -> Outcome {
    match step {
        HmacStep::Published { version, activates_after_seconds } => tell(
            output,
            &json!({ "format": JSON_FORMAT, "step": "published", "secretVersion": version, "waitSeconds": activates_after_seconds }),
            format!(
                "published HMAC secret {version}: hand it to the servers that verify (edgeseal keys export-hmac \
                 --secret-version {version}) and rotate again in {activates_after_seconds} seconds"
            ),
        ),
        HmacStep::Activated { new, old } => tell(
            output,
            &json!({ "format": JSON_FORMAT, "step": "activated", "secretVersion": new, "retiring": old }),
            format!(
                "activated HMAC secret {new}; the previous one is still accepted until `edgeseal keys retire --use hmac`"
            ),
        ),
        HmacStep::Retired { version } => tell(
            output,
            &json!({ "format": JSON_FORMAT, "step": "retired", "secretVersion": version }),
            format!("retired HMAC secret {version}"),
        ),
    }
}

/// Seconds until a key may take its next step; `None` when no step is due by time.
fn wait_seconds(record: &KeyRecord, policy: &RotationPolicy, now: Timestamp) -> Option<i64> {
    let until = match record.state {
        KeyState::Published => record.published_at.plus_seconds(policy.publish_wait_seconds()),
        KeyState::Retiring => record.retiring_at?.plus_seconds(policy.retire_wait_seconds()),
        KeyState::Active | KeyState::Retired => return None,
    };
    Some(until.seconds_since(now).max(0))
}

fn next(record: &KeyRecord, policy: &RotationPolicy, now: Timestamp) -> String {
    let step = if record.state == KeyState::Published { "activated" } else { "retired" };
    match wait_seconds(record, policy, now) {
        None => String::new(),
        Some(0) => format!("may be {step} now"),
        Some(seconds) => format!("may be {step} in {seconds} seconds"),
    }
}

fn described(record: &KeyRecord, policy: &RotationPolicy, now: Timestamp) -> Value {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    if let (Some(members), Some(seconds)) = (value.as_object_mut(), wait_seconds(record, policy, now)) {
        members.insert("waitSeconds".to_owned(), json!(seconds));
    }
    value
}

impl PlaceArgs {
    fn policy(&self) -> RotationPolicy {
        RotationPolicy { keyset_lifetime_seconds: self.keyset_lifetime_seconds, ..RotationPolicy::default() }
    }
}
