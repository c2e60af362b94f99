//! Bucketing vectors: which bucket each unit id falls into, per purpose, owner and salt.

use std::collections::BTreeMap;

use edgeseal_core::bucket::{BucketKey, Purpose};
use edgeseal_core::ids::UnitId;
use serde_json::{Value, json};

/// Unit ids per key; with [`KEYS`] this makes 11 000 vectors and a few.
const GENERATED_IDS: usize = 1_000;

const KEYS: [(Purpose, &str, &str); 11] = [
    (Purpose::Variant, "checkout-button", ""),
    (Purpose::Traffic, "checkout-button", ""),
    (Purpose::Variant, "checkout-button", "2026-11"),
    (Purpose::Variant, "checkout-buttoN", ""),
    (Purpose::Layer, "pricing", ""),
    (Purpose::Holdout, "pricing", ""),
    (Purpose::Holdout, "global", "salt with spaces, ünïcode and \u{0} nothing stripped"),
    (Purpose::Variant, "a", ""),
    (Purpose::Traffic, "a", "a"),
    (Purpose::Variant, "e.x-p_1", "0"),
    (Purpose::Layer, "page", "🧂"),
];

/// The vectors, for `vectors/bucketing.json`.
pub fn generate() -> Value {
    let ids = unit_ids();
    let keys: Vec<Value> = KEYS
        .iter()
        .map(|&(purpose, owner, salt)| {
            let key = BucketKey::derive(purpose, owner, salt);
            let buckets: BTreeMap<&str, u32> = ids
                .iter()
                .filter_map(|id| UnitId::parse(id).ok())
                .map(|unit| (unit.as_str(), key.bucket(unit)))
                .collect();
            json!({ "purpose": purpose.as_str(), "owner": owner, "salt": salt, "buckets": buckets })
        })
        .collect();
    json!({
        "description": "bucket = (SipHash-2-4(key, unit id as UTF-8) * 1000000) >> 64; key = first 16 bytes of \
            SHA-256(\"edgeseal/bucket/1\" || 0x00 || purpose || 0x00 || owner || 0x00 || salt)",
        "keys": keys,
    })
}

/// Hand-picked ids where implementations differ, then generated ones of every shape that products use.
fn unit_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "1",
        "a",
        " ",
        "0",
        "é",
        "e\u{301}",
        "ß",
        "用户",
        "사용자-1",
        "👩‍👩‍👧",
        "\u{feff}bom",
        "user|1",
        "user/1",
        "a%20b",
        "\"quoted\"",
        "\\",
        "null",
        "user-1",
        "USER-1",
        "user-1 ",
    ]
    .map(str::to_owned)
    .into();
    // Lengths around the hash's 8-byte blocks, and the longest id in one-, two- and four-byte characters.
    ids.extend((1..=17).map(|length| "x".repeat(length)));
    ids.extend(["x".repeat(255), "x".repeat(256), "é".repeat(128), "😀".repeat(64)]);
    let mut random = SplitMix64(0x0ed6_e5ea_1000_0001);
    for n in 0..GENERATED_IDS {
        let (high, low) = (random.next(), random.next());
        ids.push(match n % 5 {
            0 => format!("user-{}", high % 10_000_000),
            1 => format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                low >> 52,
                low & 0xffff_ffff_ffff
            ),
            2 => format!("{high:016x}{low:016x}"),
            3 => format!("kundin.{}@beispiel-österreich.at", low % 100_000),
            _ => format!("{}", high),
        });
    }
    ids
}

/// A tiny generator with a fixed seed (Steele, Lea and Flood, 2014): the same ids on every machine, for ever.
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
