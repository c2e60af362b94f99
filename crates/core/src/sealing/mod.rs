//! Everything that is signed: sealing, verifying, revoking and rotating.
//!
//! All signed things are compact JWS (RFC 7515) over UTF-8 JSON with Ed25519 (RFC 8037), told apart by `typ`:
//!
//! | kind | signed by | says |
//! | --- | --- | --- |
//! | [`TokenKind::Assignment`] | an *edge* key | which variants one unit has |
//! | [`TokenKind::Keyset`] | the pinned *root* key | which keys may sign the others |
//! | [`TokenKind::Snapshot`] | a *control* key | what an environment runs |
//! | [`TokenKind::Status`] | a *control* key | what is halted and revoked, for 30 seconds |
//!
//! [`seal()`] and [`Sealer`] write them; [`verify_assignment`], [`Keyset::verify`], [`verify_snapshot`] and
//! [`Status::verify`] read them, strictly and totally: every refusal is a [`VerifyError`] with a stable code.
//! What one has verified and written to one's own disk is read back with [`Keyset::verify_at_rest`],
//! [`Status::verify_at_rest`] and [`verify_snapshot_at_rest`], for which only time does not count.
//! [`rotation`] moves keys from published to retired without one failed verification. [`hmac_profile`] is the
//! shared-secret form for trusted servers.
//!
//! ```
//! use edgeseal_core::ids::{Environment, UnitId, UnitType};
//! use edgeseal_core::sealing::{
//!     Expected, KeyUse, Keyset, RotationPolicy, SecretKey, Signer, SubjectTag, TokenKind, rotation, seal,
//!     verify_assignment,
//! };
//! use edgeseal_core::time::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (production, user) = (Environment::parse("production")?, UnitType::parse("user")?);
//! let now = Timestamp::from_unix_seconds(1_800_000_000);
//! let edge = SecretKey::from_seed(&[7; 32]);
//! let keys = [rotation::first(KeyUse::Edge, edge.public(), now)];
//! let keyset = rotation::keyset_from(&keys, &production, 1, now, &RotationPolicy::default());
//!
//! let subject = SubjectTag::of(&production, &user, UnitId::parse("user-1")?);
//! let claims = format!(
//!     r#"{{"iss":"production","aud":"edgeseal:production","sub":"{subject}","ut":"user",
//!         "iat":1800000000,"exp":1800000900,"cv":1,"ep":0,"cd":"","a":{{}}}}"#
//! );
//! let token = seal(TokenKind::Assignment, claims.as_bytes(), &edge);
//!
//! let expected = Expected { environment: &production, subject, now, status: None, memory: None };
//! let verified = verify_assignment(&token, &keyset, &expected)?;
//! assert_eq!(verified.claims().cv, 1);
//! # Ok(())
//! # }
//! ```

mod assignment;
mod claims;
mod error;
pub mod hmac_profile;
mod jws;
mod keys;
mod keyset;
mod memory;
pub mod rotation;
mod snapshot;
mod status;
mod steps;
mod subject;
mod verify;

pub use assignment::{AssignedVariant, AssignmentClaims};
pub use error::{ClaimProblem, HaltCause, KeyRefusal, Malformation, RolledBack, TokenPart, VerifyError};
pub use hmac_profile::{HmacAssignment, HmacSecret, HmacSecretError, HmacSecrets, HmacSignError};
pub use jws::{JwsPrefix, Sealer, seal};
pub use keys::{KEY_BYTES, KeyId, PublicKey, PublicKeyError, SIGNATURE_BYTES, SecretKey, Signer};
pub use keyset::{KeyState, KeyUse, Keyset, KeysetKey};
pub use memory::{MAX_REMEMBERED_EXPERIMENTS, Memory};
pub use rotation::{KeyRecord, RetireStep, RotateStep, RotationError, RotationPolicy};
pub use snapshot::{verify_snapshot, verify_snapshot_at_rest};
pub use status::Status;
pub use steps::{Step, StepName, StepOutcome};
pub use subject::SubjectTag;
pub use verify::{
    Expected, VerifiedAssignments, check_signer, verify_assignment, verify_assignment_observed,
    verify_late_assignment,
};

/// How far apart two clocks may be: every time check allows this many seconds either way.
pub const CLOCK_SKEW_SECONDS: i64 = 60;
/// Longest assignment, keyset or status token, in bytes; longer ones are refused unread.
pub const MAX_TOKEN_BYTES: usize = 256 * 1024;
/// Longest snapshot token, in bytes; longer ones are refused unread.
pub const MAX_SNAPSHOT_TOKEN_BYTES: usize = 16 * 1024 * 1024;
/// Longest life of an assignment token, `exp - iat`, in seconds.
pub const MAX_TOKEN_LIFE_SECONDS: i64 = 3600;
/// Longest life of a keyset, `exp - iat`, in seconds: 30 days.
pub const MAX_KEYSET_LIFE_SECONDS: i64 = 30 * 24 * 3600;
/// Life of a status document, and the longest that is accepted, in seconds.
pub const STATUS_LIFE_SECONDS: i64 = 30;
/// How often a status document is signed anew, in seconds, even when nothing changed.
pub const STATUS_RESIGN_SECONDS: i64 = 10;
/// `iat` is floored to a multiple of this many seconds, so that equal requests give equal bytes.
pub const TOKEN_WINDOW_SECONDS: i64 = 60;
/// Most keys in a keyset; more are refused.
pub const MAX_KEYSET_KEYS: usize = 64;
/// Deepest nesting of claims: the rest of a snapshot's conditions and payloads stays well below.
pub const MAX_CLAIMS_DEPTH: usize = 64;
/// Largest integer in a claim, 2^53 - 1, so that JavaScript reads the same number.
pub const MAX_CLAIM_INTEGER: u64 = 9_007_199_254_740_991;

/// The four kinds of signed thing. The kind is in the header, under the signature, so none passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// The variants of one unit: *the* token.
    Assignment,
    /// The keys that may sign the other kinds.
    Keyset,
    /// The configuration of an environment.
    Snapshot,
    /// What is halted and revoked right now.
    Status,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Assignment, Self::Keyset, Self::Snapshot, Self::Status];

    /// The header's `typ`. Compared byte for byte (RFC 8725 §3.11), without the leniency of media types.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Assignment => "edgeseal-assignment+jwt",
            Self::Keyset => "edgeseal-keyset+jwt",
            Self::Snapshot => "edgeseal-snapshot+jwt",
            Self::Status => "edgeseal-status+jwt",
        }
    }

    /// Longest token of this kind, in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Snapshot => MAX_SNAPSHOT_TOKEN_BYTES,
            Self::Assignment | Self::Keyset | Self::Status => MAX_TOKEN_BYTES,
        }
    }

    /// Which keys of a keyset may sign this kind; `None` for the keyset itself, which the root signs.
    pub const fn signed_by(self) -> Option<KeyUse> {
        match self {
            Self::Assignment => Some(KeyUse::Edge),
            Self::Snapshot | Self::Status => Some(KeyUse::Control),
            Self::Keyset => None,
        }
    }
}

#[cfg(test)]
mod tests;
