//! Bucketing: a unit's place between 0 and 999 999, different for every experiment and purpose.

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::ids::UnitId;

/// How many buckets there are; every share is a count of them (parts per million).
pub const BUCKETS: u32 = 1_000_000;

/// A unit's place for one purpose of one experiment or layer: 0 to [`BUCKETS`] − 1.
pub type Bucket = u32;

/// What a bucket decides. Each purpose hashes under its own key, so ramping traffic never moves a unit between
/// variants and no two experiments share buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the unit is in the experiment's traffic.
    Traffic,
    /// Which variant the unit gets.
    Variant,
    /// Which slot of a layer the unit falls into.
    Layer,
    /// Whether the unit belongs to a holdout.
    Holdout,
}

impl Purpose {
    /// The word that goes into the key derivation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Variant => "variant",
            Self::Layer => "layer",
            Self::Holdout => "holdout",
        }
    }
}

/// A derived hash key: maps unit ids to buckets for one purpose of one experiment, layer or holdout.
///
/// SipHash-2-4 (Aumasson and Bernstein, 2012) is keyed, so whoever chooses ids cannot choose buckets without
/// knowing the salt, and fast enough to run several times per evaluation.
#[derive(Clone, Copy)]
pub struct BucketKey {
    hasher: SipHasher24,
}

impl BucketKey {
    /// Derives the key: the first 16 bytes of
    /// SHA-256(`"edgeseal/bucket/1" ‖ 0x00 ‖ purpose ‖ 0x00 ‖ owner ‖ 0x00 ‖ salt`).
    ///
    /// `owner` is the key of the experiment, layer or holdout. Done once, when a ruleset is compiled.
    pub fn derive(purpose: Purpose, owner: &str, salt: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"edgeseal/bucket/1\0")
            .chain_update(purpose.as_str())
            .chain_update(b"\0")
            .chain_update(owner)
            .chain_update(b"\0")
            .chain_update(salt)
            .finalize();
        let mut key = [0_u8; 16];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = from;
        }
        Self { hasher: SipHasher24::new_with_key(&key) }
    }

    /// The unit's bucket: `(hash × 1 000 000) >> 64`, in integers.
    pub fn bucket(&self, unit: UnitId<'_>) -> Bucket {
        let hash = self.hasher.hash(unit.as_str().as_bytes());
        // A 64-bit hash times 10^6 fits in 84 bits, and the top 64 bits are cut off: the result is below 10^6.
        let scaled = u128::from(hash).saturating_mul(u128::from(BUCKETS)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_owners_and_salts_give_unrelated_buckets() {
        let unit = UnitId::parse("user-1").unwrap();
        let base = BucketKey::derive(Purpose::Variant, "checkout", "").bucket(unit);
        for other in [
            BucketKey::derive(Purpose::Traffic, "checkout", ""),
            BucketKey::derive(Purpose::Variant, "checkout2", ""),
            BucketKey::derive(Purpose::Variant, "checkout", "s"),
        ] {
            assert_ne!(base, other.bucket(unit));
        }
    }

    #[test]
    fn units_spread_evenly_over_the_buckets() {
        let key = BucketKey::derive(Purpose::Variant, "uniform", "");
        let mut cells = [0_u32; 100];
        for n in 0..100_000 {
            cells[(key.bucket(UnitId::parse(&format!("user-{n}")).unwrap()) / 10_000) as usize] += 1;
        }
        // Chi-square with 99 degrees of freedom: 148.2 is the 99.9 % quantile.
        let chi_square: f64 = cells.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi_square < 148.2, "chi-square {chi_square}");
    }

    #[test]
    fn every_bucket_is_in_range_for_extreme_ids() {
        let key = BucketKey::derive(Purpose::Holdout, "h", "salt");
        for id in ["1", "é", "用户", &"u".repeat(256)] {
            assert!(key.bucket(UnitId::parse(id).unwrap()) < BUCKETS);
        }
    }
}
