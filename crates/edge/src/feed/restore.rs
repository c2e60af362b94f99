//! What an edge's own disk still knows: everything is verified again, whatever is damaged is told and passed over.

use std::sync::Arc;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::{Keyset, PublicKey, Status, verify_snapshot_at_rest};
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::error::OpenError;
use super::held::{Held, HeldKeyset, HeldSnapshot, HeldStatus, compile, read_snapshot};
use super::keys::EdgeKeys;
use super::state::{StateFile, StateStore};
use super::writer::Saved;

/// What was found, and which files hold good documents: only those become the previous ones.
pub(super) fn restore(
    store: &dyn StateStore,
    environment: &Environment,
    pinned: Option<PublicKey>,
) -> Result<(Held, Saved), OpenError> {
    let stored = root(store)?;
    if let (Some(stored), Some(pinned)) = (&stored, &pinned)
        && stored != pinned
    {
        return Err(OpenError::OtherRoot { stored: stored.kid(), pinned: pinned.kid() });
    }
    let mut held = Held { root: pinned.or(stored), ..Held::default() };
    let mut saved = Saved { root: stored, ..Saved::default() };
    let Some(root) = held.root else { return Ok((held, saved)) };

    held.keys = keys(store);
    held.keys.retain(|keys| {
        let ours = *keys.root() == root;
        if !ours {
            damaged(StateFile::EdgeKeys, &"they belong to another root key");
        }
        ours
    });
    saved.keys.clone_from(&held.keys);

    let keyset = newest(store, [StateFile::Keyset, StateFile::KeysetPrevious], |token| {
        let keyset = Keyset::verify_at_rest(token, &root, environment).map_err(|error| error.to_string())?;
        Ok(HeldKeyset { keyset, token: token.into() })
    });
    saved.keyset.note(&keyset, |keyset| &keyset.token);
    let Some(keyset) = keyset.map(|found| Arc::new(found.document)) else { return Ok((held, saved)) };

    let status = newest(store, [StateFile::Status, StateFile::StatusPrevious], |token| {
        let status = Status::verify_at_rest(token, &keyset.keyset, environment);
        Ok(HeldStatus { status: status.map_err(|error| error.to_string())?, token: token.into() })
    });
    saved.status.note(&status, |status| &status.token);
    held.status = status.map(|found| Arc::new(found.document));

    let snapshot = newest(store, [StateFile::Snapshot, StateFile::SnapshotPrevious], |token| {
        let status = held.status.as_ref().map(|held| &held.status);
        let claims = verify_snapshot_at_rest(token, &keyset.keyset, environment, status)
            .map_err(|error| error.to_string())?;
        let snapshot = read_snapshot(claims).map_err(|error| error.to_string())?;
        let ruleset = compile(&snapshot).map_err(|error| error.to_string())?;
        Ok(HeldSnapshot { ruleset, token: token.into() })
    });
    saved.snapshot.note(&snapshot, |snapshot| &snapshot.token);
    held.snapshot = snapshot.map(|found| Arc::new(found.document));
    saved.said = held.status.clone();
    held.keyset = Some(keyset);
    Ok((held, saved))
}

/// A good document, and whether it stood where the newest should.
pub(super) struct Found<T> {
    pub(super) document: T,
    pub(super) is_newest: bool,
}

/// The first good one of a document and the one before it.
fn newest<T>(
    store: &dyn StateStore,
    files: [StateFile; 2],
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Found<T>> {
    let [newest, _] = files;
    for file in files {
        let bytes = match store.load(file) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                damaged(file, &error);
                continue;
            }
        };
        let read = std::str::from_utf8(&bytes).map_err(|_| "it is not text".to_owned()).and_then(&read);
        match read {
            Ok(document) => {
                if file != newest {
                    tracing::error!(file = file.name(), "going on with the document before the damaged one");
                }
                return Some(Found { document, is_newest: file == newest });
            }
            Err(cause) => damaged(file, &cause),
        }
    }
    None
}

fn damaged(file: StateFile, cause: &dyn std::fmt::Display) {
    tracing::error!(file = file.name(), %cause, "a file of the edge's state is refused");
}

fn root(store: &dyn StateStore) -> Result<Option<PublicKey>, OpenError> {
    let file = StateFile::Root.name();
    let bytes = store.load(StateFile::Root).map_err(|error| OpenError::State { file, error })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let jwk: Option<Value> = serde_json::from_slice(&bytes).ok();
    let root = jwk.and_then(|jwk| {
        let key = PublicKey::from_jwk(&jwk).ok()?;
        // The kid follows from the key, so it finds a bit that flipped in either.
        (jwk.get("kid")?.as_str()? == key.kid().as_str()).then_some(key)
    });
    root.map(Some).ok_or(OpenError::DamagedRoot { file })
}

fn keys(store: &dyn StateStore) -> Vec<Arc<EdgeKeys>> {
    let file = StateFile::EdgeKeys;
    let bytes = match store.load(file) {
        Ok(Some(bytes)) => Zeroizing::new(bytes),
        Ok(None) => return Vec::new(),
        Err(error) => {
            damaged(file, &error);
            return Vec::new();
        }
    };
    let Ok(list) = serde_json::from_slice::<Vec<&RawValue>>(&bytes) else {
        damaged(file, &"it is no list of edge keys");
        return Vec::new();
    };
    let mut keys = Vec::with_capacity(list.len());
    for json in list {
        match EdgeKeys::from_json(json.get().as_bytes()) {
            Ok(read) => keys.push(Arc::new(read)),
            Err(error) => damaged(file, &error),
        }
    }
    keys
}
