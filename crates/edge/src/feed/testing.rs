//! What the tests of the feed share: a control plane on paper, which signs whatever a test wants signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgeseal_core::definition::Definition;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_core::sealing::{
    KeyRecord, KeyState, KeyUse, RotationPolicy, STATUS_LIFE_SECONDS, Signer, Status, TokenKind, rotation,
    seal,
};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use serde_json::json;

use super::{EdgeKeys, Feed, MemoryState, Offer, StateStore};
use crate::testing::{CONTROL, EDGE, ROOT, START, TestEdge, config, environment, key};

/// One environment as its control plane sees it. Tests change the fields and sign again.
pub(super) struct Plane {
    pub(super) environment: Environment,
    pub(super) now: Timestamp,
    pub(super) root: u8,
    pub(super) control: u8,
    pub(super) edge: u8,
    pub(super) records: Vec<KeyRecord>,
    pub(super) keyset_ver: u64,
    pub(super) cv: u64,
    pub(super) ep: u64,
    pub(super) off: BTreeSet<ExperimentKey>,
    /// Seeds of revoked keys.
    pub(super) revoked: Vec<u8>,
    /// The one experiment that runs.
    pub(super) experiment: &'static str,
}

impl Plane {
    pub(super) fn new() -> Self {
        let now = Timestamp::from_unix_seconds(START);
        let yesterday = now.plus_seconds(-24 * 3_600);
        let records = vec![
            rotation::first(KeyUse::Edge, key(EDGE).public(), yesterday),
            rotation::first(KeyUse::Control, key(CONTROL).public(), yesterday),
        ];
        Self {
            environment: environment(),
            now,
            root: ROOT,
            control: CONTROL,
            edge: EDGE,
            records,
            keyset_ver: 1,
            cv: 1,
            ep: 1,
            off: BTreeSet::new(),
            revoked: Vec::new(),
            experiment: "checkout",
        }
    }

    pub(super) fn set_state(&mut self, seed: u8, state: KeyState) {
        let kid = key(seed).public().kid();
        self.records.iter_mut().find(|record| record.kid == kid).unwrap().state = state;
    }

    /// A further key, in the next keyset.
    pub(super) fn add(&mut self, use_: KeyUse, seed: u8, state: KeyState) {
        let mut record = rotation::first(use_, key(seed).public(), self.now);
        record.state = state;
        self.records.push(record);
        self.keyset_ver += 1;
    }

    pub(super) fn keys(&self) -> Arc<EdgeKeys> {
        Arc::new(EdgeKeys::from_json(self.keys_json().as_bytes()).unwrap())
    }

    pub(super) fn keys_json(&self) -> String {
        let signer = key(self.edge);
        json!({
            "root": key(self.root).public().jwk("sig"),
            "signer": { "kid": signer.kid().as_str(), "seed": URL_SAFE_NO_PAD.encode(signer.seed()) },
            "hmac": [{ "version": 1, "state": "active", "secret": URL_SAFE_NO_PAD.encode([9; 32]) }],
        })
        .to_string()
    }

    pub(super) fn keyset(&self) -> String {
        let policy = RotationPolicy::default();
        let keyset =
            rotation::keyset_from(&self.records, &self.environment, self.keyset_ver, self.now, &policy);
        seal(TokenKind::Keyset, &keyset.claims_json(), &key(self.root))
    }

    pub(super) fn snapshot(&self) -> String {
        self.snapshot_with(|_| ())
    }

    pub(super) fn snapshot_with(&self, change: impl FnOnce(&mut Snapshot)) -> String {
        let definition: Definition = serde_json::from_value(json!({
            "environment": self.environment.as_str(),
            "experiments": [{ "key": self.experiment, "state": "running", "variants": [{ "key": "on" }] }],
        }))
        .unwrap();
        let mut snapshot = definition.build(None, Timestamp::from_unix_seconds(START)).unwrap();
        snapshot.cv = self.cv;
        change(&mut snapshot);
        seal(TokenKind::Snapshot, &serde_json::to_vec(&snapshot).unwrap(), &key(self.control))
    }

    pub(super) fn status(&self) -> String {
        let status = Status {
            iss: self.environment.clone(),
            ep: self.ep,
            cv: self.cv,
            off: self.off.clone(),
            min: BTreeMap::new(),
            rev: self.revoked.iter().map(|&seed| key(seed).public().kid()).collect(),
            iat: self.now,
            exp: self.now.plus_seconds(STATUS_LIFE_SECONDS),
        };
        seal(TokenKind::Status, &status.claims_json(), &key(self.control))
    }

    /// Halts the experiment under a new epoch.
    pub(super) fn halt(&mut self) {
        self.off.insert(ExperimentKey::parse(self.experiment).unwrap());
        self.ep += 1;
    }

    /// Everything, signed now.
    pub(super) fn offer(&self) -> Offer {
        Offer { keys: Some(self.keys()), ..self.documents() }
    }

    /// Everything but the keys.
    pub(super) fn documents(&self) -> Offer {
        Offer {
            keys: None,
            keyset: Some(self.keyset()),
            snapshot: Some(self.snapshot()),
            status: Some(self.status()),
        }
    }

    /// The status alone.
    pub(super) fn status_offer(&self) -> Offer {
        Offer { status: Some(self.status()), ..Offer::default() }
    }
}

/// A serving edge with nothing published, and its feed.
pub(super) struct Fed {
    pub(super) edge: TestEdge,
    pub(super) feed: Arc<Feed>,
    pub(super) store: Arc<MemoryState>,
}

impl Fed {
    pub(super) fn new() -> Self {
        Self::on(Arc::default())
    }

    /// An edge that starts on this disk.
    pub(super) fn on(store: Arc<MemoryState>) -> Self {
        let edge = TestEdge::unpublished(config());
        let feed = open(&edge, Arc::clone(&store) as _).unwrap();
        Self { edge, feed: Arc::new(feed), store }
    }

    /// An edge that serves what `plane` says.
    pub(super) fn serving(plane: &Plane) -> Self {
        let fed = Self::new();
        fed.take(&plane.offer());
        fed
    }

    #[track_caller]
    pub(super) fn take(&self, offer: &Offer) -> super::Taken {
        self.feed.offer(offer, self.edge.clock.now()).unwrap()
    }

    /// Offers what must be refused, and checks that nothing changed; gives the reason.
    #[track_caller]
    pub(super) fn refuse(&self, offer: &Offer) -> &'static str {
        let look = || ["/v1/status", "/v1/keyset"].map(|path| self.edge.get(path).text());
        let (before, position) = (look(), self.feed.position());
        let token = self.edge.get("/v1/assignments/user-1").text();
        let error = self.feed.offer(offer, self.edge.clock.now()).unwrap_err();
        assert_eq!(look(), before, "{error}");
        assert_eq!(self.feed.position(), position, "{error}");
        assert_eq!(self.edge.get("/v1/assignments/user-1").text(), token, "{error}");
        error.reason()
    }

    /// Whether the edge answers with this experiment in the token.
    pub(super) fn assigns(&self, experiment: &str) -> bool {
        let reply = self.edge.get("/v1/assignments/user-1");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let claims = URL_SAFE_NO_PAD.decode(reply.text().split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        claims["a"].get(experiment).is_some()
    }
}

pub(super) fn open(edge: &TestEdge, store: Arc<dyn StateStore>) -> Result<Feed, super::OpenError> {
    Feed::open(Arc::clone(&edge.edge), environment(), store, None)
}
