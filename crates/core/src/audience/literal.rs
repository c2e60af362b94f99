//! Values to compare an attribute with.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// A value to be equal to, of any kind. Objects are equal whatever the order of their members.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Num),
    Text(Box<str>),
    Array(Box<[Literal]>),
    Object(Box<[(Box<str>, Literal)]>),
}

impl Literal {
    /// Recurses as deep as the value, which the caller has bounded.
    pub(super) fn new(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(Num::of(number)),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::new).collect()),
            Value::Object(members) => Self::Object(
                members.iter().map(|(name, value)| (name.as_str().into(), Self::new(value))).collect(),
            ),
        }
    }

    /// Recurses at most as deep as the literal is, however deep `value` may be.
    pub(super) fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(expected), Value::Bool(value)) => expected == value,
            (Self::Number(expected), Value::Number(value)) => *expected == Num::of(value),
            (Self::Text(expected), Value::String(value)) => **expected == **value,
            (Self::Array(expected), Value::Array(items)) => {
                expected.len() == items.len()
                    && expected.iter().zip(items).all(|(expected, item)| expected.equals(item))
            }
            (Self::Object(expected), Value::Object(members)) => equal_members(expected, members),
            _ => false,
        }
    }
}

fn equal_members(expected: &[(Box<str>, Literal)], members: &Map<String, Value>) -> bool {
    expected.len() == members.len()
        && expected
            .iter()
            .all(|(name, expected)| members.get(&**name).is_some_and(|value| expected.equals(value)))
}

/// A JSON number, compared by its exact value: `1` is `1.0`, and 2⁵³ + 1 is not 2⁵³.
#[derive(Debug, Clone, Copy)]
pub(super) enum Num {
    Integer(i128),
    /// Not an integer, or beyond [`EXACT_INTEGERS`].
    Float(f64),
}

/// Floats below this magnitude that are integers are kept as integers, exactly: 2¹²⁶.
const EXACT_INTEGERS: f64 = 85_070_591_730_234_615_865_843_651_857_942_052_864.0;

impl Num {
    pub(super) fn of(number: &Number) -> Self {
        if let Some(integer) = number.as_i64() {
            return Self::Integer(integer.into());
        }
        if let Some(integer) = number.as_u64() {
            return Self::Integer(integer.into());
        }
        // Every other number is a finite float.
        let float = number.as_f64().unwrap_or(0.0);
        if float.abs() < EXACT_INTEGERS && float.trunc() == float {
            return Self::Integer(float as i128);
        }
        Self::Float(float)
    }
}

impl Ord for Num {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(&right),
            // No float here is NaN or zero, so this is the order of their values.
            (Self::Float(left), Self::Float(right)) => left.total_cmp(&right),
            (Self::Integer(left), Self::Float(right)) => integer_against_float(left, right),
            (Self::Float(left), Self::Integer(right)) => integer_against_float(right, left).reverse(),
        }
    }
}

impl PartialOrd for Num {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Num {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Num {}

/// The float is never an integer within range, so the two are never equal: next to its floor they are apart.
/// The cast saturates for floats beyond every integer here, which keeps the order.
fn integer_against_float(integer: i128, float: f64) -> Ordering {
    if integer <= float.floor() as i128 { Ordering::Less } else { Ordering::Greater }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_their_exact_value() {
        let ascending = [
            "-1.5e300",
            "-18446744073709551616",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-0.5",
            "0",
            "0.1",
            "1",
            "1.5",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e30",
            "1e300",
        ];
        let num = |text: &str| Num::of(&serde_json::from_str(text).unwrap());
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(num(left).cmp(&num(right)), at.cmp(&other), "{left} and {right}");
            }
        }
        for (left, right) in
            [("1", "1.0"), ("-0.0", "0"), ("1e2", "100"), ("9223372036854775808", "9223372036854775808.0")]
        {
            assert_eq!(num(left), num(right), "{left} and {right}");
        }
    }
}
