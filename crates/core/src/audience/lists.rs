//! Lists of values to find an attribute in: those of `$in` and its relatives, and saved groups.
//!
//! Everything is typed and ordered when it is compiled, so that a test touches only values of its own kind, long lists
//! cost a binary search, and the order is the same on every machine (no hashing with random keys).

use std::cmp::Ordering;

use serde_json::Value;

use super::literal::Num;
use super::{ConditionError, ConditionErrorKind, MAX_GROUP_VALUES};
use crate::attributes::kind_of;

/// Up to this many values a scan is faster than a binary search.
const SCAN_UP_TO: usize = 8;

/// A saved group: a list of values, compiled once and shared by the conditions that name it.
///
/// `Debug` shows only how many there are: they are often unit ids.
#[derive(Clone, PartialEq)]
pub struct Group(List);

impl Group {
    /// Compiles a list of strings, numbers and booleans, at most [`MAX_GROUP_VALUES`]; repeated values count once.
    ///
    /// # Errors
    /// [`ConditionError`] when there are too many, or one is of another kind; its path is relative to the list.
    pub fn compile(values: &[Value]) -> Result<Self, ConditionError> {
        if values.len() > MAX_GROUP_VALUES {
            let kind = ConditionErrorKind::GroupTooLarge { values: values.len() };
            return Err(ConditionError { path: String::new(), kind });
        }
        for (at, value) in values.iter().enumerate() {
            if !matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_)) {
                let kind = ConditionErrorKind::WrongGroupValue { found: kind_of(value) };
                return Err(ConditionError { path: format!("/{at}"), kind });
            }
        }
        Ok(Self(List::new(values)))
    }

    /// How many different values there are.
    pub fn len(&self) -> usize {
        let List { texts, numbers, yes, no, null } = &self.0;
        [*yes, *no, *null]
            .iter()
            .filter(|held| **held)
            .count()
            .saturating_add(texts.len())
            .saturating_add(numbers.len())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn holds(&self, value: &Value) -> bool {
        self.0.holds(value)
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({} hidden)", self.len())
    }
}

/// A set of scalars.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct List {
    texts: Box<[Text]>,
    numbers: Box<[Num]>,
    yes: bool,
    no: bool,
    null: bool,
}

impl List {
    /// Takes the scalars out of `values`; the caller has made sure that there is nothing else.
    pub(super) fn new(values: &[Value]) -> Self {
        let mut list = Self::default();
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for value in values {
            match value {
                Value::String(text) => texts.push(Text::new(text)),
                Value::Number(number) => numbers.push(Num::of(number)),
                Value::Bool(true) => list.yes = true,
                Value::Bool(false) => list.no = true,
                Value::Null => list.null = true,
                Value::Array(_) | Value::Object(_) => {}
            }
        }
        list.texts = sorted(texts);
        list.numbers = sorted(numbers);
        list
    }

    /// Whether one of the values is `value`.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match value {
            Value::String(text) if self.texts.len() <= SCAN_UP_TO => {
                let tail = tail(text);
                self.texts.iter().any(|held| held.is(text, tail))
            }
            Value::String(text) => {
                let tail = tail(text);
                self.texts.binary_search_by(|held| held.order_of(text, tail)).is_ok()
            }
            Value::Number(number) => self.numbers.binary_search(&Num::of(number)).is_ok(),
            Value::Bool(true) => self.yes,
            Value::Bool(false) => self.no,
            Value::Null => self.null,
            Value::Array(_) | Value::Object(_) => false,
        }
    }
}

/// A text of a list, with its last bytes beside it: most texts that differ do so there or in length, which takes no
/// look at the text itself, and for short ones that is all there is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    tail: u64,
    text: Box<str>,
}

impl Text {
    fn new(text: &str) -> Self {
        Self { tail: tail(text), text: text.into() }
    }

    fn is(&self, text: &str, tail: u64) -> bool {
        self.tail == tail
            && self.text.len() == text.len()
            && (text.len() <= TAIL_BYTES || *self.text == *text)
    }

    fn order_of(&self, text: &str, tail: u64) -> Ordering {
        let quick = (self.text.len(), self.tail).cmp(&(text.len(), tail));
        quick.then_with(|| if text.len() <= TAIL_BYTES { Ordering::Equal } else { (*self.text).cmp(text) })
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order_of(&other.text, other.tail)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many bytes of a text [`tail`] covers.
const TAIL_BYTES: usize = 8;

/// The last eight bytes as one number; of a shorter text all of them, so that it differs for any two of one length.
fn tail(text: &str) -> u64 {
    let bytes = text.as_bytes();
    if let Some(last) = bytes.last_chunk() {
        return u64::from_le_bytes(*last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    bytes.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte))
}

/// A set of scalars whose texts are compared without regard to case.
#[derive(Debug, Clone)]
pub(super) struct FoldedList {
    texts: Box<[Box<str>]>,
    others: List,
}

impl FoldedList {
    pub(super) fn new(values: &[Value]) -> Self {
        let folded = |text: &str| fold(text).collect::<String>().into();
        let texts = sorted(values.iter().filter_map(Value::as_str).map(folded).collect());
        Self { texts, others: List::new(values) }
    }

    pub(super) fn holds(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.texts.binary_search_by(|held| held.chars().cmp(fold(text))).is_ok(),
            other => self.others.holds(other),
        }
    }
}

/// Lower case by Unicode's mapping of single characters: the same in every language and place in a word.
pub(super) fn fold(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Box<[T]> {
    values.sort_unstable();
    values.dedup();
    values.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_told_apart_at_every_length() {
        let letters = ["a", "b", "é", "\u{0}"];
        let mut texts = vec![String::new()];
        for _length in 1..=3 {
            let longer: Vec<String> =
                texts.iter().flat_map(|text| letters.map(|letter| format!("{text}{letter}"))).collect();
            texts.extend(longer);
        }
        texts.extend((0..12).flat_map(|at| {
            ["x", "y"].map(|letter| format!("{}{letter}{}", "0".repeat(at), "0".repeat(12 - at)))
        }));
        texts.sort();
        texts.dedup();
        for (at, text) in texts.iter().enumerate() {
            let others: Vec<Value> =
                texts.iter().filter(|other| *other != text).map(|other| json!(other)).collect();
            assert!(!List::new(&others).holds(&json!(text)), "{text:?}");
            assert!(others.chunks(SCAN_UP_TO).all(|few| !List::new(few).holds(&json!(text))), "{text:?}");
            assert!(List::new(&[json!(texts[at])]).holds(&json!(text)), "{text:?}");
        }
    }

    #[test]
    fn a_group_counts_repeated_values_once() {
        let group = Group::compile(&[json!("a"), json!("a"), json!(1), json!(1.0), json!(true)]).unwrap();
        assert_eq!(group.len(), 3);
        assert!(Group::compile(&[]).unwrap().is_empty());
    }

    #[test]
    fn finds_every_value_of_the_largest_group() {
        let values: Vec<Value> = (0..MAX_GROUP_VALUES).map(|at| json!(format!("user-{at}"))).collect();
        let group = Group::compile(&values).unwrap();
        assert_eq!(group.len(), MAX_GROUP_VALUES);
        assert!(values.iter().all(|value| group.holds(value)));
        assert!(!group.holds(&json!("user-x")) && !group.holds(&json!(1)));
    }

    #[test]
    fn refuses_a_group_with_too_many_values() {
        let error = Group::compile(&vec![json!(1); MAX_GROUP_VALUES + 1]).unwrap_err();
        assert_eq!(error.kind, ConditionErrorKind::GroupTooLarge { values: 100_001 });
    }

    #[test]
    fn refuses_a_group_of_anything_but_scalars_and_says_where() {
        for (bad, found) in [(json!(null), "null"), (json!([1]), "an array"), (json!({}), "an object")] {
            let error = Group::compile(&[json!("a"), bad]).unwrap_err();
            assert_eq!(error.path, "/1");
            assert_eq!(error.kind, ConditionErrorKind::WrongGroupValue { found });
        }
    }

    #[test]
    fn debug_output_hides_the_values_of_a_group() {
        assert_eq!(format!("{:?}", Group::compile(&[json!("a@b.c")]).unwrap()), "Group(1 hidden)");
    }
}
