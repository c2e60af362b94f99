//! What is halted and revoked right now: the short-lived document that needs no cache to expire.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::claims::{self, Claims, Lifetime, When, as_integer, expected, join};
use super::error::{HaltCause, Malformation, VerifyError};
use super::keys::KeyId;
use super::keyset::Keyset;
use super::verify::{check_signer, open};
use super::{STATUS_LIFE_SECONDS, TokenKind};
use crate::ids::{Environment, ExperimentKey};
use crate::time::Timestamp;

/// The claims of `edgeseal-status+jwt`. Field names are the claims' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Environment it speaks for.
    pub iss: Environment,
    /// Epoch, raised with every change.
    pub ep: u64,
    /// Version of the newest snapshot; a client that holds an older token may fetch again.
    pub cv: u64,
    /// Experiments that nobody may show.
    pub off: BTreeSet<ExperimentKey>,
    /// Lowest version still valid, by experiment.
    pub min: BTreeMap<ExperimentKey, u64>,
    /// Keys whose signatures count no more.
    pub rev: BTreeSet<KeyId>,
    /// When it was signed.
    pub iat: Timestamp,
    /// When it ends, at most [`STATUS_LIFE_SECONDS`] later.
    pub exp: Timestamp,
}

impl Status {
    /// Checks a status token.
    ///
    /// A replayed older one, still alive, is for [`Memory::check_status`](super::Memory::check_status) to find.
    ///
    /// # Errors
    /// [`VerifyError`], as ordered there.
    pub fn verify(
        token: &str,
        keyset: &Keyset,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        Self::check(token, keyset, environment, When::Now(now))
    }

    /// Checks a status token that was read back from one's own disk: as [`Status::verify`], but whatever the time, and
    /// also if its control key has been retired since. It must not revoke its own key.
    ///
    /// # Errors
    /// [`VerifyError`], as for [`Status::verify`]; never `E_EXPIRED` or `E_NOT_YET`.
    pub fn verify_at_rest(
        token: &str,
        keyset: &Keyset,
        environment: &Environment,
    ) -> Result<Self, VerifyError> {
        let status = Self::check(token, keyset, environment, When::AtRest)?;
        check_signer(token, &status)?;
        Ok(status)
    }

    fn check(
        token: &str,
        keyset: &Keyset,
        environment: &Environment,
        when: When,
    ) -> Result<Self, VerifyError> {
        let json = open(token, TokenKind::Status, keyset, environment, when)?;
        let (status, life) = Self::parse(&json).map_err(VerifyError::Malformed)?;
        life.holds(when)?;
        claims::issued_by(&status.iss, environment)?;
        Ok(status)
    }

    fn parse(json: &[u8]) -> Result<(Self, Lifetime), Malformation> {
        let mut claims = Claims::parse(json)?;
        let life = Lifetime::read(&mut claims, STATUS_LIFE_SECONDS)?;
        let mut off = BTreeSet::new();
        for item in claims.list("off")? {
            off.insert(
                item.as_str()
                    .and_then(|text| ExperimentKey::parse(text).ok())
                    .ok_or_else(|| claims.problem("off", expected("a list of experiment keys")))?,
            );
        }
        let mut min = BTreeMap::new();
        for (key, value) in claims.object("min")? {
            let entry = ExperimentKey::parse(&key).ok().zip(as_integer(&value));
            let (key, version) = entry.ok_or_else(|| Malformation::Claim {
                claim: join("min", &key),
                problem: expected("a version under an experiment key"),
            })?;
            min.insert(key, version);
        }
        let mut rev = BTreeSet::new();
        for item in claims.list("rev")? {
            rev.insert(
                item.as_str()
                    .and_then(KeyId::parse)
                    .ok_or_else(|| claims.problem("rev", expected("a list of key ids")))?,
            );
        }
        let status = Self {
            iss: claims.environment()?,
            ep: claims.integer("ep")?,
            cv: claims.integer("cv")?,
            off,
            min,
            rev,
            iat: life.iat,
            exp: life.exp,
        };
        Ok((status, life))
    }

    /// The claims as JSON, to be sealed with a control key.
    pub fn claims_json(&self) -> Vec<u8> {
        let min = self.min.iter().map(|(key, version)| (key.as_str().to_owned(), Value::from(*version)));
        claims::to_json(&json!({
            "cv": self.cv,
            "ep": self.ep,
            "exp": self.exp.unix_seconds(),
            "iat": self.iat.unix_seconds(),
            "iss": self.iss.as_str(),
            "min": Value::Object(min.collect()),
            "off": self.off.iter().map(ExperimentKey::as_str).collect::<Vec<_>>(),
            "rev": self.rev.iter().map(KeyId::as_str).collect::<Vec<_>>(),
        }))
    }

    /// Why an experiment at this version must not be shown; `None` when it may.
    pub fn halts(&self, experiment: &ExperimentKey, version: u64) -> Option<HaltCause> {
        if self.off.contains(experiment) {
            return Some(HaltCause::Off { ep: self.ep });
        }
        let min = *self.min.get(experiment)?;
        (version < min).then_some(HaltCause::BelowMinimum { version, min })
    }
}
