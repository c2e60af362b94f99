//! Reading an environment from the store: everything at first, then only what is new.

use std::sync::Arc;

use edgeseal_core::ids::Environment;
use edgeseal_core::sealing::verify_snapshot;
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Document, Head, Store, StoreError, StoredSnapshot};

use super::EnvironmentState;
use super::documents::StoredDocument;
use crate::control::blocking;
use crate::counters::Counters;
use crate::error::ControlError;
use crate::keys::{Keyring, MasterKey};

/// How often a read is repeated because somebody committed in the middle of it.
const MAX_READS: u32 = 20;
/// For errors.
const ATTEMPT: &str = "reading an environment";

/// Reads the environment as of one commit. `known` is an earlier state of it; only what changed since is read.
pub(crate) async fn load(
    store: &dyn Store,
    environment: &Environment,
    known: Option<Arc<EnvironmentState>>,
    master: &Arc<MasterKey>,
) -> Result<EnvironmentState, ControlError> {
    let missing = || ControlError::NoEnvironment { name: environment.clone() };
    for _ in 0..MAX_READS {
        let head = store.head(environment).await?.ok_or_else(missing)?;
        // A store that went back in time was restored from a backup: nothing that is known counts.
        let known = known.clone().filter(|known| known.head.sequence <= head.sequence);
        let since = known.as_ref().map_or(0, |known| known.head.sequence);
        let documents = store.documents_since(environment, since).await?;
        let same_snapshot = known.as_ref().is_some_and(|known| known.publishes_like(&head));
        let snapshot = if same_snapshot { None } else { Some(store.snapshot(environment).await?) };
        // The reads are one consistent picture only if nobody committed between the first and the last.
        if store.sequence(environment).await?.ok_or_else(missing)? == head.sequence {
            let (name, master) = (environment.clone(), Arc::clone(master));
            let read = Read { name, head, documents, snapshot };
            return blocking(move || read.understand(known.as_deref(), &master)).await?;
        }
    }
    Err(ControlError::Busy)
}

impl EnvironmentState {
    /// Whether a head belongs to the same snapshot token as this state.
    fn publishes_like(&self, head: &Head) -> bool {
        (self.head.cv, &self.head.keyring, &self.head.state) == (head.cv, &head.keyring, &head.state)
    }
}

/// What the store gave.
struct Read {
    name: Environment,
    head: Head,
    documents: Vec<Document>,
    /// `None`: the known one still holds.
    snapshot: Option<Option<StoredSnapshot>>,
}

impl Read {
    fn understand(
        self,
        known: Option<&EnvironmentState>,
        master: &MasterKey,
    ) -> Result<EnvironmentState, ControlError> {
        let Self { name, head, documents: newer, snapshot } = self;
        let corrupt = |detail: String| StoreError::Corrupt { attempt: ATTEMPT, detail };
        let mut documents = known.map(|known| known.documents.clone()).unwrap_or_default();
        for document in newer {
            documents.put(StoredDocument::read(document).map_err(corrupt)?);
        }
        let counters = match known.filter(|known| known.head.state == head.state) {
            Some(known) => Arc::clone(&known.counters),
            None => Arc::new(Counters::parse(&head.state).map_err(corrupt)?),
        };
        let (keyring, secrets, edge_keys) = match known.filter(|known| known.head.keyring == head.keyring) {
            Some(known) => {
                (Arc::clone(&known.keyring), Arc::clone(&known.secrets), Arc::clone(&known.edge_keys))
            }
            None => {
                let keyring = Keyring::parse(&head.keyring, &name)?;
                let (secrets, edge_keys) = (keyring.secrets(master)?, keyring.edge_keys(master)?);
                (Arc::new(keyring), Arc::new(secrets), Arc::new(edge_keys))
            }
        };
        let (snapshot, snapshot_token, published_at) = match (snapshot, known) {
            (None, Some(known)) => {
                (Arc::clone(&known.snapshot), Arc::clone(&known.snapshot_token), known.published_at)
            }
            (Some(Some(stored)), _) => {
                let snapshot = open_snapshot(&stored, &keyring, &name, head.cv).map_err(corrupt)?;
                (Arc::new(snapshot), Arc::from(stored.token), stored.at)
            }
            (None, None) | (Some(None), _) => {
                return Err(corrupt(format!("environment '{name}' has no snapshot")).into());
            }
        };
        Ok(EnvironmentState {
            name,
            head,
            documents,
            snapshot,
            snapshot_token,
            published_at,
            keyring,
            counters,
            secrets,
            edge_keys,
        })
    }
}

/// Reads back our own snapshot. Whoever can write the database cannot make us serve what we never signed.
fn open_snapshot(
    stored: &StoredSnapshot,
    keyring: &Keyring,
    environment: &Environment,
    cv: u64,
) -> Result<Snapshot, String> {
    let refused = |why: &dyn std::fmt::Display| format!("snapshot {cv} is refused, because {why}");
    // A snapshot has no end, and one that was signed by a clock that was ahead is still our own.
    let whenever = Timestamp::from_unix_ms(i64::MAX);
    let claims = verify_snapshot(&stored.token, &keyring.own_keyset(whenever), environment, whenever)
        .map_err(|error| refused(&error))?;
    // Under our own signature it is what was compiled before it was stored; compiling it again would only cost time.
    let snapshot: Snapshot = serde_json::from_value(claims).map_err(|error| refused(&error))?;
    if snapshot.cv != cv || stored.cv != cv {
        return Err(refused(&format_args!("it has version {}", snapshot.cv)));
    }
    Ok(snapshot)
}
