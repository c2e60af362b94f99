//! How records lie in a segment: each in a frame of its own that shows where it begins, how long it is, and whether it
//! is whole.
//!
//! ```text
//! magic (4 bytes) ‖ length (u32, little-endian) ‖ CRC32C of length and payload (u32, little-endian) ‖ payload
//! ```
//!
//! The magic begins with a byte that UTF-8 never has, so no payload can pass for a frame, and a reader finds the next
//! whole record behind a damaged one.

const MAGIC: [u8; 4] = [0xF5, 0xED, 0x5E, 0xA1];
/// Bytes before a payload.
pub(super) const HEADER_BYTES: usize = 12;
/// Longest payload; a record of the wire form stays far below.
pub(super) const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Appends `payload` in a frame.
pub(crate) fn write(payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= MAX_PAYLOAD_BYTES);
    // A payload that long is never made; if it were, its frame would be skipped as damaged.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&[&length, payload]).to_le_bytes());
    out.extend_from_slice(payload);
}

/// What lies at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'s> {
    /// A whole record, and where the next one begins.
    Record { payload: &'s [u8], end: usize },
    /// Something else, up to the next whole record.
    Damage { end: usize },
    /// Nothing whole from here on.
    Tail,
}

/// Looks at `segment` from `place` on.
pub(super) fn find(segment: &[u8], place: usize) -> Found<'_> {
    if let Some((payload, end)) = whole(segment, place) {
        return Found::Record { payload, end };
    }
    let mut from = place.saturating_add(1);
    while let Some(next) = next_magic(segment, from) {
        if whole(segment, next).is_some() {
            return Found::Damage { end: next };
        }
        from = next + 1;
    }
    Found::Tail
}

fn next_magic(segment: &[u8], from: usize) -> Option<usize> {
    let rest = segment.get(from..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|place| from + place)
}

/// The record at exactly this place, and its end.
fn whole(segment: &[u8], place: usize) -> Option<(&[u8], usize)> {
    let (header, rest) = segment.get(place..)?.split_at_checked(HEADER_BYTES)?;
    let (magic, header) = header.split_at(MAGIC.len());
    let (length, sum) = header.split_at(4);
    let bytes = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    if magic != MAGIC || bytes > MAX_PAYLOAD_BYTES {
        return None;
    }
    let payload = rest.get(..bytes)?;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    (checksum(&[length, payload]) == sum).then_some((payload, place + HEADER_BYTES + bytes))
}

/// CRC32C (Castagnoli), as in RFC 3720 appendix B.4.
fn checksum(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(!0, |sum, byte| (sum >> 8) ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)])
}

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    /// The polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            write(payload.as_bytes(), &mut out);
        }
        out
    }

    /// Everything whole in a segment, and how many damaged regions and tails lie between.
    fn read(segment: &[u8]) -> (Vec<String>, usize, bool) {
        let (mut records, mut damages, mut place) = (Vec::new(), 0, 0);
        while place < segment.len() {
            match find(segment, place) {
                Found::Record { payload, end } => {
                    records.push(String::from_utf8(payload.to_vec()).unwrap());
                    place = end;
                }
                Found::Damage { end } => {
                    damages += 1;
                    place = end;
                }
                Found::Tail => return (records, damages, true),
            }
        }
        (records, damages, false)
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(&[b"123456789"]), 0xE306_9283);
        assert_eq!(checksum(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(checksum(&[&[0xFF; 32]]), 0x62A8_AB43);
    }

    #[test]
    fn whole_segments_read_back() {
        assert_eq!(
            read(&segment(&["one", "", "three"])),
            (vec!["one".into(), String::new(), "three".into()], 0, false)
        );
        assert_eq!(read(b""), (vec![], 0, false));
    }

    #[test]
    fn every_torn_tail_keeps_what_is_before_it() {
        let whole = segment(&["one", "two"]);
        let first = segment(&["one"]).len();
        for cut in first + 1..whole.len() {
            assert_eq!(read(&whole[..cut]), (vec!["one".into()], 0, true), "cut at {cut}");
        }
        let zeros = [segment(&["one"]), vec![0; 4096]].concat();
        assert_eq!(read(&zeros), (vec!["one".into()], 0, true));
    }

    #[test]
    fn every_flipped_bit_costs_one_record() {
        let whole = segment(&["one", "two", "three"]);
        let (first, second) = (segment(&["one"]).len(), segment(&["one", "two"]).len());
        for place in first..second {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(read(&damaged), (vec!["one".into(), "three".into()], 1, false), "{place}.{bit}");
            }
        }
    }
}
