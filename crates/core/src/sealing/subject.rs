//! Whom a token belongs to: the tag that stands for a unit inside everything that is signed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ids::{Environment, UnitId, UnitType};

/// Bytes of a subject tag: 128 bits, so that no two units of an environment meet by chance.
const TAG_BYTES: usize = 16;
/// Separates this hash from every other use of SHA-256.
const DOMAIN: &[u8] = b"edgeseal/sub/1";

/// The claim `sub`: the first 16 bytes of SHA-256(`edgeseal/sub/1` ‖ 0 ‖ environment ‖ 0 ‖ unit type ‖ 0 ‖ unit id).
///
/// The client computes its own tag and compares: a different one means that somebody else's answer arrived.
/// A tag is a pseudonym, not a secret: whoever can guess the unit id can compute it.
///
/// ```
/// use edgeseal_core::ids::{Environment, UnitId, UnitType};
/// use edgeseal_core::sealing::SubjectTag;
///
/// # fn main() -> Result<(), edgeseal_core::ids::NameError> {
/// let production = Environment::parse("production")?;
/// let user = UnitType::parse("user")?;
/// let tag = SubjectTag::of(&production, &user, UnitId::parse("user-1")?);
/// assert!(tag.ct_eq(&SubjectTag::parse(&tag.to_string()).unwrap_or(tag)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectTag([u8; TAG_BYTES]);

impl SubjectTag {
    /// The tag of one unit. No name can hold a NUL, so no two triples give the same input.
    pub fn of(environment: &Environment, unit_type: &UnitType, unit: UnitId<'_>) -> Self {
        let mut hash = Sha256::new();
        for part in [DOMAIN, environment.as_str().as_bytes(), unit_type.as_str().as_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(unit.as_str().as_bytes());
        let mut tag = [0; TAG_BYTES];
        for (to, from) in tag.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(tag)
    }

    /// Reads a tag back from its 22 characters of base64url; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Takes the 16 bytes back.
    pub const fn from_bytes(bytes: [u8; TAG_BYTES]) -> Self {
        Self(bytes)
    }

    /// Equality in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; TAG_BYTES] {
        &self.0
    }
}

impl fmt::Display for SubjectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SubjectTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SubjectTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a subject tag"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(environment: &str, unit_type: &str, unit: &str) -> SubjectTag {
        SubjectTag::of(
            &Environment::parse(environment).unwrap(),
            &UnitType::parse(unit_type).unwrap(),
            UnitId::parse(unit).unwrap(),
        )
    }

    #[test]
    fn environment_type_and_id_all_count() {
        let tags = [
            tag("production", "user", "user-1"),
            tag("staging", "user", "user-1"),
            tag("production", "device", "user-1"),
            tag("production", "user", "user-2"),
        ];
        for (place, one) in tags.iter().enumerate() {
            for (other_place, other) in tags.iter().enumerate() {
                assert_eq!(one.ct_eq(other), place == other_place);
            }
        }
    }

    #[test]
    fn text_form_is_22_characters_and_reads_back() {
        let tag = tag("production", "user", "用户");
        assert_eq!(tag.to_string().len(), 22);
        assert_eq!(SubjectTag::parse(&tag.to_string()), Some(tag));
    }

    #[test]
    fn refuses_other_lengths_padding_and_stray_bits() {
        for bad in
            ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA+"]
        {
            assert_eq!(SubjectTag::parse(bad), None, "{bad}");
        }
    }
}
