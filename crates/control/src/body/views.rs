//! What the API answers with: plain structs, made from records when an answer is written.

use edgeseal_core::ids::Environment;
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, ApiToken, AuditRecord, EdgeReport, Revision};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::environment::{DocumentBody, EnvironmentState, LayerCapacity, StoredDocument};

/// A point in time as the API writes it: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Time(#[schemars(extend("format" = "date-time"))] String);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        // Times beyond the calendar cannot be written down; they are not reached by any clock either.
        Self(
            jiff::Timestamp::from_millisecond(time.unix_ms())
                .unwrap_or_default()
                .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string(),
        )
    }
}

/// Who did something.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Actor")]
pub(crate) struct ActorView<'a> {
    /// Id of the API token, or `system`.
    id: &'a str,
    /// Name of the token when it acted.
    name: &'a str,
}

impl<'a> From<&'a Actor> for ActorView<'a> {
    fn from(actor: &'a Actor) -> Self {
        Self { id: &actor.id, name: &actor.name }
    }
}

/// A document in its newest revision.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DocumentView<'a> {
    /// Its key.
    pub(crate) key: &'a str,
    /// Grows by one with every change, from 1; also the `ETag`.
    #[schemars(range(min = 1))]
    pub(crate) revision: u64,
    /// When its first revision was written.
    created_at: Time,
    /// When this revision was written.
    updated_at: Time,
    /// Who wrote this revision.
    updated_by: ActorView<'a>,
    /// Where the experiment is in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<ExperimentState>,
    /// The experiment's version, `xv`: grows when what a unit is assigned could change. Absent until it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// How much of the layer is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CapacityView>")]
    pub(crate) capacity: Option<LayerCapacity>,
    /// What it says, in the form of the experiments file.
    #[schemars(with = "Value")]
    definition: &'a DocumentBody,
}

impl<'a> DocumentView<'a> {
    /// A document of `state`; `None` for a deleted one.
    pub(crate) fn of(state: &EnvironmentState, document: &'a StoredDocument) -> Option<Self> {
        let definition = document.body.as_ref()?;
        let (mut experiment_state, mut version, mut capacity) = (None, None, None);
        match definition {
            DocumentBody::Experiment(experiment) => {
                experiment_state = Some(experiment.state);
                version = published_version(state, &document.key);
            }
            DocumentBody::Layer(_) => capacity = Some(state.layer_capacity(&document.key)),
            DocumentBody::Holdout(_) | DocumentBody::Group(_) | DocumentBody::Metric(_) => {}
        }
        Some(Self {
            key: &document.key,
            revision: document.revision,
            created_at: document.created_at.into(),
            updated_at: document.updated_at.into(),
            updated_by: (&document.updated_by).into(),
            state: experiment_state,
            version,
            capacity,
            definition,
        })
    }
}

fn published_version(state: &EnvironmentState, key: &str) -> Option<u64> {
    // A snapshot lists its experiments in the order of their keys.
    let experiments = &state.snapshot.experiments;
    let place = experiments.binary_search_by(|record| record.key.as_str().cmp(key)).ok()?;
    experiments.get(place).map(|record| record.xv)
}

/// How much of a layer its experiments take.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LayerCapacity")]
#[expect(dead_code, reason = "describes what `LayerCapacity` looks like as JSON")]
struct CapacityView {
    /// Share that is taken, in percent.
    #[schemars(range(min = 0))]
    used_percent: f64,
    /// Share that is left, in percent.
    #[schemars(range(min = 0, max = 100))]
    free_percent: f64,
    /// Who takes how much, in the order of keys.
    members: Vec<MemberView>,
}

/// An experiment of a layer.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LayerMember")]
#[expect(dead_code, reason = "describes what `LayerMember` looks like as JSON")]
struct MemberView {
    /// Its key.
    experiment: String,
    /// What it takes, in percent.
    #[schemars(range(min = 0, max = 100))]
    share_percent: f64,
}

/// One revision of a document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
pub(crate) struct RevisionView {
    /// Which one, from 1.
    pub(crate) revision: u64,
    /// When it was written.
    at: Time,
    /// Who wrote it.
    #[schemars(with = "ActorView<'static>")]
    actor: Actor,
    /// What was done: `experiment.pause`.
    action: String,
    /// What it said, in the form of the experiments file of that time; null where the document was deleted.
    definition: Option<Value>,
}

impl From<Revision> for RevisionView {
    fn from(revision: Revision) -> Self {
        let Revision { revision, body, at, actor, action } = revision;
        Self { revision, at: at.into(), actor, action, definition: body }
    }
}

/// An environment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Environment")]
pub(crate) struct EnvironmentView {
    /// Its name.
    #[schemars(with = "String")]
    pub(crate) name: Environment,
    /// When it was created.
    pub(crate) created_at: Time,
    /// Version of the newest snapshot.
    pub(crate) cv: u64,
    /// Newest status epoch.
    pub(crate) ep: u64,
    /// Version of the newest keyset.
    pub(crate) keyset_version: u64,
    /// The root key's public half as a JWK, for clients to pin.
    pub(crate) root: Value,
    /// How many experiments it has.
    pub(crate) experiments: usize,
    /// When the newest snapshot was published.
    pub(crate) published_at: Time,
}

/// An API token, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ApiToken")]
pub(crate) struct TokenView<'a> {
    /// Names it in lists and in the audit log.
    id: &'a str,
    /// What people call it.
    name: &'a str,
    /// What it may do.
    scope: &'a str,
    /// The only environment it is good for; absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    environment: Option<&'a Environment>,
    /// When it was created.
    created_at: Time,
    /// Who created it.
    created_by: ActorView<'a>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
    /// The token itself. Shown once, when it is created, and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> TokenView<'a> {
    /// With the token itself, to be shown once.
    pub(crate) fn with_secret(self, token: &'a str) -> Self {
        Self { token: Some(token), ..self }
    }
}

impl<'a> From<&'a ApiToken> for TokenView<'a> {
    fn from(token: &'a ApiToken) -> Self {
        Self {
            id: &token.id,
            name: &token.name,
            scope: &token.scope,
            environment: token.environment.as_ref(),
            created_at: token.created_at.into(),
            created_by: (&token.created_by).into(),
            expires_at: token.expires_at.map(Into::into),
            revoked_at: token.revoked_at.map(Into::into),
            last_used_at: token.last_used_at.map(Into::into),
            token: None,
        }
    }
}

/// An edge that reported lately.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Edge")]
pub(crate) struct EdgeView<'a> {
    /// Drawn when the edge first started.
    id: &'a str,
    /// The environment it serves.
    environment: &'a str,
    /// Its software version.
    version: &'a str,
    /// How it hears of changes: `stream`, `redis` or `poll`.
    source: &'a str,
    /// Version of the snapshot it serves.
    cv: u64,
    /// Epoch of the status document it serves.
    ep: u64,
    /// Version of the keyset it serves.
    keyset_ver: u64,
    /// Age of the status document it serves, in milliseconds.
    config_age_ms: i64,
    /// When the control plane last heard of it.
    seen_at: Time,
    /// Seconds since then.
    seen_ago_seconds: i64,
}

impl<'a> EdgeView<'a> {
    /// Its id.
    pub(crate) fn id(&self) -> &'a str {
        self.id
    }

    /// A report as it looks at `now`.
    pub(crate) fn of(report: &'a EdgeReport, now: Timestamp) -> Self {
        let seen_at = Timestamp::from_unix_ms(report.seen_at_ms);
        Self {
            id: &report.id,
            environment: report.environment.as_str(),
            version: &report.version,
            source: &report.source,
            cv: report.cv,
            ep: report.ep,
            keyset_ver: report.keyset_ver,
            config_age_ms: report.config_age_ms,
            seen_at: seen_at.into(),
            seen_ago_seconds: now.seconds_since(seen_at).max(0),
        }
    }
}

/// A record of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditRecord")]
pub(crate) struct AuditView<'a> {
    /// Place in the log, from 1, without gaps.
    pub(crate) number: u64,
    /// What happened.
    #[schemars(with = "AuditEntryView")]
    entry: &'a RawValue,
    /// The entry as the very text that was hashed (RFC 8785).
    canonical: &'a str,
    /// Hash of the record before, in hex; zeros before the first.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    previous: String,
    /// Hash of this record, in hex: SHA-256("edgeseal/audit/1" ‖ 0x00 ‖ number ‖ previous ‖ canonical).
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    hash: String,
}

impl<'a> AuditView<'a> {
    /// `None` for an entry that is no JSON: the record was altered.
    pub(crate) fn of(record: &'a AuditRecord) -> Option<Self> {
        let entry: &RawValue = serde_json::from_str(&record.entry).ok()?;
        Some(Self {
            number: record.number,
            entry,
            canonical: &record.entry,
            previous: hex(&record.previous),
            hash: hex(&record.hash),
        })
    }
}

/// An entry of the audit log.
#[derive(JsonSchema)]
#[schemars(rename = "AuditEntry")]
#[expect(dead_code, reason = "describes what the store's `AuditEntry` looks like as JSON")]
struct AuditEntryView {
    /// When, in milliseconds since the Unix epoch.
    at_ms: i64,
    /// Who.
    actor: ActorView<'static>,
    /// What: `experiment.pause`.
    action: String,
    /// In which environment; absent for what concerns the whole installation.
    environment: Option<String>,
    /// Kind of the thing acted on.
    kind: Option<String>,
    /// Key or id of the thing acted on.
    key: Option<String>,
    /// The request that did it.
    request: Option<String>,
    /// Numbers and reasons.
    detail: Option<Value>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let written = |unix_ms| Time::from(Timestamp::from_unix_ms(unix_ms)).0;
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(1_789_000_123_045), "2026-09-10T00:28:43.045Z");
        assert_eq!(written(i64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
