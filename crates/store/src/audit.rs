//! The hash chain of the audit log.
//!
//! `hash = SHA-256("edgeseal/audit/1" ‖ 0x00 ‖ number (8 bytes, big-endian) ‖ previous hash (32 bytes) ‖ entry)`,
//! where `entry` is the canonical JSON (RFC 8785) of the [`AuditEntry`]; before the first record the previous hash is 32
//! zero bytes. Changing, removing or inserting a record breaks every later hash; cutting off the end does not, so
//! whoever wants to notice that keeps the number and hash of the newest record elsewhere.

use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::records::{AuditEntry, AuditRecord};

/// What the first record follows.
pub const GENESIS: (u64, [u8; 32]) = (0, [0; 32]);

const DOMAIN: &[u8] = b"edgeseal/audit/1\0";

/// Makes the record that follows `(number, hash)` of the newest one.
///
/// # Errors
/// [`StoreError::Corrupt`] for an entry that has no canonical form (a number beyond f64, say).
pub fn link(newest: (u64, [u8; 32]), entry: &AuditEntry) -> Result<AuditRecord, StoreError> {
    let entry = serde_json_canonicalizer::to_string(entry).map_err(|error| StoreError::Corrupt {
        attempt: "writing the audit log",
        detail: error.to_string(),
    })?;
    let number = newest.0.saturating_add(1);
    Ok(AuditRecord { number, previous: newest.1, hash: hash(number, &newest.1, &entry), entry })
}

/// Where and how the chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A record is missing, or one too many.
    #[error("record {expected} is missing: record {found} follows")]
    Gap {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A record names another predecessor.
    #[error("record {number} does not follow the record before it: one of the two was replaced")]
    Link {
        /// Which record.
        number: u64,
    },
    /// A record is not what was hashed.
    #[error("record {number} was altered: its content does not match its hash")]
    Altered {
        /// Which record.
        number: u64,
    },
}

/// Checks that `records`, oldest first, follow `newest` without a break; gives the new newest.
///
/// # Errors
/// The first [`BrokenChain`].
pub fn verify(mut newest: (u64, [u8; 32]), records: &[AuditRecord]) -> Result<(u64, [u8; 32]), BrokenChain> {
    for record in records {
        let (number, expected) = (record.number, newest.0.saturating_add(1));
        if number != expected {
            return Err(BrokenChain::Gap { expected, found: number });
        }
        if record.previous != newest.1 {
            return Err(BrokenChain::Link { number });
        }
        if hash(number, &record.previous, &record.entry) != record.hash {
            return Err(BrokenChain::Altered { number });
        }
        newest = (number, record.hash);
    }
    Ok(newest)
}

fn hash(number: u64, previous: &[u8; 32], entry: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(number.to_be_bytes());
    hash.update(previous);
    hash.update(entry.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::records::Actor;

    fn chain(length: u64) -> Vec<AuditRecord> {
        let mut newest = GENESIS;
        let mut records = Vec::new();
        for at_ms in 0..i64::try_from(length).unwrap() {
            let entry = AuditEntry {
                at_ms,
                actor: Actor { id: "system".into(), name: "system".into() },
                action: "experiment.pause".into(),
                environment: None,
                kind: None,
                key: None,
                request: None,
                detail: json!({ "b": 1.5, "a": [1, "ü"] }),
            };
            let record = link(newest, &entry).unwrap();
            newest = (record.number, record.hash);
            records.push(record);
        }
        records
    }

    #[test]
    fn an_untouched_chain_verifies_as_a_whole_and_in_pages() {
        let records = chain(5);
        let whole = verify(GENESIS, &records).unwrap();
        let first = verify(GENESIS, &records[..2]).unwrap();
        assert_eq!(verify(first, &records[2..]).unwrap(), whole);
    }

    #[test]
    fn alteration_removal_and_replacement_are_told_apart() {
        let mut altered = chain(4);
        altered[1].entry = altered[1].entry.replace("pause", "start");
        assert_eq!(verify(GENESIS, &altered), Err(BrokenChain::Altered { number: 2 }));

        let mut shorter = chain(4);
        shorter.remove(1);
        assert_eq!(verify(GENESIS, &shorter), Err(BrokenChain::Gap { expected: 2, found: 3 }));

        let mut replaced = chain(4);
        let mut other: AuditEntry = serde_json::from_str(&replaced[1].entry).unwrap();
        other.action = "experiment.start".into();
        replaced[1] = link((1, replaced[0].hash), &other).unwrap();
        assert_eq!(verify(GENESIS, &replaced), Err(BrokenChain::Link { number: 3 }));
    }
}
