//! Audiences: which units an experiment is for, asked of their attributes.
//!
//! A condition is JSON in the style of MongoDB queries, with the operators of GrowthBook's SDKs. It is compiled once,
//! and everything that could be wrong with it is refused there; matching is then total, allocates nothing, and takes
//! time linear in the attributes.
//!
//! ```
//! use std::collections::BTreeMap;
//! use edgeseal_core::{attributes::Attributes, audience::Condition};
//!
//! let source = serde_json::json!({ "plan": { "$in": ["pro", "team"] }, "geo.country": "NL" });
//! let condition = Condition::compile(&source, &BTreeMap::new()).unwrap();
//! let attributes = Attributes::parse(br#"{"plan":"pro","geo":{"country":"NL"}}"#).unwrap();
//! assert!(condition.matches(&attributes));
//! ```
//!
//! Nothing is coerced: `"8"` is no number and a missing attribute is not 0. A missing attribute equals `null`; all
//! that is said about a value it does not have is false, and true under a negation (`$ne`, `$nin`, `$not`…).
//! `vectors/audience.json` holds the cases that every implementation must agree on.

mod compile;
mod error;
mod lists;
mod literal;
mod matching;
mod version;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::attributes::Attributes;
use crate::ids::GroupKey;

pub use self::error::{ConditionError, ConditionErrorKind};
pub use self::lists::Group;
use self::matching::Scope;

/// Deepest nesting of a condition: the condition itself is 1, and every object of fields or operators inside one more.
pub const MAX_CONDITION_DEPTH: usize = 10;
/// Most clauses in one condition: every field, operator, and member of `$and $or $nor $all` is one.
pub const MAX_CONDITION_NODES: usize = 1_000;
/// Most values in one list of `$in $nin $ini $nini`, or in one array or object that an attribute is compared with.
pub const MAX_LIST_VALUES: usize = 10_000;
/// Most values in one saved group.
pub const MAX_GROUP_VALUES: usize = 100_000;
/// Longest regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 1_000;
/// Most memory that one regular expression may take when compiled, in bytes.
pub const MAX_COMPILED_REGEX_BYTES: usize = 1 << 20;
/// Most regular expressions in one condition.
pub const MAX_CONDITION_REGEXES: usize = 20;

/// A compiled audience condition.
#[derive(Debug, Clone)]
pub struct Condition {
    root: matching::Clause,
}

impl Condition {
    /// Compiles a condition; `groups` are the saved groups that `$inGroup` and `$notInGroup` may name.
    ///
    /// # Errors
    /// [`ConditionError`] with the place and the reason, for anything that could not mean what its author meant.
    pub fn compile(source: &Value, groups: &BTreeMap<GroupKey, Arc<Group>>) -> Result<Self, ConditionError> {
        Ok(Self { root: compile::compile(source, groups)? })
    }

    /// The condition that everybody meets, as `{}` does.
    pub fn always() -> Self {
        Self { root: matching::Clause::All(Box::default()) }
    }

    /// Whether this asks nothing, as `{}` and [`Condition::always`] do.
    pub fn is_always(&self) -> bool {
        matches!(&self.root, matching::Clause::All(clauses) if clauses.is_empty())
    }

    /// Whether a unit with these attributes belongs to the audience.
    ///
    /// Allocates nothing (a regular expression sets up its cache on the first match of each thread).
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.root.matches(Scope::Attributes(attributes))
    }
}
