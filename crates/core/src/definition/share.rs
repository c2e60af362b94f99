//! Shares as people write them: percentages with up to four decimals, kept as exact parts per million.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::bucket::BUCKETS;

/// A share between 0 % and 100 %, in steps of one bucket (0.0001 %).
///
/// Written as a number (`12.5`) or text (`"12.5%"`); default 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// Why a text is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage from 0 to 100 with at most four decimals, such as 12.5 or \"12.5%\"")]
pub struct ShareError;

impl Share {
    /// Everything.
    pub const ALL: Self = Self(BUCKETS);

    /// Whole percents; all of it beyond 100.
    pub const fn percent(percent: u8) -> Self {
        Self(if percent < 100 { (BUCKETS / 100).saturating_mul(percent as u32) } else { BUCKETS })
    }

    /// The share in parts per million: how many of the [`BUCKETS`] it is.
    pub const fn buckets(self) -> u32 {
        self.0
    }

    /// Reads a percentage, digit by digit: no float ever rounds it.
    ///
    /// # Errors
    /// [`ShareError`] for anything but 0 to 100 with at most four decimals.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let number = text.trim().strip_suffix('%').unwrap_or(text.trim()).trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 4 {
            return Err(ShareError);
        }
        let whole: u32 = whole.parse().map_err(|_| ShareError)?;
        let decimals: u32 = format!("{decimals:0<4}").parse().map_err(|_| ShareError)?;
        let buckets = whole.saturating_mul(BUCKETS / 100).saturating_add(decimals);
        if buckets > BUCKETS { Err(ShareError) } else { Ok(Self(buckets)) }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 10_000, self.0 % 10_000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        write!(f, "{whole}.{}%", format!("{decimals:04}").trim_end_matches('0'))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            // The shortest decimal that reads back as the same number: what the person wrote.
            other => other.to_string(),
        };
        Self::parse(&text).map_err(|error| serde::de::Error::custom(format_args!("'{text}' {error}")))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A percentage from 0 to 100 with at most four decimals: 12.5 or \"12.5%\"",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 100 },
                { "type": "string", "pattern": "^(100(\\.0{1,4})?|[0-9]{1,2}(\\.[0-9]{1,4})?) ?%?$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_percentages_exactly() {
        for (text, buckets) in [
            ("0", 0),
            ("100", 1_000_000),
            ("100.0000%", 1_000_000),
            ("12.5", 125_000),
            ("12.5%", 125_000),
            ("0.0001", 1),
            ("33.3333 %", 333_333),
        ] {
            assert_eq!(Share::parse(text).map(Share::buckets), Ok(buckets), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_percentage() {
        for text in ["", "%", "-1", "101", "100.0001", "1e1", "0.00001", ".5", "5.", "NaN", "１"] {
            assert_eq!(Share::parse(text), Err(ShareError), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0%", "100%", "12.5%", "0.0001%", "33.3333%"] {
            assert_eq!(Share::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn takes_numbers_and_texts() {
        for json in ["12.5", "\"12.5\"", "\"12.5%\""] {
            assert_eq!(serde_json::from_str::<Share>(json).unwrap().buckets(), 125_000);
        }
        assert!(serde_json::from_str::<Share>("true").is_err());
    }
}
