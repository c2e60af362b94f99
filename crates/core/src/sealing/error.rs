//! Why a token is refused. The codes are part of the protocol; the texts are for people.

use std::fmt;

use super::TokenKind;
use super::keys::{KeyId, PublicKeyError};
use super::keyset::KeyUse;
use super::subject::SubjectTag;
use crate::ids::ExperimentKey;
use crate::json::JsonError;
use crate::time::Timestamp;

/// Longest piece of a stranger's text that an error quotes, in characters.
const MAX_QUOTED_CHARS: usize = 48;

/// Why a token, or one experiment in it, must not be used. Ordered as checked: the first that applies is told.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// `E_MALFORMED`: not a token at all, or claims of the wrong shape under a good signature.
    #[error("this is not a well-formed token: {0}")]
    Malformed(Malformation),
    /// `E_TYPE`: a token of another kind.
    #[error("this token is of type '{found}', but '{}' was expected: it was made for another purpose", .expected.typ())]
    Type {
        /// The kind that was asked for.
        expected: TokenKind,
        /// The header's `typ`, shortened.
        found: String,
    },
    /// `E_KEY`: no key that may vouch for this token.
    #[error("no trusted key may vouch for this token: {0}")]
    Key(KeyRefusal),
    /// `E_SIGNATURE`: not signed by the key it names.
    #[error("the signature does not fit: the token was changed on its way, or forged")]
    Signature,
    /// `E_EXPIRED`: `exp` has passed, clock skew included.
    #[error("this token expired at {} and it is {}: fetch a fresh one", .expired_at.unix_seconds(), .now.unix_seconds())]
    Expired {
        /// The token's `exp`.
        expired_at: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// `E_NOT_YET`: `iat` or `nbf` lies in the future, clock skew included.
    #[error("this token begins at {} and it is only {}: check this machine's clock", .valid_from.unix_seconds(), .now.unix_seconds())]
    NotYet {
        /// The later of the token's `iat` and `nbf`.
        valid_from: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// `E_AUDIENCE`: made for another environment.
    #[error(
        "this token's '{claim}' is '{found}', but '{expected}' was expected: it belongs to another environment"
    )]
    Audience {
        /// `iss` or `aud`.
        claim: &'static str,
        /// What it had to be.
        expected: String,
        /// What it is, shortened.
        found: String,
    },
    /// `E_SUBJECT`: a *leak*, a token of another unit.
    #[error("this token belongs to another unit: its subject tag is {found}, this unit's is {expected}")]
    Subject {
        /// The tag of the unit that asks.
        expected: SubjectTag,
        /// The tag in the token.
        found: SubjectTag,
    },
    /// `E_ROLLBACK`: older than what this client has already accepted.
    #[error("this is older than what was already accepted: {what} is {found}, but {seen} was seen before")]
    Rollback {
        /// What went backwards.
        what: RolledBack,
        /// The version that was offered.
        found: u64,
        /// The version in memory.
        seen: u64,
    },
    /// `E_HALTED`: the experiment was halted, or this version of it.
    #[error("experiment '{experiment}' must not be shown: {cause}")]
    Halted {
        /// Which experiment.
        experiment: ExperimentKey,
        /// Why.
        cause: HaltCause,
    },
}

impl VerifyError {
    /// Every code, in the order of the variants.
    pub const CODES: [&'static str; 10] = [
        "E_MALFORMED",
        "E_TYPE",
        "E_KEY",
        "E_SIGNATURE",
        "E_EXPIRED",
        "E_NOT_YET",
        "E_AUDIENCE",
        "E_SUBJECT",
        "E_ROLLBACK",
        "E_HALTED",
    ];

    /// The stable code, the same in every language.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "E_MALFORMED",
            Self::Type { .. } => "E_TYPE",
            Self::Key(_) => "E_KEY",
            Self::Signature => "E_SIGNATURE",
            Self::Expired { .. } => "E_EXPIRED",
            Self::NotYet { .. } => "E_NOT_YET",
            Self::Audience { .. } => "E_AUDIENCE",
            Self::Subject { .. } => "E_SUBJECT",
            Self::Rollback { .. } => "E_ROLLBACK",
            Self::Halted { .. } => "E_HALTED",
        }
    }
}

/// What makes a token malformed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Malformation {
    /// More bytes than a token of its kind may have.
    #[error("it has {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Not three parts.
    #[error("it has {found} dot-separated parts instead of 3")]
    Parts {
        /// How many parts it has.
        found: usize,
    },
    /// A part is not canonical unpadded base64url.
    #[error("its {part} is not unpadded, canonical base64url")]
    Encoding {
        /// Which part.
        part: TokenPart,
    },
    /// A part is not strict JSON.
    #[error("its {part} is not acceptable JSON: {error}")]
    Json {
        /// Which part.
        part: TokenPart,
        /// What the JSON reader said.
        error: JsonError,
    },
    /// A part is JSON, but no object.
    #[error("its {part} is not a JSON object")]
    NotAnObject {
        /// Which part.
        part: TokenPart,
    },
    /// A required header member is missing or not a string.
    #[error("its header lacks the text member '{name}'")]
    HeaderMember {
        /// Which member.
        name: &'static str,
    },
    /// The header has a member besides `alg`, `kid` and `typ`, such as `crit`, `jku`, `jwk` or `x5c`.
    #[error("its header has the member '{name}', and only alg, kid and typ are allowed")]
    ForeignHeaderMember {
        /// Which member, shortened.
        name: String,
    },
    /// A claim is missing or unusable.
    #[error("its claim '{claim}' {problem}")]
    Claim {
        /// Path of the claim, parts joined with `/`: `a/checkout/xv`.
        claim: String,
        /// What is wrong with it.
        problem: ClaimProblem,
    },
}

/// What is wrong with a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimProblem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It has another type.
    #[error("is not {expected}")]
    WrongType {
        /// What it must be, with its article: `a string`.
        expected: &'static str,
    },
    /// `exp` is not after `iat`.
    #[error("is not later than iat")]
    EndsBeforeItBegins,
    /// `exp - iat` is above the bound for this kind.
    #[error("makes a life of {seconds} seconds, more than the {limit} allowed")]
    LivesTooLong {
        /// `exp - iat`, in seconds.
        seconds: i64,
        /// The most allowed, in seconds.
        limit: i64,
    },
    /// The same `kid` twice in a keyset.
    #[error("repeats the key id {0}")]
    Repeated(KeyId),
    /// A key whose `kid` is not its thumbprint.
    #[error("is not the thumbprint of its key, which is {0}")]
    NotTheThumbprint(KeyId),
    /// A key that cannot be used.
    #[error("{0}")]
    Key(PublicKeyError),
    /// Too many entries.
    #[error("has {found} entries, more than the {limit} allowed")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// Why no key vouches for a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The header's `alg` is not the key's. The key decides (RFC 8725 §3.1), the header only has to agree.
    #[error("its header asks for the algorithm '{found}', but the keys are Ed25519 ('EdDSA')")]
    Algorithm {
        /// The header's `alg`, shortened.
        found: String,
    },
    /// No such key in the keyset.
    #[error("key '{kid}' is not in the keyset: fetch the newest keyset if the token may be newer")]
    Unknown {
        /// The header's `kid`, shortened.
        kid: String,
    },
    /// A keyset that another root signed.
    #[error("it names the root key '{kid}', but the pinned root key is {pinned}")]
    ForeignRoot {
        /// The header's `kid`, shortened.
        kid: String,
        /// The pinned root's `kid`.
        pinned: KeyId,
    },
    /// The key has been retired.
    #[error("key {kid} is retired")]
    Retired {
        /// Which key.
        kid: KeyId,
    },
    /// The key may sign other kinds only.
    #[error("key {kid} is for '{}' tokens and may not sign '{}'", .use_.as_str(), .kind.typ())]
    WrongUse {
        /// Which key.
        kid: KeyId,
        /// What it is for.
        use_: KeyUse,
        /// What it signed.
        kind: TokenKind,
    },
    /// The key is not valid yet.
    #[error("key {kid} is valid only from {}", .nbf.unix_seconds())]
    NotYetValid {
        /// Which key.
        kid: KeyId,
        /// Its `nbf`.
        nbf: Timestamp,
    },
    /// The key is no longer valid.
    #[error("key {kid} was valid until {}", .exp.unix_seconds())]
    NoLongerValid {
        /// Which key.
        kid: KeyId,
        /// Its `exp`.
        exp: Timestamp,
    },
    /// The status document revokes the key.
    #[error("key {kid} was revoked by the status document of epoch {ep}")]
    Revoked {
        /// Which key.
        kid: KeyId,
        /// The epoch of the status document.
        ep: u64,
    },
    /// The keyset at hand is another environment's.
    #[error("the keyset at hand is for environment '{keyset}', not '{expected}'")]
    ForeignKeyset {
        /// The keyset's environment.
        keyset: String,
        /// The environment that was expected.
        expected: String,
    },
    /// HMAC profile: neither the current nor the previous secret.
    #[error("secret version {version} is neither the current nor the previous one")]
    UnknownSecret {
        /// The message's `secretVersion`.
        version: u64,
    },
}

/// A version that went backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// `cv` of a token.
    SnapshotVersion,
    /// `ep` of a token.
    TokenEpoch,
    /// `ep` of a status document.
    StatusEpoch,
    /// `ver` of a keyset.
    KeysetVersion,
    /// `xv` of one experiment.
    ExperimentVersion(ExperimentKey),
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SnapshotVersion => f.write_str("its snapshot version (cv)"),
            Self::TokenEpoch => f.write_str("its status epoch (ep)"),
            Self::StatusEpoch => f.write_str("the status document's epoch (ep)"),
            Self::KeysetVersion => f.write_str("the keyset's version (ver)"),
            Self::ExperimentVersion(key) => write!(f, "the version (xv) of experiment '{key}'"),
        }
    }
}

/// Why an experiment counts as halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HaltCause {
    /// Listed in `off`.
    #[error("it is halted since status epoch {ep}")]
    Off {
        /// Epoch of the status document that says so.
        ep: u64,
    },
    /// Below `min`.
    #[error("its version {version} is below {min}, the lowest still valid")]
    BelowMinimum {
        /// The token's `xv`.
        version: u64,
        /// The status document's `min`.
        min: u64,
    },
}

/// One of the three parts of a compact JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

/// A stranger's text, fit to be quoted: short, and without control characters.
pub(super) fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut short: String = text.chars().take(MAX_QUOTED_CHARS).map(clean).collect();
    if short.len() < text.len() && text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        short.push('…');
    }
    short
}
