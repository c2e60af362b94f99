//! The steps of a verification, and who hears of them.

use super::error::VerifyError;

/// One step of a verification, for people to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which check.
    pub name: StepName,
    /// How it went.
    pub outcome: StepOutcome,
    /// What was found, or why not; never the unit id.
    pub detail: String,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
pub enum StepOutcome {
    /// It holds.
    Passed,
    /// It does not, and the token is refused.
    Failed(VerifyError),
    /// Nobody looked.
    NotChecked {
        /// Why.
        why: &'static str,
    },
}

/// The checks, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepName {
    /// Three parts of canonical base64url with an acceptable header.
    Form,
    /// The `typ`.
    Type,
    /// A key of the keyset that may vouch for this type.
    Key,
    /// That key against the status document.
    Revocation,
    /// The signature.
    Signature,
    /// The shape of the claims.
    Claims,
    /// `exp`.
    Expiry,
    /// `iat` and `nbf`.
    Begin,
    /// `iss` and `aud`.
    Audience,
    /// `sub`.
    Subject,
    /// `cv` and `ep` against the memory.
    Rollback,
    /// Experiments against the status document.
    Halts,
}

impl StepName {
    /// Every step, in order.
    pub const ALL: [Self; 12] = [
        Self::Form,
        Self::Type,
        Self::Key,
        Self::Revocation,
        Self::Signature,
        Self::Claims,
        Self::Expiry,
        Self::Begin,
        Self::Audience,
        Self::Subject,
        Self::Rollback,
        Self::Halts,
    ];

    /// The step's name in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Type => "type",
            Self::Key => "key",
            Self::Revocation => "revocation",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Expiry => "expiry",
            Self::Begin => "begin",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::Rollback => "rollback",
            Self::Halts => "halts",
        }
    }
}

/// Who hears of the steps: nobody on the hot path, which then formats nothing, or a person.
pub(super) trait Observer {
    fn step<T>(
        &mut self,
        name: StepName,
        result: Result<T, VerifyError>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, VerifyError>;

    fn skip(&mut self, name: StepName, why: &'static str);
}

pub(super) struct Silent;

impl Observer for Silent {
    fn step<T>(
        &mut self,
        _: StepName,
        result: Result<T, VerifyError>,
        _: impl FnOnce(&T) -> String,
    ) -> Result<T, VerifyError> {
        result
    }

    fn skip(&mut self, _: StepName, _: &'static str) {}
}

pub(super) struct Telling<'a>(pub(super) &'a mut dyn FnMut(Step));

impl Observer for Telling<'_> {
    fn step<T>(
        &mut self,
        name: StepName,
        result: Result<T, VerifyError>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, VerifyError> {
        match &result {
            Ok(value) => (self.0)(Step { name, outcome: StepOutcome::Passed, detail: detail(value) }),
            Err(error) => {
                let outcome = StepOutcome::Failed(error.clone());
                (self.0)(Step { name, outcome, detail: error.to_string() });
                for later in StepName::ALL.into_iter().filter(|later| *later > name) {
                    self.skip(later, "an earlier step failed");
                }
            }
        }
        result
    }

    fn skip(&mut self, name: StepName, why: &'static str) {
        (self.0)(Step { name, outcome: StepOutcome::NotChecked { why }, detail: why.to_owned() });
    }
}
