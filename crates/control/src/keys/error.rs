//! What can be wrong with keys at rest.

use edgeseal_core::ids::Environment;

/// Why a key ring or the master key cannot be used. Secrets are never quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The master key has the wrong length.
    #[error("a master key has 32 random bytes, but this one has {bytes}")]
    MasterKey {
        /// How many it has.
        bytes: usize,
    },
    /// The text is no key ring.
    #[error("the key ring is unreadable: {detail}; restore it from a backup")]
    Unreadable {
        /// What is wrong; names members, quotes no values.
        detail: String,
    },
    /// Written by a newer version.
    #[error("the key ring has format {found}, and this version reads {known}: use a newer edgeseal")]
    Format {
        /// Its format.
        found: u32,
        /// The format that this code reads.
        known: u32,
    },
    /// The keys of another environment.
    #[error("the key ring is of environment '{theirs}', not of '{ours}': restore the right one")]
    OtherEnvironment {
        /// Where it was found.
        ours: Environment,
        /// Whose it is.
        theirs: Environment,
    },
    /// A secret does not open.
    #[error(
        "the private half of {what} cannot be decrypted: this master key is not the one that encrypted it, or the key \
         ring was altered; restore the matching pair from a backup"
    )]
    Undecryptable {
        /// Whose: `edge key <kid>`.
        what: String,
    },
    /// Nothing signs for this use.
    #[error("the key ring has no active {what}: restore it from a backup")]
    NothingActive {
        /// What is missing: `edge key`.
        what: &'static str,
    },
    /// A published key has no private half.
    #[error("key {kid} has no private half: restore the key ring from a backup")]
    NoPrivateHalf {
        /// Which one.
        kid: String,
    },
    /// A keyset could not list one more.
    #[error("there are {limit} keys that are not retired, which is the most: retire some before rotating")]
    TooManyKeys {
        /// How many there may be.
        limit: usize,
    },
    /// The crypto library failed.
    #[error("the crypto library failed while {attempt}")]
    Crypto {
        /// What was being attempted.
        attempt: &'static str,
    },
}

/// Why a rotation of the HMAC secret is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HmacRotateError {
    /// Somebody may still depend on the state that this would end.
    #[error("too early for HMAC secret {version}: {why}; wait {wait_seconds} more seconds, or force it")]
    TooEarly {
        /// Which secret.
        version: u32,
        /// Seconds left.
        wait_seconds: i64,
        /// What the wait protects.
        why: &'static str,
    },
    /// There is no previous secret.
    #[error("no HMAC secret is retiring: rotate first")]
    NothingToRetire,
}
