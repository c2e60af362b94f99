//! Version strings, compared as `$veq $vne $vgt $vgte $vlt $vlte` do.
//!
//! The order is that of Semantic Versioning 2.0 (section 11) where both sides follow it, and total for everything else:
//! a leading `v` and build data (`+…`) are dropped, and the rest is split at every `.` and `-`. Digits compare as
//! numbers of any length and come before text; text compares by its bytes; a version that ends first comes first,
//! except that exactly three parts are a release and come after all their pre-releases.

use std::cmp::Ordering;

/// A version to compare attributes with.
#[derive(Debug, Clone)]
pub(super) struct Version(Box<str>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    // In ascending order. Numbers without leading zeros compare by length, then by digits.
    Number { digits: usize, text: &'a str },
    Text(&'a str),
    Release,
}

impl Version {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// How `text` compares with this version.
    pub(super) fn order_of(&self, text: &str) -> Ordering {
        parts(text).cmp(parts(&self.0))
    }
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _build)| version);
    let split = || text.split(['.', '-']);
    let release = split().count() == 3;
    split().map(part).chain(release.then_some(Part::Release))
}

fn part(text: &str) -> Part<'_> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Part::Text(text);
    }
    let text = text.trim_start_matches('0');
    Part::Number { digits: text.len(), text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(left: &str, right: &str) -> Ordering {
        Version::new(right).order_of(left)
    }

    #[test]
    fn orders_versions_as_people_expect() {
        let ascending = [
            "0.9.9",
            "0.10.0-rc.1",
            "0.10.0",
            "1.0.0-9",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.1.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "99999.0.0",
            "100000.0.0",
            "99999999999999999999999.0.0",
            "beta",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&other), "{left} and {right}");
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for spelling in ["v1.2.3", "1.2.3+build.5", "v1.2.3+a-b", "1-2-3", "01.2.003"] {
            assert_eq!(compare(spelling, "1.2.3"), Ordering::Equal, "{spelling}");
        }
        assert_eq!(compare("1.2", "1.2.0"), Ordering::Less, "two parts are no release");
    }

    proptest! {
        #[test]
        fn is_a_total_order(texts in prop::collection::vec("[v0-9a-b.+~é-]{0,8}", 3)) {
            let [a, b, c] = [&*texts[0], &*texts[1], &*texts[2]];
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }
}
