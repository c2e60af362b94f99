//! The value of a metric event in fixed point, from its decimal digits: no float on the way.

/// How many parts a unit is divided into: six decimal places are kept.
pub const AMOUNT_SCALE: i128 = 1_000_000;
/// Largest value, either side of zero.
pub const MAX_VALUE: i128 = 1_000_000_000_000_000;
/// Largest amount, either side of zero.
pub(super) const MAX_AMOUNT: i128 = MAX_VALUE.saturating_mul(AMOUNT_SCALE);

/// Decimal places that are kept: [`AMOUNT_SCALE`] is ten to this.
const PLACES: i64 = 6;
/// Digits of [`MAX_AMOUNT`]: with more before the point, a value is too large.
const MAX_DIGITS: i64 = 22;

/// Why a text is not a usable value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a number in the grammar of RFC 8259.
    #[error("is no JSON number")]
    NotANumber,
    /// Beyond ± [`MAX_VALUE`].
    #[error("is larger than 1e15")]
    TooLarge,
}

/// Reads a JSON number as an amount: the value times [`AMOUNT_SCALE`], rounded half away from zero.
///
/// The decimal digits decide, so `0.1` is exactly 100 000 and `1e400` is too large instead of infinite.
///
/// ```
/// use edgeseal_core::events::{AmountError, parse_amount};
///
/// assert_eq!(parse_amount("19.99"), Ok(19_990_000));
/// assert_eq!(parse_amount("-0.0000005"), Ok(-1));
/// assert_eq!(parse_amount("1e400"), Err(AmountError::TooLarge));
/// ```
///
/// # Errors
/// [`AmountError`] when the text is no JSON number or lies beyond ± [`MAX_VALUE`].
pub fn parse_amount(literal: &str) -> Result<i128, AmountError> {
    let number = Decimal::parse(literal).ok_or(AmountError::NotANumber)?;
    let amount = number.scaled().filter(|amount| *amount <= MAX_AMOUNT).ok_or(AmountError::TooLarge)?;
    Ok(if number.negative { amount.saturating_neg() } else { amount })
}

/// A JSON number taken apart: its digits are `whole` and `fraction`, times ten to the `exponent`.
struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    /// Saturated: what lies beyond is as large, or as small, as it gets.
    exponent: i64,
}

impl<'t> Decimal<'t> {
    fn parse(literal: &'t str) -> Option<Self> {
        let (negative, rest) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, digits(fraction)?),
            None => (mantissa, ""),
        };
        let whole = digits(whole)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        Some(Self { negative, whole, fraction, exponent })
    }

    /// The digits times ten to the exponent and to [`PLACES`], rounded half up; `None` when that has more than
    /// [`MAX_DIGITS`] digits.
    fn scaled(&self) -> Option<i128> {
        let zero = |digit: &u8| *digit == b'0';
        let all = self.whole.bytes().chain(self.fraction.bytes());
        let leading = all.clone().take_while(zero).count();
        let mut significant = all.skip(leading).map(|digit| i128::from(digit.wrapping_sub(b'0')));
        let count = self.whole.len().saturating_add(self.fraction.len()).saturating_sub(leading);
        if count == 0 {
            return Some(0);
        }
        // How many digits stand before the point once everything is multiplied out.
        let before_the_point = i64::try_from(self.whole.len())
            .ok()?
            .saturating_sub(i64::try_from(leading).ok()?)
            .saturating_add(self.exponent)
            .saturating_add(PLACES);
        if before_the_point > MAX_DIGITS {
            return None;
        }
        if before_the_point < 0 {
            return Some(0);
        }
        let mut amount: i128 = 0;
        for _ in 0..before_the_point {
            amount = amount.checked_mul(10)?.checked_add(significant.next().unwrap_or(0))?;
        }
        let up = significant.next().is_some_and(|digit| digit >= 5);
        amount.checked_add(i128::from(up))
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

fn read_exponent(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = digits(text)?.parse().unwrap_or(i64::MAX / 2);
    // Far beyond every length that a literal within its bounds can have, and far from overflowing.
    let magnitude: i64 = i64::min(magnitude, i64::MAX / 2);
    Some(if negative { magnitude.saturating_neg() } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_digits_decide() {
        for (literal, amount) in [
            ("0", 0),
            ("-0", 0),
            ("0.0e99999999999999999999", 0),
            ("1", 1_000_000),
            ("0.1", 100_000),
            ("19.99", 19_990_000),
            ("-12.5e-1", -1_250_000),
            ("1E+2", 100_000_000),
            ("0.000001", 1),
            ("0.0000005", 1),
            ("-0.0000005", -1),
            ("0.00000049999999999999999999999999", 0),
            ("4.9999995", 5_000_000),
            ("4.9999994", 4_999_999),
            ("5e-7", 1),
            ("4e-7", 0),
            ("1e-400", 0),
            ("1e-99999999999999999999", 0),
            ("1e15", MAX_AMOUNT),
            ("-1000000000000000", -MAX_AMOUNT),
            ("1000000000000000.0000004", MAX_AMOUNT),
            ("0.000000000000000000000000000001e45", MAX_AMOUNT),
            ("9007199254740993e-1", 900_719_925_474_099_300_000),
        ] {
            assert_eq!(parse_amount(literal), Ok(amount), "{literal}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_apart_from_what_is_no_number() {
        for literal in
            ["1e16", "1000000000000000.0000005", "-1000000000000001", "1e400", "1e99999999999999999999"]
        {
            assert_eq!(parse_amount(literal), Err(AmountError::TooLarge), "{literal}");
        }
        for literal in [
            "", "-", "+1", "01", ".5", "1.", "1e", "1e+", "NaN", "Infinity", "0x10", "1 ", "1_000", "--1",
            "١",
        ] {
            assert_eq!(parse_amount(literal), Err(AmountError::NotANumber), "{literal}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integers_and_their_places(units in -999_999_999_999_999_i64..=999_999_999_999_999, millionths in 0..1_000_000_i64) {
            let literal = format!("{units}.{millionths:06}");
            let expected = (i128::from(units.abs()) * AMOUNT_SCALE + i128::from(millionths))
                * if units < 0 { -1 } else { 1 };
            prop_assert_eq!(parse_amount(&literal), Ok(expected));
        }

        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,40}") {
            let _ = parse_amount(&text);
        }
    }
}
