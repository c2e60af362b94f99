//! Whom to ask: the control plane's address, the token, the environment.

use std::fmt;
use std::net::IpAddr;

use edgeseal_core::ids::Environment;
use reqwest::Url;

use super::token::ApiToken;
use crate::exit::{Failure, OrExit, Outcome};

/// A control plane, a token for it, and the environment to speak of.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where it is.
    pub(crate) control: ControlUrl,
    /// Who asks.
    pub(crate) token: ApiToken,
    /// What about; `None`: the control plane's default.
    pub(crate) environment: Option<Environment>,
}

/// The address of a control plane: `http` or `https`, nothing secret in it, no slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlUrl(Url);

impl ControlUrl {
    /// Reads what a person wrote.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let mut url = Url::parse(text).or_usage(|| {
            format!("'{text}' is no address of a control plane, such as https://edgeseal.example.com")
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Failure::usage(format_args!(
                "'{text}' is no address of a control plane: it begins with https:// (or http://)"
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::usage(
                "the address of the control plane holds a user name or password: leave them out, the token is enough",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Failure::usage(format_args!(
                "'{text}' is no address of a control plane: leave out what follows '?' or '#'"
            )));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(path.strip_suffix("/api/v1").unwrap_or(&path));
        Ok(Self(url))
    }

    /// An address below this one.
    pub(crate) fn join(&self, base: &str, path: &str, parameters: &[(&'static str, String)]) -> Url {
        let mut url = self.0.clone();
        let prefix = self.0.path().trim_end_matches('/');
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        url.set_path(&format!("{prefix}{base}{path}"));
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    /// Whether what is sent there can be read on the way.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let Some(host) = self.0.host_str() else { return false };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Refuses to send a token where others can read it, unless that was asked for.
    pub(crate) fn refuse_plain_http(&self, accepted: bool) -> Outcome<()> {
        if accepted || !self.is_plain() || self.is_loopback() {
            return Ok(());
        }
        Err(Failure::usage(format_args!(
            "'{self}' is plain http, and everybody on the way could read the token: use https, or accept it with \
             --insecure-http"
        )))
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(text: &str, path: &str) -> String {
        ControlUrl::parse(text).unwrap().join("api/v1", path, &[]).to_string()
    }

    #[test]
    fn addresses_are_joined_whatever_their_end_looks_like() {
        for text in ["https://c.example", "https://c.example/", "https://c.example/api/v1"] {
            assert_eq!(join(text, "/keys"), "https://c.example/api/v1/keys");
        }
        assert_eq!(
            join("http://localhost:8090/edgeseal/", "/keys"),
            "http://localhost:8090/edgeseal/api/v1/keys"
        );
        let url = ControlUrl::parse("https://c.example").unwrap();
        assert_eq!(url.to_string(), "https://c.example");
        let parameters = [("q", "a b&c".to_owned())];
        assert_eq!(url.join("api/v1", "/experiments", &parameters).query(), Some("q=a+b%26c"));
    }

    #[test]
    fn what_is_no_address_or_holds_a_secret_is_refused() {
        for bad in [
            "c.example",
            "ftp://c.example",
            "https://",
            "https://me:pass@c.example",
            "https://c.example/?token=x",
            "https://c.example/#x",
        ] {
            assert!(ControlUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let accepts =
            |text: &str, accepted| ControlUrl::parse(text).unwrap().refuse_plain_http(accepted).is_ok();
        for near in ["http://localhost:1", "http://127.0.0.1", "http://127.1.2.3:80", "http://[::1]:8090"] {
            assert!(accepts(near, false), "{near}");
        }
        for far in ["http://c.example", "http://10.0.0.1", "http://localhost.example", "http://[::2]"] {
            assert!(!accepts(far, false), "{far}");
            assert!(accepts(far, true), "{far}");
        }
        assert!(accepts("https://c.example", false));
    }
}
