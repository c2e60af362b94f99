//! The only place that makes snapshots: from the state before and what changes, what to write. Pure.
//!
//! Drafts that nothing published depends on stay out of the snapshot: preparing an experiment reaches no edge. They
//! are checked like all others, and keep their place in a layer.

mod misfit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use edgeseal_core::definition::Definition;
use edgeseal_core::ids::{Environment, ExperimentKey};
use edgeseal_core::sealing::{
    CLOCK_SKEW_SECONDS, KeyUse, MAX_SNAPSHOT_TOKEN_BYTES, MAX_TOKEN_BYTES, TokenKind, seal,
};
use edgeseal_core::snapshot::{ExperimentRecord, ExperimentState, Snapshot, VariantRecord};
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, AllocationWrite, DocumentWrite, EnvironmentWrite, Head, NewSnapshot};
use serde_json::Value;

use crate::change::DocumentChange;
use crate::counters::Counters;
use crate::environment::{Documents, EnvironmentState, StoredDocument};
use crate::error::ControlError;
use crate::halts;
use crate::keys::{Keyring, MasterKey, Secrets};

pub(crate) use misfit::{Misfit, Refused};

/// What a status document has besides the keys it lists, in bytes and generously: times, names, signature.
const STATUS_FRAME_BYTES: usize = 1_024;

/// What is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) documents: Vec<DocumentChange>,
    pub(crate) keyring: Option<Keyring>,
    /// Also do what time asks for; without it, what changes nothing stays nothing.
    pub(crate) housekeeping: bool,
}

/// What to write, and what the environment will be.
pub(crate) struct Planned {
    pub(crate) after: EnvironmentState,
    pub(crate) write: EnvironmentWrite,
    /// Documents that get a new revision, for the audit log.
    pub(crate) written: Vec<Written>,
    /// The snapshot has a new version.
    pub(crate) published: bool,
    /// Edges will serve something else: another snapshot, or other halts and revocations.
    pub(crate) altered: bool,
}

/// A document's new revision, for the audit log.
pub(crate) struct Written {
    pub(crate) kind: edgeseal_store::Kind,
    pub(crate) key: String,
    pub(crate) action: &'static str,
    pub(crate) detail: Value,
    pub(crate) revision: u64,
}

/// Whether time alone asks for a commit.
pub(crate) fn is_due(state: &EnvironmentState, now: Timestamp) -> bool {
    from_the_future(&state.snapshot, now)
        || state.counters.withdrawn.values().any(|until| *until <= now.unix_seconds())
}

/// Edges refuse what comes from the future, so what a clock signed that was ahead is signed anew.
fn from_the_future(snapshot: &Snapshot, now: Timestamp) -> bool {
    snapshot.iat > now.plus_seconds(CLOCK_SKEW_SECONDS).unix_seconds()
}

/// Plans a change; `None` when nothing would change.
pub(crate) fn plan(
    before: &EnvironmentState,
    wanted: Wanted,
    actor: &Actor,
    now: Timestamp,
    master: &MasterKey,
) -> Result<Option<Planned>, Refused> {
    let Wanted { documents, keyring, housekeeping } = wanted;
    let changes: Vec<_> = documents.into_iter().filter(|change| alters(before, change)).collect();
    let keyring = keyring.filter(|keyring| keyring != before.keyring.as_ref());
    if changes.is_empty() && keyring.is_none() && !(housekeeping && is_due(before, now)) {
        return Ok(None);
    }
    let sequence = before.head.sequence.saturating_add(1);
    let revised = revise(before, &changes, sequence, actor, now);
    let (secrets, edge_keys, keyring) = match keyring {
        Some(keyring) => {
            let opened = keyring.secrets(master).and_then(|it| Ok((it, keyring.edge_keys(master)?)));
            let (secrets, edge_keys) = opened.map_err(ControlError::from)?;
            (Arc::new(secrets), Arc::new(edge_keys), Arc::new(keyring))
        }
        None => (Arc::clone(&before.secrets), Arc::clone(&before.edge_keys), Arc::clone(&before.keyring)),
    };

    let snapshot =
        if changes.is_empty() { None } else { next_snapshot(&revised.documents, &changes, before, now)? };
    let published = snapshot.is_some();
    let other_key = keyring.active_kid(KeyUse::Control) != before.keyring.active_kid(KeyUse::Control);
    // Under the same version only the signature and its time are new.
    let signed_anew = (other_key || from_the_future(&before.snapshot, now))
        .then(|| Snapshot { iat: now.unix_seconds(), ..Snapshot::clone(&before.snapshot) });
    let snapshot = snapshot.or(signed_anew).map(Arc::new);
    let token = snapshot.as_ref().map(|snapshot| seal_snapshot(snapshot, &secrets)).transpose()?;
    let (snapshot, snapshot_token, published_at) = match (snapshot, &token) {
        (Some(snapshot), Some(token)) => (snapshot, Arc::from(token.as_str()), now),
        _ => (Arc::clone(&before.snapshot), Arc::clone(&before.snapshot_token), before.published_at),
    };

    let mut counters = Counters::clone(&before.counters);
    counters.snapshot_iat = snapshot.iat;
    if published {
        counters.note(Some(&before.snapshot), &snapshot);
        halts::withdraw(&mut counters.withdrawn, Some(&before.snapshot), &snapshot, now);
    }
    halts::expire(&mut counters.withdrawn, now);
    let versions = count(&mut counters, &before.head, &snapshot, &keyring)?;
    let new_epoch = versions.ep != before.head.ep;

    let keyring_json = if Arc::ptr_eq(&keyring, &before.keyring) {
        None
    } else {
        Some(keyring.to_json().map_err(ControlError::from)?)
    };
    let state_json = if counters == *before.counters { None } else { Some(counters.to_json()?) };
    let write = EnvironmentWrite {
        name: before.name.clone(),
        expected: Some(before.head.sequence),
        cv: snapshot.cv,
        ep: versions.ep,
        keyset_ver: versions.keyset_ver,
        keyring: keyring_json.clone(),
        state: state_json.clone(),
        documents: changes.iter().map(document_write).collect::<Result<_, _>>()?,
        snapshot: token.map(|token| NewSnapshot { cv: snapshot.cv, token }),
        allocations: if published { allocations(&before.snapshot, &snapshot, now) } else { Vec::new() },
    };
    let head = Head {
        sequence,
        cv: snapshot.cv,
        ep: versions.ep,
        keyset_ver: versions.keyset_ver,
        keyring: keyring_json.unwrap_or_else(|| before.head.keyring.clone()),
        state: state_json.unwrap_or_else(|| before.head.state.clone()),
    };
    let after = EnvironmentState {
        name: before.name.clone(),
        head,
        documents: revised.documents,
        snapshot,
        snapshot_token,
        published_at,
        keyring,
        counters: Arc::new(counters),
        secrets,
        edge_keys,
    };
    let altered = published || new_epoch;
    Ok(Some(Planned { after, write, written: revised.written, published, altered }))
}

/// Plans a new environment: keys, an empty snapshot, and the first version of everything.
pub(crate) fn plan_new(
    name: &Environment,
    now: Timestamp,
    master: &MasterKey,
) -> Result<(EnvironmentState, EnvironmentWrite), ControlError> {
    let keyring = Keyring::generate(name, master, now)?;
    let (secrets, edge_keys) = (keyring.secrets(master)?, keyring.edge_keys(master)?);
    let empty = Definition {
        environment: name.clone(),
        experiments: Vec::new(),
        layers: Vec::new(),
        holdouts: Vec::new(),
        groups: BTreeMap::new(),
        metrics: Vec::new(),
    };
    let snapshot =
        empty.build(None, now).map_err(|_| ControlError::Internal { attempt: "making an empty snapshot" })?;
    let token = seal_snapshot(&snapshot, &secrets)?;
    let mut counters = Counters::new();
    counters.snapshot_iat = snapshot.iat;
    let nothing =
        Head { sequence: 0, cv: 0, ep: 0, keyset_ver: 0, keyring: keyring.to_json()?, state: String::new() };
    let versions = count(&mut counters, &nothing, &snapshot, &keyring)?;
    let head = Head {
        sequence: 1,
        cv: snapshot.cv,
        ep: versions.ep,
        keyset_ver: versions.keyset_ver,
        state: counters.to_json()?,
        ..nothing
    };
    let write = EnvironmentWrite {
        name: name.clone(),
        expected: None,
        cv: head.cv,
        ep: head.ep,
        keyset_ver: head.keyset_ver,
        keyring: Some(head.keyring.clone()),
        state: Some(head.state.clone()),
        documents: Vec::new(),
        snapshot: Some(NewSnapshot { cv: head.cv, token: token.clone() }),
        allocations: Vec::new(),
    };
    let state = EnvironmentState {
        name: name.clone(),
        head,
        documents: Documents::default(),
        snapshot: Arc::new(snapshot),
        snapshot_token: Arc::from(token),
        published_at: now,
        keyring: Arc::new(keyring),
        counters: Arc::new(counters),
        secrets: Arc::new(secrets),
        edge_keys: Arc::new(edge_keys),
    };
    Ok((state, write))
}

/// Whether a document would say something else than now.
fn alters(before: &EnvironmentState, change: &DocumentChange) -> bool {
    let now = before.documents.find(change.kind, &change.key).and_then(|document| document.body.as_ref());
    now != change.body.as_ref()
}

struct Revised {
    documents: Documents,
    written: Vec<Written>,
}

fn revise(
    before: &EnvironmentState,
    changes: &[DocumentChange],
    sequence: u64,
    actor: &Actor,
    now: Timestamp,
) -> Revised {
    let (mut documents, mut written) = (before.documents.clone(), Vec::with_capacity(changes.len()));
    for change in changes {
        let (kind, key) = (change.kind, change.key.as_str());
        // A tombstone counts: a document that returns goes on where it ended.
        let known = before.documents.get(kind, key);
        let revision = known.map_or(1, |known| known.revision.saturating_add(1));
        documents.put(StoredDocument {
            kind,
            key: Arc::from(key),
            revision,
            sequence,
            body: change.body.clone(),
            created_at: known.map_or(now, |known| known.created_at),
            updated_at: now,
            updated_by: actor.clone(),
        });
        let (action, detail) = (change.action, change.detail.clone());
        written.push(Written { kind, key: key.to_owned(), action, detail, revision });
    }
    Revised { documents, written }
}

fn document_write(change: &DocumentChange) -> Result<DocumentWrite, ControlError> {
    let broken = |_| ControlError::Internal { attempt: "writing a document" };
    let body = change.body.as_ref().map(serde_json::to_value).transpose().map_err(broken)?;
    Ok(DocumentWrite { kind: change.kind, key: change.key.clone(), body, action: change.action })
}

/// The snapshot after the changes; `None` when it stays as it is.
fn next_snapshot(
    documents: &Documents,
    changes: &[DocumentChange],
    before: &EnvironmentState,
    now: Timestamp,
) -> Result<Option<Snapshot>, Refused> {
    let definition = documents.definition(&before.name);
    let previous = before.snapshot.as_ref();
    let built =
        definition.build(Some(previous), now).map_err(|error| Misfit::find(error, &definition, changes))?;
    let mut next = without_unneeded_drafts(built);
    (next.iat, next.cv) = (previous.iat, previous.cv);
    before.counters.lift(&mut next, Some(previous));
    if next == *previous {
        return Ok(None);
    }
    (next.iat, next.cv) = (now.unix_seconds(), before.head.cv.saturating_add(1));
    Ok(Some(next))
}

/// Takes out the drafts that nothing published names as a prerequisite.
fn without_unneeded_drafts(mut snapshot: Snapshot) -> Snapshot {
    let is_draft = |record: &ExperimentRecord| record.state == ExperimentState::Draft;
    if !snapshot.experiments.iter().any(is_draft) {
        return snapshot;
    }
    let mut needed: BTreeSet<ExperimentKey> = BTreeSet::new();
    let mut open: Vec<&ExperimentRecord> =
        snapshot.experiments.iter().filter(|record| !is_draft(record)).collect();
    while let Some(record) = open.pop() {
        for prerequisite in &record.prerequisites {
            let other = &prerequisite.experiment;
            if let Ok(place) = snapshot.experiments.binary_search_by(|record| record.key.cmp(other))
                && let Some(draft) = snapshot.experiments.get(place).filter(|record| is_draft(record))
                && needed.insert(other.clone())
            {
                open.push(draft);
            }
        }
    }
    let left_out: BTreeSet<ExperimentKey> = snapshot
        .experiments
        .extract_if(.., |record| is_draft(record) && !needed.contains(&record.key))
        .map(|record| record.key)
        .collect();
    for listed in snapshot.holdouts.iter_mut().filter_map(|holdout| holdout.experiments.as_mut()) {
        listed.retain(|key| !left_out.contains(key));
    }
    snapshot
}

/// How experiments are divided up that the next snapshot serves under a version that the one before did not serve.
fn allocations(before: &Snapshot, next: &Snapshot, now: Timestamp) -> Vec<AllocationWrite> {
    let served = |record: &&ExperimentRecord| record.state == ExperimentState::Running;
    let known: BTreeSet<_> =
        before.experiments.iter().filter(served).map(|record| (&record.key, record.xv)).collect();
    let new = next.experiments.iter().filter(served);
    new.filter(|record| !known.contains(&(&record.key, record.xv)))
        .map(|record| AllocationWrite {
            experiment: record.key.clone(),
            xv: record.xv,
            at: now,
            unit_type: record.ut.clone(),
            shares: record.variants.iter().map(|variant| (variant.key.clone(), buckets(variant))).collect(),
        })
        .collect()
}

fn buckets(variant: &VariantRecord) -> u32 {
    variant.ranges.iter().fold(0, |buckets, range| buckets.saturating_add(range.len()))
}

fn seal_snapshot(snapshot: &Snapshot, secrets: &Secrets) -> Result<String, ControlError> {
    let claims =
        serde_json::to_vec(snapshot).map_err(|_| ControlError::Internal { attempt: "writing a snapshot" })?;
    let token = seal(TokenKind::Snapshot, &claims, &secrets.control);
    if token.len() > MAX_SNAPSHOT_TOKEN_BYTES {
        return Err(ControlError::TooLarge {
            what: "snapshot",
            bytes: token.len(),
            limit: MAX_SNAPSHOT_TOKEN_BYTES,
            remedy: "shrink groups, payloads or overrides, or delete finished experiments",
        });
    }
    Ok(token)
}

struct Versions {
    ep: u64,
    keyset_ver: u64,
}

/// Compares what status document and keyset will say with what they said; what differs gets the next number.
fn count(
    counters: &mut Counters,
    head: &Head,
    snapshot: &Snapshot,
    keyring: &Keyring,
) -> Result<Versions, ControlError> {
    let halted: Vec<_> = halts::off(snapshot, &counters.withdrawn).into_iter().collect();
    let revoked: BTreeSet<_> = keyring.revoked().cloned().collect();
    let revoked: Vec<_> = revoked.into_iter().collect();
    let mut versions = Versions { ep: head.ep, keyset_ver: head.keyset_ver };
    if head.ep == 0 || halted != counters.halted || revoked != counters.revoked {
        versions.ep = head.ep.saturating_add(1);
        (counters.halted, counters.revoked) = (halted, revoked);
        check_status_size(counters)?;
    }
    let keys = keyring.fingerprint();
    if head.keyset_ver == 0 || keys != counters.keyset_keys {
        versions.keyset_ver = head.keyset_ver.saturating_add(1);
        counters.keyset_keys = keys;
    }
    Ok(versions)
}

fn check_status_size(counters: &Counters) -> Result<(), ControlError> {
    // Each key with its quotes and comma; base64 makes four of three.
    let keys = counters.halted.iter().map(|key| key.as_str().len().saturating_add(3));
    let kids = counters.revoked.iter().map(|kid| kid.as_str().len().saturating_add(3));
    let listed = keys.chain(kids).fold(0_usize, usize::saturating_add);
    let bytes = listed.saturating_add(STATUS_FRAME_BYTES).saturating_mul(4).div_ceil(3);
    if bytes <= MAX_TOKEN_BYTES {
        return Ok(());
    }
    Err(ControlError::TooLarge {
        what: "status document",
        bytes,
        limit: MAX_TOKEN_BYTES,
        remedy: "delete experiments that were stopped without a winner",
    })
}

#[cfg(test)]
mod tests;
