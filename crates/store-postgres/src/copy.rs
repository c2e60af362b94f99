//! Rows in PostgreSQL's binary `COPY` format: several times cheaper than an `INSERT` of the same rows, for both sides.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>, and for `numeric` the server's `numeric_recv`.

use edgeseal_core::events::EventRecord;
use edgeseal_store::event_columns::Columns;

/// The statement whose rows [`Rows`] writes.
pub(crate) const COPY_EVENTS: &str = "COPY events (stream, kind, number, at_ms, received_ms, id, unit, unit_type, name, \
     variant, xv, amount, detail) FROM STDIN WITH (FORMAT binary)";
const FIELDS: i16 = 13;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// A row has about this many bytes.
const ROW_BYTES: usize = 192;

/// Rows of [`COPY_EVENTS`].
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(rows.saturating_mul(ROW_BYTES));
        bytes.extend_from_slice(SIGNATURE);
        // No flags, no header extension.
        bytes.extend_from_slice(&[0; 8]);
        Self(bytes)
    }

    pub(crate) fn push(&mut self, stream: i32, number: i64, record: &EventRecord, columns: &Columns<'_>) {
        self.0.extend_from_slice(&FIELDS.to_be_bytes());
        self.field(&stream.to_be_bytes());
        self.field(&columns.kind.to_be_bytes());
        self.field(&number.to_be_bytes());
        self.field(&record.at_ms.to_be_bytes());
        self.field(&record.received_ms.to_be_bytes());
        self.field(record.id.as_bytes());
        self.optional(record.unit.as_ref().map(|tag| tag.as_bytes().as_slice()));
        self.field(record.unit_type.as_str().as_bytes());
        self.optional(columns.name.map(str::as_bytes));
        self.optional(columns.variant.map(str::as_bytes));
        self.optional(columns.xv.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        match columns.amount {
            Some(amount) => self.numeric(amount),
            None => self.optional(None),
        }
        self.optional(columns.detail.as_deref().map(str::as_bytes));
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&(-1_i16).to_be_bytes());
        self.0
    }

    /// No field comes near the two gigabytes that a length can say.
    fn field(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.field(bytes),
            None => self.0.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    /// An integer as `numeric`: its digits to the base 10 000, the greatest first.
    fn numeric(&mut self, number: i128) {
        /// Digits of the greatest `i128`.
        const MOST: usize = 10;
        const NEGATIVE: u16 = 0x4000;
        let mut digits = [0_u8; 2 * MOST];
        let (mut rest, mut count) = (number.unsigned_abs(), 0_u16);
        for place in digits.rchunks_exact_mut(2) {
            if rest == 0 {
                break;
            }
            // Less than the base.
            place.copy_from_slice(&u16::try_from(rest % 10_000).unwrap_or_default().to_be_bytes());
            rest /= 10_000;
            count = count.saturating_add(1);
        }
        let digits = digits.get(2 * (MOST - usize::from(count))..).unwrap_or_default();
        let sign = if number < 0 { NEGATIVE } else { 0 };
        let length = 8_i32.saturating_add(2 * i32::from(count));
        self.0.extend_from_slice(&length.to_be_bytes());
        for part in [count, count.saturating_sub(1), sign, 0] {
            self.0.extend_from_slice(&part.to_be_bytes());
        }
        self.0.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_have_the_digits_that_the_server_reads() {
        let written = |number| {
            let mut rows = Rows(Vec::new());
            rows.numeric(number);
            let bytes = rows.0.split_off(4);
            assert_eq!(rows.0, i32::try_from(bytes.len()).unwrap().to_be_bytes());
            bytes.chunks(2).map(|pair| u16::from_be_bytes(pair.try_into().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(written(0), [0, 0, 0, 0]);
        assert_eq!(written(-1), [1, 0, 0x4000, 0, 1]);
        assert_eq!(written(10_000), [2, 1, 0, 0, 1, 0]);
        assert_eq!(written(-123_456_789), [3, 2, 0x4000, 0, 1, 2345, 6789]);
        // 170 141183460469231731687303715884105727
        assert_eq!(
            written(i128::MAX),
            [10, 9, 0, 0, 170, 1411, 8346, 469, 2317, 3168, 7303, 7158, 8410, 5727]
        );
    }
}
