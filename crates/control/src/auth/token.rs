//! API tokens: `edgeseal_<id>_<secret>`.
//!
//! The id names the token in lists, logs and the audit log; the secret is 32 random bytes. The store keeps SHA-256 of
//! the secret's text: with 256 random bits there is nothing to guess, so a slow password hash would only slow us down.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgeseal_core::ids::Environment;
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Actor, ApiToken, TOKEN_HASH_BYTES};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Scope;

/// What every token begins with, so that scanners find leaked ones.
const PREFIX: &str = "edgeseal_";
/// Characters of a token's id.
pub(crate) const ID_CHARS: usize = 16;
/// Random bytes of a token's secret, and their characters in base64url.
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;
/// Id of an installation's first token.
const FIRST_ID: &str = "firstadmintoken1";
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A token as its owner presents it. Borrowed and without `Debug`: the secret goes nowhere.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    id: &'a str,
    secret: &'a str,
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The only environment it is good for; `None`: all of them.
    pub environment: Option<Environment>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes: check its random device, then try again")]
pub struct NoRandomness;

impl<'a> Token<'a> {
    /// Takes a token apart; `None` unless it has exactly the right form.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(ID_CHARS)?;
        let secret = secret.strip_prefix('_')?;
        let secret_fits = secret.len() == SECRET_CHARS
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (is_id(id) && secret_fits).then_some(Self { id, secret })
    }

    /// The public part.
    pub fn id(self) -> &'a str {
        self.id
    }

    /// Whether `stored` is the record of this very token; takes as long whatever differs.
    pub fn matches(self, stored: &ApiToken) -> bool {
        hash(self.secret).ct_eq(&stored.hash).into()
    }

    /// Draws a token: the record to store, and the text that only its owner gets to see.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(
        new: NewToken,
        creator: &Actor,
        now: Timestamp,
    ) -> Result<(ApiToken, Zeroizing<String>), NoRandomness> {
        let mut bytes = [0; ID_CHARS];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        let id = bytes
            .iter()
            .filter_map(|byte| ID_ALPHABET.get(usize::from(byte & 31)))
            .map(|&character| char::from(character))
            .collect();
        Self::with_id(id, new, creator, now)
    }

    /// The same, under the id of an installation's first token.
    pub(super) fn generate_first(
        new: NewToken,
        creator: &Actor,
        now: Timestamp,
    ) -> Result<(ApiToken, Zeroizing<String>), NoRandomness> {
        Self::with_id(FIRST_ID.to_owned(), new, creator, now)
    }

    fn with_id(
        id: String,
        new: NewToken,
        creator: &Actor,
        now: Timestamp,
    ) -> Result<(ApiToken, Zeroizing<String>), NoRandomness> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let text = Zeroizing::new(format!("{PREFIX}{id}_{}", secret.as_str()));
        let record = ApiToken {
            id,
            name: new.name,
            scope: new.scope.as_str().to_owned(),
            environment: new.environment,
            hash: hash(&secret),
            created_at: now,
            created_by: creator.clone(),
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        Ok((record, text))
    }
}

/// Whether `text` could be a token's id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn hash(secret: &str) -> [u8; TOKEN_HASH_BYTES] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (ApiToken, Zeroizing<String>) {
        let new = NewToken { name: "ci".into(), scope: Scope::Viewer, environment: None, expires_at: None };
        let creator = Actor { id: "system".into(), name: "system".into() };
        Token::generate(new, &creator, Timestamp::from_unix_seconds(1)).unwrap()
    }

    #[test]
    fn a_token_matches_its_record_and_no_other() {
        let ((record, text), (other, _)) = (fresh(), fresh());
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.id(), record.id);
        assert!(token.matches(&record));
        assert!(!token.matches(&other));
    }

    #[test]
    fn the_record_holds_no_secret() {
        let (record, text) = fresh();
        let secret = &text[PREFIX.len() + ID_CHARS + 1..];
        assert!(!format!("{record:?}").contains(secret));
        assert!(!record.hash.iter().zip(secret.bytes()).all(|(stored, sent)| *stored == sent));
    }

    #[test]
    fn only_the_exact_form_is_a_token() {
        let (_, text) = fresh();
        for bad in [
            "",
            "edgeseal_",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{}a", *text),
            &format!(" {}", *text),
            &text.to_uppercase(),
            &text.replace("edgeseal_", "edgeseal-"),
            "edgeseal_éééééééé_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "edgeseal_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=a",
        ] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
