//! What each operator takes, and what is refused in its place.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{Compiled, Compiler, Kind, combines};
use crate::attributes::MAX_ATTRIBUTES_DEPTH;
use crate::audience::lists::{Group, fold};
use crate::audience::literal::{Literal, Num};
use crate::audience::matching::{Accepts, Operand, Test};
use crate::audience::version::Version;
use crate::audience::{MAX_COMPILED_REGEX_BYTES, MAX_CONDITION_REGEXES, MAX_LIST_VALUES, MAX_REGEX_BYTES};
use crate::json::depth_within;

impl Compiler<'_> {
    pub(super) fn comparison(&self, operator: &str, operand: &Value, accepts: Accepts) -> Compiled<Test> {
        let operand = match operand {
            Value::Number(number) => Operand::Number(Num::of(number)),
            Value::String(text) => Operand::Text(text.as_str().into()),
            _ => return Err(self.wrong_operand(operator, "a number or a string", operand)),
        };
        Ok(Test::ComparesWith { operand, accepts })
    }

    pub(super) fn version(&self, operator: &str, operand: &Value, accepts: Accepts) -> Compiled<Test> {
        match operand {
            Value::String(text) if !text.is_empty() => {
                Ok(Test::Version { operand: Version::new(text), accepts })
            }
            _ => Err(self.wrong_operand(operator, "a version string such as \"1.2.3\"", operand)),
        }
    }

    pub(super) fn scalars<'v>(&mut self, operator: &str, operand: &'v Value) -> Compiled<&'v [Value]> {
        let values = self.array(operator, operand, "an array of strings, numbers, booleans or nulls")?;
        if values.len() > MAX_LIST_VALUES {
            return Err(self.refuse(Kind::TooManyValues));
        }
        self.each(values, |inside, value| inside.scalar(operator, value))?;
        Ok(values)
    }

    fn scalar(&self, operator: &str, value: &Value) -> Compiled<()> {
        match value {
            Value::Array(_) | Value::Object(_) => {
                Err(self.wrong_operand(operator, "strings, numbers, booleans or nulls in its array", value))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn group(&self, operator: &str, operand: &Value) -> Compiled<Arc<Group>> {
        let Value::String(key) = operand else {
            return Err(self.wrong_operand(operator, "the key of a saved group", operand));
        };
        let group = self.groups.get(key.as_str()).cloned();
        group.ok_or_else(|| self.refuse(Kind::UnknownGroup { group: key.clone() }))
    }

    /// `$all` takes tests as well as values, so its members are clauses: each may look at every element.
    pub(super) fn has_all(&mut self, operator: &str, operand: &Value, depth: usize) -> Compiled<Test> {
        let members = self.array(operator, operand, "an array of values")?;
        let tests = self.each(members, |inside, member| {
            inside.count_clause()?;
            inside.test(member, depth)
        })?;
        Ok(Test::HasAll(tests.into()))
    }

    pub(super) fn has_all_folded(&mut self, operator: &str, operand: &Value) -> Compiled<Test> {
        let members = self.array(operator, operand, "an array of strings, numbers, booleans or nulls")?;
        let tests = self.each(members, |inside, member| {
            inside.count_clause()?;
            inside.scalar(operator, member)?;
            Ok(match member {
                Value::String(text) => Test::EqualsFolded(fold(text).collect::<String>().into()),
                scalar => Test::Equals(Literal::new(scalar)),
            })
        })?;
        Ok(Test::HasAll(tests.into()))
    }

    pub(super) fn size(&mut self, operator: &str, operand: &Value, depth: usize) -> Compiled<Test> {
        let test = match operand {
            Value::Number(number) if number.is_u64() => Test::Equals(Literal::new(operand)),
            Value::Object(members) if members.keys().any(|name| name.starts_with('$')) => {
                self.test(operand, depth)?
            }
            _ => {
                return Err(self.wrong_operand(
                    operator,
                    "a whole number or an object of operators",
                    operand,
                ));
            }
        };
        Ok(Test::Size(test.into()))
    }

    /// Operators are asked of the element itself, fields of its members. `$and $or $nor` combine fields, so they too
    /// make it a condition.
    pub(super) fn any_element(&mut self, operator: &str, operand: &Value, depth: usize) -> Compiled<Test> {
        let Value::Object(members) = operand else {
            return Err(self.wrong_operand(operator, "an object of operators or fields", operand));
        };
        let asks_members = |name: &String| !name.starts_with('$') || combines(name);
        let deeper = depth.saturating_add(1);
        if members.is_empty() || members.keys().any(asks_members) {
            return Ok(Test::AnyElementMeets(self.condition(operand, deeper)?.into()));
        }
        Ok(Test::AnyElement(self.operators(members, deeper)?.into()))
    }

    pub(super) fn regex(&mut self, operator: &str, operand: &Value, any_case: bool) -> Compiled<Regex> {
        let Value::String(pattern) = operand else {
            return Err(self.wrong_operand(operator, "a regular expression as a string", operand));
        };
        if pattern.len() > MAX_REGEX_BYTES {
            return Err(self.refuse(Kind::RegexTooLong { bytes: pattern.len() }));
        }
        self.regexes = self.regexes.saturating_add(1);
        if self.regexes > MAX_CONDITION_REGEXES {
            return Err(self.refuse(Kind::TooManyRegexes));
        }
        let mut builder = RegexBuilder::new(pattern);
        builder.case_insensitive(any_case);
        builder.size_limit(MAX_COMPILED_REGEX_BYTES).dfa_size_limit(MAX_COMPILED_REGEX_BYTES);
        builder.build().map_err(|error| {
            self.refuse(match error {
                regex::Error::CompiledTooBig(_) => Kind::RegexTooLarge,
                other => Kind::BadRegex { reason: last_line(&other.to_string()) },
            })
        })
    }

    pub(super) fn literal(&mut self, value: &Value) -> Compiled<Literal> {
        // A deeper value could never be equal to an attribute; and what follows recurses into it.
        if depth_within(value, MAX_ATTRIBUTES_DEPTH).is_none() {
            return Err(self.refuse(Kind::TooDeep));
        }
        let mut values_left = MAX_LIST_VALUES;
        self.check_literal(value, &mut values_left)?;
        Ok(Literal::new(value))
    }

    /// Operators inside a compared value would be compared, not asked: nobody means that.
    fn check_literal(&mut self, value: &Value, values_left: &mut usize) -> Compiled<()> {
        let count = |inside: &Self, values_left: &mut usize| match values_left.checked_sub(1) {
            Some(left) => {
                *values_left = left;
                Ok(())
            }
            None => Err(inside.refuse(Kind::TooManyValues)),
        };
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    count(self, values_left)?;
                    self.at(&at.to_string(), |inside| inside.check_literal(item, values_left))?;
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    count(self, values_left)?;
                    self.at(name, |inside| match name.starts_with('$') {
                        true => Err(inside.stray(name)),
                        false => inside.check_literal(member, values_left),
                    })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn field(&self, name: &str) -> Compiled<Box<[Box<str>]>> {
        let path: Box<[Box<str>]> = name.split('.').map(Box::from).collect();
        if path.len() > MAX_ATTRIBUTES_DEPTH || path.iter().any(|name| name.is_empty()) {
            return Err(self.refuse(Kind::BadPath { field: name.to_owned() }));
        }
        Ok(path)
    }
}

/// The parser draws the pattern over several lines; the last one says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
