//! What caches are told: lifetimes, entity tags, cache tags. Every response says something; silence would let some
//! caches keep an answer for their default time.

use std::cell::RefCell;

use edgeseal_core::ids::Environment;
use edgeseal_core::ruleset::Ruleset;
use edgeseal_core::time::Timestamp;
use http::header::{CACHE_CONTROL, ETAG, HeaderName, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use crate::config::{CdnProfile, TOKEN_MAX_AGE_SECONDS};

/// Most bytes of a cache-tag header. Beyond it only the environment is tagged: purging by experiment then needs a
/// purge by environment, and no proxy's header buffer overflows.
const MAX_CACHE_TAG_BYTES: usize = 4 * 1024;

/// For answers that belong to one request only.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// For a token that anybody may keep until it expires: browsers briefly, shared caches to the end. Once the end has
/// come nothing is kept.
pub(crate) fn until_expiry(now: Timestamp, expires_at: Timestamp) -> HeaderValue {
    thread_local! {
        // All tokens of a window expire together, so within a second nearly all answers share this value.
        static LAST: RefCell<(i64, HeaderValue)> = const { RefCell::new((0, NO_STORE)) };
    }
    let seconds = expires_at.seconds_since(now);
    if seconds <= 0 {
        return NO_STORE;
    }
    LAST.with_borrow_mut(|(last_seconds, value)| {
        if *last_seconds != seconds {
            let max_age = seconds.min(TOKEN_MAX_AGE_SECONDS);
            *value = format!("public, max-age={max_age}, s-maxage={seconds}").try_into().unwrap_or(NO_STORE);
            *last_seconds = seconds;
        }
        value.clone()
    })
}

/// A strong entity tag around `text`, which must be base64url or hex.
pub(crate) fn entity_tag(text: &str) -> HeaderValue {
    let mut quoted = String::with_capacity(text.len() + 2);
    for part in ["\"", text, "\""] {
        quoted.push_str(part);
    }
    HeaderValue::try_from(quoted).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client already holds what `etag` names (RFC 9110 §13.1.2: weak comparison, `*` matches).
pub(crate) fn is_held(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut fields = headers.get_all(IF_NONE_MATCH).iter().peekable();
    if fields.peek().is_none() {
        return false;
    }
    let ours = etag.as_bytes();
    fields.any(|field| {
        field.as_bytes().split(|&byte| byte == b',').any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag == ours || tag.strip_prefix(b"W/").is_some_and(|tag| tag == ours)
        })
    })
}

/// Keeps of a full answer's headers what a 304 must repeat (RFC 9110 §15.4.5).
pub(crate) fn set_validators(headers: &mut HeaderMap, cache_control: HeaderValue, etag: HeaderValue) {
    headers.insert(CACHE_CONTROL, cache_control);
    headers.insert(ETAG, etag);
}

/// The cache-tag header of one published ruleset, written once.
#[derive(Clone, Debug)]
pub(crate) struct CacheTags(Option<(HeaderName, HeaderValue)>);

impl CacheTags {
    /// Tags every experiment, not only those that the unit is in: a change of any of them can change the answer.
    pub(crate) fn new(profile: CdnProfile, ruleset: &Ruleset) -> Self {
        let (name, separator) = match profile {
            CdnProfile::None => return Self(None),
            CdnProfile::Cloudflare => (HeaderName::from_static("cache-tag"), ","),
            CdnProfile::Fastly => (HeaderName::from_static("surrogate-key"), " "),
        };
        let value = tags(ruleset.environment(), separator, |tags| {
            for experiment in ruleset.experiments() {
                tags(experiment.key().as_str());
            }
        });
        Self(HeaderValue::try_from(value).ok().map(|value| (name, value)))
    }

    /// Adds the header, if the profile has one.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.0 {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn tags(
    environment: &Environment,
    separator: &str,
    experiments: impl FnOnce(&mut dyn FnMut(&str)),
) -> String {
    let only_environment = format!("env-{environment}");
    let mut all = only_environment.clone();
    experiments(&mut |key| {
        all.push_str(separator);
        all.push_str("exp-");
        all.push_str(key);
    });
    if all.len() <= MAX_CACHE_TAG_BYTES { all } else { only_environment }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn no_lifetime_exceeds_the_time_to_expiry() {
        assert_eq!(until_expiry(at(0), at(3600)), "public, max-age=30, s-maxage=3600");
        assert_eq!(until_expiry(at(0), at(30)), "public, max-age=30, s-maxage=30");
        assert_eq!(until_expiry(at(0), at(1)), "public, max-age=1, s-maxage=1");
        assert_eq!(until_expiry(at(0), at(0)), "no-store");
        assert_eq!(until_expiry(at(5), at(0)), "no-store");
    }

    #[test]
    fn a_held_entity_tag_is_found_among_several() {
        let etag = entity_tag("abc");
        for (sent, held) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("\"abcd\"", false),
            ("abc", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(sent));
            assert_eq!(is_held(&headers, &etag), held, "{sent}");
        }
        assert!(!is_held(&HeaderMap::new(), &etag));
    }

    #[test]
    fn tags_name_the_environment_and_each_experiment() {
        let production = Environment::parse("production").unwrap();
        let two = |tag: &mut dyn FnMut(&str)| ["a", "b"].into_iter().for_each(tag);
        assert_eq!(tags(&production, ",", two), "env-production,exp-a,exp-b");
        assert_eq!(tags(&production, " ", two), "env-production exp-a exp-b");
    }

    #[test]
    fn too_many_experiments_leave_only_the_environment() {
        let production = Environment::parse("production").unwrap();
        let many = |tag: &mut dyn FnMut(&str)| (0..1_000).for_each(|_| tag("experiment"));
        assert_eq!(tags(&production, ",", many), "env-production");
    }
}
