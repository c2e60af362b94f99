//! Compact JWS (RFC 7515 §7.1): writing it cheaply and reading it strictly.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::error::{Malformation, TokenPart, shorten};
use super::keys::{KeyId, Signer};
use super::{MAX_TOKEN_BYTES, TokenKind};
use crate::json::{self, Limits};

/// Characters of a 64-byte signature in base64url.
const SIGNATURE_CHARS: usize = 86;
/// `{"alg":…}` is depth 1; anything deeper is refused anyway, this only bounds the work.
const MAX_HEADER_DEPTH: usize = 4;

/// Signs claims (UTF-8 JSON) as a token of the given kind.
///
/// The header is `{"alg":"EdDSA","kid":"…","typ":"…"}`, its members in exactly this order. Whoever signs many
/// tokens keeps a [`Sealer`] instead.
pub fn seal(kind: TokenKind, claims: &[u8], signer: &dyn Signer) -> String {
    let mut token = String::new();
    seal_with(&JwsPrefix::new(kind, signer.kid()), claims, signer, &mut token);
    token
}

/// One signer for one kind of token, with the header already encoded: the hot path of the edge.
///
/// Sealing costs one base64url of the claims, one signature, one base64url of the signature, and no allocation
/// when the buffer is large enough.
#[derive(Clone)]
pub struct Sealer {
    prefix: JwsPrefix,
    signer: Arc<dyn Signer>,
}

impl Sealer {
    /// Prepares `signer` for tokens of `kind`.
    pub fn new(kind: TokenKind, signer: Arc<dyn Signer>) -> Self {
        Self { prefix: JwsPrefix::new(kind, signer.kid()), signer }
    }

    /// The signed token over `claims` (UTF-8 JSON).
    pub fn seal(&self, claims: &[u8]) -> String {
        let mut token = String::new();
        self.seal_into(claims, &mut token);
        token
    }

    /// Appends the signed token to `out`.
    pub fn seal_into(&self, claims: &[u8], out: &mut String) {
        seal_with(&self.prefix, claims, self.signer.as_ref(), out);
    }

    /// The `kid` of the key that signs.
    pub fn kid(&self) -> &KeyId {
        self.signer.kid()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(kid {})", self.kid())
    }
}

/// The header's segment with its dot, constant for a kind and a key.
#[derive(Clone, Debug)]
pub struct JwsPrefix(Arc<str>);

impl JwsPrefix {
    /// Encodes the header.
    pub fn new(kind: TokenKind, kid: &KeyId) -> Self {
        // A `kid` is base64url and a `typ` is ours: neither needs escaping.
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{}"}}"#, kind.typ());
        let mut prefix = URL_SAFE_NO_PAD.encode(header);
        prefix.push('.');
        Self(prefix.into())
    }
}

fn seal_with(prefix: &JwsPrefix, claims: &[u8], signer: &dyn Signer, out: &mut String) {
    let start = out.len();
    let claims_chars = base64::encoded_len(claims.len(), false).unwrap_or(0);
    out.reserve(
        prefix.0.len().saturating_add(claims_chars).saturating_add(SIGNATURE_CHARS).saturating_add(1),
    );
    out.push_str(&prefix.0);
    URL_SAFE_NO_PAD.encode_string(claims, out);
    let signature = signer.sign(out.as_bytes().get(start..).unwrap_or_default());
    out.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, out);
}

/// A token taken apart, nothing believed yet.
#[derive(Debug)]
pub(super) struct Parts<'t> {
    pub(super) header: Header,
    /// The claims' bytes, unread: nobody parses what nobody signed.
    pub(super) claims: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// The exact transported bytes that the signature covers.
    pub(super) signed: &'t str,
}

/// The three members that a header must have; it may have no other.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: String,
    pub(super) typ: String,
}

impl<'t> Parts<'t> {
    /// Takes a token apart.
    ///
    /// Strict where JOSE libraries differ: three parts, unpadded canonical base64url, no white space, no
    /// duplicate members, no header member but `alg`, `kid` and `typ` (so no `crit`, `jku`, `jwk`, `x5u`, `x5c`).
    pub(super) fn parse(token: &'t str, max_bytes: usize) -> Result<Self, Malformation> {
        if token.len() > max_bytes {
            return Err(Malformation::TooLarge { bytes: token.len(), limit: max_bytes });
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformation::Parts { found: token.split('.').count() });
        };
        let decode =
            |text: &str, part| URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformation::Encoding { part });
        let signed = header.len().saturating_add(1).saturating_add(claims.len());
        Ok(Self {
            header: Header::parse(&decode(header, TokenPart::Header)?)?,
            claims: decode(claims, TokenPart::Claims)?,
            signature: decode(signature, TokenPart::Signature)?,
            signed: token.get(..signed).unwrap_or_default(),
        })
    }
}

/// Reads a token's header alone.
pub(super) fn header(token: &str) -> Result<Header, Malformation> {
    let (header, _) = token.split_once('.').ok_or(Malformation::Parts { found: 1 })?;
    if header.len() > MAX_TOKEN_BYTES {
        return Err(Malformation::TooLarge { bytes: header.len(), limit: MAX_TOKEN_BYTES });
    }
    let bytes = URL_SAFE_NO_PAD.decode(header);
    Header::parse(&bytes.map_err(|_| Malformation::Encoding { part: TokenPart::Header })?)
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Malformation> {
        let limits = Limits { max_bytes: bytes.len(), max_depth: MAX_HEADER_DEPTH };
        let header = json::parse(bytes, limits)
            .map_err(|error| Malformation::Json { part: TokenPart::Header, error })?;
        let Value::Object(mut members) = header else {
            return Err(Malformation::NotAnObject { part: TokenPart::Header });
        };
        let mut take = |name: &'static str| match members.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Malformation::HeaderMember { name }),
        };
        let header = Self { alg: take("alg")?, kid: take("kid")?, typ: take("typ")? };
        match members.keys().next() {
            None => Ok(header),
            Some(name) => Err(Malformation::ForeignHeaderMember { name: shorten(name) }),
        }
    }
}

#[cfg(test)]
mod tests;
