//! What the headers of a cacheable answer must say, so that no cache has to guess.

use edgeseal_core::sealing::CLOCK_SKEW_SECONDS;
use reqwest::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, SET_COOKIE, VARY};

/// A way in which headers invite a leak; counted, not repeated per answer.
pub(super) type HeaderProblem = &'static str;

/// Problems of an assignment token's headers; `seconds_left` is the life that the token still has.
pub(super) fn of_token(headers: &HeaderMap, seconds_left: i64) -> Vec<HeaderProblem> {
    let mut problems = common(headers);
    if !headers.contains_key(ETAG) {
        problems.push("no ETag: a cache cannot revalidate");
    }
    if !lists(headers, VARY, "accept-encoding") {
        problems.push("Vary does not name Accept-Encoding: a cache may hand out the wrong encoding");
    }
    let shared = directive(headers, "s-maxage").and_then(|seconds| seconds.parse::<i64>().ok());
    if shared.is_some_and(|seconds| seconds > seconds_left + CLOCK_SKEW_SECONDS) {
        problems.push("s-maxage reaches beyond the token's expiry: a cache would serve expired tokens");
    }
    problems
}

/// Problems of an answer that depends on the header `x-user-id`.
pub(super) fn of_identified(headers: &HeaderMap) -> Vec<HeaderProblem> {
    let mut problems = common(headers);
    let stored = !lists(headers, CACHE_CONTROL, "no-store");
    if stored && !lists(headers, VARY, "x-user-id") {
        problems.push("Vary does not name x-user-id: a cache will hand one user's answer to another");
    }
    problems
}

fn common(headers: &HeaderMap) -> Vec<HeaderProblem> {
    let mut problems = Vec::new();
    if !headers.contains_key(CACHE_CONTROL) {
        problems.push("no Cache-Control: caches fall back on guesses");
    }
    if headers.contains_key(SET_COOKIE) {
        problems.push("Set-Cookie on a cacheable route: a cache may hand one user's cookie to another");
    }
    if lists(headers, VARY, "*") {
        problems.push("Vary: * is ignored by some caches and defeats the others");
    }
    problems
}

fn lists(headers: &HeaderMap, name: HeaderName, member: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(member))
}

fn directive<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    value.split(',').find_map(|item| {
        let (directive, argument) = item.trim().split_once('=')?;
        directive.eq_ignore_ascii_case(name).then_some(argument)
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn good() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=30, s-maxage=900"));
        headers.insert(VARY, HeaderValue::from_static("Origin, Accept-Encoding"));
        headers.insert(ETAG, HeaderValue::from_static("\"a\""));
        headers
    }

    #[test]
    fn explicit_headers_have_no_problem() {
        assert!(of_token(&good(), 900).is_empty());
    }

    #[test]
    fn each_missing_or_dangerous_header_is_named() {
        for (change, word) in [
            ((CACHE_CONTROL, None), "Cache-Control"),
            ((ETAG, None), "ETag"),
            ((VARY, None), "Accept-Encoding"),
            ((SET_COOKIE, Some("a=b")), "Set-Cookie"),
            ((VARY, Some("*")), "Vary: *"),
            ((CACHE_CONTROL, Some("public, s-maxage=3600")), "beyond"),
        ] {
            let mut headers = good();
            match change {
                (name, None) => drop(headers.remove(name)),
                (name, Some(value)) => drop(headers.insert(name, HeaderValue::from_static(value))),
            }
            let problems = of_token(&headers, 900);
            assert!(problems.iter().any(|problem| problem.contains(word)), "{word}: {problems:?}");
        }
    }

    #[test]
    fn an_identified_answer_must_vary_by_the_identity() {
        assert_eq!(of_identified(&good()).len(), 1);
    }
}
