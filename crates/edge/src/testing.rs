//! What the tests of the routes share: a real edge on a free port, a fixed clock, and a client that sends exactly the
//! bytes that a test wants to send.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use edgeseal_core::definition::Definition;
use edgeseal_core::ids::{Environment, ExperimentKey, UnitId, UnitType};
use edgeseal_core::ruleset::Ruleset;
use edgeseal_core::sealing::{
    Expected, HmacSecret, HmacSecrets, KeyUse, Keyset, RotationPolicy, STATUS_LIFE_SECONDS, SecretKey,
    Status, SubjectTag, TokenKind, VerifiedAssignments, VerifyError, rotation, seal, verify_assignment,
};
use edgeseal_core::time::Timestamp;
use serde_json::{Value, json};

use crate::{Clock, Config, Edge, NativeSigner, Publication, Published, Running};

/// Second at which every test begins: the first of a minute.
pub(crate) const START: i64 = 1_800_000_000;
/// Longest that a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running edge with the sample experiments published.
pub(crate) struct TestEdge {
    pub(crate) edge: Arc<Edge>,
    pub(crate) clock: Clock,
    pub(crate) parts: Publication,
    pub(crate) addr: SocketAddr,
    running: Running,
}

impl Drop for TestEdge {
    fn drop(&mut self) {
        self.running.shutdown();
    }
}

impl TestEdge {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        let test = Self::unpublished(config);
        test.publish(test.parts.clone());
        test
    }

    /// Started, but with nothing published yet.
    pub(crate) fn unpublished(config: Config) -> Self {
        let clock = Clock::fixed(Timestamp::from_unix_seconds(START));
        let edge = Arc::new(Edge::new(config, clock.clone()).unwrap());
        let running = edge.start().unwrap();
        let parts = sample(clock.now());
        Self { edge, clock, parts, addr: running.local_addr(), running }
    }

    pub(crate) fn publish(&self, parts: Publication) {
        self.edge.publish(Published::new(parts).unwrap()).unwrap();
    }

    /// Publishes the sample again with this status, signed now, under the next epoch.
    pub(crate) fn publish_status(&self, change: impl FnOnce(&mut Status)) {
        let mut parts = self.parts.clone();
        let mut status = status(1, self.clock.now());
        change(&mut status);
        parts.status_token = seal(TokenKind::Status, &status.claims_json(), &key(CONTROL));
        parts.status = status;
        self.publish(parts);
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
    }

    pub(crate) fn shutdown(&self) {
        self.running.shutdown();
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes and reads one answer until the server closes.
    pub(crate) fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        // A server that refuses early may close before everything is sent.
        let _partly = stream.write_all(request.as_ref());
        Reply::read(&mut stream)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], b"")
    }

    pub(crate) fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", target, headers, b"")
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Reply {
        self.post_with(target, &[], body)
    }

    pub(crate) fn post_with(&self, target: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send("POST", target, &all, body.to_string().as_bytes())
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: edge.test\r\nconnection: close\r\n");
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.raw([request.as_bytes(), body].concat())
    }

    /// Verifies a token of this unit against the published keyset, as a client would.
    pub(crate) fn verify(&self, token: &str, unit: &str) -> Result<VerifiedAssignments, VerifyError> {
        let environment = self.parts.ruleset.environment();
        let subject =
            SubjectTag::of(environment, &UnitType::parse("user").unwrap(), UnitId::parse(unit).unwrap());
        let expected = Expected { environment, subject, now: self.clock.now(), status: None, memory: None };
        verify_assignment(token, &self.parts.keyset, &expected)
    }

    /// The variant of one experiment in a token of this unit.
    pub(crate) fn variant(&self, token: &str, unit: &str, experiment: &str) -> Option<String> {
        let verified = self.verify(token, unit).unwrap();
        let experiment = ExperimentKey::parse(experiment).unwrap();
        verified.claims().a.get(&experiment).map(|assigned| assigned.v.to_string())
    }

    /// The value of one line of `/metrics`, 0 if there is none.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        Self::parse(&bytes)
            .unwrap_or_else(|| panic!("no answer ({ended:?}): {:?}", String::from_utf8_lossy(&bytes)))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())));
        Some(Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "header {name} is repeated");
        first
    }

    /// Everything but what changes from request to request.
    pub(crate) fn lasting_headers(&self) -> BTreeMap<&str, &str> {
        let lasting = self.headers.iter().filter(|(name, _)| name != "date" && name != "server-timing");
        lasting.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks that this is a well-formed problem with this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?} {}", self.text());
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("set-cookie"), None);
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }

    /// Checks that this is OFREP's form of a refusal.
    #[track_caller]
    pub(crate) fn assert_ofrep(&self, status: u16, error: &str) {
        assert_eq!(self.status, status, "{self:?} {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let body = self.json();
        assert_eq!(body["errorCode"], error, "{body}");
        assert!(body["errorDetails"].is_string(), "{body}");
    }
}

/// Two threads on a free port of the loopback interface.
pub(crate) fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: Some(2), ..Config::default() }
}

pub(crate) const ROOT: u8 = 1;
pub(crate) const CONTROL: u8 = 2;
pub(crate) const EDGE: u8 = 3;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn environment() -> Environment {
    Environment::parse("production").unwrap()
}

pub(crate) fn ruleset(definition: Value) -> Arc<Ruleset> {
    let definition: Definition = serde_json::from_value(definition).unwrap();
    Arc::new(definition.build(None, Timestamp::from_unix_seconds(START)).unwrap().compile().unwrap())
}

pub(crate) fn status(epoch: u64, now: Timestamp) -> Status {
    Status {
        iss: environment(),
        ep: epoch,
        cv: 1,
        off: BTreeSet::new(),
        min: BTreeMap::new(),
        rev: BTreeSet::new(),
        iat: now,
        exp: now.plus_seconds(STATUS_LIFE_SECONDS),
    }
}

pub(crate) fn keyset(now: Timestamp) -> Keyset {
    let records = [
        rotation::first(KeyUse::Edge, key(EDGE).public(), now),
        rotation::first(KeyUse::Control, key(CONTROL).public(), now),
    ];
    rotation::keyset_from(&records, &environment(), 1, now, &RotationPolicy::default())
}

pub(crate) fn hmac_secrets() -> HmacSecrets {
    HmacSecrets::new(HmacSecret::new(1, vec![9; 32]).unwrap(), None).unwrap()
}

/// Everything signed and consistent: the sample experiments at version 1, epoch 0.
pub(crate) fn sample(now: Timestamp) -> Publication {
    let (status, keyset) = (status(0, now), keyset(now));
    Publication {
        ruleset: ruleset(sample_definition()),
        status_token: seal(TokenKind::Status, &status.claims_json(), &key(CONTROL)),
        keyset_token: seal(TokenKind::Keyset, &keyset.claims_json(), &key(ROOT)),
        status,
        keyset,
        signer: Arc::new(NativeSigner::new(&key(EDGE)).unwrap()),
        hmac: Some(Arc::new(hmac_secrets())),
    }
}

fn sample_definition() -> Value {
    let only = |key: &str, payload: Value| json!({ "key": key, "state": "running", "variants": [{ "key": "on", "payload": payload }] });
    json!({
        "environment": "production",
        "experiments": [
            { "key": "checkout", "state": "running", "sticky": true, "variants": [
                { "key": "control" }, { "key": "treatment", "payload": { "colour": "green" } } ] },
            { "key": "pricing", "state": "running", "audience": { "plan": "pro" },
              "variants": [{ "key": "low" }, { "key": "high" }] },
            { "key": "gates", "state": "running", "unit_type": "device", "variants": [{ "key": "on" }] },
            { "key": "resting", "state": "paused", "variants": [{ "key": "on" }] },
            { "key": "won", "state": "stopped", "winner": "b", "variants": [{ "key": "a" }, { "key": "b" }] },
            only("typed-boolean", json!(true)),
            only("typed-string", json!("text")),
            only("typed-integer", json!(42)),
            only("typed-float", json!(0.5)),
            only("typed-object", json!({ "nested": [1, 2] })),
        ],
    })
}
