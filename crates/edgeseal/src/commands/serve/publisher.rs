//! Makes publications: holds keys, snapshot and counters, signs what is due, and hands the whole to the edge.
//!
//! Every change goes the same way: counters to disk, signed document to disk, then the edge. A crash in between
//! costs a version number and never repeats one.

use std::path::PathBuf;
use std::sync::Arc;

use edgeseal_core::ids::Environment;
use edgeseal_core::ruleset::Ruleset;
use edgeseal_core::sealing::{
    HmacSecrets, Keyset, RotationPolicy, STATUS_LIFE_SECONDS, STATUS_RESIGN_SECONDS, Signer, Status,
    TokenKind, seal,
};
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;
use edgeseal_edge::{Edge, NativeSigner, Publication, Published};

use super::halts;
use super::state::State;
use crate::data_dir::{DataDir, file};
use crate::exit::{Failure, OrExit, Outcome};
use crate::experiments_file::ExperimentsFile;
use crate::keystore::{Keyring, MasterKey};
use crate::snapshot_store;

/// What does not change while serving.
pub(super) struct Settings {
    pub(super) master_key_file: Option<PathBuf>,
    pub(super) policy: RotationPolicy,
}

/// Keys, snapshot and counters of one environment.
pub(super) struct Publisher {
    data_dir: DataDir,
    settings: Settings,
    keyring: Keyring,
    signers: Signers,
    state: State,
    /// The snapshot that is being served; `None` only before [`Publisher::begin`].
    serving: Option<Serving>,
    keyset: (Keyset, String),
    status: Option<(Status, String)>,
}

struct Signers {
    root: NativeSigner,
    edge: Arc<dyn Signer>,
    control: NativeSigner,
    hmac: Arc<HmacSecrets>,
}

struct Serving {
    snapshot: Snapshot,
    ruleset: Arc<Ruleset>,
}

impl Publisher {
    /// Opens keys and counters of the data directory, or makes them on a first start.
    pub(super) fn open(
        data_dir: DataDir,
        settings: Settings,
        environment: Option<Environment>,
        now: Timestamp,
    ) -> Outcome<Self> {
        let _alone = data_dir.lock(file::KEYRING_LOCK, "`edgeseal keys`")?;
        let elsewhere = settings.master_key_file.as_deref();
        let found = Keyring::load(&data_dir)?;
        let first_start = found.is_none();
        let (master, keyring) = match found {
            Some(keyring) => (MasterKey::load(&data_dir, elsewhere)?, keyring),
            None => {
                let environment = environment.ok_or_else(nothing_to_serve)?;
                let master = MasterKey::load_or_create(&data_dir, elsewhere)?;
                let keyring = Keyring::generate(&environment, &master, now)?;
                tracing::info!(%environment, root = %keyring.root().kid(), "first start: keys were made");
                (master, keyring)
            }
        };
        let mut state = State::load(&data_dir, first_start, now)?;
        let signers = Signers::open(&keyring, &master)?;
        if first_start {
            keyring.save(&data_dir)?;
        } else {
            keyring.save_root(&data_dir)?;
        }
        let keyset = sign_keyset(&data_dir, &keyring, &signers, &mut state, &settings.policy, now)?;
        Ok(Self { data_dir, settings, keyring, signers, state, serving: None, keyset, status: None })
    }

    /// Takes the first snapshot: the experiments file if it is good, or else the last good one.
    pub(super) fn begin(&mut self, file: Outcome<Option<ExperimentsFile>>, now: Timestamp) -> Outcome<()> {
        let (last_good, is_newest) = self.last_good(now);
        let wanted = match file {
            Ok(Some(file)) => {
                self.check_environment(&file).and_then(|()| Ok(Some(file.build(last_good.as_ref(), now)?)))
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        let snapshot = match (wanted, &last_good) {
            (Ok(Some(snapshot)), _) => snapshot,
            (Ok(None), Some(last_good)) => last_good.clone(),
            (Ok(None), None) => return Err(nothing_to_serve()),
            (Err(failure), Some(last_good)) => {
                let cause = format_args!("{:#}", failure.error);
                tracing::error!(%cause, version = last_good.cv, "the experiments were refused; the last good snapshot serves");
                last_good.clone()
            }
            (Err(failure), None) => return Err(failure),
        };
        let mut snapshot = snapshot;
        self.state.lift(&mut snapshot, is_newest);
        self.take(snapshot, last_good.filter(|_| is_newest), now)?;
        self.sign_status(now)
    }

    /// Builds and takes the next snapshot; `false` when nothing changed.
    pub(super) fn adopt(&mut self, file: Option<&ExperimentsFile>, now: Timestamp) -> Outcome<bool> {
        let Some(file) = file else { return Ok(false) };
        self.check_environment(file)?;
        let before = self.serving.as_ref().map(|serving| serving.snapshot.clone());
        let mut snapshot = file.build(before.as_ref(), now)?;
        if before.as_ref() == Some(&snapshot) {
            return Ok(false);
        }
        self.state.lift(&mut snapshot, true);
        let (version, experiments) = (snapshot.cv, snapshot.experiments.len());
        self.take(snapshot, before, now)?;
        self.sign_status(now)?;
        tracing::info!(version, experiments, "new snapshot");
        Ok(true)
    }

    /// Takes over what `edgeseal keys` changed.
    pub(super) fn reload_keyring(&mut self, now: Timestamp) -> Outcome<bool> {
        let keyring = Keyring::load(&self.data_dir)?
            .ok_or_else(|| Failure::unreachable("keyring.json is gone: restore it from a backup"))?;
        if keyring.root() != self.keyring.root() || keyring.environment() != self.keyring.environment() {
            return Err(Failure::no(
                "keyring.json is of another environment: stop serving before replacing it",
            ));
        }
        let master = MasterKey::load(&self.data_dir, self.settings.master_key_file.as_deref())?;
        let signers = Signers::open(&keyring, &master)?;
        let policy = &self.settings.policy;
        let keyset = sign_keyset(&self.data_dir, &keyring, &signers, &mut self.state, policy, now)?;
        let new_control = signers.control.kid() != self.signers.control.kid();
        (self.keyring, self.signers, self.keyset) = (keyring, signers, keyset);
        if let (true, Some(serving)) = (new_control, &self.serving) {
            snapshot_store::write(&self.data_dir, &serving.snapshot, &self.signers.control, false)?;
        }
        self.sign_status(now)?;
        tracing::info!(edge = %self.signers.edge.kid(), control = %self.signers.control.kid(), "keyring taken over");
        Ok(true)
    }

    /// Signs anew what grows old; `true` when something was.
    pub(super) fn refresh(&mut self, now: Timestamp) -> Outcome<bool> {
        let mut news = false;
        // An age below zero means that the clock was set back: verifiers refuse what comes from the future.
        let age =
            self.status.as_ref().map_or(STATUS_RESIGN_SECONDS, |(status, _)| now.seconds_since(status.iat));
        if !(0..STATUS_RESIGN_SECONDS).contains(&age) {
            self.sign_status(now)?;
            news = true;
        }
        let half_life = self.settings.policy.keyset_lifetime_seconds / 2;
        if !(0..half_life).contains(&now.seconds_since(self.keyset.0.iat)) {
            let policy = &self.settings.policy;
            self.keyset =
                sign_keyset(&self.data_dir, &self.keyring, &self.signers, &mut self.state, policy, now)?;
            news = true;
        }
        Ok(news)
    }

    /// Hands everything to the edge, as one.
    pub(super) fn publish(&self, edge: &Edge) -> Outcome<()> {
        let (Some(serving), Some((status, status_token))) = (&self.serving, &self.status) else {
            return Err(anyhow::anyhow!("there is nothing to publish yet").into());
        };
        let publication = Publication {
            ruleset: Arc::clone(&serving.ruleset),
            status: status.clone(),
            status_token: status_token.clone(),
            keyset: self.keyset.0.clone(),
            keyset_token: self.keyset.1.clone(),
            signer: Arc::clone(&self.signers.edge),
            hmac: Some(Arc::clone(&self.signers.hmac)),
        };
        let published = Published::new(publication).map_err(anyhow::Error::from)?;
        Ok(edge.publish(published).map_err(anyhow::Error::from)?)
    }

    /// The environment whose keys are served.
    pub(super) fn environment(&self) -> &Environment {
        self.keyring.environment()
    }

    /// The snapshot that is being served.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.serving.as_ref().map(|serving| &serving.snapshot)
    }

    /// The last good snapshot on disk, and whether it is the one that was handed out last.
    fn last_good(&self, now: Timestamp) -> (Option<Snapshot>, bool) {
        for (name, is_newest) in [(file::SNAPSHOT, true), (file::SNAPSHOT_PREVIOUS, false)] {
            match snapshot_store::read(&self.data_dir, name, &self.keyring, now) {
                Ok(Some(snapshot)) => return (Some(snapshot), is_newest),
                Ok(None) => {}
                Err(failure) => tracing::error!(
                    cause = format_args!("{:#}", failure.error),
                    "a snapshot on disk is damaged"
                ),
            }
        }
        (None, false)
    }

    fn check_environment(&self, file: &ExperimentsFile) -> Outcome<()> {
        let (ours, theirs) = (self.keyring.environment(), &file.definition().environment);
        if ours == theirs {
            return Ok(());
        }
        Err(Failure::no(format_args!(
            "the experiments are for environment '{theirs}', but the keys of this data directory are for '{ours}': \
             use another --data-dir, one for each environment"
        )))
    }

    /// Makes `snapshot` the one being served: counters, then disk, then memory.
    fn take(&mut self, snapshot: Snapshot, before: Option<Snapshot>, now: Timestamp) -> Outcome<()> {
        let ruleset = snapshot.compile().map_err(anyhow::Error::from)?;
        halts::withdraw(&mut self.state.withdrawn, before.as_ref(), &snapshot, now);
        self.state.note(&snapshot);
        self.state.save(&self.data_dir)?;
        if before.as_ref() != Some(&snapshot) {
            snapshot_store::write(&self.data_dir, &snapshot, &self.signers.control, before.is_some())?;
        }
        self.serving = Some(Serving { snapshot, ruleset: Arc::new(ruleset) });
        Ok(())
    }

    /// Signs the status document; what it says decides whether a new epoch begins.
    fn sign_status(&mut self, now: Timestamp) -> Outcome<()> {
        let Some(serving) = &self.serving else { return Ok(()) };
        let off = halts::off(&serving.snapshot, &mut self.state.withdrawn, now);
        let rev: std::collections::BTreeSet<_> = self.keyring.revoked().cloned().collect();
        let halted: Vec<_> = off.iter().cloned().collect();
        let revoked: Vec<_> = rev.iter().map(ToString::to_string).collect();
        if self.state.ep == 0 || halted != self.state.halted || revoked != self.state.revoked {
            let mut next = self.state.clone();
            next.ep = next.ep.saturating_add(1);
            (next.halted, next.revoked) = (halted, revoked);
            next.save(&self.data_dir)?;
            self.state = next;
            tracing::info!(epoch = self.state.ep, halted = self.state.halted.len(), "new status epoch");
        }
        let iat = Timestamp::from_unix_seconds(now.unix_seconds());
        let status = Status {
            iss: self.keyring.environment().clone(),
            ep: self.state.ep,
            cv: serving.snapshot.cv,
            off,
            min: std::collections::BTreeMap::new(),
            rev,
            iat,
            exp: iat.plus_seconds(STATUS_LIFE_SECONDS),
        };
        let token = seal(TokenKind::Status, &status.claims_json(), &self.signers.control);
        self.status = Some((status, token));
        Ok(())
    }
}

impl Signers {
    fn open(keyring: &Keyring, master: &MasterKey) -> Outcome<Self> {
        let secrets = keyring.secrets(master)?;
        let native = |secret| NativeSigner::new(secret).or_no(|| "keyring.json");
        Ok(Self {
            root: native(&secrets.root)?,
            edge: Arc::new(native(&secrets.edge)?),
            control: native(&secrets.control)?,
            hmac: Arc::new(secrets.hmac),
        })
    }
}

/// Signs the keyset, under its next version if its keys changed.
///
/// Signing the same keys anew needs no disk: an edge whose disk is full goes on serving keysets that are alive.
fn sign_keyset(
    data_dir: &DataDir,
    keyring: &Keyring,
    signers: &Signers,
    state: &mut State,
    policy: &RotationPolicy,
    now: Timestamp,
) -> Outcome<(Keyset, String)> {
    let keys = keyring.fingerprint();
    if state.keyset_keys != keys {
        let mut next = state.clone();
        next.keyset_ver = next.keyset_ver.saturating_add(1);
        next.keyset_keys = keys;
        next.save(data_dir)?;
        *state = next;
    }
    let keyset = keyring.keyset(state.keyset_ver, now, policy);
    let token = seal(TokenKind::Keyset, &keyset.claims_json(), &signers.root);
    if let Err(failure) = data_dir.write(file::KEYSET, token.as_bytes(), 0o644) {
        tracing::warn!(cause = format_args!("{:#}", failure.error), "the copy of the keyset on disk is old");
    }
    Ok((keyset, token))
}

fn nothing_to_serve() -> Failure {
    Failure::usage(
        "there is nothing to serve yet: name an experiments file with --experiments FILE, or try the sample with --demo",
    )
}
