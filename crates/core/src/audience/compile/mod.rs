//! From the JSON of a condition to its compiled form, refusing at the door whatever could not mean what was meant.

mod operands;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::lists::{FoldedList, Group, List};
use super::matching::{Accepts, Clause, Test, Type};
use super::{ConditionError, ConditionErrorKind as Kind, MAX_CONDITION_DEPTH, MAX_CONDITION_NODES};
use crate::attributes::kind_of;
use crate::ids::GroupKey;

pub(super) fn compile(
    source: &Value,
    groups: &BTreeMap<GroupKey, Arc<Group>>,
) -> Result<Clause, ConditionError> {
    Compiler { groups, path: Vec::new(), clauses: 0, regexes: 0 }.condition(source, 1)
}

type Compiled<T> = Result<T, ConditionError>;

/// `depth` is always that of the object being read; every method that opens a deeper one adds 1 and checks.
struct Compiler<'a> {
    groups: &'a BTreeMap<GroupKey, Arc<Group>>,
    /// Names from the condition down to the place being read.
    path: Vec<String>,
    clauses: usize,
    regexes: usize,
}

impl Compiler<'_> {
    /// An object of fields and of `$and $or $nor $not`.
    fn condition(&mut self, source: &Value, depth: usize) -> Compiled<Clause> {
        self.check_depth(depth)?;
        let Value::Object(members) = source else {
            return Err(self.refuse(Kind::NotAnObject { found: kind_of(source) }));
        };
        let mut clauses = Vec::with_capacity(members.len());
        for (name, operand) in members {
            clauses.push(self.at(name, |inside| inside.clause(name, operand, depth))?);
        }
        Ok(all(clauses))
    }

    fn clause(&mut self, name: &str, operand: &Value, depth: usize) -> Compiled<Clause> {
        self.count_clause()?;
        match name {
            "$and" => self.conditions(name, operand, depth).map(all),
            "$or" => self.conditions(name, operand, depth).map(any),
            "$nor" => self.conditions(name, operand, depth).map(|clauses| Clause::Not(any(clauses).into())),
            "$not" => {
                self.condition(operand, depth.saturating_add(1)).map(|clause| Clause::Not(clause.into()))
            }
            _ if name.starts_with('$') => Err(self.stray(name)),
            _ => Ok(Clause::Field { path: self.field(name)?, test: self.test(operand, depth)? }),
        }
    }

    fn conditions(&mut self, operator: &str, operand: &Value, depth: usize) -> Compiled<Vec<Clause>> {
        let members = self.array(operator, operand, "an array of conditions")?;
        self.each(members, |inside, member| {
            inside.count_clause()?;
            inside.condition(member, depth.saturating_add(1))
        })
    }

    /// What is asked of one value: an object of operators, or something to be equal to.
    fn test(&mut self, source: &Value, depth: usize) -> Compiled<Test> {
        if let Value::Object(members) = source
            && let Some(operator) = members.keys().find(|name| name.starts_with('$'))
        {
            if let Some(member) = members.keys().find(|name| !name.starts_with('$')) {
                let (operator, member) = (operator.clone(), member.clone());
                return Err(self.refuse(Kind::MixedObject { operator, member }));
            }
            return self.operators(members, depth.saturating_add(1));
        }
        self.literal(source).map(Test::Equals)
    }

    fn operators(&mut self, members: &Map<String, Value>, depth: usize) -> Compiled<Test> {
        self.check_depth(depth)?;
        let mut tests = Vec::with_capacity(members.len());
        for (name, operand) in members {
            tests.push(self.at(name, |inside| inside.operator(name, operand, depth))?);
        }
        match (tests.pop(), tests.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => Ok(Test::Every(tests.into_iter().chain(last).collect())),
        }
    }

    fn operator(&mut self, name: &str, operand: &Value, depth: usize) -> Compiled<Test> {
        self.count_clause()?;
        match name {
            "$eq" => self.literal(operand).map(Test::Equals),
            "$ne" => self.literal(operand).map(Test::Equals).map(not),
            "$lt" => self.comparison(name, operand, Accepts::Less),
            "$lte" => self.comparison(name, operand, Accepts::LessOrEqual),
            "$gt" => self.comparison(name, operand, Accepts::Greater),
            "$gte" => self.comparison(name, operand, Accepts::GreaterOrEqual),
            "$veq" => self.version(name, operand, Accepts::Equal),
            "$vne" => self.version(name, operand, Accepts::Equal).map(not),
            "$vlt" => self.version(name, operand, Accepts::Less),
            "$vlte" => self.version(name, operand, Accepts::LessOrEqual),
            "$vgt" => self.version(name, operand, Accepts::Greater),
            "$vgte" => self.version(name, operand, Accepts::GreaterOrEqual),
            "$in" => self.scalars(name, operand).map(List::new).map(Test::In),
            "$nin" => self.scalars(name, operand).map(List::new).map(Test::In).map(not),
            "$ini" => self.scalars(name, operand).map(FoldedList::new).map(Test::InFolded),
            "$nini" => self.scalars(name, operand).map(FoldedList::new).map(Test::InFolded).map(not),
            "$inGroup" => self.group(name, operand).map(Test::InGroup),
            "$notInGroup" => self.group(name, operand).map(Test::InGroup).map(not),
            "$all" => self.has_all(name, operand, depth),
            "$alli" => self.has_all_folded(name, operand),
            "$size" => self.size(name, operand, depth),
            "$elemMatch" => self.any_element(name, operand, depth),
            "$not" => self.test(operand, depth).map(not),
            "$exists" => match operand {
                Value::Bool(true) => Ok(Test::Exists),
                Value::Bool(false) => Ok(not(Test::Exists)),
                _ => Err(self.wrong_operand(name, "true or false", operand)),
            },
            "$type" => {
                let names = "one of \"string\", \"number\", \"boolean\", \"array\", \"object\", \"null\"";
                let named = operand.as_str().and_then(Type::named);
                named.map(Test::Type).ok_or_else(|| self.wrong_operand(name, names, operand))
            }
            "$regex" => self.regex(name, operand, false).map(Test::Regex),
            "$regexi" => self.regex(name, operand, true).map(Test::Regex),
            "$notRegex" => self.regex(name, operand, false).map(Test::Regex).map(not),
            "$notRegexi" => self.regex(name, operand, true).map(Test::Regex).map(not),
            _ => Err(self.stray(name)),
        }
    }

    fn array<'v>(&self, operator: &str, operand: &'v Value, expected: &'static str) -> Compiled<&'v [Value]> {
        match operand {
            Value::Array(items) => Ok(items),
            _ => Err(self.wrong_operand(operator, expected, operand)),
        }
    }

    fn each<T>(
        &mut self,
        items: &[Value],
        mut compile: impl FnMut(&mut Self, &Value) -> Compiled<T>,
    ) -> Compiled<Vec<T>> {
        let mut compiled = Vec::new();
        for (at, item) in items.iter().enumerate() {
            compiled.push(self.at(&at.to_string(), |inside| compile(inside, item))?);
        }
        Ok(compiled)
    }

    fn at<T>(&mut self, name: &str, compile: impl FnOnce(&mut Self) -> Compiled<T>) -> Compiled<T> {
        self.path.push(name.to_owned());
        let compiled = compile(self);
        self.path.pop();
        compiled
    }

    fn count_clause(&mut self) -> Compiled<()> {
        self.clauses = self.clauses.saturating_add(1);
        if self.clauses > MAX_CONDITION_NODES { Err(self.refuse(Kind::TooManyClauses)) } else { Ok(()) }
    }

    fn check_depth(&self, depth: usize) -> Compiled<()> {
        if depth > MAX_CONDITION_DEPTH { Err(self.refuse(Kind::TooDeep)) } else { Ok(()) }
    }

    fn stray(&self, operator: &str) -> ConditionError {
        let operator = operator.to_owned();
        self.refuse(match TESTS.contains(&operator.as_str()) || combines(&operator) {
            true => Kind::MisplacedOperator { operator },
            false => Kind::UnknownOperator { operator },
        })
    }

    fn wrong_operand(&self, operator: &str, expected: &'static str, found: &Value) -> ConditionError {
        self.refuse(Kind::WrongOperand { operator: operator.to_owned(), expected, found: kind_of(found) })
    }

    fn refuse(&self, kind: Kind) -> ConditionError {
        let escaped = self.path.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
        ConditionError { path: escaped.flat_map(|name| ["/".to_owned(), name]).collect(), kind }
    }
}

/// Every operator that asks something of a value.
const TESTS: &[&str] = &[
    "$eq",
    "$ne",
    "$lt",
    "$lte",
    "$gt",
    "$gte",
    "$veq",
    "$vne",
    "$vlt",
    "$vlte",
    "$vgt",
    "$vgte",
    "$in",
    "$nin",
    "$ini",
    "$nini",
    "$inGroup",
    "$notInGroup",
    "$all",
    "$alli",
    "$size",
    "$elemMatch",
    "$not",
    "$exists",
    "$type",
    "$regex",
    "$regexi",
    "$notRegex",
    "$notRegexi",
];

fn combines(operator: &str) -> bool {
    matches!(operator, "$and" | "$or" | "$nor")
}

fn all(mut clauses: Vec<Clause>) -> Clause {
    clauses.retain(|clause| !matches!(clause, Clause::All(inner) if inner.is_empty()));
    match (clauses.pop(), clauses.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Clause::All(clauses.into_iter().chain(last).collect()),
    }
}

/// An empty `$or` holds, as in GrowthBook's SDKs: a rule without alternatives restricts nobody.
fn any(clauses: Vec<Clause>) -> Clause {
    if clauses.is_empty() { Clause::All(Box::default()) } else { Clause::Any(clauses.into()) }
}

fn not(test: Test) -> Test {
    Test::Not(test.into())
}
