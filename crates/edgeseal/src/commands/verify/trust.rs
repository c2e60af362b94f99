//! What a verification rests on: the pinned root key, the keyset it signed, the status document.

use std::path::Path;

use clap::Args;
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{
    KeyState, KeyUse, Keyset, KeysetKey, MAX_TOKEN_BYTES, PublicKey, Status, VerifyError,
};
use edgeseal_core::time::Timestamp;
use reqwest::Client;
use serde_json::Value;

use super::ReportedStep;
use crate::cli::DataDirArgs;
use crate::data_dir::{file, read_bounded};
use crate::exit::{OrExit, Outcome};
use crate::http_client;

/// Largest key file, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
/// Value of `--status` that leaves the status document out.
const NONE: &str = "none";

/// Flags that say whom to trust, and where to ask.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Root key to trust: a JWK, or a file with one [default: root.jwk in the data directory]
    #[arg(long, value_name = "JWK|FILE", env = "EDGESEAL_ROOT_KEY")]
    root_key: Option<String>,
    /// Where to ask for the keyset and the status document
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080", env = "EDGESEAL_EDGE")]
    edge: String,
    /// The signed keyset: a file or an address [default: /v1/keyset of the edge]
    #[arg(long, value_name = "FILE|URL")]
    keyset: Option<String>,
    /// The status document: a file, an address, or 'none' [default: /v1/status of the edge]
    #[arg(long, value_name = "FILE|URL|none")]
    status: Option<String>,
    #[command(flatten)]
    data_dir: DataDirArgs,
}

impl TrustArgs {
    /// Trusts what the data directory pins, and asks `edge` for the rest.
    pub(crate) fn of_edge(edge: String, root_key: Option<String>, data_dir: DataDirArgs) -> Self {
        Self { root_key, edge, keyset: None, status: None, data_dir }
    }
}

/// What was found, and how.
pub(crate) struct Trust {
    /// The keys to verify with, or why the keyset is refused.
    pub(crate) keyset: Result<Keyset, VerifyError>,
    /// The status document, if it could be checked.
    pub(crate) status: Option<Status>,
    /// Every step on the way here.
    pub(crate) steps: Vec<ReportedStep>,
}

impl Trust {
    /// Reads the root key, fetches the keyset and the status document, and checks both.
    pub(crate) async fn establish(
        args: &TrustArgs,
        environment: &Environment,
        now: Timestamp,
    ) -> Outcome<Self> {
        let client = http_client::client()?;
        let edge = args.edge.trim_end_matches('/');
        let mut trust = Self { keyset: Err(VerifyError::Signature), status: None, steps: Vec::new() };
        let Some((root, origin)) = root_key(args)? else {
            trust.keyset = Ok(unsigned_keys(&client, edge, environment, now).await?);
            trust.steps.push(ReportedStep::not_checked(
                "root",
                "the keys are only as good as this connection: pin the root key with --root-key FILE (root.jwk of the \
                 edge's data directory)",
            ));
            trust.steps.push(ReportedStep::not_checked("status", "it takes the signed keyset to check it"));
            return Ok(trust);
        };
        trust.steps.push(ReportedStep::passed("root", format!("key {} pinned by {origin}", root.kid())));

        let place = args.keyset.clone().unwrap_or_else(|| format!("{edge}/v1/keyset"));
        let token = read(&client, &place).await?;
        trust.keyset = Keyset::verify(&token, &root, environment, now);
        let keyset = match &trust.keyset {
            Ok(keyset) => keyset,
            Err(error) => {
                trust.steps.push(ReportedStep::failed("keyset", error));
                return Ok(trust);
            }
        };
        let detail = format!("version {}, {} keys, signed by the pinned root", keyset.ver, keyset.keys.len());
        trust.steps.push(ReportedStep::passed("keyset", detail));

        let (status, step) = status(args, &client, edge, keyset, environment, now).await?;
        trust.steps.push(step);
        trust.status = status;
        Ok(trust)
    }
}

async fn status(
    args: &TrustArgs,
    client: &Client,
    edge: &str,
    keyset: &Keyset,
    environment: &Environment,
    now: Timestamp,
) -> Outcome<(Option<Status>, ReportedStep)> {
    if args.status.as_deref() == Some(NONE) {
        return Ok((None, ReportedStep::not_checked("status", "left out by --status none")));
    }
    let token = match &args.status {
        Some(place) => read(client, place).await?,
        None => match read(client, &format!("{edge}/v1/status")).await {
            Ok(token) => token,
            Err(failure) => {
                return Ok((None, ReportedStep::not_checked("status", format!("{:#}", failure.error))));
            }
        },
    };
    Ok(match Status::verify(&token, keyset, environment, now) {
        Ok(status) => {
            let detail = format!("epoch {}, {} experiments halted", status.ep, status.off.len());
            (Some(status), ReportedStep::passed("status", detail))
        }
        // A status document that cannot be trusted halts nothing and frees nothing: it counts as absent.
        Err(error) => (None, ReportedStep::failed("status", &error)),
    })
}

/// The pinned root key and where it came from; `None` when nothing pins one.
fn root_key(args: &TrustArgs) -> Outcome<Option<(PublicKey, String)>> {
    let pinned = args.data_dir.data_dir.join(file::ROOT);
    let given = match args.root_key.as_deref() {
        Some(given) => given.to_owned(),
        None if pinned.exists() => pinned.display().to_string(),
        None => return Ok(None),
    };
    let key = read_root_key(&given)?;
    Ok(Some((key, if given.trim().starts_with('{') { "--root-key".to_owned() } else { given })))
}

/// A public root key: the JWK itself, or the path of a file with one.
pub(crate) fn read_root_key(given: &str) -> Outcome<PublicKey> {
    let given = given.trim();
    let (text, origin) = match given.strip_prefix('{') {
        Some(_) => (given.to_owned(), "--root-key"),
        None => (read_file(Path::new(given))?, given),
    };
    let jwk: Value = serde_json::from_str(&text).or_no(|| format!("the root key in {origin} is not JSON"))?;
    PublicKey::from_jwk(&jwk).or_no(|| format!("the root key in {origin}"))
}

/// The edge keys from the unsigned JWK set, for whoever has pinned nothing.
async fn unsigned_keys(
    client: &Client,
    edge: &str,
    environment: &Environment,
    now: Timestamp,
) -> Outcome<Keyset> {
    let place = format!("{edge}/.well-known/jwks.json");
    let jwks: Value =
        serde_json::from_slice(&http_client::get_ok(client, &place).await?).or_no(|| format!("'{place}'"))?;
    let mut keys = Vec::new();
    for jwk in jwks.get("keys").and_then(Value::as_array).into_iter().flatten() {
        let public = PublicKey::from_jwk(jwk).or_no(|| format!("a key of '{place}'"))?;
        let (kid, nbf) = (public.kid(), Timestamp::from_unix_seconds(0));
        keys.push(KeysetKey { public, kid, use_: KeyUse::Edge, state: KeyState::Active, nbf, exp: None });
    }
    Ok(Keyset { iss: environment.clone(), ver: 0, iat: now, exp: now, keys })
}

async fn read(client: &Client, place: &str) -> Outcome<String> {
    let bytes = if place.starts_with("http://") || place.starts_with("https://") {
        http_client::get_ok(client, place).await?
    } else {
        read_file(Path::new(place))?.into_bytes()
    };
    let text = String::from_utf8(bytes).or_no(|| format!("'{place}' is no token"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_file(path: &Path) -> Outcome<String> {
    let limit = MAX_KEY_FILE_BYTES.max(MAX_TOKEN_BYTES as u64 + 2);
    let bytes = read_bounded(path, limit).or_unreachable(|| format!("cannot read '{}'", path.display()))?;
    String::from_utf8(bytes).or_no(|| format!("'{}' is not text", path.display()))
}
