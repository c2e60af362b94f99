//! What differs between two JSON documents, member by member.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// Most differences that are told apart; where there are more, the rest is told as one difference of the whole.
pub const MAX_DIFFERENCES: usize = 500;
/// Longest list that is compared item by item.
const MAX_LIST: usize = 64;

/// One difference. An absent side means that the member is not there.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// JSON pointer (RFC 6901); empty for the whole document.
    pub pointer: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Compares two documents; `None` stands for one that does not exist. In the order of the members' names.
pub fn diff(from: Option<&Value>, to: Option<&Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", from, to, &mut found);
    if found.len() > MAX_DIFFERENCES {
        return vec![difference("", from, to)];
    }
    found
}

fn compare(pointer: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
    // One beyond the bound is enough to know that there are too many.
    if from == to || found.len() > MAX_DIFFERENCES {
        return;
    }
    match (from, to) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                compare(&format!("{pointer}/{escaped}"), old.get(name), new.get(name), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len().max(new.len()) <= MAX_LIST => {
            for place in 0..old.len().max(new.len()) {
                compare(&format!("{pointer}/{place}"), old.get(place), new.get(place), found);
            }
        }
        _ => found.push(difference(pointer, from, to)),
    }
}

fn difference(pointer: &str, from: Option<&Value>, to: Option<&Value>) -> Difference {
    Difference { pointer: pointer.to_owned(), from: from.cloned(), to: to.cloned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(from: &Value, to: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        diff(Some(from), Some(to)).into_iter().map(|it| (it.pointer, it.from, it.to)).collect()
    }

    #[test]
    fn equal_documents_have_no_difference() {
        assert!(
            diff(Some(&json!({ "a": [1, { "b": 2 }] })), Some(&json!({ "a": [1, { "b": 2 }] }))).is_empty()
        );
        assert!(diff(None, None).is_empty());
    }

    #[test]
    fn members_are_told_one_by_one_with_escaped_names() {
        assert_eq!(
            told(
                &json!({ "gone": 1, "same": 1, "a/b~c": { "deep": [1, 2] } }),
                &json!({ "new": null, "same": 1, "a/b~c": { "deep": [1, 3, 4] } }),
            ),
            [
                ("/a~1b~0c/deep/1".to_owned(), Some(json!(2)), Some(json!(3))),
                ("/a~1b~0c/deep/2".to_owned(), None, Some(json!(4))),
                ("/gone".to_owned(), Some(json!(1)), None),
                ("/new".to_owned(), None, Some(json!(null))),
            ]
        );
    }

    #[test]
    fn a_document_that_comes_or_goes_is_one_difference() {
        let document = json!({ "a": 1 });
        assert_eq!(diff(None, Some(&document)), [difference("", None, Some(&document))]);
        assert_eq!(diff(Some(&document), None), [difference("", Some(&document), None)]);
    }

    #[test]
    fn too_many_differences_become_one() {
        let object = |value: u32| -> Value {
            (0..=MAX_DIFFERENCES).map(|place| (format!("m{place}"), json!(value))).collect()
        };
        assert_eq!(told(&object(1), &object(2)).len(), 1);
        let list = |value: u32| json!(vec![value; MAX_LIST + 1]);
        assert_eq!(told(&list(1), &list(2)).len(), 1);
    }
}
