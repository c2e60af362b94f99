//! What a token says: the claims of `edgeseal-assignment+jwt`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::MAX_TOKEN_LIFE_SECONDS;
use super::claims::{Claims, Lifetime, expected, join};
use super::error::Malformation;
use super::subject::SubjectTag;
use crate::ids::{Environment, ExperimentKey, UnitType, VariantKey};
use crate::time::Timestamp;

/// The claims of an assignment token, typed. Field names are the claims' names on the wire.
///
/// All experiments of a unit come from one snapshot in one token. An experiment that is absent from `a` means:
/// not in it; the application shows its default and counts no exposure.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentClaims {
    /// Environment that issued the token.
    pub iss: Environment,
    /// For whom: `edgeseal:<environment>`.
    pub aud: String,
    /// Tag of the unit.
    pub sub: SubjectTag,
    /// Type of the unit.
    pub ut: UnitType,
    /// When it was issued, floored to a minute.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// When it begins, if later than `iat`. Edgeseal writes none and honours it.
    pub nbf: Option<Timestamp>,
    /// Version of the snapshot.
    pub cv: u64,
    /// Epoch of the status the edge knew.
    pub ep: u64,
    /// Digest of the attributes.
    pub cd: String,
    /// The variants, by experiment.
    pub a: BTreeMap<ExperimentKey, AssignedVariant>,
}

/// One experiment's variant in a token.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignedVariant {
    /// The variant.
    pub v: VariantKey,
    /// Version of the experiment.
    pub xv: u64,
    /// Why this variant, as the edge named it. Kept as text: a newer edge may know reasons that we do not.
    pub r: String,
    /// Payload of the variant. A payload of `null` counts as one.
    pub p: Option<Value>,
}

impl AssignmentClaims {
    /// Reads claims strictly: integers as integers, names as names, `exp` at most an hour after `iat`.
    ///
    /// This checks the shape only; [`verify_assignment`](super::verify_assignment) is what makes them true.
    ///
    /// # Errors
    /// [`Malformation`] that names the claim.
    pub fn parse(json: &[u8]) -> Result<Self, Malformation> {
        let mut claims = Claims::parse(json)?;
        let life = Lifetime::read(&mut claims, MAX_TOKEN_LIFE_SECONDS)?;
        let mut a = BTreeMap::new();
        for (key, value) in claims.object("a")? {
            let path = join("a", &key);
            let key = ExperimentKey::parse(&key).map_err(|_| Malformation::Claim {
                claim: path.clone(),
                problem: expected("named by an experiment key"),
            })?;
            a.insert(key, AssignedVariant::read(Claims::nested(value, path)?)?);
        }
        Ok(Self {
            iss: claims.environment()?,
            aud: claims.text("aud")?,
            sub: claims.read("sub", "a subject tag", SubjectTag::parse)?,
            ut: claims.read("ut", "a unit type", |text| UnitType::parse(text).ok())?,
            iat: life.iat,
            exp: life.exp,
            nbf: life.nbf,
            cv: claims.integer("cv")?,
            ep: claims.integer("ep")?,
            cd: claims.text("cd")?,
            a,
        })
    }

    pub(super) fn lifetime(&self) -> Lifetime {
        Lifetime { iat: self.iat, exp: self.exp, nbf: self.nbf }
    }
}

impl AssignedVariant {
    fn read(mut claims: Claims) -> Result<Self, Malformation> {
        Ok(Self {
            v: claims.read("v", "a variant key", |text| VariantKey::parse(text).ok())?,
            xv: claims.integer("xv")?,
            r: claims.text("r")?,
            p: claims.optional("p"),
        })
    }
}
