//! Why a condition or a saved group is refused: where, what, and what to do.

use super::{
    MAX_COMPILED_REGEX_BYTES, MAX_CONDITION_DEPTH, MAX_CONDITION_NODES, MAX_CONDITION_REGEXES,
    MAX_GROUP_VALUES, MAX_LIST_VALUES, MAX_REGEX_BYTES,
};
use crate::attributes::MAX_ATTRIBUTES_DEPTH;

/// Why a condition does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", place(path))]
pub struct ConditionError {
    /// Where in the condition: a JSON pointer (RFC 6901) such as `/plan/$in/0`; empty for the condition as a whole.
    pub path: String,
    /// What is wrong there.
    pub kind: ConditionErrorKind,
}

/// What is wrong with a condition; [`ConditionErrorKind::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionErrorKind {
    /// Fields are expected, something else is there.
    #[error("a condition is an object of fields such as {{\"plan\":\"pro\"}}, not {found}")]
    NotAnObject {
        /// What is there instead.
        found: &'static str,
    },
    /// No operator has this name, or an attribute's name begins with `$`.
    #[error("there is no operator '{operator}'; check its spelling (attribute names cannot begin with '$')")]
    UnknownOperator {
        /// The name.
        operator: String,
    },
    /// A known operator in a place where it has no meaning.
    #[error("'{operator}' {}", where_it_belongs(operator))]
    MisplacedOperator {
        /// The operator.
        operator: String,
    },
    /// One object holds both operators and plain members, so it could mean a test or a comparison.
    #[error(
        "one object mixes the operator '{operator}' with the plain member '{member}'; keep them apart, with dotted paths for nested attributes"
    )]
    MixedObject {
        /// The first operator in it.
        operator: String,
        /// The first plain member in it.
        member: String,
    },
    /// An operator got an operand of the wrong kind.
    #[error("'{operator}' takes {expected}, not {found}")]
    WrongOperand {
        /// The operator.
        operator: String,
        /// What it takes.
        expected: &'static str,
        /// What it got.
        found: &'static str,
    },
    /// A path with an empty name in it, or longer than attributes are deep.
    #[error(
        "the path '{field}' can never be found: its names must not be empty, and there may be at most {MAX_ATTRIBUTES_DEPTH}"
    )]
    BadPath {
        /// The path as written.
        field: String,
    },
    /// A regular expression that does not parse, or asks for what linear time cannot give.
    #[error("the regular expression is not usable: {reason}; correct or simplify it")]
    BadRegex {
        /// What the parser says.
        reason: String,
    },
    /// A regular expression longer than allowed.
    #[error(
        "the regular expression has {bytes} bytes, more than the {MAX_REGEX_BYTES} allowed; split it or use '$in'"
    )]
    RegexTooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// A regular expression that grows too large when compiled.
    #[error(
        "the regular expression needs more than {MAX_COMPILED_REGEX_BYTES} bytes when compiled; repeat less in it"
    )]
    RegexTooLarge,
    /// More regular expressions than allowed.
    #[error(
        "the condition has more than {MAX_CONDITION_REGEXES} regular expressions; join them with '|' or use '$in'"
    )]
    TooManyRegexes,
    /// No saved group has this key.
    #[error("there is no saved group '{group}'; create it or correct the key")]
    UnknownGroup {
        /// The key.
        group: String,
    },
    /// A saved group holds something that no attribute can be looked up by.
    #[error("a saved group holds strings, numbers and booleans, not {found}")]
    WrongGroupValue {
        /// What it holds.
        found: &'static str,
    },
    /// A saved group with more values than allowed.
    #[error(
        "the saved group has {values} values, more than the {MAX_GROUP_VALUES} allowed; target an attribute instead"
    )]
    GroupTooLarge {
        /// How many values it has.
        values: usize,
    },
    /// The condition nests deeper than allowed, or compares with a value deeper than attributes can be.
    #[error(
        "nests too deep: a condition may have {MAX_CONDITION_DEPTH} levels and a compared value {MAX_ATTRIBUTES_DEPTH}; flatten it"
    )]
    TooDeep,
    /// More clauses than allowed.
    #[error(
        "the condition has more than {MAX_CONDITION_NODES} clauses; use '$in' or a saved group instead of many '$or'"
    )]
    TooManyClauses,
    /// More values in one list than allowed.
    #[error("one list has more than {MAX_LIST_VALUES} values; make it a saved group")]
    TooManyValues,
}

impl ConditionErrorKind {
    /// A stable name for programs: `unknown_operator`, `bad_regex`…
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject { .. } => "not_an_object",
            Self::UnknownOperator { .. } => "unknown_operator",
            Self::MisplacedOperator { .. } => "misplaced_operator",
            Self::MixedObject { .. } => "mixed_object",
            Self::WrongOperand { .. } => "wrong_operand",
            Self::BadPath { .. } => "bad_path",
            Self::BadRegex { .. } => "bad_regex",
            Self::RegexTooLong { .. } => "regex_too_long",
            Self::RegexTooLarge => "regex_too_large",
            Self::TooManyRegexes => "too_many_regexes",
            Self::UnknownGroup { .. } => "unknown_group",
            Self::WrongGroupValue { .. } => "wrong_group_value",
            Self::GroupTooLarge { .. } => "group_too_large",
            Self::TooDeep => "too_deep",
            Self::TooManyClauses => "too_many_clauses",
            Self::TooManyValues => "too_many_values",
        }
    }
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("at '{path}': ") }
}

fn where_it_belongs(operator: &str) -> &'static str {
    if matches!(operator, "$and" | "$or" | "$nor") {
        "combines conditions; write it beside the fields, not below one"
    } else {
        "tests the value of an attribute; write it directly below a field or dotted path, as in {\"geo.country\":{\"$eq\":\"NL\"}}"
    }
}
