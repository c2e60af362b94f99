use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

const VECTORS: &str = include_str!("../../../../vectors/audience.json");

fn compile(source: &Value) -> Result<Condition, ConditionError> {
    Condition::compile(source, &BTreeMap::new())
}

fn matches(condition: &Value, attributes: &Value) -> bool {
    compile(condition).unwrap().matches(&attributes_of(attributes))
}

fn attributes_of(value: &Value) -> Attributes {
    Attributes::parse(value.to_string().as_bytes()).unwrap()
}

fn refusal(source: &Value) -> ConditionError {
    compile(source).unwrap_err()
}

fn vectors(list: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    vectors[list].as_array().unwrap().clone()
}

fn groups_of(case: &Value) -> Result<BTreeMap<GroupKey, Arc<Group>>, ConditionError> {
    let none = Map::new();
    let groups = case.get("groups").map_or(&none, |groups| groups.as_object().unwrap());
    let compile = |(key, values): (&String, &Value)| {
        Ok((GroupKey::parse(key).unwrap(), Group::compile(values.as_array().unwrap())?.into()))
    };
    groups.iter().map(compile).collect()
}

#[test]
fn every_case_of_the_vectors_answers_as_expected() {
    let cases = vectors("cases");
    assert!(cases.len() > 400, "the vectors shrank to {}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let condition = Condition::compile(&case["condition"], &groups_of(&case).unwrap());
        let answer = condition.map(|condition| condition.matches(&attributes_of(&case["attributes"])));
        if answer.as_ref().ok() != case["expected"].as_bool().as_ref() {
            wrong.push(format!("{}: {answer:?}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_refused_condition_of_the_vectors_is_refused_for_its_reason() {
    let refused = vectors("refused");
    assert!(refused.len() > 80, "the vectors shrank to {}", refused.len());
    let mut wrong = Vec::new();
    for case in refused {
        let compiled = groups_of(&case).and_then(|groups| Condition::compile(&case["condition"], &groups));
        let code = compiled.map_err(|error| error.kind.code()).err();
        if code != case["error"].as_str() {
            wrong.push(format!("{}: {code:?}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_refusal_points_at_its_place() {
    for (condition, path) in [
        (json!({"plan": {"$in": ["a", {}]}}), "/plan/$in/1"),
        (json!({"$or": [{"a": 1}, {"b/c~d": {"$regex": "("}}]}), "/$or/1/b~1c~0d/$regex"),
        (json!({"tags": {"$elemMatch": {"x": {"$gt": null}}}}), "/tags/$elemMatch/x/$gt"),
        (json!({"geo": [1, {"$gt": 1}]}), "/geo/1/$gt"),
        (json!(3), ""),
    ] {
        assert_eq!(refusal(&condition).path, path);
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    assert_eq!(
        refusal(&json!({"plan": {"$inn": []}})).to_string(),
        "at '/plan/$inn': there is no operator '$inn'; check its spelling (attribute names cannot begin with '$')"
    );
    assert_eq!(
        refusal(&json!({"a": {"$regex": "(?=x)"}})).to_string(),
        "at '/a/$regex': the regular expression is not usable: look-around, including look-ahead and look-behind, \
         is not supported; correct or simplify it"
    );
    assert_eq!(
        refusal(&json!([])).to_string(),
        "a condition is an object of fields such as {\"plan\":\"pro\"}, not an array"
    );
}

#[test]
fn refuses_more_clauses_than_allowed() {
    let alternatives = |count: usize| json!({"$or": vec![json!({"a": 1}); count]});
    // Each alternative is a clause and so is its field; `$or` is one more.
    assert!(compile(&alternatives(499)).is_ok());
    assert_eq!(refusal(&alternatives(500)).kind, ConditionErrorKind::TooManyClauses);
    let all = |count: usize| json!({"a": {"$all": vec![json!(1); count]}});
    assert!(compile(&all(998)).is_ok());
    assert_eq!(refusal(&all(999)).kind, ConditionErrorKind::TooManyClauses);
}

#[test]
fn refuses_more_values_than_allowed() {
    for shape in ["$in", "$nin", "$ini", "$nini", "$eq", "$ne"] {
        let list = |count: usize| json!({"a": {shape: vec![json!(1); count]}});
        assert!(compile(&list(MAX_LIST_VALUES)).is_ok(), "{shape}");
        let refusal = refusal(&list(MAX_LIST_VALUES + 1));
        assert_eq!(refusal.kind, ConditionErrorKind::TooManyValues, "{shape}");
    }
}

#[test]
fn refuses_however_deep_a_condition_comes() {
    let deep = |name: &str, depth| (0..depth).fold(json!({"a": 1}), |inner, _| json!({ name: inner }));
    assert!(compile(&deep("$not", 9)).is_ok());
    for depth in [10, 100] {
        assert_eq!(refusal(&deep("$not", depth)).kind, ConditionErrorKind::TooDeep);
        assert_eq!(refusal(&deep("a", depth)).kind, ConditionErrorKind::TooDeep);
    }
}

#[test]
fn only_a_condition_that_asks_nothing_is_always() {
    for nothing in [json!({}), json!({"$and": []}), json!({"$or": []}), json!({"$and": [{}, {"$or": []}]})] {
        assert!(compile(&nothing).unwrap().is_always(), "{nothing}");
    }
    assert!(Condition::always().is_always() && Condition::always().matches(&Attributes::default()));
    assert!(!compile(&json!({"a": null})).unwrap().is_always());
}

#[test]
fn attribute_names_of_the_caller_are_not_operators() {
    assert!(matches(&json!({"a": 1}), &json!({"a": 1, "$and": [], "b": {"$x": 1}})));
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        prop_oneof![any::<f64>(), Just(-0.0), Just(1e19), Just(0.5)].prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof!["[aAbé]{0,2}", "v?[0-9]{1,2}([.-][0-9a-b]){0,3}"].prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[abc]"
}

fn attribute() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    prop::collection::btree_map(name(), attribute(), 0..4)
        .prop_map(|map| Attributes::from_object(map.into_iter().collect()).unwrap())
}

/// One member of an object of operators, always well-formed.
fn operator() -> impl Strategy<Value = (String, Value)> {
    let pick = |names: &'static [&'static str]| prop::sample::select(names).prop_map(str::to_owned);
    let comparable = scalar().prop_filter("has an order", |value| value.is_number() || value.is_string());
    let leaf = prop_oneof![
        (pick(&["$eq", "$ne"]), attribute()),
        (pick(&["$lt", "$lte", "$gt", "$gte"]), comparable),
        (
            pick(&["$in", "$nin", "$ini", "$nini", "$alli"]),
            prop::collection::vec(scalar(), 0..12).prop_map(Value::from)
        ),
        (
            pick(&["$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte"]),
            "v?[0-9]{1,2}([.-][0-9a-b]){0,3}".prop_map(Value::from)
        ),
        (pick(&["$exists"]), any::<bool>().prop_map(Value::from)),
        (pick(&["$size"]), (0..3).prop_map(Value::from)),
        (pick(&["$type"]), pick(&["string", "number", "null", "array"]).prop_map(Value::from)),
        (pick(&["$regex", "$regexi", "$notRegex"]), "\\^?[aAbé]{1,2}\\$?".prop_map(Value::from)),
    ];
    leaf.prop_recursive(2, 8, 2, move |inner| {
        let nested = inner.prop_map(|(name, operand)| json!({ name: operand }));
        prop_oneof![
            (pick(&["$not", "$elemMatch"]), nested.clone()),
            (pick(&["$size"]), nested.clone()),
            (pick(&["$all"]), prop::collection::vec(nested.clone(), 0..3).prop_map(Value::from)),
            (pick(&["$elemMatch"]), (name(), nested).prop_map(|(field, test)| json!({ field: test }))),
        ]
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let field = (prop_oneof![name(), "[ab]\\.[bc]"], operator())
        .prop_map(|(field, (name, operand))| json!({ field: { name: operand } }));
    // Two levels here and two of operators stay within the bound on depth, also below one more of `$and` and `$not`.
    field.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|members| json!({ "$and": members })),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|members| json!({ "$or": members })),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|members| json!({ "$nor": members })),
            inner.prop_map(|member| json!({ "$not": member })),
        ]
    })
}

/// Anything at all, with operators strewn about.
fn nonsense() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "$and",
            "$or",
            "$not",
            "$in",
            "$all",
            "$gt",
            "$size",
            "$elemMatch",
            "$x",
            ""
        ])
        .prop_map(str::to_owned),
        name(),
    ];
    scalar().prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn well_formed_conditions_compile_and_answer(condition in condition(), attributes in attributes()) {
        let compiled = compile(&condition);
        prop_assert!(compiled.is_ok(), "{}: {:?}", condition, compiled);
        let _ = compiled.unwrap().matches(&attributes);
    }

    #[test]
    fn nonsense_is_answered_or_refused_but_never_panics(source in nonsense(), attributes in attributes()) {
        match compile(&source) {
            Ok(condition) => { condition.matches(&attributes); }
            Err(refusal) => prop_assert!(refusal.path.is_empty() || source.pointer(&refusal.path).is_some()),
        }
    }

    #[test]
    fn not_nor_and_or_agree(a in condition(), b in condition(), attributes in attributes()) {
        let holds = |condition: Value| compile(&condition).unwrap().matches(&attributes);
        let (left, right) = (holds(a.clone()), holds(b.clone()));
        prop_assert_eq!(holds(json!({"$not": a})), !left);
        prop_assert_eq!(holds(json!({"$and": [a, b]})), left && right);
        prop_assert_eq!(holds(json!({"$or": [a, b]})), left || right);
        prop_assert_eq!(holds(json!({"$nor": [a, b]})), !(left || right));
        prop_assert_eq!(holds(json!({"$and": [{"$not": a}, {"$not": b}]})), holds(json!({"$nor": [a, b]})));
    }

    #[test]
    fn operators_and_their_negations_are_opposites(operand in scalar(), attributes in attributes()) {
        let holds = |name: &str, operand: Value| matches_operator(name, operand, &attributes);
        for (operator, negation) in [("$eq", "$ne"), ("$in", "$nin"), ("$ini", "$nini")] {
            let operand = if operator == "$eq" { operand.clone() } else { json!([operand]) };
            prop_assert_eq!(holds(operator, operand.clone()), !holds(negation, operand));
        }
        prop_assert_eq!(holds("$not", operand.clone()), !holds("$eq", operand));
    }

    #[test]
    fn every_attribute_equals_itself(value in attribute()) {
        let attributes = Attributes::from_object([("a".to_owned(), value.clone())].into_iter().collect()).unwrap();
        let equal = compile(&json!({"a": value})).unwrap().matches(&attributes);
        prop_assert!(equal);
    }

    #[test]
    fn lists_find_what_equality_finds(values in prop::collection::vec(scalar(), 0..30), value in scalar()) {
        let attributes = Attributes::from_object([("a".to_owned(), value)].into_iter().collect()).unwrap();
        let alternatives: Vec<Value> = values.iter().map(|value| json!({ "a": value })).collect();
        let any_equal = !values.is_empty() && compile(&json!({ "$or": alternatives })).unwrap().matches(&attributes);
        prop_assert_eq!(matches_operator("$in", json!(values), &attributes), any_equal);
        let scalars: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
        let groups = BTreeMap::from([(GroupKey::parse("g").unwrap(), Arc::new(Group::compile(&scalars).unwrap()))]);
        let in_group = Condition::compile(&json!({"a": {"$inGroup": "g"}}), &groups).unwrap().matches(&attributes);
        prop_assert_eq!(matches_operator("$in", json!(scalars), &attributes), in_group);
    }
}

fn matches_operator(name: &str, operand: Value, attributes: &Attributes) -> bool {
    compile(&json!({ "a": { name: operand } })).unwrap().matches(attributes)
}
