//! An API token on this side: read from a file, standard input or the terminal, and never shown again.

use std::fmt;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::data_dir::read_bounded;
use crate::exit::{Failure, OrExit, Outcome};

/// Longest text that is looked at for a token: the token, a line end, and an ample margin.
const MAX_TEXT_BYTES: u64 = 1_024;
const PREFIX: &str = "edgeseal_";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 43;

/// `edgeseal_<id>_<secret>`. Neither it nor the text that was refused as one is ever quoted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiToken(Zeroizing<String>);

impl ApiToken {
    /// Checks the form, so that a half-copied token is noticed before it is sent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good = id.len() == ID_BYTES
            && id.bytes().all(lower)
            && secret.len() == SECRET_BYTES
            && secret.bytes().all(base64url);
        good.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Reads it from a file; `-` is standard input.
    pub(crate) fn from_file(path: &Path) -> Outcome<Self> {
        if path.as_os_str() == "-" {
            return Self::from_stdin();
        }
        let attempt = || format!("cannot read the API token from '{}'", path.display());
        let text = Zeroizing::new(read_bounded(path, MAX_TEXT_BYTES).or_unreachable(attempt)?);
        Self::of_bytes(&text, &format!("'{}'", path.display()))
    }

    /// Asks for it on the terminal without showing it, or takes it from what is piped in.
    pub(crate) fn ask() -> Outcome<Self> {
        if !io::stdin().is_terminal() {
            return Self::from_stdin();
        }
        let text = rpassword::prompt_password("API token (not shown): ");
        let text = Zeroizing::new(text.or_unreachable(|| "cannot read the API token from the terminal")?);
        Self::of_bytes(text.as_bytes(), "what was typed")
    }

    fn from_stdin() -> Outcome<Self> {
        let mut text = Zeroizing::new(Vec::new());
        io::stdin()
            .take(MAX_TEXT_BYTES)
            .read_to_end(&mut text)
            .or_unreachable(|| "cannot read the API token from standard input")?;
        Self::of_bytes(&text, "standard input")
    }

    fn of_bytes(text: &[u8], origin: &str) -> Outcome<Self> {
        std::str::from_utf8(text).ok().and_then(Self::parse).ok_or_else(|| {
            Failure::usage(format_args!(
                "{origin} holds no API token: it looks like edgeseal_<{ID_BYTES} characters>_<{SECRET_BYTES} \
                 characters>, and must be copied whole"
            ))
        })
    }

    /// The value of `Authorization`, marked so that no log shows it.
    pub(super) fn header(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        // The alphabet was checked, so it is always a header value.
        let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }

    /// The text, for the login file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_taken_and_none_is_shown() {
        let secret = "A-_".repeat(14) + "z";
        let good = format!("edgeseal_0123456789abcdef_{secret}");
        let token = ApiToken::parse(&format!(" {good}\n")).unwrap();
        assert_eq!(token.expose(), good);
        assert!(!format!("{token:?} {:?}", token.header()).contains(&secret));
        for bad in [
            "",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &good.replace("0123", "ABCD"),
            &good.replace("z", " "),
            &format!("Bearer {good}"),
        ] {
            assert!(ApiToken::parse(bad).is_none(), "{bad}");
        }
    }
}
