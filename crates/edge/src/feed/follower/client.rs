//! Requests to the control plane: authenticated, bounded, each with its own patience.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{MAX_SNAPSHOT_TOKEN_BYTES, MAX_TOKEN_BYTES};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::{EdgeKeys, EdgeKeysError, MAX_EDGE_KEYS_BYTES, Offer, Position, Serving};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the header of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a whole bundle, the largest snapshot on a slow line included.
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes of a bundle.
const MAX_BUNDLE_BYTES: usize = MAX_SNAPSHOT_TOKEN_BYTES + 2 * MAX_TOKEN_BYTES + MAX_EDGE_KEYS_BYTES + 1024;

/// Reads the API token of the edge anew for every connection, so that it can be replaced while the edge runs.
pub type TokenSource = Arc<dyn Fn() -> io::Result<Zeroizing<String>> + Send + Sync>;

/// Why a follower was not made.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    /// Not the address of a control plane.
    #[error(
        "'{address}' is not the address of a control plane: give scheme, host and perhaps a port and a path, such as \
         'https://control.example:8443'"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// Signing keys would travel in the clear.
    #[error(
        "'{host}' is another machine and '{address}' is not encrypted: signing keys would travel in the clear; use \
         https, or allow plain HTTP explicitly where the network itself is trusted"
    )]
    PlainHttp {
        /// What was given.
        address: String,
        /// Its host.
        host: String,
    },
    /// The HTTP library could not be set up.
    #[error("cannot set up HTTP: {0}; are the system's certificates installed?")]
    Setup(reqwest::Error),
}

/// Why the control plane could not be heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "the control plane answered {0}: is the edge's API token right, alive, and of scope 'edge' for this environment?"
    )]
    Denied(StatusCode),
    #[error("the edge's API token cannot be read: {0}")]
    Token(io::Error),
    #[error("cannot reach the control plane: {0}")]
    Unreachable(String),
    #[error("the control plane answered {0}")]
    Answered(StatusCode),
    #[error("the control plane sent something else than {expected}: {cause}")]
    Garbage { expected: &'static str, cause: String },
    #[error("the control plane sends nothing")]
    Silent,
    #[error("the control plane ended the stream")]
    Ended,
}

/// Requests for one environment.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    environment: Environment,
    token: TokenSource,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    keyset: Option<String>,
    snapshot: Option<String>,
    status: Option<String>,
}

impl Client {
    pub(super) fn new(
        address: &str,
        allow_plain_http: bool,
        environment: Environment,
        token: TokenSource,
    ) -> Result<Self, FollowerError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("edgeseal-edge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(FollowerError::Setup)?;
        Ok(Self { http, base: base(address, allow_plain_http)?, environment, token })
    }

    /// Opens the stream.
    pub(super) async fn stream(&self, position: &Position) -> Result<Response, Trouble> {
        let mut request = self.request(Method::GET, "stream", &[])?.header(ACCEPT, "text/event-stream");
        if let Some(cv) = position.snapshot {
            request = request.header("last-event-id", cv);
        }
        let response = send(request).await?;
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let cause = format!("content-type '{}'", kind.chars().take(64).collect::<String>());
            return Err(Trouble::Garbage { expected: "an event stream", cause });
        }
        Ok(response)
    }

    /// Fetches what is newer than `position`. Without a keyset in it, the keys come along.
    pub(super) async fn bundle(&self, position: &Position) -> Result<Result<Offer, EdgeKeysError>, Trouble> {
        let known = [("keyset", position.keyset), ("cv", position.snapshot), ("ep", position.status)];
        let request = self.request(Method::GET, "bundle", &known)?;
        let bytes = tokio::time::timeout(BUNDLE_TIMEOUT, async { read(send(request).await?).await });
        let bytes = bytes.await.map_err(|_| Trouble::Silent)??;
        let garbage = |error: serde_json::Error| {
            // The library quotes values, and a key may be one.
            let cause = format!("line {}, column {}", error.line(), error.column());
            Trouble::Garbage { expected: "a bundle", cause }
        };
        let bundle: Bundle<'_> = serde_json::from_slice(&bytes).map_err(garbage)?;
        let keys = bundle.keys.map(|keys| EdgeKeys::from_json(keys.get().as_bytes())).transpose();
        let Bundle { keyset, snapshot, status, .. } = bundle;
        Ok(keys.map(|keys| Offer { keys: keys.map(Arc::new), keyset, snapshot, status }))
    }

    /// Tells the control plane that this edge lives.
    pub(super) async fn heartbeat(
        &self,
        id: &str,
        source: &'static str,
        serving: Option<(Serving, i64)>,
    ) -> Result<(), Trouble> {
        let (serving, config_age_ms) = serving.unzip();
        let version = |version: fn(&Serving) -> u64| serving.as_ref().map_or(0, version);
        let report: Value = json!({
            "id": id,
            "environment": self.environment.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "source": source,
            "cv": version(|serving| serving.cv),
            "ep": version(|serving| serving.ep),
            "keysetVer": version(|serving| serving.keyset_ver),
            "configAgeMs": config_age_ms.unwrap_or(0),
        });
        send(self.request(Method::POST, "heartbeat", &[])?.json(&report)).await.map(drop)
    }

    fn request(
        &self,
        method: Method,
        what: &str,
        known: &[(&str, Option<u64>)],
    ) -> Result<RequestBuilder, Trouble> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/edge/{what}", self.base.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("environment", self.environment.as_str());
        for (name, value) in known {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value.to_string());
            }
        }
        let token = (self.token)().map_err(Trouble::Token)?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| {
            Trouble::Token(io::Error::other("it holds characters that no token has; is it the right file?"))
        })?;
        bearer.set_sensitive(true);
        Ok(self.http.request(method, url).header(AUTHORIZATION, bearer))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Trouble> {
    let response = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await.map_err(|_| Trouble::Silent)?;
    let response = response.map_err(|error| Trouble::Unreachable(innermost(&error)))?;
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::Denied(response.status())),
        status if !status.is_success() => Err(Trouble::Answered(status)),
        _ => Ok(response),
    }
}

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(chunk) = chunk(&mut response).await? {
        if bytes.len() + chunk.len() > MAX_BUNDLE_BYTES {
            let cause = format!("more than {MAX_BUNDLE_BYTES} bytes");
            return Err(Trouble::Garbage { expected: "a bundle", cause });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The next bytes of an answer.
pub(super) async fn chunk(response: &mut Response) -> Result<Option<Bytes>, Trouble> {
    response.chunk().await.map_err(|error| Trouble::Unreachable(innermost(&error)))
}

/// The innermost cause says most: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn base(address: &str, allow_plain_http: bool) -> Result<Url, FollowerError> {
    let wrong = || FollowerError::Address { address: address.to_owned() };
    let url = Url::parse(address).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !bare || !matches!(url.scheme(), "https" | "http") {
        return Err(wrong());
    }
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_local = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    if url.scheme() == "http" && !is_local && !allow_plain_http {
        return Err(FollowerError::PlainHttp { address: address.to_owned(), host: host.to_owned() });
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_encrypted_or_not_at_all() {
        for address in [
            "https://control.example",
            "https://control.example:8443/edgeseal/",
            "http://localhost:9090",
            "http://127.0.0.1:9090",
            "http://127.8.8.8",
            "http://[::1]:9090",
        ] {
            assert!(base(address, false).is_ok(), "{address}");
        }
        for address in [
            "http://control.example",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://localhost.example",
            "http://[fe80::1]",
            "http://128.0.0.1",
        ] {
            assert!(matches!(base(address, false), Err(FollowerError::PlainHttp { .. })), "{address}");
            assert!(base(address, true).is_ok(), "{address}");
        }
        for address in
            ["", "control.example", "ftp://x", "https://", "https://user:pw@x", "https://x?y", "https://x#y"]
        {
            assert!(matches!(base(address, true), Err(FollowerError::Address { .. })), "{address}");
        }
    }
}
