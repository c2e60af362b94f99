//! Asking a compiled condition. Total: nothing here can fail, and recursion goes as deep as the condition was allowed
//! to, whatever the attributes look like.

use std::cmp::Ordering;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::lists::{FoldedList, Group, List, fold};
use super::literal::{Literal, Num};
use super::version::Version;
use crate::attributes::{Attributes, walk};

/// What a missing attribute is compared as.
static MISSING: Value = Value::Null;

/// Something asked of an object: the attributes, or one element of an array.
#[derive(Debug, Clone)]
pub(super) enum Clause {
    /// Every one holds; so does none at all.
    All(Box<[Clause]>),
    /// At least one holds.
    Any(Box<[Clause]>),
    Not(Box<Clause>),
    Field {
        path: Box<[Box<str>]>,
        test: Test,
    },
}

/// Something asked of one value.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Every(Box<[Test]>),
    Not(Box<Test>),
    Equals(Literal),
    /// The text is this one without regard to case.
    EqualsFolded(Box<str>),
    ComparesWith {
        operand: Operand,
        accepts: Accepts,
    },
    Version {
        operand: Version,
        accepts: Accepts,
    },
    In(List),
    InFolded(FoldedList),
    InGroup(Arc<Group>),
    /// The array has, for every test, an element that passes it.
    HasAll(Box<[Test]>),
    Size(Box<Test>),
    /// The array has an element that passes.
    AnyElement(Box<Test>),
    /// The array has an element that meets the condition.
    AnyElementMeets(Box<Clause>),
    Exists,
    Type(Type),
    Regex(Regex),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Number(Num),
    Text(Box<str>),
}

/// Which outcomes of comparing the attribute with the operand are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepts {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Number,
    Boolean,
    Array,
    Object,
    Null,
}

/// What the paths of a clause start from.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    Attributes(&'a Attributes),
    /// An element of an array; one that is no object has no members.
    Element(&'a Value),
}

impl<'a> Scope<'a> {
    fn lookup(self, path: &[Box<str>]) -> Option<&'a Value> {
        match self {
            Self::Attributes(attributes) => attributes.lookup(path),
            Self::Element(element) => walk(element, path),
        }
    }
}

impl Clause {
    pub(super) fn matches(&self, scope: Scope<'_>) -> bool {
        match self {
            Self::All(clauses) => clauses.iter().all(|clause| clause.matches(scope)),
            Self::Any(clauses) => clauses.iter().any(|clause| clause.matches(scope)),
            Self::Not(clause) => !clause.matches(scope),
            Self::Field { path, test } => test.passes(scope.lookup(path).unwrap_or(&MISSING)),
        }
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Self::Every(tests) => tests.iter().all(|test| test.passes(value)),
            Self::Not(test) => !test.passes(value),
            Self::Equals(literal) => literal.equals(value),
            Self::EqualsFolded(folded) => value.as_str().is_some_and(|text| fold(text).eq(folded.chars())),
            Self::ComparesWith { operand, accepts } => {
                operand.order_of(value).is_some_and(|order| accepts.includes(order))
            }
            Self::Version { operand, accepts } => {
                value.as_str().is_some_and(|text| accepts.includes(operand.order_of(text)))
            }
            Self::In(list) => itself_or_any_element(value, |value| list.holds(value)),
            Self::InFolded(list) => itself_or_any_element(value, |value| list.holds(value)),
            Self::InGroup(group) => itself_or_any_element(value, |value| group.holds(value)),
            Self::HasAll(tests) => value
                .as_array()
                .is_some_and(|items| tests.iter().all(|test| items.iter().any(|item| test.passes(item)))),
            Self::Size(test) => value.as_array().is_some_and(|items| test.passes(&items.len().into())),
            Self::AnyElement(test) => {
                value.as_array().is_some_and(|items| items.iter().any(|item| test.passes(item)))
            }
            Self::AnyElementMeets(clause) => value
                .as_array()
                .is_some_and(|items| items.iter().any(|item| clause.matches(Scope::Element(item)))),
            Self::Exists => !value.is_null(),
            Self::Type(kind) => *kind == Type::of(value),
            Self::Regex(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
        }
    }
}

/// A list test of an array asks whether they have a value in common.
fn itself_or_any_element(value: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds),
        scalar => holds(scalar),
    }
}

impl Operand {
    /// How `value` compares with this; nothing when they are of different kinds. Texts compare by their UTF-8 bytes,
    /// which is the order of their code points.
    fn order_of(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(operand), Value::Number(number)) => Some(Num::of(number).cmp(operand)),
            (Self::Text(operand), Value::String(text)) => Some((**text).cmp(operand)),
            _ => None,
        }
    }
}

impl Accepts {
    fn includes(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

impl Type {
    /// The type with this name in `$type`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "array" => Self::Array,
            "object" => Self::Object,
            "null" => Self::Null,
            _ => return None,
        })
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::String,
            Value::Number(_) => Self::Number,
            Value::Bool(_) => Self::Boolean,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
            Value::Null => Self::Null,
        }
    }
}
