//! Whose events a batch holds: the verified token, reduced to what counting needs.

use std::collections::BTreeMap;

use super::MAX_PAST_MS;
use crate::evaluate::Reason;
use crate::ids::{Environment, ExperimentKey, UnitType, VariantKey};
use crate::sealing::{
    AssignmentClaims, KeyId, Keyset, Status, SubjectTag, VerifyError, verify_late_assignment,
};
use crate::time::Timestamp;

/// How long after its end a token still vouches for events, in seconds: as long as its youngest event may be old.
const MAX_LATE_SECONDS: i64 = MAX_PAST_MS / 1000;

/// A verified token as far as events need it: the unit and its variants, no payloads. Small enough to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventToken {
    /// The unit.
    pub unit: SubjectTag,
    /// The unit's type.
    pub unit_type: UnitType,
    /// When the token was issued.
    pub issued: Timestamp,
    /// When it ends, or ended.
    pub expires: Timestamp,
    /// The key that signed it.
    pub kid: KeyId,
    assignments: BTreeMap<ExperimentKey, Assigned>,
}

/// What a token says of one experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) variant: VariantKey,
    pub(super) xv: u64,
    /// Whether an exposure counts: the unit has its variant by its bucket.
    pub(super) counts: bool,
}

/// Checks the token that came with a batch. An expired one vouches for events until [`MAX_PAST_MS`] after its end;
/// a retired key counts while the keyset lists it, a revoked one never.
///
/// # Errors
/// [`VerifyError`], of which `E_MALFORMED`, `E_TYPE`, `E_KEY`, `E_SIGNATURE`, `E_EXPIRED`, `E_NOT_YET` and
/// `E_AUDIENCE` are possible.
pub fn verify_token(
    token: &str,
    keyset: &Keyset,
    status: Option<&Status>,
    environment: &Environment,
    now: Timestamp,
) -> Result<EventToken, VerifyError> {
    verify_late_assignment(token, keyset, status, environment, now, MAX_LATE_SECONDS)
        .map(|(claims, kid)| EventToken::new(claims, kid))
}

impl EventToken {
    fn new(claims: AssignmentClaims, kid: KeyId) -> Self {
        let assigned = |(experiment, variant): (ExperimentKey, crate::sealing::AssignedVariant)| {
            // A reason that we do not know is not counted: a newer edge had its reason to name it apart.
            let counts = [Reason::Split, Reason::Sticky].iter().any(|reason| reason.as_str() == variant.r);
            (experiment, Assigned { variant: variant.v, xv: variant.xv, counts })
        };
        Self {
            unit: claims.sub,
            unit_type: claims.ut,
            issued: claims.iat,
            expires: claims.exp,
            kid,
            assignments: claims.a.into_iter().map(assigned).collect(),
        }
    }

    /// Whether a token that was verified earlier would still be: it is not too old, and its key is listed and not
    /// revoked.
    pub fn still_vouches(&self, keyset: &Keyset, status: Option<&Status>, now: Timestamp) -> bool {
        now < self.expires.plus_seconds(MAX_LATE_SECONDS)
            && keyset.find(self.kid.as_str()).is_some()
            && !status.is_some_and(|status| status.rev.contains(&self.kid))
    }

    /// How many experiments it names: what it weighs in memory.
    pub fn experiments(&self) -> usize {
        self.assignments.len()
    }

    pub(super) fn assigned(&self, experiment: &ExperimentKey) -> Option<&Assigned> {
        self.assignments.get(experiment)
    }
}
