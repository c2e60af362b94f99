//! A store in memory. It can lose its mind on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::audit::{GENESIS, link};
use edgeseal_store::{
    Alert, Allocation, AllocationWrite, ApiToken, AuditFilter, AuditLog, AuditRecord, Change, Commit,
    CommitError, Document, Documents, EdgeReport, Edges, EnvironmentRecord, Environments, Head, Idempotency,
    IdempotencyRecord, Kind, Publication, Revision, Store, StoreError, StoredSnapshot, TokenWrite, Tokens,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::sync::broadcast;

use super::memory_events::EventData;

/// A store in memory.
pub(crate) struct MemoryStore {
    inner: Mutex<Inner>,
    hints: broadcast::Sender<Change>,
    /// Whether the next commit is applied and reported as lost.
    pub(crate) loses_next_commit: AtomicBool,
    /// Whether nothing answers.
    pub(crate) is_down: AtomicBool,
    /// How many times something besides a sequence was read.
    pub(crate) reads: AtomicU64,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) environments: BTreeMap<Environment, Stored>,
    tokens: BTreeMap<String, ApiToken>,
    audit: Vec<AuditRecord>,
    answers: BTreeMap<(String, String), IdempotencyRecord>,
    edges: BTreeMap<String, EdgeReport>,
    pub(super) events: EventData,
}

pub(super) struct Stored {
    created_at: Timestamp,
    head: Head,
    documents: BTreeMap<(Kind, String), Document>,
    revisions: Vec<(Kind, String, Revision)>,
    snapshot: StoredSnapshot,
    publications: Vec<Publication>,
}

impl MemoryStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            hints: broadcast::channel(1_024).0,
            loses_next_commit: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            reads: AtomicU64::new(0),
        })
    }

    pub(super) fn lock(&self) -> Result<std::sync::MutexGuard<'_, Inner>, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(self.inner.lock().unwrap())
    }

    fn read(&self) -> Result<std::sync::MutexGuard<'_, Inner>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.lock()
    }

    /// Every version that was ever published, oldest first.
    pub(crate) fn versions(&self, environment: &Environment) -> Vec<u64> {
        let inner = self.inner.lock().unwrap();
        inner.environments[environment].publications.iter().map(|it| it.cv).collect()
    }

    /// All actions of the audit log, oldest first.
    pub(crate) fn actions(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let action = |record: &AuditRecord| {
            let entry: Value = serde_json::from_str(&record.entry).unwrap();
            entry["action"].as_str().unwrap().to_owned()
        };
        inner.audit.iter().map(action).collect()
    }

    /// Replaces the stored snapshot token, as somebody with access to the database could.
    pub(crate) fn tamper(&self, environment: &Environment, edit: impl FnOnce(&mut StoredSnapshot)) {
        edit(&mut self.inner.lock().unwrap().environments.get_mut(environment).unwrap().snapshot);
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable { attempt: "testing", source: "the database is down".into() }
}

#[async_trait]
impl Environments for MemoryStore {
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, StoreError> {
        let inner = self.read()?;
        let record = |(name, stored): (&Environment, &Stored)| EnvironmentRecord {
            name: name.clone(),
            created_at: stored.created_at,
            head: stored.head.clone(),
        };
        Ok(inner.environments.iter().map(record).collect())
    }

    async fn head(&self, environment: &Environment) -> Result<Option<Head>, StoreError> {
        Ok(self.read()?.environments.get(environment).map(|stored| stored.head.clone()))
    }

    async fn sequence(&self, environment: &Environment) -> Result<Option<u64>, StoreError> {
        Ok(self.lock()?.environments.get(environment).map(|stored| stored.head.sequence))
    }

    async fn snapshot(&self, environment: &Environment) -> Result<Option<StoredSnapshot>, StoreError> {
        Ok(self.read()?.environments.get(environment).map(|stored| stored.snapshot.clone()))
    }

    async fn publications(
        &self,
        environment: &Environment,
        _: Option<u64>,
        _: u32,
    ) -> Result<Vec<Publication>, StoreError> {
        let inner = self.read()?;
        Ok(inner.environments.get(environment).map(|it| it.publications.clone()).unwrap_or_default())
    }
}

#[async_trait]
impl Documents for MemoryStore {
    async fn documents_since(
        &self,
        environment: &Environment,
        sequence: u64,
    ) -> Result<Vec<Document>, StoreError> {
        let inner = self.read()?;
        let all = inner.environments.get(environment).into_iter().flat_map(|it| it.documents.values());
        Ok(all.filter(|document| document.sequence > sequence).cloned().collect())
    }

    async fn revisions(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        let inner = self.read()?;
        let all = inner.environments.get(environment).into_iter().flat_map(|it| it.revisions.iter().rev());
        let wanted = all
            .filter(|(of, named, _)| *of == kind && named == key)
            .map(|(.., revision)| revision.clone())
            .filter(|revision| before.is_none_or(|before| revision.revision < before));
        Ok(wanted.take(limit as usize).collect())
    }

    async fn revision(
        &self,
        environment: &Environment,
        kind: Kind,
        key: &str,
        revision: u64,
    ) -> Result<Option<Revision>, StoreError> {
        let all = self.revisions(environment, kind, key, None, u32::MAX).await?;
        Ok(all.into_iter().find(|found| found.revision == revision))
    }
}

#[async_trait]
impl Tokens for MemoryStore {
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        Ok(self.lock()?.tokens.get(id).cloned())
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        Ok(self.lock()?.tokens.values().cloned().collect())
    }

    async fn tokens_used(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        for (id, at) in used {
            if let Some(token) = inner.tokens.get_mut(id) {
                token.last_used_at = Some(*at);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl AuditLog for MemoryStore {
    async fn audit(&self, _: &AuditFilter, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        Ok(self.lock()?.audit.iter().rev().take(limit as usize).cloned().collect())
    }

    async fn audit_after(&self, number: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let inner = self.lock()?;
        Ok(inner.audit.iter().filter(|it| it.number > number).take(limit as usize).cloned().collect())
    }
}

#[async_trait]
impl Edges for MemoryStore {
    async fn edges_seen(&self, reports: &[EdgeReport]) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        inner.edges.extend(reports.iter().map(|report| (report.id.clone(), report.clone())));
        Ok(())
    }

    async fn edges(&self, environment: &Environment) -> Result<Vec<EdgeReport>, StoreError> {
        let inner = self.lock()?;
        Ok(inner.edges.values().filter(|it| it.environment == *environment).cloned().collect())
    }

    async fn forget_edges(&self, before: Timestamp) -> Result<(), StoreError> {
        self.lock()?.edges.retain(|_, report| report.seen_at_ms >= before.unix_ms());
        Ok(())
    }
}

#[async_trait]
impl Idempotency for MemoryStore {
    async fn answered(&self, token_id: &str, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        Ok(self.lock()?.answers.get(&(token_id.to_owned(), key.to_owned())).cloned())
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        self.lock()?.answers.retain(|_, answer| answer.at >= before);
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        // Lets other tasks in between, as a network would.
        tokio::task::yield_now().await;
        let sequence = self.apply(commit)?;
        if self.loses_next_commit.swap(false, Ordering::SeqCst) {
            return Err(lost().into());
        }
        Ok(sequence)
    }

    async fn changes(&self) -> Result<BoxStream<'static, Change>, StoreError> {
        let hints = self.hints.subscribe();
        let stream = futures_util::stream::unfold(hints, |mut hints| async {
            hints.recv().await.ok().map(|change| (change, hints))
        });
        Ok(stream.boxed())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.lock().map(drop)
    }

    async fn close(&self) {}
}

impl MemoryStore {
    fn apply(&self, commit: Commit) -> Result<u64, CommitError> {
        let mut inner = self.lock()?;
        let Commit { actor, at, environment, tokens, audit, idempotency, alerts } = commit;
        if let Some(record) = &idempotency
            && inner.answers.contains_key(&(record.token_id.clone(), record.key.clone()))
        {
            return Err(CommitError::IdempotencyTaken);
        }
        let stored = environment
            .as_ref()
            .map(|write| inner.environments.get(&write.name).map(|stored| stored.head.sequence));
        if let (Some(write), Some(stored)) = (&environment, stored)
            && write.expected != stored
        {
            return Err(CommitError::Conflict);
        }
        let taken =
            |write: &TokenWrite| matches!(write, TokenWrite::Create(it) if inner.tokens.contains_key(&it.id));
        if tokens.iter().any(taken) {
            return Err(CommitError::Conflict);
        }
        if alerts.iter().any(|new| inner.events.alerts.iter().any(|known| known.alert.id == new.id)) {
            return Err(CommitError::Conflict);
        }
        let mut hints = Vec::new();
        let mut sequence = 0;
        if let Some(write) = environment {
            sequence = write.expected.unwrap_or(0) + 1;
            let name = write.name.clone();
            for AllocationWrite { experiment, xv, at, unit_type, shares } in write.allocations {
                let new = Allocation { xv, at_ms: at.unix_ms(), unit_type, shares };
                let known =
                    inner.events.stream(&name).allocations.entry((experiment, xv)).or_insert(new.clone());
                *known = Allocation { at_ms: known.at_ms, ..new };
            }
            hints.push(Change::Environment { environment: name.clone(), sequence });
            let stored = inner.environments.entry(name).or_insert_with(|| Stored {
                created_at: at,
                head: Head {
                    sequence: 0,
                    cv: 0,
                    ep: 0,
                    keyset_ver: 0,
                    keyring: String::new(),
                    state: String::new(),
                },
                documents: BTreeMap::new(),
                revisions: Vec::new(),
                snapshot: StoredSnapshot { cv: 0, token: String::new(), at },
                publications: Vec::new(),
            });
            let head = &mut stored.head;
            (head.sequence, head.cv, head.ep, head.keyset_ver) =
                (sequence, write.cv, write.ep, write.keyset_ver);
            head.keyring = write.keyring.unwrap_or_else(|| head.keyring.clone());
            head.state = write.state.unwrap_or_else(|| head.state.clone());
            for it in write.documents {
                let known = stored.documents.get(&(it.kind, it.key.clone()));
                let revision = known.map_or(1, |known| known.revision + 1);
                let document = Document {
                    kind: it.kind,
                    key: it.key.clone(),
                    revision,
                    sequence,
                    body: it.body.clone(),
                    created_at: known.map_or(at, |known| known.created_at),
                    updated_at: at,
                    updated_by: actor.clone(),
                };
                let (body, action) = (it.body, it.action.to_owned());
                let actor = actor.clone();
                stored.revisions.push((
                    it.kind,
                    it.key.clone(),
                    Revision { revision, body, at, actor, action },
                ));
                stored.documents.insert((it.kind, it.key), document);
            }
            if let Some(snapshot) = write.snapshot {
                if snapshot.cv != stored.snapshot.cv {
                    let actor = actor.clone();
                    stored.publications.push(Publication { cv: snapshot.cv, at, actor, sequence });
                }
                stored.snapshot = StoredSnapshot { cv: snapshot.cv, token: snapshot.token, at };
            }
        }
        for write in tokens {
            hints.push(Change::Tokens);
            match write {
                TokenWrite::Create(token) => {
                    inner.tokens.insert(token.id.clone(), token);
                }
                TokenWrite::Revoke { id, at } => {
                    if let Some(token) = inner.tokens.get_mut(&id) {
                        token.revoked_at.get_or_insert(at);
                    }
                }
            }
        }
        for alert in alerts {
            inner.events.alerts.push(Alert {
                alert,
                at_ms: at.unix_ms(),
                attempts: 0,
                next_at_ms: Some(at.unix_ms()),
                delivered_at_ms: None,
                error: None,
            });
        }
        for entry in audit {
            let newest = inner.audit.last().map_or(GENESIS, |record| (record.number, record.hash));
            inner.audit.push(link(newest, &entry)?);
        }
        if let Some(record) = idempotency {
            inner.answers.insert((record.token_id.clone(), record.key.clone()), record);
        }
        drop(inner);
        for hint in hints {
            self.hints.send(hint).ok();
        }
        Ok(sequence)
    }
}
